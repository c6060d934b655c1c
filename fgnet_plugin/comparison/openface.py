"""Read tables of OpenFace: AU columns, frame numbers, and the landmarks of its CSV files."""

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

MAX_INTENSITY = 5.0  # OpenFace's intensities go from 0 to 5
OPENFACE_THRESHOLD = 1 / MAX_INTENSITY
AU_COLUMN = re.compile(r"au_?0*(\d+)(_[rc])?", re.IGNORECASE)
_X, _Y = [f"x_{i}" for i in range(68)], [f"y_{i}" for i in range(68)]


def is_openface(columns: Iterable[object]) -> bool:
    """Return whether a table has columns of OpenFace: AUs such as ``AU01_r``, or ``success`` and ``confidence``.

    Columns decide, because a table that pandas read lacks the metadata of py-feat's reader. Blanks around names are ignored.
    """
    names = [str(column).strip() for column in columns]
    return {"success", "confidence"} <= set(names) or bool(openface_aus(names))


def openface_aus(columns: Iterable[str]) -> list[str]:
    """Return the columns that are AUs as OpenFace writes them: intensities ``AU01_r``, presence ``AU01_c``."""
    return [column for column in columns if (parts := AU_COLUMN.fullmatch(column)) and parts[2]]


def frame_numbers(table: pd.DataFrame, of: str, openface: bool) -> Floats | None:
    """Return the frame of each row, [n], counted from 0; None without the column ``frame``.

    Args:
        table: with column names as they are read, without blanks around them.
        of: name of the table in messages.
        openface: whether its frames count from 1, as OpenFace's do; see `is_openface`.

    Raises:
        InputError: a row without a number, or a frame 0 of a video in a table of OpenFace.
    """
    if "frame" not in table:
        return None
    frames: Floats = numeric_column(table["frame"], of).to_numpy()
    unknown = ~np.isfinite(frames)
    if unknown.any():
        raise InputError(f"{of}: row {int(unknown.argmax())} has no number in the column frame")
    if not openface:
        return frames
    early = frames < 1
    if "input" in table:  # a picture has one frame, whatever its number
        early &= ~are_images(table["input"].astype(str))
    if early.any():
        raise InputError(
            f"{of}: row {int(early.argmax())} has the frame {frames[early.argmax()]:g}, but OpenFace, whose columns these are,"
            " counts from 1: leave its column frame as OpenFace wrote it"
        )
    return np.maximum(frames - 1, 0)


def missing_landmark_columns(file: Path) -> list[str]:
    """List the columns that `read_landmarks` needs and the CSV file lacks."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        columns = {column.strip() for column in lines.readline().split(",")}
    return [column for column in ("frame", "success", *_X, *_Y) if column not in columns]


def read_landmarks(file: Path) -> dict[int, npt.NDArray[np.float32]]:
    """Read the landmarks of a CSV file of OpenFace.

    Returns:
        Frame, counted from 1 as OpenFace does -> [n, 68, 2] in pixels, by falling confidence; n = 0 in frames without a face.

    Raises:
        InputError: the file can't be read.
    """
    wanted = {"frame", "success", "confidence", *_X, *_Y}
    try:
        table = pd.read_csv(file, skipinitialspace=True, usecols=lambda column: column.strip() in wanted)
        table.columns = table.columns.str.strip()
        table = table.astype(dict.fromkeys((*_X, *_Y), np.float32) | {"frame": int, "success": int})
    except (ValueError, KeyError, OverflowError) as error:
        raise InputError(f"{file} can't be read ({' '.join(str(error).split())})") from error
    landmarks = {int(frame): np.empty((0, 68, 2), np.float32) for frame in table["frame"].unique()}
    if "confidence" in table:
        table = table.sort_values("confidence", ascending=False, kind="stable")
    for frame, faces in table[table["success"] == 1].groupby("frame"):
        landmarks[int(frame)] = np.stack([faces[_X].to_numpy(), faces[_Y].to_numpy()], -1)
    return landmarks


def numeric_column(column: pd.Series, of: str) -> pd.Series:
    """Convert a column to float64. Raises InputError, naming the column of the table `of`, for text among the numbers."""
    try:
        return pd.to_numeric(column).astype("float64")
    except (ValueError, TypeError) as error:
        raise InputError(f"{of}: the column {column.name} holds something other than numbers: {error}") from error


def are_images(files: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Return, for each file name, whether its suffix is that of an image."""
    return np.array([Path(file).suffix.lower() in SUFFIXES for file in files], dtype=bool)
