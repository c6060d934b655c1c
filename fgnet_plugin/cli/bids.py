"""``fgnet bids``: scores as a derivative of the Brain Imaging Data Structure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.factors import Folders, Manifest, Pattern, factors_of
from fgnet_plugin.cli.tables import table_files
from fgnet_plugin.utils.text import counted


def bids(
    table: Annotated[Path, typer.Argument(help="Table or dataset of fgnet detect.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to, missing or empty.")] = Path("derivatives/fgnet"),
    raw: Annotated[Path | None, typer.Option(help="Folder of the BIDS dataset with the recordings.")] = None,
    pattern: Pattern = None,
    folders: Folders = None,
    manifest: Manifest = None,
    task: Annotated[str | None, typer.Option(help="Label of the task, where names and conditions tell none.")] = None,
) -> None:
    """Scores as a BIDS derivative, for sharing.

    A .tsv and a .json of each recording. Subject, session and task are read from names such as
    sub-01_ses-2_task-rest_video.mp4, or told by --pattern, --folders or --manifest, with the condition as task.
    """
    with package_warnings():
        from fgnet_plugin.measures.recordings import recording_names
        from fgnet_plugin.scale.bids import export_bids

        factors = factors_of(recording_names(table_files([table])), pattern, folders, manifest)
        written = export_bids(table, out, factors=factors, task=task, raw=raw)
    typer.echo(f"BIDS derivative: {out} ({counted(len(written), 'recording')})")
