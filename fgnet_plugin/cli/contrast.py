"""``fgnet contrast``: how much more often each AU is present in one condition than in another, within people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.factors import Folders, Manifest, Pattern, read_faces
from fgnet_plugin.cli.measure import AUs, FaceModel, Key, Labels, LandmarkModel, Subject, Table, Weights, origin, read_labels
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted

_FILES = "contrast.csv", "people.csv", "contrast.png"
_SHOWN = ["AU", "condition", "reference_rate", "condition_rate", "difference", "low", "high", "p_corrected", "naive"]


def contrast(
    table: Table,
    labels: Labels,
    key: Key = None,
    pattern: Pattern = None,
    folders: Folders = None,
    manifest: Manifest = None,
    subject: Subject = "subject",
    condition: Annotated[str, typer.Option(help="Column with the conditions.")] = "condition",
    conditions: Annotated[
        str | None, typer.Option(help="Which, such as alone,together: the others are compared with the first. [default: all]")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="JSON file of fgnet calibrate: probabilities instead of scores.")
    ] = None,
    aus: AUs = None,
    min_prevalence: Annotated[float, typer.Option(help="Share of coded frames with an AU from which it is tested.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    weights: Weights = None,
    face_model: FaceModel = None,
    landmark_model: LandmarkModel = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for tables and figure.")] = Path("contrast"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a contrast that is there already.")] = False,
) -> None:
    """Differences of conditions within people.

    From all scores and a few human codes, with valid intervals, and a figure.
    """
    if not overwrite and any((out / name).exists() for name in _FILES):
        raise InputError(f"{out} holds a contrast already; --overwrite replaces it, or choose another folder with --out")
    with package_warnings():
        from fgnet_plugin import measures
        from fgnet_plugin.measures.summary import write_csv
        from fgnet_plugin.utils.files import atomic_write

        found = measures.contrast(
            read_faces(table, pattern, folders, manifest),
            read_labels(labels, key),
            subject=subject,
            condition=condition,
            conditions=[level.strip() for level in conditions.split(",")] if conditions else (),
            calibration=calibration,
            made_by=None if calibration is None else origin(table, weights, face_model, landmark_model),
            aus=[au.strip() for au in aus.split(",")] if aus else None,
            min_prevalence=min_prevalence,
            confidence=confidence,
        )
        tested = found.table[found.table["tested"]]
        typer.echo(
            f"{counted(found.table['people'].max(), 'person', 'people')}, {found.table['coded_people'].max()} of them coded"
        )
        typer.echo(f"differences from {found.table['reference'].iloc[0]!r}, within people:")
        typer.echo(tested[_SHOWN].to_string(index=False, float_format="{:.3f}".format) if len(tested) else "none")
        if rare := found.table.loc[~found.table["tested"], "AU"].unique().tolist():
            typer.echo(f"hardly present in the coded frames, and so not tested: {', '.join(rare)}")
        for name, rows in zip(_FILES, (found.table, found.people), strict=False):
            with atomic_write(out / name) as part:
                write_csv(rows, part)
            typer.echo(f"table: {out / name}")
        with atomic_write(out / _FILES[-1]) as part:
            found.plot().savefig(part, dpi=120, format="png")
        typer.echo(f"picture: {out / _FILES[-1]}")
