"""Print and plot the results of ``fgnet detect``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import typer

from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.media.images import check_file
from fgnet_plugin.pyfeat.fex import COLUMNS, Fex
from fgnet_plugin.pyfeat.heatmaps import plot_heatmaps
from fgnet_plugin.pyfeat.plots import known_aus, plot_faces, plot_time_course
from fgnet_plugin.utils.journal import growing_path, is_unfinished, read_table, write_table


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


def write_plots(fex: Fex, folder: Path, heatmaps: bool, model: AUModel | None) -> Iterator[Path]:
    """Plot each input: a photo with its faces and AUs, a video's AUs over time; heatmaps of the clearest face."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    aus = known_aus(fex)
    for name, rows in fex.groupby("input", sort=False):
        stem = Path(str(name)).stem
        while stem in taken:
            stem += "_"
        taken.add(stem)
        faces = rows[rows[aus].notna().any(axis=1)] if aus else rows.iloc[:0]
        if not len(faces):
            continue
        if rows["frame"].nunique() > 1:
            path = folder / f"{stem}.png"
            plot_time_course(rows).savefig(path, dpi=110)
            yield path
        else:
            for figure in plot_faces(rows):
                path = folder / f"{stem}.png"
                figure.savefig(path, dpi=110)
                yield path
        if heatmaps and model is not None:
            clearest = faces.iloc[[int(faces[aus].max(axis=1).to_numpy().argmax())]]
            path = folder / f"{stem}-heatmaps.png"
            plot_heatmaps(clearest, au_model=model)[0].savefig(path, dpi=110)
            yield path


def report_interruption(out: Path) -> None:
    """Say what is there after Ctrl-C; rows of a table that grows in another file are copied to where they are looked for."""
    growing = growing_path(out)
    if not (is_unfinished(out) and growing.is_file() and growing.stat().st_size):
        typer.echo("\ninterrupted before the first batch was complete; the same command with --resume starts again", err=True)
        return
    rows = read_table(growing)
    if out != growing:
        write_table(rows, out, out.suffix)
    frames = len(rows[["input", "frame"]].drop_duplicates())
    typer.echo(f"\ninterrupted: {frames} complete frames are in {out}; the same command with --resume continues", err=True)


def read_parquet(path: Path) -> Fex:
    """Read a table that ``fgnet detect`` wrote as .parquet."""
    check_file(path, "table")
    try:
        return Fex(pd.read_parquet(path), **COLUMNS, detector="Feat")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable parquet file ({error})") from error
