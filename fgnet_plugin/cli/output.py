"""Print the results of ``fgnet detect``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import typer

from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.inference.columns import known_aus
from fgnet_plugin.utils.journal import growing_path, is_unfinished, read_table
from fgnet_plugin.utils.tables import write_pieces


def print_summary(fex: pd.DataFrame, seconds: float | None = None) -> None:
    """Print how many faces were found in each input, and how often each AU is present."""
    typer.echo(f"\n{'input':40}{'frames':>8}{'with face':>11}{'faces':>8}")
    for name, rows in fex.groupby("input", sort=False):
        faces = rows[rows["FaceRectX"].notna()]
        shown = str(name) if len(str(name)) < 40 else "…" + str(name)[-38:]
        typer.echo(f"{shown:40}{rows['frame'].nunique():8}{faces['frame'].nunique():11}{len(faces):8}")
    typer.echo(f"\n{'AU':6}{'':24}{'mean score':>12}{'present in':>12}")
    for au in known_aus(fex):
        values = fex[au].dropna()
        typer.echo(f"{au:6}{NAMES[au_number(au)]:24}{values.mean():12.2f}{(values > 0.5).mean():12.0%}")
    if seconds is not None:
        frames = len(fex[["input", "frame"]].drop_duplicates())
        typer.echo(f"\n{frames} frames in {seconds:.1f} s: {frames / seconds:.1f} frames/s")


def report_interruption(out: Path) -> None:
    """Say what is there after Ctrl-C; rows of a table that grows in another file are copied to where they are looked for."""
    growing = growing_path(out)
    if not (is_unfinished(out) and growing.is_file() and growing.stat().st_size):
        typer.echo("\ninterrupted before the first batch was complete; the same command with --resume starts again", err=True)
        return
    rows = read_table(growing)
    if out != growing:
        write_pieces([rows], out)
    frames = len(rows[["input", "frame"]].drop_duplicates())
    typer.echo(f"\ninterrupted: {frames} complete frames are in {out}; the same command with --resume continues", err=True)
