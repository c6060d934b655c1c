"""Match the rows of several tables that are the same face of the same frame of the same file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment

from fgnet_plugin.comparison.openface import are_images
from fgnet_plugin.comparison.tables import AUTable
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.text import counted

_SAME_FACE = 0.3  # IoU; detectors differ in whether a box holds the forehead


@dataclass(frozen=True, eq=False)
class JointRows:
    """The R faces that at least one of several tables has a row for."""

    index: pd.MultiIndex
    """[R] levels ``input`` (as the first table that has the face writes it; empty without) and ``frame``."""
    inputs: npt.NDArray[np.object_] | None
    """[R] file names, equal for the same file in different folders; None where tables have no ``input``."""
    positions: list[Integers]
    """For each table, the positions of its n rows among the R: [n]."""

    def spread(self, values: pd.DataFrame, table: int) -> pd.DataFrame:
        """Spread values [n, …] of a table to all R rows, [R, …], with NaN in the rows that it lacks."""
        spread = np.full((len(self.index), values.shape[1]), np.nan)
        spread[self.positions[table]] = values.to_numpy()
        return pd.DataFrame(spread, index=self.index, columns=values.columns)


def join(tables: Sequence[AUTable]) -> JointRows:
    """Match the rows of each table with those of all tables before it, by the rules of `comparison.compare`.

    Raises:
        InputError: tables that cannot be matched, or of which one has no row in common with those before it.
    """
    inputs, frames = _files(tables), _frames(tables)
    width = [len(table) for table in tables]
    keys = pd.MultiIndex.from_arrays([np.concatenate(inputs), np.concatenate(frames)], names=["input", "frame"])
    codes = np.split(keys.factorize()[0], np.cumsum(width)[:-1])
    for table, code in zip(tables, codes, strict=True):
        repeated = pd.Series(code).duplicated().to_numpy()
        if repeated.any() and np.isnan(table.boxes).any(axis=1).all():
            example = _example(table, int(repeated.argmax()))
            raise InputError(
                f"{_name(table)} has several rows for {example} and nothing to distinguish their faces by: add a column frame,"
                " and FaceRectX, FaceRectY, FaceRectWidth, FaceRectHeight"
            )
    joint_codes, joint_boxes = codes[0], tables[0].boxes.copy()
    positions, originals, shortened = [np.arange(width[0])], [_original(tables[0])], [inputs[0]]
    for i in range(1, len(tables)):
        joint_rows, table_rows = match(joint_codes, joint_boxes, codes[i], tables[i].boxes)
        if not len(joint_rows):
            raise InputError(_nothing_matches(tables[:i], tables[i], np.intersect1d(joint_codes, codes[i]).size))
        position = np.full(width[i], -1)
        position[table_rows] = joint_rows
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
    """Pair the rows of two tables that are the same face.

    Args:
        codes, other_codes: [n], [m] the same number for the same frame of the same file, from 0.
        boxes, other_boxes: [n, 4], [m, 4] x1, y1, x2, y2; NaN where unknown.

    Returns:
        Rows of the first table [k] and of the second [k], paired. A frame with one row in both is a pair; among several rows,
        the pairing with the most overlap is chosen, and pairs of an IoU below 0.3 are left out.
    """
    if np.array_equal(codes, other_codes) and np.array_equal(boxes, other_boxes, equal_nan=True):
        return np.arange(len(codes)), np.arange(len(codes))
    size = 1 + max(codes.max(initial=-1), other_codes.max(initial=-1))
    order, other_order = codes.argsort(kind="stable"), other_codes.argsort(kind="stable")
    count, other_count = np.bincount(codes, minlength=size), np.bincount(other_codes, minlength=size)
    start, other_start = count.cumsum() - count, other_count.cumsum() - other_count
    single = np.flatnonzero((count == 1) & (other_count == 1))
    paired, other_paired = [order[start[single]]], [other_order[other_start[single]]]
    for code in np.flatnonzero((count > 0) & (other_count > 0) & (count + other_count > 2)):
        rows = order[start[code] : start[code] + count[code]]
        other_rows = other_order[other_start[code] : other_start[code] + other_count[code]]
        overlap = box_iou(boxes[rows], other_boxes[other_rows])
        overlap[overlap < _SAME_FACE] = 0  # before the pairing: many poor overlaps must not outweigh a good one
        i, j = linear_sum_assignment(overlap, maximize=True)
        kept = overlap[i, j] > 0
        paired.append(rows[i[kept]])
        other_paired.append(other_rows[j[kept]])
    return np.concatenate(paired), np.concatenate(other_paired)


def box_iou(boxes: Floats, others: Floats) -> Floats:
    """Compute the intersection over union of boxes [n, 4] and [m, 4] (x1, y1, x2, y2): [n, m] in [0, 1]; 0 where one is NaN."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    both = np.maximum(high - low, 0).prod(-1)
    area, other_area = ((box[:, 2:] - box[:, :2]).prod(-1) for box in (boxes, others))
    union = area[:, None] + other_area - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def _files(tables: Sequence[AUTable]) -> list[npt.NDArray[np.object_]]:
    """For each table, the file name of each row, [n], written alike in all tables; empty without the column ``input``."""
    named = [table for table in tables if table.inputs is not None]
    unnamed = [table for table in tables if table.inputs is None]
    if unnamed:
        several = [table for table in named if len(set(table.inputs)) > 1]  # type: ignore[arg-type]
        if several:
            raise InputError(
                f"{_name(unnamed[0])} has no column input, but {_name(several[0])} holds several files: frames alone do"
                " not say which rows belong together"
            )
        return [np.full(len(table), "", dtype=object) for table in tables]
    all_inputs = [table.inputs for table in tables if table.inputs is not None]
    files = [set(inputs) for inputs in all_inputs]
    if all(files[0] & other for other in files[1:]):
        return all_inputs
    parts = {file: [part for part in re.split(r"[\\/]+", file) if part] for names in files for file in names}
    for depth in range(1, 1 + max(map(len, parts.values()), default=0)):
        short = {file: "/".join(path[-depth:]) for file, path in parts.items()}
        if all(len({short[file] for file in names}) == len(names) for names in files):
            return [np.array([short[file] for file in inputs], dtype=object) for inputs in all_inputs]
    return all_inputs


def _frames(tables: Sequence[AUTable]) -> list[Floats]:
    """For each table, the frame of each row, [n]; 0 for images, whatever number they have."""
    lacking = [table.inputs is None and table.frames is None for table in tables]
    if all(lacking):
        if len({len(table) for table in tables}) > 1:
            sizes = ", ".join(f"{_name(table)} {len(table)}" for table in tables)
            raise InputError(f"without the columns input and frame, tables need the same number of rows; they have: {sizes}")
        return [np.arange(len(table), dtype=float) for table in tables]
    if any(lacking):
        raise InputError(f"{_name(tables[lacking.index(True)])} has neither a column input nor frame, which others have")
    frames = []
    for table in tables:
        numbers = np.zeros(len(table)) if table.frames is None else table.frames
        if table.inputs is not None:
            numbers = np.where(are_images(table.inputs), 0.0, numbers)
        frames.append(numbers)
    return frames


def _original(table: AUTable) -> npt.NDArray[np.object_]:
    return np.full(len(table), "", dtype=object) if table.inputs is None else table.inputs


def _name(table: AUTable) -> str:
    return "the table of labels" if table.name == "labels" else repr(table.name)


def _example(table: AUTable, row: int) -> str:
    file = [] if table.inputs is None else [f"input {table.inputs[row]}"]
    return ", ".join(file + ([] if table.frames is None else [f"frame {table.frames[row]:g}"])) or f"row {row}"


def _nothing_matches(before: Sequence[AUTable], table: AUTable, same_frames: int) -> str:
    others = ", ".join(_name(other) for other in before)
    if same_frames:
        return (
            f"{_name(table)} and {others} have {counted(same_frames, 'frame')} in common, but no face in the same place: their"
            f" boxes overlap by less than {_SAME_FACE} (IoU), or there are none and a frame has several faces"
        )
    examples = [
        f"{_name(of)} has {counted(len(of), 'row')}" + (f" from {_example(of, 0)}" if len(of) else "")
        for of in (table, *before)
    ]
    return f"no row of {_name(table)} is of the same input and frame as one of {others}: " + "; ".join(examples)
