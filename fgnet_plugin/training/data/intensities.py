"""Coded intensities beside a label file's 0 and 1: the columns ``au1_intensity`` or ``AU01_intensity``, ….

Training ignores them; evaluation compares activations with them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fgnet_plugin.action_units import NAMES, NOT_CODABLE, au_name
from fgnet_plugin.utils.arrays import Floats

MAX_INTENSITY = 5.0


def read_intensities(path: Path, images: Sequence[str], aus: Sequence[str]) -> Floats | None:
    """Intensities 0…5 of faces, [images, aus]; NaN where unknown, or 9; None where the file has no such columns for these AUs.

    Args:
        path: the label file.
        images: names as in its column ``image_path``.
        aus: names of AUs.

    Raises:
        ValueError: an intensity that is no number, or outside 0…5.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    columns = {au: column for column in table.columns if (au := _au_of(column)) in aus}
    if not columns or "image_path" not in table:
        return None
    table = table.set_index(table["image_path"].map(lambda image: Path(image).as_posix()))
    table = table[~table.index.duplicated()].reindex(images)
    found = np.full((len(images), len(aus)), np.nan)
    for i, au in enumerate(aus):
        if au in columns:
            values = pd.to_numeric(table[columns[au]].replace("", np.nan), errors="coerce").to_numpy(np.float64, copy=True)
            values[values == NOT_CODABLE] = np.nan
            text = table[columns[au]].fillna("").str.strip().str.lower()
            wrong = (np.isnan(values) & ~text.isin(["", "nan", f"{NOT_CODABLE}", f"{NOT_CODABLE}.0"])) | (values < 0)
            wrong |= values > MAX_INTENSITY
            if wrong.any():
                raise ValueError(f"{path}: {columns[au]} holds {text[wrong].iloc[0]!r}; intensities are 0…5, 9 or empty")
            found[:, i] = values
    return found


def _au_of(column: str) -> str | None:
    match = re.fullmatch(r"au0*(\d+)_intensity", str(column).strip(), re.IGNORECASE)
    return au_name(int(match[1])) if match and int(match[1]) in NAMES else None
