"""Pictures of the results of ``fgnet detect``, and tables for py-feat's methods. Needs py-feat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import known_aus
from fgnet_plugin.media.images import check_file
from fgnet_plugin.pyfeat.fex import COLUMNS, Fex
from fgnet_plugin.pyfeat.heatmaps import plot_heatmaps
from fgnet_plugin.pyfeat.plots import plot_faces, plot_time_course


def write_plots(table: pd.DataFrame, folder: Path, heatmaps: bool, model: AUModel | None) -> Iterator[Path]:
    """Plot each input: a photo with its faces and AUs, a video's AUs over time; heatmaps of the clearest face."""
    folder.mkdir(parents=True, exist_ok=True)
    fex = table if isinstance(table, Fex) else Fex(table, **COLUMNS, detector="Feat")
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


def read_parquet(path: Path) -> Fex:
    """Read a table that ``fgnet detect`` wrote as .parquet."""
    check_file(path, "table")
    try:
        return Fex(pd.read_parquet(path), **COLUMNS, detector="Feat")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable parquet file ({error})") from error
