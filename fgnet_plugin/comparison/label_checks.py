"""Say what in a table of labels is not used or looks wrong: few people, unmatched rows, unused columns, shifted frames."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fgnet_plugin.action_units import by_number
from fgnet_plugin.comparison.matching import JointRows
from fgnet_plugin.comparison.openface import AU_COLUMN
from fgnet_plugin.comparison.tables import AUTable
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.text import counted, plural

_FEW = 5  # people or files below which intervals say little of others
_LEAST_ROWS = 30  # labelled rows below which a shift is not looked for
_CLEARLY = 0.02  # gain of the mean correlation by a shift
_USED = "input", "frame", "FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"
_LANDMARK = {f"{axis}_{i}" for axis in "xy" for i in range(68)}


def warn_of_few(units: Integers, resampled: str, rows: JointRows, used: Integers) -> None:
    """Warn where the labelled rows come from few people or files, so that intervals do not tell of others.

    Args:
        units: [n] number of the unit of each labelled row.
        resampled: what the units are, as in `comparison.Comparison`.
        rows: all rows.
        used: [n] which of them are labelled.
    """
    files = None if rows.inputs is None else len(set(rows.inputs[used]))
    if resampled == "rows":
        if files is not None and 0 < files < _FEW and len(used) > files:
            where = counted(files, "file")
            warnings.warn(
                f"the {len(used)} labelled rows come from {where} only: frames of a file are alike, and the intervals, made of"
                " single rows, are too narrow for other people; name the column with the people as cluster",
                stacklevel=3,
            )
    elif len(used) and (count := len(np.unique(units))) < _FEW:
        value = "value" if count == 1 else "different values"
        warnings.warn(
            f"the column {resampled!r} holds {count} {value} in the {len(used)} labelled rows: intervals from so few say little"
            " of others",
            stacklevel=3,
        )


def warn_of_labels(
    models: Sequence[AUTable],
    truth: AUTable,
    rows: JointRows,
    aligned: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    cluster: str | None,
) -> None:
    """Warn of columns and rows of the labels that are not used, and of labels that fit better one frame earlier or later.

    Args:
        models, truth: the tables; `rows` has the models' positions first and the labels' last.
        rows: all R rows.
        aligned: [R, AUs] labels.
        predictions: model -> [R, AUs].
        cluster: the column that `compare` was told.
    """
    columns = [str(column) for column in truth.source if str(column) not in (*_USED, cluster) and column not in _LANDMARK]
    if unused := [column for column in columns if not AU_COLUMN.fullmatch(column)]:
        warnings.warn(f"columns of the labels that are not used: {', '.join(unused[:8])}", stacklevel=3)
    known = {str(au) for model in models for au in model.values}
    if unknown := [au for au in by_number(set(map(str, truth.values))) if au not in known]:
        warnings.warn(f"labels of {', '.join(unknown)} are not used: no model has these AUs", stacklevel=3)
    detected = np.zeros(len(rows.index), dtype=bool)
    for positions in rows.positions[: len(models)]:
        detected[positions] = True
    alone = np.flatnonzero(~detected[rows.positions[-1]])
    if len(alone):
        name, frame = rows.index[rows.positions[-1][alone[0]]]
        warnings.warn(
            f"{len(alone)} of {len(truth)} rows of the labels {plural(len(alone), 'matches', 'match')} no row of a model, such"
            f" as input {name}, frame {frame:g}",
            stacklevel=3,
        )
    _warn_of_shift(rows, aligned, predictions)


def _warn_of_shift(rows: JointRows, aligned: pd.DataFrame, predictions: Mapping[str, pd.DataFrame]) -> None:
    frames = rows.index.get_level_values("frame").to_numpy(np.float64)
    files = pd.factorize(rows.inputs if rows.inputs is not None else np.zeros(len(frames)))[0]
    single = ~pd.MultiIndex.from_arrays([files, frames]).duplicated(keep=False)  # among several faces, who is who is not known
    keys = pd.MultiIndex.from_arrays([files[single], frames[single]])
    labels = aligned[single].set_axis(keys)
    fits = []
    for table in predictions.values():
        scores = table[single].set_axis(keys)
        around = {
            shift: scores.reindex(pd.MultiIndex.from_arrays([files[single], frames[single] + shift])) for shift in (-1, 0, 1)
        }
        fit = [_mean_correlation(labels, around, shift) for shift in (-1, 0, 1)]
        if np.isfinite(fit).all():
            fits.append(fit)
    if not fits:
        return
    for i, shift in ((0, "earlier"), (2, "later")):
        if all(fit[i] > fit[1] + _CLEARLY for fit in fits):
            now, better = (float(np.mean([fit[j] for fit in fits])) for j in (1, i))
            warnings.warn(
                f"the labels fit the scores better one frame {shift} (mean correlation {better:.2f} rather than {now:.2f}):"
                " frames are counted from 0 here; do the labels count from 1, or were they coded from another copy?",
                stacklevel=4,
            )


def _mean_correlation(labels: pd.DataFrame, around: Mapping[int, pd.DataFrame], shift: int) -> float:
    """Correlate labels with the scores `shift` frames later, in rows that have scores at all shifts: the mean over AUs."""
    found = []
    for au in labels.columns.intersection(around[0].columns):
        truth = labels[au].to_numpy()
        scores: dict[int, Floats] = {key: table[au].to_numpy() for key, table in around.items()}
        known = np.isfinite(truth) & np.logical_and.reduce([np.isfinite(values) for values in scores.values()])
        if known.sum() >= _LEAST_ROWS and np.ptp(truth[known]) and np.ptp(scores[shift][known]):
            found.append(float(np.corrcoef(truth[known], scores[shift][known])[0, 1]))
    return float(np.mean(found)) if found else math.nan
