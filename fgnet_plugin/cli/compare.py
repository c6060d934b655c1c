"""``fgnet compare``: agreement and accuracy of AU models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.tables import read_any


def compare(
    tables: Annotated[
        list[Path],
        typer.Argument(help="Two or more tables or datasets, with --labels one: of this package, py-feat, OpenFace."),
    ],
    names: Annotated[str | None, typer.Option(help="What to call them: 'fgnet,xgb'; by default their file names.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="AUs coded by people: CSV file with AU columns of 0 and 1, and input and frame; or events of ELAN (.eaf) or "
            "BORIS (.boris, aggregated events), at the frames of the first table."
        ),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Score from which an AU counts as present.")] = 0.5,
    cluster: Annotated[
        str | None, typer.Option(help="Column whose values are independent, such as the person: intervals draw these.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for the agreement; with --labels, …-accuracy.csv, too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="File for the figure: .png, .pdf, .svg.")] = None,
) -> None:
    """Agreement of AU models; with labels, accuracy."""
    if len(tables) < 2 - (labels is not None):
        raise typer.BadParameter("give at least two tables to compare, or one and --labels")
    called = names.split(",") if names else [path.stem for path in tables]
    if len(called) != len(tables) or len(set(called)) < len(called):
        raise typer.BadParameter(f"--names must be {len(tables)} different names with commas between them")
    with package_warnings():
        from fgnet_plugin.cli.events import read_labels_of
        from fgnet_plugin.comparison.agreement import compare as compared
        from fgnet_plugin.measures.coders import is_coding
        from fgnet_plugin.media.images import check_file
        from fgnet_plugin.utils.journal import read_csv

        read = {name: read_any(path) for name, path in zip(called, tables, strict=True)}
        coded = None
        if labels is not None:
            check_file(labels, "table")
            coded = read_labels_of(labels, tables[0]) if is_coding(labels) else read_csv(labels)
        found = compared(read, coded, threshold=threshold, cluster=cluster)
        results = {"": found.agreement} | ({"-accuracy": found.accuracy} if found.accuracy is not None else {})
        for suffix, table in results.items():
            if table.empty:  # the agreement of one model
                continue
            typer.echo(table.drop(columns="name").to_string(index=False, float_format="{:.2f}".format) + "\n")
            if out is not None:
                path = out.with_name(out.stem + suffix + out.suffix)
                table.to_csv(path, index=False)
                typer.echo(f"table: {path}")
        if plot is not None:
            found.plot().savefig(plot, dpi=120)
            typer.echo(f"picture: {plot}")
