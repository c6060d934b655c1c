"""Read tables of AUs, as py-feat, OpenFace or human coders make them, into one form."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.comparison.openface import (
    AU_COLUMN,
    MAX_INTENSITY,
    OPENFACE_THRESHOLD,
    frame_numbers,
    is_openface,
    numeric_column,
)
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.arrays import Floats

UNCODED = -1, 9  # 9 is FACS's "unscorable"; several data sets write -1
_TABLE = re.compile(r"\.csv$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class AUTable:
    """AUs of n rows (faces), from one model or from the labels."""

    name: str
    values: pd.DataFrame
    """[n, AUs] float64 in [0, 1] (or beyond, where `thresholds` allows it), NaN where unknown; columns ``AU01`` …"""
    present: pd.DataFrame
    """[n, AUs] 1.0 where the AU counts as present, 0.0 where not, NaN where unknown."""
    inputs: npt.NDArray[np.object_] | None
    """[n] file names, or None where the column ``input`` is missing or names only the table's own CSV file."""
    frames: Floats | None
    """[n] from 0, or None without the column ``frame``."""
    boxes: Floats
    """[n, 4] x1, y1, x2, y2 in pixels; NaN where unknown."""
    source: pd.DataFrame
    """The table as it was given."""

    def __len__(self) -> int:
        return len(self.values)


def read_model(name: str, fex: pd.DataFrame, threshold: float, model_threshold: float | None = None) -> AUTable:
    """Read a model's table; see `comparison.compare` for the forms that are accepted.

    Args:
        name: name of the model in messages.
        fex: its table.
        threshold: value from which an AU counts as present; OpenFace's intensities and presence columns have their own.
        model_threshold: threshold for this model, which replaces all others.

    Raises:
        InputError: no AU with a value, an AU in two columns, text among numbers, or values outside [0, 1].
    """
    source = _plain(fex)
    kinds = _au_columns(source, repr(name))
    plain, intensity, presence = (kinds.get(kind, pd.DataFrame(index=source.index)) for kind in ("", "_r", "_c"))
    twice = plain.columns.intersection(intensity.columns.union(presence.columns))
    if len(twice):
        raise InputError(f"{name!r} has {twice[0]} both as a column of its own and as OpenFace writes it; keep one of them")
    openface = is_openface(source.columns)
    only_presence = presence[presence.columns.difference(intensity.columns)]
    values = pd.concat([plain, intensity / MAX_INTENSITY, only_presence], axis=1).sort_index(axis=1, key=_aus_by_number)
    if openface and "success" in source:  # OpenFace writes zeros where it found no face
        values[numeric_column(source["success"], name) == 0] = np.nan
    values = values.dropna(axis=1, how="all")
    if values.empty:
        raise InputError(f"{name!r} has no values of AUs; expected columns such as AU01 (or OpenFace's AU01_r, AU01_c)")
    low, high = float(values.min(axis=None)), float(values.max(axis=None))
    if model_threshold is None and not (low >= 0 and high <= 1):
        raise InputError(
            f"{name!r} has AUs from {low:.3g} to {high:.3g}, outside [0, 1]: scale them, or give the value from which"
            f" an AU counts as present, on the model's own scale, as thresholds={{{name!r}: …}}"
        )
    limits = pd.Series(OPENFACE_THRESHOLD, index=values.columns)
    limits[values.columns.intersection(plain.columns)] = threshold
    if model_threshold is not None:
        limits[:] = model_threshold
    present = values.ge(limits, axis="columns").astype(float)
    if model_threshold is None:
        coded = presence[presence.columns.intersection(values.columns)]
        present[coded.columns] = coded.where(coded.notna(), present[coded.columns])
    return _table(name, source, values, present.where(values.notna()), openface)


def read_labels(labels: pd.DataFrame) -> AUTable:
    """Read labels; see `comparison.compare` for the forms that are accepted.

    Raises:
        InputError: no AU, an AU in two columns, or values other than 0, 1 and those that mean "not coded".
    """
    source = _plain(labels)
    values = _au_columns(source, "labels").get("", pd.DataFrame())
    if values.empty:
        raise InputError("labels have no AUs; expected columns such as AU01, AU1 or au1 that hold 0 and 1")
    values = values.mask(values.isin(UNCODED)).sort_index(axis=1, key=_aus_by_number)
    for au, of_au in values.items():
        odd = of_au[of_au.notna() & ~of_au.isin((0, 1))]
        if odd.max() > 1:
            raise InputError(
                f"labels of {au} hold {odd.max():g}: probably intensities. First decide from which intensity an AU"
                " counts as present, for instance (labels[aus] >= 2).astype(float).where(labels[aus].isin(range(6)))"
            )
        if len(odd):
            raise InputError(f"labels of {au} hold {odd.iloc[0]:g}; expected 0 and 1, or NaN, -1 or 9 where not coded")
    values = values.dropna(axis=1, how="all")
    if values.empty:
        raise InputError("labels have AUs, but no row is coded: all are NaN, -1 or 9")
    return _table("labels", source, values, values)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Return a plain DataFrame without the blanks around the column names of OpenFace's files."""
    return pd.DataFrame(table).rename(columns=lambda column: str(column).strip()).reset_index(drop=True)


def _au_columns(table: pd.DataFrame, of: str) -> dict[str, pd.DataFrame]:
    """Collect the AU columns: kind of column ("", "_r" or "_c") -> AUs [n, …] as float64, infinite ones as NaN."""
    kinds: dict[str, dict[str, pd.Series]] = {}
    for i, column in enumerate(table.columns):
        parts = AU_COLUMN.fullmatch(column)
        if parts is None:
            continue
        columns, au = kinds.setdefault((parts[2] or "").lower(), {}), f"AU{int(parts[1]):02d}"
        if au in columns:
            raise InputError(f"{of}: more than one column holds {au}; keep one of them")
        columns[au] = numeric_column(table.iloc[:, i], of)
    return {kind: pd.DataFrame(columns).replace([np.inf, -np.inf], np.nan) for kind, columns in kinds.items()}


def _aus_by_number(aus: pd.Index) -> pd.Index:
    return aus.map(lambda au: int(au[2:]))


def _table(name: str, source: pd.DataFrame, values: pd.DataFrame, present: pd.DataFrame, openface: bool = False) -> AUTable:
    inputs = source["input"].astype(str).to_numpy(dtype=object) if "input" in source else None
    if inputs is not None and len(set(inputs)) == 1 and _TABLE.search(inputs[0]):
        inputs = None  # py-feat's reader of OpenFace tables puts the name of the table into this column, not that of the video
    frames = frame_numbers(source, repr(name), openface)
    return AUTable(name, values, present, inputs, frames, _boxes(source, name), source)


def _boxes(source: pd.DataFrame, name: str) -> Floats:
    """Return the boxes [n, 4] x1, y1, x2, y2 of the detector, else around the 68 landmarks, else NaN."""
    rectangle = [f"FaceRect{part}" for part in ("X", "Y", "Width", "Height")]
    if set(rectangle) <= set(source):
        x, y, width, height = (numeric_column(source[column], repr(name)).to_numpy() for column in rectangle)
        return np.stack([x, y, x + width, y + height], axis=1)
    if {"x_0", "x_67", "y_0", "y_67"} <= set(source):
        across, down = (source[[f"{axis}_{i}" for i in range(68)]].to_numpy(dtype=float) for axis in "xy")
        return np.stack([across.min(1), down.min(1), across.max(1), down.max(1)], axis=1)
    return np.full((len(source), 4), np.nan)
