"""``fgnet report``: pages to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted

_TABLES = (".csv", ".parquet")


def report(
    inputs: Annotated[list[str], typer.Argument(help="A table or dataset of fgnet detect, or recordings to detect offline.")],
    out: Annotated[Path, typer.Option("--out", help="The page, .html; of several recordings, with a folder beside it.")] = Path(
        "report.html"
    ),
    threshold: Annotated[float, typer.Option(help="Score from which an AU counts as present.")] = 0.5,
    pictures: Annotated[int, typer.Option(min=0, help="Most frames of a recording whose pictures are on its page.")] = 240,
    no_pictures: Annotated[
        bool,
        typer.Option("--no-pictures/--with-pictures", envvar="FGNET_NO_PICTURES", help="Put no pictures on the pages."),
    ] = False,
    blur_faces: Annotated[
        bool, typer.Option("--blur-faces/--show-faces", envvar="FGNET_BLUR_FACES", help="Make faces unrecognisable.")
    ] = False,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps/--no-heatmaps", help="Show where FG-Net saw AUs at their peaks.")
    ] = True,
    source: Annotated[
        Path | None, typer.Option(help="Folder of the recordings, if the table's paths don't lead there.")
    ] = None,
    au_model: Annotated[
        str | None, typer.Option(help="Weights for the heatmaps; by default those that the table was made with.")
    ] = None,
    compare: Annotated[
        list[Path] | None, typer.Option(help="Table of another AU model on the same recordings, to show agreement. Repeatable.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV file of AUs coded by people, to show agreement: see fgnet compare.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of the page of several recordings.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pages that are there already.")] = False,
) -> None:
    """A page to look at, of a recording or a study.

    AUs over time with pictures; of a study, its recordings side by side.

    The pages open in any browser, ask no network for anything, and hold pictures of faces unless told otherwise:
    FGNET_NO_PICTURES=1 or FGNET_BLUR_FACES=1 in the environment make that the rule on a machine, until --with-pictures or
    --show-faces.
    """
    from fgnet_plugin.cli.console import package_warnings
    from fgnet_plugin.cli.requirements import check_extra

    check_extra("report", ("jinja2", "pandas", "scipy", "sklearn", "av"))
    if out.exists() and not overwrite:
        raise InputError(f"{out} is there already; --overwrite replaces it, or choose another file with --out")
    if out.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"--out must end in .html, not {out.suffix or 'nothing'!r}")
    with package_warnings():
        from fgnet_plugin.report.write import report as write

        table, made, left_out = _dataset(inputs) or (_table(inputs, out, overwrite), None, [])
        written = write(
            table,
            out,
            threshold=threshold,
            pictures=0 if no_pictures else pictures,
            blur_faces=blur_faces,
            heatmaps=heatmaps,
            source=source,
            au_model=au_model,
            made=made,
            notes=left_out,
            comparison=_comparison(table, compare or [], labels, threshold),
            title=title,
            progress=lambda line: typer.echo(line, err=True),
        )
    size = sum(path.stat().st_size for path in written) / 1e6
    others = f" with {counted(len(written) - 1, 'page')} of recordings" if len(written) > 1 else ""
    typer.echo(f"page: {written[0]} ({size:.1f} MB{others})")


def _dataset(inputs: list[str]) -> tuple[Any, Any, list[str]] | None:
    """Return the dataset that is named, in pieces, how it was made and what failed; None where it is something else."""
    from fgnet_plugin.scale.layout import Layout

    if len(inputs) > 1 or not Layout(inputs[0]).own.is_dir():
        return None
    import json

    import pandas as pd

    from fgnet_plugin.report.methods import provenance_of
    from fgnet_plugin.scale.reading import list_parts, status
    from fgnet_plugin.scale.table import read_rows, restored
    from fgnet_plugin.utils.made_by import RUN_ATTRIBUTE

    parts, found, about = list_parts(inputs[0]), status(inputs[0]), pd.DataFrame()
    about.attrs[RUN_ATTRIBUTE] = json.dumps(found.settings)

    def pieces(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        for part in parts:
            yield restored(read_rows(part, columns), columns)

    failed = [f"Left out: {reason if name in reason else f'{name}: {reason}'}" for name, reason in found.failed.items()]
    return pieces, provenance_of(about), failed


def _table(inputs: list[str], out: Path, overwrite: bool) -> Path:
    """Return the table that is named, or detect the recordings that are."""
    tables = [Path(name) for name in inputs if Path(name).suffix.lower() in _TABLES]
    if tables and len(inputs) > 1:
        raise typer.BadParameter("give one table, or recordings, not several tables or both")
    if tables:
        from fgnet_plugin.media.images import check_file

        check_file(tables[0], "table")
        return tables[0]
    from fgnet_plugin.cli.inputs import find_inputs
    from fgnet_plugin.inference.offline import OfflineDetector

    paths, table = find_inputs(inputs), out.with_suffix(".csv")
    if table.exists() and not overwrite:
        raise InputError(f"{table} is there already: give it in the place of the recordings, or replace it with --overwrite")
    OfflineDetector().detect(paths, save=table, errors="skip", columns="faces", time=True, load=False)
    typer.echo(f"table: {table}")
    return table


def _comparison(table: Any, others: list[Path], labels: Path | None, threshold: float) -> Any:
    """Compare the table with those of other models and with labels; None without any."""
    if not others and labels is None:
        return None
    if not isinstance(table, Path):
        raise InputError(
            "--compare and --labels take one table: not a dataset, of which fgnet_plugin.scale.read_dataset makes one"
        )
    from fgnet_plugin.comparison.agreement import compare
    from fgnet_plugin.utils.journal import read_csv, read_table

    paths = [table, *others]
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        raise InputError("tables to compare need different file names, by which they are called")
    tables = {name: read_table(path) for name, path in zip(names, paths, strict=True)}
    return compare(tables, None if labels is None else read_csv(labels), threshold=threshold)
