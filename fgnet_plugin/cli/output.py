"""Print the results of ``fgnet detect``."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import typer

from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.cli.console import duration
from fgnet_plugin.inference.columns import known_aus
from fgnet_plugin.inference.estimate import Estimate
from fgnet_plugin.inference.summary import Summary
from fgnet_plugin.utils.journal import growing_path, is_unfinished
from fgnet_plugin.utils.tables import read_pieces, write_pieces
from fgnet_plugin.utils.text import counted

_WIDE = 40


def print_summary(summary: pd.DataFrame, seconds: float | None = None) -> None:
    """Print how many faces were found in each input, and how often each AU is present in it; see `Summary.table`."""
    typer.echo(f"\n{'input':{_WIDE}}{'frames':>8}{'with face':>11}{'faces':>8}")
    for _, row in summary.iterrows():
        typer.echo(f"{_short(row['input']):{_WIDE}}{row['frames']:8}{row['frames_with_face']:11}{row['faces']:8}")
    aus = known_aus(summary)
    if len(summary) == 1:
        typer.echo(f"\n{'AU':6}{'':24}{'mean score':>12}{'present in':>12}")
        for au in aus:
            mean, present = summary[[au, f"{au}_present"]].iloc[0]
            typer.echo(f"{au:6}{NAMES[au_number(au)]:24}{mean:12.2f}{present:12.0%}")
    elif aus:
        typer.echo(f"\n{'present in % of faces: AU':{_WIDE}}" + "".join(f"{au_number(au):4}" for au in aus))
        for _, row in summary.iterrows():
            shares = [row[f"{au}_present"] for au in aus]
            typer.echo(f"{_short(row['input']):{_WIDE}}" + "".join("   -" if pd.isna(s) else f"{100 * s:4.0f}" for s in shares))
    if seconds is not None:
        frames = int(summary["frames"].sum())
        typer.echo(f"\n{counted(frames, 'frame')} in {seconds:.1f} s: {frames / seconds:.1f} frames/s")


def print_summary_as_json(summary: pd.DataFrame, table: Path, rows: int, seconds: float | None) -> None:
    """Print one JSON object: "table", "rows", "seconds" (null where the table was complete already) and "inputs".

    These are the rows of `Summary.table`: "input", "frames", "frames_with_face", "faces", "AU12", "AU12_present", …
    """
    inputs = json.loads(summary.to_json(orient="records"))  # pandas writes NaN as null
    typer.echo(json.dumps({"table": str(table), "rows": rows, "seconds": seconds, "inputs": inputs}, indent=2))


def _short(name: str) -> str:
    return name if len(name) < _WIDE else "…" + name[2 - _WIDE :]


def print_estimate(found: Estimate) -> None:
    """Print how long a run will take, and how large its table will be."""
    typer.echo(f"{counted(found.frames, 'frame', form=',')} of {counted(found.inputs, 'input')}")
    typer.echo(f"measured on {counted(found.measured, 'frame')}: {found.rate:.1f} frames/s, {found.faces:.1f} faces a frame")
    typer.echo(f"about {duration(found.seconds)}, and a table of about {_bytes(found.size)} as .csv; nothing was written")


def _bytes(size: float) -> str:
    for unit in ("KB", "MB"):
        size /= 1000
        if size < 1000:
            return f"{size:.0f} {unit}"
    return f"{size / 1000:.1f} GB"


def report_interruption(out: Path) -> None:
    """Say what is there after Ctrl-C; rows of a table that grows in another file are copied to where they are looked for."""
    growing = growing_path(out)
    if not (is_unfinished(out) and growing.is_file() and growing.stat().st_size):
        typer.echo("\ninterrupted before the first batch was complete; the same command with --resume starts again", err=True)
        return
    if out != growing:
        write_pieces(read_pieces(growing), out)
    summary = Summary()
    for rows in read_pieces(growing, ["input", "frame", "FaceRectX"]):
        summary.add(rows)
    complete = counted(summary.frames, "complete frame is", "complete frames are")
    typer.echo(f"\ninterrupted: {complete} in {out}; the same command with --resume continues", err=True)
