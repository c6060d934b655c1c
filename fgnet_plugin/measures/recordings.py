"""Read tables of py-feat, of this package and of OpenFace as recordings: a row for each frame, with its time in seconds."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from fgnet_plugin.comparison.openface import AU_COLUMN, OPENFACE_THRESHOLD, is_openface
from fgnet_plugin.comparison.tables import AUTable, read_model
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.design import FACTORS
from fgnet_plugin.measures.signal import check_times
from fgnet_plugin.media.images import check_file
from fgnet_plugin.media.video import Video
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.tables import EXACT
from fgnet_plugin.utils.text import counted

THRESHOLD = 0.5
BOX = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]
_LANDMARKS = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
_COLUMNS = {
    *("input", "frame", "time", "timestamp", "FaceScore", "confidence", "success", "FrameHeight", "FrameWidth", *BOX),
    *("Pitch", "Roll", "Yaw", "pose_Rx", "pose_Ry", "pose_Rz", *FACTORS),
}
_TEXT = ("input", "approx_time", "Identity", *FACTORS)
_MISSING = ["", "NA", "NaN", "nan", "N/A", "NULL", "-nan"]
_PIECE = 20_000
Table: TypeAlias = pd.DataFrame | str | Path


@dataclass(frozen=True, eq=False)
class Recording:
    """The frames of one person in one recording: n rows, one a frame, by time.

    Example:
        >>> table = pd.DataFrame({"input": "P1.mp4", "frame": range(4), "AU12": [0.1, 0.9, 0.8, float("nan")]})
        >>> [recording] = read_recordings(table, rate=25)
        >>> len(recording), recording.present["AU12"].mean().round(2).item()
        (4, 0.67)
    """

    name: str
    """What the column ``input`` says, or the name of the table."""
    time: Floats
    """[n] seconds."""
    scores: pd.DataFrame
    """[n, AUs] in [0, 1], NaN where unknown: no face, or an AU that the model does not know."""
    present: pd.DataFrame
    """[n, AUs] 1.0 where the AU counts as present, 0.0 where not, NaN where unknown."""
    thresholds: dict[str, float]
    """AU -> score from which it counts as present."""
    rows: pd.DataFrame
    """[n, …] the other columns: boxes, poses, and those that were asked for."""
    further_faces: int = 0
    """Rows of further faces in the same frames, which were left out."""
    attrs: dict[str, Any] = field(default_factory=dict)
    """What was done to the scores, such as a baseline."""

    def __len__(self) -> int:
        return len(self.time)


def read_recordings(
    tables: Table | Iterable[Table],
    *,
    rate: float | None = None,
    threshold: float | None = None,
    keep: Collection[str] = (),
) -> Iterator[Recording]:
    """Yield the recordings of tables one by one, so that memory does not grow with their number.

    Tables are of py-feat, of this package (.csv, .parquet) or of OpenFace (its intensities are divided by 5, its presence
    columns ``AU01_c`` are heeded, rows without ``success`` are unknown). The rows of a recording must follow each other, as
    detectors write them. Of several faces in a frame the largest is kept, which is said once for each recording.

    Args:
        tables: one or several, as paths or DataFrames.
        rate: frames per second, for tables without the seconds of each frame (columns ``time`` or ``timestamp``) whose videos
            are not where the table says; the times of a video are read from it.
        threshold: from which an AU counts as present; by default 0.5, for OpenFace its presence column or intensity 1.
        keep: further columns to read, such as ``subject``.

    Raises:
        FileNotFoundError, InputError: a table that is missing, has no AUs or no times, a recording in two places, or times
            that go back; the message names table and recording.

    Example:
        >>> table = pd.DataFrame({"input": "a.mp4", "frame": [0, 1], "AU12": [0.2, 0.9]})
        >>> [recording] = read_recordings(table, rate=25)
        >>> recording.name, recording.time.tolist(), recording.present["AU12"].tolist()
        ('a.mp4', [0.0, 0.04], [0.0, 1.0])
    """
    seen: dict[str, str] = {}
    for i, table in enumerate([tables] if isinstance(tables, str | Path | pd.DataFrame) else tables):
        source = f"table {i + 1}" if isinstance(table, pd.DataFrame) else str(table)
        for name, rows in _by_input(table, source, keep):
            if name in seen:
                again = "in two places of it: sort its rows by input" if seen[name] == source else f"in {seen[name]}, too"
                raise InputError(f"{source}: the recording {name} is {again}")
            seen[name] = source
            yield _recording(name, rows, source, rate, threshold)


def recording_names(tables: Table | Iterable[Table]) -> list[str]:
    """List the names of the recordings of tables, as `read_recordings` yields them, without reading more than it must."""
    names: dict[str, None] = {}
    for i, table in enumerate([tables] if isinstance(tables, str | Path | pd.DataFrame) else tables):
        source = f"table {i + 1}" if isinstance(table, pd.DataFrame) else str(table)
        for piece in _pieces(table, source, (), only=("input",)):
            names.update(dict.fromkeys(piece["input"].astype(str).unique()) if "input" in piece else {Path(source).stem: None})
    return list(names)


def _by_input(table: Table, source: str, keep: Collection[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each input; a table without the column, or whose inputs are one .csv, is one recording."""
    held: list[pd.DataFrame] = []
    name, any_rows = None, False
    for piece in _pieces(table, source, keep):
        inputs = piece["input"].astype(str) if "input" in piece else pd.Series(Path(source).stem, index=piece.index)
        for start, end in _runs(inputs.to_numpy(dtype=object)):
            run = inputs.iloc[start]
            any_rows = True
            if name is not None and run != name:
                yield name, pd.concat(held, ignore_index=True)
                held = []
            name = run
            held.append(piece.iloc[start:end])
    if not any_rows:
        raise InputError(f"{source} has no rows")
    yield str(name), pd.concat(held, ignore_index=True)


def _runs(values: Any) -> list[tuple[int, int]]:
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    return list(pairwise([0, *changes.tolist(), len(values)])) if len(values) else []


def _pieces(table: Table, source: str, keep: Collection[str], only: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
    """Yield the columns of a table that are needed, or those of them that are among `only`, some rows at a time."""
    if isinstance(table, pd.DataFrame):
        plain = pd.DataFrame(table).rename(columns=lambda column: str(column).strip())
        yield plain[_wanted(plain.columns, source, keep, only)].reset_index(drop=True)
        return
    check_file(table, "table")
    path = Path(table)
    try:
        yield from (_parquet if path.suffix.lower() == ".parquet" else _csv)(path, keep, only)
    except InputError:
        raise
    except Exception as error:  # Arrow raises many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path} is damaged, or no table of AUs ({' '.join(str(error).split())})") from error


def _parquet(path: Path, keep: Collection[str], only: Collection[str] | None) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        wanted = _wanted(file.schema_arrow.names, str(path), keep, only)
        for batch in file.iter_batches(batch_size=_PIECE, columns=wanted):
            yield batch.to_pandas()


def _csv(path: Path, keep: Collection[str], only: Collection[str] | None) -> Iterator[pd.DataFrame]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    options: dict[str, Any] = {"sep": separator, "skipinitialspace": True, "encoding": "utf-8-sig"}
    header = list(pd.read_csv(path, nrows=0, **options).columns)
    wanted = set(_wanted([str(column).strip() for column in header], str(path), keep, only))
    columns = [column for column in header if str(column).strip() in wanted]
    text = {column: "object" for column in columns if column.strip() in (*_TEXT, *keep)}
    missing = {column: [""] if column in text else _MISSING for column in columns}
    with pd.read_csv(
        path, usecols=columns, dtype=text, keep_default_na=False, na_values=missing, chunksize=_PIECE, **options, **EXACT
    ) as pieces:
        for piece in pieces:
            yield piece.rename(columns=lambda column: column.strip())


def _wanted(columns: Iterable[object], source: str, keep: Collection[str], only: Collection[str] | None) -> list[str]:
    names = [str(column) for column in columns]
    if not any(AU_COLUMN.fullmatch(name) for name in names):
        raise InputError(f"{source} has no AUs: none of its columns is called AU01, AU12 or AU12_r")
    if lacking := [column for column in keep if column not in names]:
        raise InputError(f"{source} has no column {lacking[0]!r}")
    if only is not None:
        return [name for name in names if name in only] or names[:1]
    wanted = _COLUMNS | set(keep)
    if not set(BOX) <= set(names):
        wanted |= set(_LANDMARKS)
    return [name for name in names if name in wanted or AU_COLUMN.fullmatch(name)]


def _recording(name: str, rows: pd.DataFrame, source: str, rate: float | None, threshold: float | None) -> Recording:
    of = f"{source}, {name}" if "input" in rows else source
    openface = is_openface(rows.columns)
    kept, further = _largest_faces(rows, of)
    table = _read(of, rows.iloc[kept], threshold)
    time = check_times(_times(rows.iloc[kept], of, rate, openface), of)
    repeated = np.flatnonzero(np.diff(time) == 0)
    if len(repeated):
        same = counted(len(repeated), "frame has", "frames have")
        raise InputError(f"{of}: {same} the time of the one before, such as {time[repeated[0]]:g} s")
    plain = OPENFACE_THRESHOLD if openface else THRESHOLD
    limits = dict.fromkeys(map(str, table.values), plain if threshold is None else threshold)
    others = [column for column in rows if not AU_COLUMN.fullmatch(str(column))]
    return Recording(name, time, table.values, table.present, limits, rows.iloc[kept][others].reset_index(drop=True), further)


def _read(of: str, rows: pd.DataFrame, threshold: float | None) -> AUTable:
    """Read the scores; a recording in which no face was found has AUs all the same, all of them unknown."""
    aus = [column for column in rows if AU_COLUMN.fullmatch(str(column))]
    faces = rows[aus].notna().any(axis=1)
    if "success" in rows:
        faces &= rows["success"] != 0
    if faces.any():
        return read_model(of, rows, THRESHOLD, threshold)
    names = sorted({f"AU{int(parts[1]):02d}" for au in aus if (parts := AU_COLUMN.fullmatch(str(au)))})
    unknown = pd.DataFrame(np.nan, index=range(len(rows)), columns=names)
    return AUTable(of, unknown, unknown, None, None, np.full((len(rows), 4), np.nan), rows)


def _largest_faces(rows: pd.DataFrame, of: str) -> tuple[Any, int]:
    """Return the positions of one row for each frame, by frame, and how many rows of further faces that leaves out."""
    if "frame" not in rows:
        return np.arange(len(rows)), 0
    frame = pd.to_numeric(rows["frame"], errors="coerce")
    if frame.isna().any():
        raise InputError(f"{of}: row {int(frame.isna().to_numpy().argmax())} has no number in the column frame")
    area = rows["FaceRectWidth"] * rows["FaceRectHeight"] if set(BOX) <= set(rows) else rows.get("confidence", frame * 0)
    order = pd.DataFrame({"frame": frame.to_numpy(), "area": -area.fillna(-1).to_numpy(float)}).sort_values(
        ["frame", "area"], kind="stable"
    )
    kept = order.drop_duplicates("frame").index.to_numpy()
    further = len(rows) - len(kept)
    if further:
        shared = int(frame.duplicated(keep=False).sum()) - further
        warnings.warn(
            f"{of}: {counted(further, 'row is', 'rows are')} of further faces in {counted(shared, 'frame')}; the"
            " largest face of each frame is used. For one person throughout: fgnet detect --faces track",
            stacklevel=2,
        )
    return kept, further


def _times(rows: pd.DataFrame, of: str, rate: float | None, openface: bool) -> Floats:
    for column in ("time", "timestamp"):
        if column in rows and rows[column].notna().all():
            return pd.to_numeric(rows[column], errors="coerce").to_numpy(np.float64)
    if len(rows) == 1:
        return np.zeros(1)
    if rate is None and "frame" in rows and "input" in rows and Path(str(rows["input"].iloc[0])).is_file():
        return _video_times(str(rows["input"].iloc[0]), rows["frame"].to_numpy(np.intp) - openface, of)
    if rate is None:
        raise InputError(
            f"{of} has no seconds (columns time, as fgnet detect writes it, or timestamp, as OpenFace), and its video is not"
            " where the table says: give the frames per second with --rate, in Python with rate="
        )
    if not rate > 0:
        raise InputError(f"rate must be positive, got {rate:g}")
    numbers: Floats = rows["frame"].to_numpy(np.float64) - openface if "frame" in rows else np.arange(len(rows), dtype=float)
    return numbers / rate


def _video_times(path: str, frames: Integers, of: str) -> Floats:
    with Video(path) as video:
        if frames.max(initial=0) >= len(video):
            raise InputError(f"{of}: the table has frame {frames.max()}, but {path} has {counted(len(video), 'frame')}")
        return np.array([video.time(int(frame)) for frame in frames])
