"""Find the frames that the rows of a Fex or CSV file came from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from feat.utils.blendshape_to_au import DLIB68_FROM_MP478
from feat.utils.io import read_feat, read_openface
from torch import Tensor

from fgnet_plugin.comparison.openface import frame_numbers, is_openface
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import LANDMARKS
from fgnet_plugin.inference.inputs import kind_of, made_upright
from fgnet_plugin.media.images import check_file, read_picture
from fgnet_plugin.media.video import Video
from fgnet_plugin.utils.journal import read_csv
from fgnet_plugin.utils.text import counted

Where = str | Path | Mapping[str, str | Path] | None


@dataclass(frozen=True, eq=False)
class FrameRows:
    """A frame and its rows."""

    image: Tensor
    """uint8 [3, H, W]."""
    positions: npt.NDArray[np.int64]
    """[n]: places of its rows in the table."""
    landmarks: Tensor
    """[n, 68, 2] float64, in pixels; NaN where a row has no face."""
    input: str
    """Path of the picture or video."""
    frame: int
    """Number of the frame in the video, from 0; of a picture, what the table says (0 where it says nothing)."""


def read_table(table: pd.DataFrame | str | Path) -> pd.DataFrame:
    """Read a CSV file of py-feat or OpenFace; a table passes as it is.

    Of a table whose columns have blanks around their names, as in OpenFace's files, a copy without them.

    Raises FileNotFoundError, or InputError for a file that holds no landmarks.
    """
    if isinstance(table, pd.DataFrame):
        names = [name.strip() if isinstance(name, str) else name for name in table.columns]
        return table if names == list(table.columns) else table.set_axis(names, axis="columns")
    check_file(table, "table")
    try:
        return _read_csv(table)
    except InputError:
        raise
    except (ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{table} is not a readable CSV file ({error})") from error


def _read_csv(table: str | Path) -> pd.DataFrame:
    columns = pd.read_csv(table, nrows=0).columns.str.strip()
    if is_openface(columns):
        return read_openface(str(table))
    if not {"x_0", "y_0"} <= set(columns):
        raise InputError(f"{table} has no landmarks (columns x_0 … y_67): it is no CSV of py-feat's detectors or of OpenFace")
    fex = read_feat(str(table))
    if "input" in fex.columns:
        fex["input"] = read_csv(table, usecols=["input"])["input"]
    return fex


def landmarks_of(table: pd.DataFrame) -> Tensor:
    """Get the 68 landmarks (dlib's order) of every row, [R, 68, 2] float64 in pixels; NaN where there is no face.

    From py-feat's ``Detectorv1`` and ``Detectorv2``, from the mesh of ``MPDetector``, or from OpenFace (whose rows without
    success count as without a face).

    Raises InputError for a table without landmarks.
    """
    mesh = {"x_477", "z_0"} <= set(table.columns)
    names = [f"{axis}_{i}" for axis in "xy" for i in DLIB68_FROM_MP478] if mesh else LANDMARKS
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise InputError(f"the table lacks landmarks: {counted(len(missing), 'column')} such as {missing[0]!r}")
    points = table[names].to_numpy(np.float64).reshape(-1, 2, 68).swapaxes(1, 2).copy()
    if "success" in table.columns:
        points[table["success"].to_numpy() == 0] = np.nan
    return torch.from_numpy(points)


def iterate_frames(table: pd.DataFrame, source: Where = None, positions: npt.ArrayLike | None = None) -> Iterator[FrameRows]:
    """Yield the frames of a table in order of input and frame number, each with its rows.

    Args:
        table: with landmarks, "input" and, for videos, "frame": from 0, or of OpenFace from 1.
        source: where pictures and videos are, if not where the column "input" says: the file of all rows, a folder that
            holds the files by name, or {input: path}.
        positions: only these rows; by default all. A frame none of whose rows has a face is left out.

    Raises:
        FileNotFoundError, InputError: a file that is missing, or that can't be what the table was made of; a row without a
            number in the column "frame". A damaged frame in mid-video brings a warning instead, and the rows from there on
            are left out.
    """
    table = read_table(table)
    chosen = np.arange(len(table)) if positions is None else np.atleast_1d(np.asarray(positions, dtype=np.int64))
    points = landmarks_of(table)
    chosen = chosen[points[chosen].isfinite().all((1, 2)).numpy()]
    inputs, frames = _inputs(table, source), _frames(table)
    for name in dict.fromkeys(inputs[chosen]):
        of_input = chosen[inputs[chosen] == name]
        path = _located(name, source)
        if kind_of(path) == "image":
            picture = read_picture(path, upright=made_upright(table.iloc[of_input], path))
            for number in dict.fromkeys(frames[of_input].tolist()):
                yield _frame_rows(picture, of_input[frames[of_input] == number], points, path, number, table)
            continue
        with Video(path) as video:
            for number in sorted(set(frames[of_input].tolist())):
                rows = of_input[frames[of_input] == number]
                if not 0 <= number < len(video):
                    # As the table counts: OpenFace's frames begin at 1.
                    noted = table["frame"].iloc[rows[0]] if "frame" in table.columns else number
                    raise InputError(f"{path} has {counted(len(video), 'frame')}, but the table has rows of frame {noted:g}")
                try:
                    image = video[number]
                except InputError as error:
                    warnings.warn(f"{error}; the rows from this frame on are left out", stacklevel=2)
                    break
                yield _frame_rows(image, rows, points, path, number, table)


def in_pyfeats_format(table: pd.DataFrame, source: Where = None) -> pd.DataFrame:
    """Convert OpenFace's table to py-feat's columns: "input", "frame" from 0, "FaceScore". Other tables stay as they are.

    The input is the picture or video, found as in `iterate_frames`, and "FaceScore" is OpenFace's "confidence". OpenFace's AUs
    stay; it is by them that the table is known as OpenFace's.

    Raises:
        FileNotFoundError, InputError: as `iterate_frames`.
    """
    plain = pd.DataFrame(read_table(table))
    if not is_openface(plain.columns):
        return plain
    inputs = _inputs(plain, source)
    paths = {name: _located(name, source) for name in dict.fromkeys(inputs)}
    noted = plain.copy().assign(input=[paths[name] for name in inputs], frame=_frames(plain))
    return noted.rename(columns={"confidence": "FaceScore"})


def _inputs(table: pd.DataFrame, source: Where) -> npt.NDArray[np.object_]:
    """Get the picture or video of each row, [n], as the table says; where it says nothing, `source`."""
    if "input" in table.columns:
        return table["input"].astype(str).to_numpy(object)
    if not isinstance(source, (str, Path)) or Path(source).is_dir():
        raise InputError("the table has no column 'input': say with source=… which picture or video it is about")
    return np.full(len(table), str(source), dtype=object)


def _frames(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Get the frame of each row, [n], from 0."""
    numbers = frame_numbers(table, "the table", is_openface(table.columns))
    return np.zeros(len(table), np.int64) if numbers is None else numbers.astype(np.int64)


def _frame_rows(
    image: Tensor, rows: npt.NDArray[np.int64], points: Tensor, path: str, number: int, table: pd.DataFrame
) -> FrameRows:
    if {"FrameHeight", "FrameWidth"} <= set(table.columns):
        noted = tuple(int(table[name].iloc[rows[0]]) for name in ("FrameHeight", "FrameWidth"))
        # py-feat computes them back from resized frames, and is a pixel or two off there.
        if any(abs(a - b) > 0.01 * b + 2 for a, b in zip(noted, image.shape[1:], strict=True)):
            raise InputError(
                f"{path} has {image.shape[2]}×{image.shape[1]} pixels, but the table was made of {noted[1]}×{noted[0]}: "
                "say with source=… where the file is that it was made of"
            )
    return FrameRows(image, rows, points[rows], path, number)


def _located(name: str, source: Where) -> str:
    """Find the file of an input."""
    if isinstance(source, Mapping):
        path = Path(source.get(name, name))
    elif source is None:
        path = Path(name)
    else:
        path = Path(source) / Path(name).name if Path(source).is_dir() else Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file, though the table says that its rows are from there; say where it is with source=… "
            "(a file, a folder, or {input: path})"
        )
    if path.suffix.lower() == ".csv":  # what py-feat's reader puts in the column "input"
        raise InputError(f"{name} is a table: say with source=… which video or picture it is about")
    return str(path)
