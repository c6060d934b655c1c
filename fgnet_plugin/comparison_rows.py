"""Tables of AUs as several tools write them: read into one form, and their rows matched face by face."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment

from fgnet_plugin.action_units import NAMES
from fgnet_plugin.errors import InputError
from fgnet_plugin.pictures import SUFFIXES

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

OPENFACE_TOP = 5.0  # OpenFace's intensities go from 0 to 5
OPENFACE_THRESHOLD = 1 / OPENFACE_TOP
_COLUMN = re.compile(r"au_?0*(\d+)(_[rc])?", re.IGNORECASE)
_UNCODED = -1, 9  # 9 is FACS's "unscorable"; several data sets write -1
_TABLE = re.compile(r"\.csv$", re.IGNORECASE)
_SAME_FACE = 0.3  # IoU; detectors differ in whether a box holds the forehead


@dataclass(frozen=True, eq=False)
class AUTable:
    """n rows (faces) of one model, or of the labels."""

    name: str
    values: pd.DataFrame
    """[n, AUs] float64 in [0, 1] (or as `thresholds` allowed), NaN where unknown; columns ``AU01`` …"""
    present: pd.DataFrame
    """The same shape: 1.0 where the AU counts as present, 0.0 where not, NaN where unknown."""
    inputs: npt.NDArray[np.object_] | None
    """[n] file names, or None where the column ``input`` is missing or names but the table's own CSV file."""
    frames: Floats | None
    """[n] from 0, or None without the column ``frame``."""
    boxes: Floats
    """[n, 4] x1, y1, x2, y2 in pixels; NaN where unknown."""
    source: pd.DataFrame
    """The table as it came."""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class JointRows:
    """The R faces that at least one of several tables has."""

    index: pd.MultiIndex
    """[R] levels ``input`` (as the first table that has the face writes it; empty without) and ``frame``."""
    inputs: npt.NDArray[np.object_] | None
    """[R] names of the files, the same for one file whatever its folder; None where tables have no ``input``."""
    positions: list[Integers]
    """Of each table, in which of the R rows its rows are: [n]."""

    def spread(self, values: pd.DataFrame, table: int) -> pd.DataFrame:
        """Values [n, …] of a table -> [R, …], NaN in the rows that it lacks."""
        spread = np.full((len(self.index), values.shape[1]), np.nan)
        spread[self.positions[table]] = values.to_numpy()
        return pd.DataFrame(spread, index=self.index, columns=values.columns)


def read_model(name: str, fex: pd.DataFrame, threshold: float, own_threshold: float | None = None) -> AUTable:
    """A model's table in one form; see `comparison.compare` for what it may be.

    Args:
        name: the model's, for messages.
        fex: its table.
        threshold: from which a value counts as present; OpenFace has its own.
        own_threshold: one that was asked for by the model's name, which goes before everything else.

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
    values = pd.concat([plain, intensity / OPENFACE_TOP, only_presence], axis=1).sort_index(axis=1, key=_aus_by_number)
    if openface and "success" in source:  # OpenFace writes zeros where it found no face
        values[_numbers(source["success"], name) == 0] = np.nan
    values = values.dropna(axis=1, how="all")
    if values.empty:
        raise InputError(f"{name!r} has no values of AUs; wanted are columns such as AU01 (or OpenFace's AU01_r, AU01_c)")
    low, high = float(values.min(axis=None)), float(values.max(axis=None))
    if own_threshold is None and not (low >= 0 and high <= 1):
        raise InputError(
            f"{name!r} has AUs from {low:.3g} to {high:.3g}, but [0, 1] is wanted: scale them, or give the value from which"
            f" an AU counts as present, on the model's own scale, as thresholds={{{name!r}: …}}"
        )
    limits = pd.Series(OPENFACE_THRESHOLD, index=values.columns)
    limits[values.columns.intersection(plain.columns)] = threshold
    if own_threshold is not None:
        limits[:] = own_threshold
    present = values.ge(limits, axis="columns").astype(float)
    if own_threshold is None:
        coded = presence[presence.columns.intersection(values.columns)]
        present[coded.columns] = coded.where(coded.notna(), present[coded.columns])
    return _table(name, source, values, present.where(values.notna()), openface)


def read_labels(labels: pd.DataFrame) -> AUTable:
    """Labels in one form; see `comparison.compare` for what they may be.

    Raises:
        InputError: no AU, an AU in two columns, or values other than 0, 1 and those that mean "not coded".
    """
    source = _plain(labels)
    values = _au_columns(source, "labels").get("", pd.DataFrame())
    if values.empty:
        raise InputError("labels have no AUs; wanted are columns such as AU01, AU1 or au1 that hold 0 and 1")
    values = values.mask(values.isin(_UNCODED)).sort_index(axis=1, key=_aus_by_number)
    for au, of_au in values.items():
        odd = of_au[of_au.notna() & ~of_au.isin((0, 1))]
        if odd.max() > 1:
            raise InputError(
                f"labels of {au} hold {odd.max():g}: intensities, it seems. Say first from which one on an AU counts as"
                " present, for instance (labels[aus] >= 2).astype(float).where(labels[aus].isin(range(6)))"
            )
        if len(odd):
            raise InputError(f"labels of {au} hold {odd.iloc[0]:g}; wanted are 0 and 1, or NaN, -1 or 9 where not coded")
    values = values.dropna(axis=1, how="all")
    if values.empty:
        raise InputError("labels have AUs, but no row is coded: all are NaN, -1 or 9")
    return _table("labels", source, values, values)


def join(tables: Sequence[AUTable]) -> JointRows:
    """Matches the rows of tables, each with those of all before it; `comparison.compare` says how.

    Raises:
        InputError: tables that cannot be matched, or of which one has no row in common with those before it.
    """
    inputs, frames = _files(tables), _frames(tables)
    width = [len(table) for table in tables]
    keys = pd.MultiIndex.from_arrays([np.concatenate(inputs), np.concatenate(frames)], names=["input", "frame"])
    codes = np.split(keys.factorize()[0], np.cumsum(width)[:-1])
    for table, code in zip(tables, codes, strict=True):
        again = pd.Series(code).duplicated().to_numpy()
        if again.any() and np.isnan(table.boxes).any(axis=1).all():
            raise InputError(
                f"{_called(table)} has several rows for {_example(table, int(again.argmax()))} and nothing to tell their faces"
                " apart by: wanted are a column frame, and FaceRectX, FaceRectY, FaceRectWidth, FaceRectHeight"
            )
    joint_codes, joint_boxes = codes[0], tables[0].boxes.copy()
    positions, originals, shortened = [np.arange(width[0])], [_original(tables[0])], [inputs[0]]
    for i in range(1, len(tables)):
        here, there = match(joint_codes, joint_boxes, codes[i], tables[i].boxes)
        if not len(here):
            raise InputError(_nothing_matches(tables[:i], tables[i], np.intersect1d(joint_codes, codes[i]).size))
        position = np.full(width[i], -1)
        position[there] = here
        new = position < 0
        position[new] = len(joint_codes) + np.arange(new.sum())
        joint_boxes = np.concatenate([joint_boxes, tables[i].boxes[new]])
        unknown = np.isnan(joint_boxes[position]).any(axis=1)
        joint_boxes[position[unknown]] = tables[i].boxes[unknown]
        joint_codes = np.concatenate([joint_codes, codes[i][new]])
        positions.append(position)
        originals.append(_original(tables[i])[new])
        shortened.append(inputs[i][new])
    first = pd.Series(np.concatenate(frames)).groupby(np.concatenate(codes)).first()
    index = pd.MultiIndex.from_arrays([np.concatenate(originals), first.to_numpy()[joint_codes]], names=["input", "frame"])
    return JointRows(index, np.concatenate(shortened) if tables[0].inputs is not None else None, positions)


def match(codes: Integers, boxes: Floats, other_codes: Integers, other_boxes: Floats) -> tuple[Integers, Integers]:
    """Which rows of two tables are the same face.

    Args:
        codes, other_codes: [n], [m] the same number for the same frame of the same file, from 0.
        boxes, other_boxes: [n, 4], [m, 4] x1, y1, x2, y2; NaN where unknown.

    Returns:
        Rows of the one [k] and of the other [k], paired. A frame with one row in both is a pair; among several, the pairing
        with the most overlap is, without pairs of an IoU below 0.3.
    """
    if np.array_equal(codes, other_codes) and np.array_equal(boxes, other_boxes, equal_nan=True):
        return np.arange(len(codes)), np.arange(len(codes))
    size = 1 + max(codes.max(initial=-1), other_codes.max(initial=-1))
    order, other_order = codes.argsort(kind="stable"), other_codes.argsort(kind="stable")
    count, other_count = np.bincount(codes, minlength=size), np.bincount(other_codes, minlength=size)
    start, other_start = count.cumsum() - count, other_count.cumsum() - other_count
    single = np.flatnonzero((count == 1) & (other_count == 1))
    here, there = [order[start[single]]], [other_order[other_start[single]]]
    for code in np.flatnonzero((count > 0) & (other_count > 0) & (count + other_count > 2)):
        rows = order[start[code] : start[code] + count[code]]
        other_rows = other_order[other_start[code] : other_start[code] + other_count[code]]
        overlap = box_iou(boxes[rows], other_boxes[other_rows])
        overlap[overlap < _SAME_FACE] = 0  # before the pairing: many poor overlaps must not outweigh a good one
        i, j = linear_sum_assignment(overlap, maximize=True)
        kept = overlap[i, j] > 0
        here.append(rows[i[kept]])
        there.append(other_rows[j[kept]])
    return np.concatenate(here), np.concatenate(there)


def box_iou(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of boxes [n, 4] and [m, 4] (x1, y1, x2, y2) -> [n, m] in [0, 1]; 0 where one is NaN."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    both = np.maximum(high - low, 0).prod(-1)
    area, other_area = ((box[:, 2:] - box[:, :2]).prod(-1) for box in (boxes, others))
    union = area[:, None] + other_area - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


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


def by_number(aus: set[str]) -> list[str]:
    """Names of AUs in the order of their numbers."""
    return sorted(aus, key=lambda au: int(au[2:]))


def facs_name(au: str) -> str:
    """The FACS name of ``"AU12"``; empty for one that `NAMES` lacks, such as OpenFace's AU45 (blink)."""
    return NAMES.get(int(au[2:]), "")


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Without py-feat's subclass and without the blanks in the column names of OpenFace's files."""
    return pd.DataFrame(table).rename(columns=lambda column: str(column).strip()).reset_index(drop=True)


def _au_columns(table: pd.DataFrame, of: str) -> dict[str, pd.DataFrame]:
    """Kind of column ("", "_r" or "_c") -> AUs [n, …] as float64, infinite ones as NaN."""
    found: dict[str, dict[str, pd.Series]] = {}
    for i, column in enumerate(table.columns):
        parts = _COLUMN.fullmatch(column)
        if parts is None:
            continue
        of_kind, au = found.setdefault((parts[2] or "").lower(), {}), f"AU{int(parts[1]):02d}"
        if au in of_kind:
            raise InputError(f"{of}: more than one column holds {au}; keep one of them")
        of_kind[au] = _numbers(table.iloc[:, i], of)
    return {kind: pd.DataFrame(columns).replace([np.inf, -np.inf], np.nan) for kind, columns in found.items()}


def _numbers(column: pd.Series, of: str) -> pd.Series:
    try:
        return pd.to_numeric(column).astype("float64")
    except (ValueError, TypeError) as error:
        raise InputError(f"{of}: the column {column.name} holds something other than numbers: {error}") from error


def _aus_by_number(aus: pd.Index) -> pd.Index:
    return aus.map(lambda au: int(au[2:]))


def _table(name: str, source: pd.DataFrame, values: pd.DataFrame, present: pd.DataFrame, openface: bool = False) -> AUTable:
    inputs = source["input"].astype(str).to_numpy(dtype=object) if "input" in source else None
    if inputs is not None and len(set(inputs)) == 1 and _TABLE.search(inputs[0]):
        inputs = None  # py-feat's reader of OpenFace tables names the table there, not the video
    return AUTable(name, values, present, inputs, frame_numbers(source, repr(name), openface), _boxes(source, name), source)


def _boxes(source: pd.DataFrame, name: str) -> Floats:
    """[n, 4] x1, y1, x2, y2: of the detector, else around the 68 landmarks."""
    rectangle = [f"FaceRect{part}" for part in ("X", "Y", "Width", "Height")]
    if set(rectangle) <= set(source):
        x, y, width, height = (_numbers(source[column], repr(name)).to_numpy() for column in rectangle)
        return np.stack([x, y, x + width, y + height], axis=1)
    if {"x_0", "x_67", "y_0", "y_67"} <= set(source):
        across, down = (source[[f"{axis}_{i}" for i in range(68)]].to_numpy(dtype=float) for axis in "xy")
        return np.stack([across.min(1), down.min(1), across.max(1), down.max(1)], axis=1)
    return np.full((len(source), 4), np.nan)


def _files(tables: Sequence[AUTable]) -> list[npt.NDArray[np.object_]]:
    """Of each table the names of its files, [n], alike in all tables; empty names where none has the column ``input``."""
    named = [table for table in tables if table.inputs is not None]
    unnamed = [table for table in tables if table.inputs is None]
    if unnamed:
        several = [table for table in named if len(set(table.inputs)) > 1]  # type: ignore[arg-type]
        if several:
            raise InputError(
                f"{_called(unnamed[0])} has no column input, but {_called(several[0])} holds several files: frames alone do"
                " not say which rows belong together"
            )
        return [np.full(len(table), "", dtype=object) for table in tables]
    of_tables = [table.inputs for table in tables if table.inputs is not None]
    files = [set(inputs) for inputs in of_tables]
    if all(files[0] & other for other in files[1:]):
        return of_tables
    parts = {file: [part for part in re.split(r"[\\/]+", file) if part] for of_table in files for file in of_table}
    for depth in range(1, 1 + max(map(len, parts.values()), default=0)):
        short = {file: "/".join(of_file[-depth:]) for file, of_file in parts.items()}
        if all(len({short[file] for file in of_table}) == len(of_table) for of_table in files):
            return [np.array([short[file] for file in inputs], dtype=object) for inputs in of_tables]
    return of_tables


def _frames(tables: Sequence[AUTable]) -> list[Floats]:
    """Of each table the frame of each row, [n]; a picture has only one, whatever its number."""
    lacking = [table.inputs is None and table.frames is None for table in tables]
    if all(lacking):
        if len({len(table) for table in tables}) > 1:
            sizes = ", ".join(f"{_called(table)} {len(table)}" for table in tables)
            raise InputError(f"without the columns input and frame, tables need the same number of rows; they have: {sizes}")
        return [np.arange(len(table), dtype=float) for table in tables]
    if any(lacking):
        raise InputError(f"{_called(tables[lacking.index(True)])} has neither a column input nor frame, which others have")
    frames = []
    for table in tables:
        of_table = np.zeros(len(table)) if table.frames is None else table.frames
        if table.inputs is not None:
            of_table = np.where(_are_pictures(table.inputs), 0.0, of_table)
        frames.append(of_table)
    return frames


def _are_pictures(files: Iterable[str]) -> npt.NDArray[np.bool_]:
    return np.array([Path(file).suffix.lower() in SUFFIXES for file in files], dtype=bool)


def _original(table: AUTable) -> npt.NDArray[np.object_]:
    return np.full(len(table), "", dtype=object) if table.inputs is None else table.inputs


def _called(table: AUTable) -> str:
    return "the table of labels" if table.name == "labels" else repr(table.name)


def _example(table: AUTable, row: int) -> str:
    file = [] if table.inputs is None else [f"input {table.inputs[row]}"]
    return ", ".join(file + ([] if table.frames is None else [f"frame {table.frames[row]:g}"])) or f"row {row}"


def _nothing_matches(before: Sequence[AUTable], table: AUTable, same_frames: int) -> str:
    others = ", ".join(_called(other) for other in before)
    if same_frames:
        return (
            f"{_called(table)} and {others} have {same_frames} frames in common, but no face in the same place: their boxes"
            f" overlap by less than {_SAME_FACE} (IoU), or there are none and a frame has several faces"
        )
    examples = [
        f"{_called(of)} has {len(of)} rows" + (f" from {_example(of, 0)}" if len(of) else "") for of in (table, *before)
    ]
    return f"no row of {_called(table)} is of the same input and frame as one of {others}: " + "; ".join(examples)
