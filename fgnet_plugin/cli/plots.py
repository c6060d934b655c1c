"""Pictures of the results of ``fgnet detect``, and tables for py-feat's methods. Needs py-feat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import AUS, EMOTIONS, FACEBOX, LANDMARKS, known_aus
from fgnet_plugin.media.images import check_file
from fgnet_plugin.pyfeat.fex import Fex, columns_of
from fgnet_plugin.pyfeat.heatmaps import plot_heatmaps
from fgnet_plugin.pyfeat.plots import plot_faces, plot_time_course
from fgnet_plugin.utils.distinct_names import distinct_names
from fgnet_plugin.utils.journal import read_table
from fgnet_plugin.utils.tables import read_pieces

_NEEDED = ["input", "frame", *FACEBOX, *LANDMARKS, *AUS, EMOTIONS[0], "FrameHeight", "FrameWidth"]


def write_plots(table: Path, folder: Path, sources: Mapping[str, str], heatmaps_of: AUModel | None) -> Iterator[Path]:
    """Plot each input: a photo with its faces and AUs, a video's AUs over time; heatmaps of the clearest face.

    Args:
        table: that ``fgnet detect`` wrote; one input of it is in memory at a time.
        folder: for the pictures, which are called as `distinct_names` says.
        sources: what the column "input" says -> the file.
        heatmaps_of: the model; None for no heatmaps.
    """
    names = distinct_names(sources)
    for name, rows in _by_input(table):
        aus = known_aus(rows)
        faces = rows[rows[aus].notna().any(axis=1)] if aus else rows.iloc[:0]
        if not len(faces):
            continue
        path = folder / f"{names[name]}.png"
        if rows["frame"].nunique() > 1:
            plot_time_course(rows, source=sources[name]).savefig(path, dpi=110)
            yield path
        else:
            for figure in plot_faces(rows, sources):
                figure.savefig(path, dpi=110)
                yield path
        if heatmaps_of is not None:
            clearest = faces.iloc[[int(faces[aus].max(axis=1).to_numpy().argmax())]]
            path = folder / f"{names[name]}-heatmaps.png"
            plot_heatmaps(clearest, au_model=heatmaps_of, source=sources)[0].savefig(path, dpi=110)
            yield path


def _by_input(table: Path) -> Iterator[tuple[str, Fex]]:
    """Read the rows of each input, with the columns that plots need."""
    kept: list[pd.DataFrame] = []
    for piece in read_pieces(table, _NEEDED):
        for name, rows in piece.groupby("input", sort=False):
            if kept and kept[0]["input"].iloc[0] != name:
                yield _one_input(kept)
                kept = []
            kept.append(rows)
    if kept:
        yield _one_input(kept)


def _one_input(pieces: list[pd.DataFrame]) -> tuple[str, Fex]:
    rows = pd.concat(pieces, ignore_index=True)
    return str(rows["input"].iloc[0]), Fex(rows, **columns_of(rows), detector="Feat")


def read_parquet(path: Path) -> Fex:
    """Read a table that ``fgnet detect`` wrote as .parquet."""
    check_file(path, "table")
    rows = read_table(path)
    return Fex(rows, **columns_of(rows), detector="Feat")
