"""Read the CSV files of OpenFace."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.images import SUFFIXES
from fgnet_plugin.utils.arrays import Floats

OPENFACE_TOP = 5.0  # OpenFace's intensities go from 0 to 5


OPENFACE_THRESHOLD = 1 / OPENFACE_TOP


_COLUMN = re.compile(r"au_?0*(\d+)(_[rc])?", re.IGNORECASE)


def is_openface(columns: Iterable[object]) -> bool:
    """Whether a table with these columns is one of OpenFace: it has AUs such as ``AU01_r``, or ``success`` and ``confidence``.

    By columns, since a table that pandas read has lost what py-feat's reader notes. Blanks around names do not count.
    """
    names = [str(column).strip() for column in columns]
    return {"success", "confidence"} <= set(names) or bool(openface_aus(names))


def openface_aus(columns: Iterable[str]) -> list[str]:
    """Those columns that are AUs as OpenFace writes them: intensities ``AU01_r``, presence ``AU01_c``."""
    return [column for column in columns if (parts := _COLUMN.fullmatch(column)) and parts[2]]


def frame_numbers(table: pd.DataFrame, of: str, openface: bool) -> Floats | None:
    """The frame of each row, [n], counted from 0; None without the column ``frame``.

    Args:
        table: with names of columns as they are read, without blanks around them.
        of: what messages call it.
        openface: whether its frames count from 1, as OpenFace's do; see `is_openface`.

    Raises:
        InputError: a row without a number, or a frame 0 of a video in a table of OpenFace.
    """
    if "frame" not in table:
        return None
    frames: Floats = _numbers(table["frame"], of).to_numpy()
    unknown = ~np.isfinite(frames)
    if unknown.any():
        raise InputError(f"{of}: row {int(unknown.argmax())} has no number in the column frame")
    if not openface:
        return frames
    early = frames < 1
    if "input" in table:  # a picture has one frame, whatever its number
        early &= ~_are_pictures(table["input"].astype(str))
    if early.any():
        raise InputError(
            f"{of}: row {int(early.argmax())} has the frame {frames[early.argmax()]:g}, but OpenFace, whose columns these are,"
            " counts from 1: leave its column frame as OpenFace wrote it"
        )
    return np.maximum(frames - 1, 0)


def _numbers(column: pd.Series, of: str) -> pd.Series:
    try:
        return pd.to_numeric(column).astype("float64")
    except (ValueError, TypeError) as error:
        raise InputError(f"{of}: the column {column.name} holds something other than numbers: {error}") from error


def _are_pictures(files: Iterable[str]) -> npt.NDArray[np.bool_]:
    return np.array([Path(file).suffix.lower() in SUFFIXES for file in files], dtype=bool)
