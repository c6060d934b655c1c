"""``fgnet annotate``: FG-Net's AUs for tables that other detectors made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.detect import Device
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted


def annotate(
    table: Annotated[
        Path, typer.Argument(help="Table with landmarks: of py-feat's detectors, OpenFace or fgnet detect, or its dataset.")
    ],
    source: Annotated[
        Path | None, typer.Option(help="The video or picture, or a folder of them, if not where the table says.")
    ] = None,
    au_model: Annotated[str, typer.Option(help="fgnet, fgnet-bp4d, fgnet-disfa, fgnet-rendered, or a file.")] = "fgnet",
    previous: Annotated[
        str | None,
        typer.Option(help="Keep the AUs of before, with this before their names. OpenFace's are kept as openface_AU45_r."),
    ] = None,
    drop_previous: Annotated[bool, typer.Option("--drop-previous", help="Leave OpenFace's AUs out, too.")] = False,
    device: Device = "cpu",
    out: Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")] = Path("annotated.csv"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")] = False,
) -> None:
    """FG-Net's AUs for a table that there is already."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"--out must end in .csv or .parquet, not {out.suffix or 'nothing'!r}")
    if previous is not None and drop_previous:
        raise typer.BadParameter("--previous keeps the AUs of before, --drop-previous leaves them out: give one of them")
    if out.exists() and not overwrite:
        raise InputError(f"{out} holds a table already; --overwrite replaces it, or choose another file with --out")
    with package_warnings():
        import pandas as pd

        from fgnet_plugin.cli.plots import read_parquet
        from fgnet_plugin.cli.tables import is_dataset, read_any
        from fgnet_plugin.inference.provenance import settings_of, with_origin
        from fgnet_plugin.pyfeat.annotate import annotate as annotated
        from fgnet_plugin.utils.files import atomic_write
        from fgnet_plugin.utils.journal import lasting, note_finished
        from fgnet_plugin.utils.tables import write_pieces

        given: Any = table
        if is_dataset(table):
            given = read_any(table)
        elif table.suffix.lower() == ".parquet":
            given = read_parquet(table)
            if run := settings_of(table):
                with_origin(given, run)
        found = annotated(given, au_model, source=source, previous=False if drop_previous else previous, device=device)
        settings = settings_of(found)
        with atomic_write(out) as part:
            write_pieces([pd.DataFrame(found)], part, out.suffix, json.dumps(lasting(settings)))
        if out.suffix.lower() == ".csv":
            note_finished(out, settings)
    typer.echo(f"table: {out} ({counted(len(found), 'row')})")
