"""``fgnet sample``, ``fgnet calibrate``, ``fgnet apply-calibration``, ``fgnet estimate``: from scores to numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.factors import Folders, Manifest, Pattern, read_faces
from fgnet_plugin.cli.tables import common_origin, is_dataset, read_any
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from fgnet_plugin.utils.made_by import MadeBy

Table = Annotated[Path, typer.Argument(help="Table or dataset of fgnet detect, table of py-feat or OpenFace.")]
Labels = Annotated[Path, typer.Argument(help="CSV file of AUs coded by people; or a sheet of fgnet sample, with --key.")]
Key = Annotated[Path | None, typer.Option(help="key.csv of the sheet that fgnet sample wrote.")]
Subject = Annotated[str, typer.Option(help="Column that says who is filmed; input where each file shows another person.")]
Weights = Annotated[
    str | None, typer.Option(help="Where no .run file lies beside the table: the weights' name, file or digest.")
]
FaceModel = Annotated[str | None, typer.Option(help="Likewise: the face model, such as bundled or retinaface.")]
LandmarkModel = Annotated[str | None, typer.Option(help="Likewise: the landmark model, such as bundled or mobilefacenet.")]
AUs = Annotated[str | None, typer.Option(help="Which AUs: 'AU06,AU12'; by default all.")]


def sample(
    table: Table,
    pattern: Pattern = None,
    folders: Folders = None,
    manifest: Manifest = None,
    subject: Subject = "subject",
    count: Annotated[int | None, typer.Option(min=1, help="Faces to draw; by default as many as --half-width needs.")] = None,
    half_width: Annotated[float, typer.Option(help="Wanted half width of the intervals of base rates.")] = 0.05,
    aus: AUs = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    crops: Annotated[bool, typer.Option("--crops/--no-crops", help="Cut the faces out of the recordings.")] = True,
    out: Annotated[Path, typer.Option("--out", help="Folder for sheet.csv, faces and key.csv.")] = Path("coding"),
) -> None:
    """Which faces people should code, and how many.

    A blinded sheet with pictures.
    """
    with package_warnings():
        from fgnet_plugin import measures
        from fgnet_plugin.inference.columns import known_aus

        fex = read_faces(table, pattern, folders, manifest)
        wanted = aus.split(",") if aus else known_aus(fex)
        plan = measures.coding_plan(fex, subject, half_width, aus=wanted)
        typer.echo(f"to know base rates to ±{half_width:g} from human codes alone:")
        typer.echo(plan.drop(columns="name").to_string(index=False, float_format="{:.3g}".format))
        enough = plan["frames"].max()
        if count is None:
            if enough > len(fex):
                there = f"{counted(fex[subject].nunique(), 'person', 'people')} and {counted(len(fex), 'face')}"
                raise InputError(f"{there} can't give ±{half_width:g}: give a larger --half-width, or --count")
            count = int(enough)
        sheet = measures.coding_sheet(fex, subject, count, aus=wanted, seed=seed)
        path = measures.write_coding_sheet(sheet, out, wanted, crops)
    typer.echo(f"sheet: {path} ({counted(count, 'face')}); key, not for the coders: {out / 'key.csv'}")


def calibrate(
    table: Table,
    labels: Labels,
    key: Key = None,
    pattern: Pattern = None,
    folders: Folders = None,
    manifest: Manifest = None,
    subject: Subject = "subject",
    method: Annotated[str, typer.Option(help="isotonic, or platt for fewer than about 1,000 coded faces.")] = "isotonic",
    threshold: Annotated[
        str, typer.Option(help="An AU is present from: youden, f1, or a wanted precision such as 0.9.")
    ] = "youden",
    coverage: Annotated[float, typer.Option(help="Of the sets present, absent, undecided.")] = 0.9,
    weights: Weights = None,
    face_model: FaceModel = None,
    landmark_model: LandmarkModel = None,
    plot: Annotated[Path | None, typer.Option(help="File for the reliability diagram: .png, .pdf, .svg.")] = None,
    seed: Annotated[int, typer.Option(help="Of folds and resamples.")] = 0,
    out: Annotated[Path, typer.Option("--out", help="JSON file to write.")] = Path("calibration.json"),
) -> None:
    """How probable each AU is at a score, by coded faces."""
    level: float | str = threshold
    if threshold not in ("youden", "f1"):
        try:
            level = float(threshold)
        except ValueError:
            raise typer.BadParameter("--threshold must be youden, f1 or a number") from None
    with package_warnings():
        from fgnet_plugin import measures

        found = measures.calibrate(
            read_faces(table, pattern, folders, manifest),
            read_labels(labels, key),
            subject=subject,
            method=method,  # type: ignore[arg-type]  # it says so itself
            threshold=level,  # type: ignore[arg-type]
            coverage=coverage,
            made_by=origin(table, weights, face_model, landmark_model),
            seed=seed,
        )
        shown = ["AU", "n", "subjects", "prevalence", "brier_before", "brier", "ece_before", "ece", "ece_low", "ece_high"]
        report = found.report[[*shown, "threshold", "precision", "recall", "f1"]]
        typer.echo(report.to_string(index=False, float_format="{:.3f}".format) + "\n")
        found.save(out)
        typer.echo(f"calibration: {out}")
        if plot is not None:
            found.plot().savefig(plot, dpi=120)
            typer.echo(f"picture: {plot}")


def calibrated(
    table: Table,
    calibration: Annotated[Path, typer.Argument(help="JSON file of fgnet calibrate.")],
    weights: Weights = None,
    face_model: FaceModel = None,
    landmark_model: LandmarkModel = None,
    sets: Annotated[bool, typer.Option("--sets", help="Also columns such as AU12_set: present, absent or undecided.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")] = Path("calibrated.csv"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")] = False,
) -> None:
    """Probabilities and decisions, by a calibration."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"--out must end in .csv or .parquet, not {out.suffix or 'nothing'!r}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} holds a table already; --overwrite replaces it, or choose another file with --out")
    with package_warnings():
        from fgnet_plugin import measures
        from fgnet_plugin.utils.files import atomic_write
        from fgnet_plugin.utils.tables import write_pieces

        fex, made_by = read_any(table), origin(table, weights, face_model, landmark_model)
        found = measures.calibrated(fex, calibration, made_by=made_by)
        if sets:
            found = found.join(measures.conformal_sets(fex, calibration, made_by=made_by).add_suffix("_set"))
        with atomic_write(out) as part:
            write_pieces([found], part, out.suffix)
    typer.echo(f"table: {out} ({counted(len(found), 'row')})")


def estimate(
    table: Table,
    labels: Labels,
    key: Key = None,
    pattern: Pattern = None,
    folders: Folders = None,
    manifest: Manifest = None,
    subject: Subject = "subject",
    predictor: Annotated[list[str] | None, typer.Option(help="Column to regress the AU on; several times for several.")] = None,
    aus: AUs = None,
    equal_people: Annotated[bool, typer.Option("--equal-people", help="Every person counts the same, not every face.")] = False,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    out: Annotated[Path | None, typer.Option(help="CSV file to write.")] = None,
) -> None:
    """Base rates and contrasts with few coded faces.

    Also regressions; from all scores and a few human codes, with valid intervals.
    """
    with package_warnings():
        from fgnet_plugin import measures

        found = measures.prediction_powered(
            read_faces(table, pattern, folders, manifest),
            read_labels(labels, key),
            subject=subject,
            predictors=predictor or (),
            aus=aus.split(",") if aus else None,
            equal_people=equal_people,
            confidence=confidence,
        )
        shown = [
            "AU",
            "term",
            "estimate",
            "low",
            "high",
            "coded_only",
            "coded_only_low",
            "coded_only_high",
            "naive",
            "coded_people",
        ]
        typer.echo(found[shown].to_string(index=False, float_format="{:.3f}".format))
        if out is not None:
            found.to_csv(out, index=False)
            typer.echo(f"table: {out}")


def read_labels(labels: Path, key: Path | None) -> pd.DataFrame:
    """Read what people coded: a table of labels, or a coding sheet with its key."""
    from fgnet_plugin.measures import read_coding_sheet

    return read_any(labels) if key is None else read_coding_sheet(labels, key)


def origin(table: Path, weights: str | None, face_model: str | None, landmark_model: str | None) -> MadeBy | Path:
    """Collect what the options say made the scores; the table's file where they say nothing."""
    from fgnet_plugin.measures import made_by
    from fgnet_plugin.utils.journal import run_path
    from fgnet_plugin.utils.made_by import MadeBy

    if weights is None and face_model is None and landmark_model is None:
        return table
    if weights is None or face_model is None or landmark_model is None:
        raise typer.BadParameter("--weights, --face-model and --landmark-model belong together: give all three")
    said = made_by(weights, face_model, landmark_model)
    noted = common_origin([table]) if is_dataset(table) else MadeBy.of_file(table)
    if noted is not None and noted != said:
        raise InputError(
            f"{table if is_dataset(table) else run_path(table)} says that it was made otherwise: leave the options out"
        )
    return said
