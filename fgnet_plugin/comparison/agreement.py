"""Compare AU models with each other and with human labels of the same faces.

The models' tables come from py-feat (a Fex), from this package or from OpenFace; none of these is imported.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import pearsonr
from sklearn.metrics import cohen_kappa_score

from fgnet_plugin.action_units import by_number, facs_name
from fgnet_plugin.comparison.accuracy import accuracy_table, labelled_scores, mean
from fgnet_plugin.comparison.label_checks import warn_of_few, warn_of_labels
from fgnet_plugin.comparison.matching import JointRows, join
from fgnet_plugin.comparison.tables import AUTable, read_labels, read_model
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW_CLUSTERS = 5  # with fewer files, resampling them says little


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of `compare`. Rows are faces; an AU is known in a row where it has a value that is not NaN.

    Example:
        >>> comparison = compare({"xgb": old_fex, "fgnet": fex}, labels)  # doctest: +SKIP
        >>> comparison.accuracy[["AU", "model", "f1", "f1_low", "f1_high"]]  # doctest: +SKIP
        >>> comparison.plot().savefig("comparison.png", dpi=150)  # doctest: +SKIP
    """

    agreement: pd.DataFrame
    """One row for each AU and pair of models that both know it, over the n rows where both do.

    Columns: ``AU``, ``name`` (FACS), ``model_a``, ``model_b``, ``n``, ``pearson_r``, ``icc`` (ICC(A,1), see
    `intraclass_correlation`), ``kappa`` (Cohen's, of present or not), ``prevalence_a``, ``prevalence_b`` (share of rows where
    the AU counts as present), ``mean_a``, ``mean_b``. NaN where undefined, such as the correlation of a constant.
    """
    accuracy: pd.DataFrame | None
    """With labels: one row for each AU and model, then one with AU ``"mean"`` for each model; else None.

    Columns: ``AU``, ``name``, ``model``, ``n``, ``prevalence`` (share of the labels that are 1), ``f1``, ``f1_low``,
    ``f1_high``, ``auc``, ``auc_low``, ``auc_high``. For each AU, all models are scored on the same n rows: those that have a
    label and that every model knows (a model that knows no labelled row of the AU has n = 0 and excludes no rows). F1 is NaN
    without a row with the AU, AUC without rows of both kinds. ``"mean"`` is over the AUs that all models know, so that models
    that know more AUs compare fairly; its n counts the rows with at least one of them.
    """
    predictions: dict[str, pd.DataFrame]
    """Model -> its AUs, [R, AUs]: the same R rows for each model, NaN where it lacks one; index (input, frame)."""
    decisions: dict[str, pd.DataFrame]
    """Model -> a table of the same shape: 1.0 where the AU counts as present, 0.0 where not, NaN where unknown."""
    labels: pd.DataFrame | None
    """The labels of the same R rows: 1.0, 0.0, or NaN where not coded."""
    resampled: str | None
    """Units of the bootstrap: ``"rows"``, or the column whose values were drawn, such as ``"input"``; None without labels."""

    def plot(self) -> Figure:
        """Plot the agreement of each pair and the prevalence by AU; with labels, below, F1 and AUC with their intervals.

        Needs matplotlib. The figure belongs to no window: save it with ``.savefig("comparison.png", dpi=150)``; notebooks show
        it by themselves. Meant for 2 to 5 models and up to 20 AUs.
        """
        from fgnet_plugin.comparison.plot import draw

        return draw(self.agreement, self.accuracy, self.decisions, self.labels)


def compare(
    fexes: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame | None = None,
    *,
    threshold: float = 0.5,
    thresholds: Mapping[str, float] | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    cluster: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Measure the agreement of models on the same faces and, with labels, the accuracy of each.

    Frames of one video are not independent, and intervals from resampled rows are then too narrow, often several times. Give as
    `cluster` the column whose values are independent: best, the people filmed.

    Rows of two tables are matched by ``input`` (file) and ``frame``. In a frame with one face in both tables, that suffices;
    among several faces, the boxes that overlap most are the same face, if their IoU is at least 0.3 (``FaceRectX``,
    ``FaceRectY``, ``FaceRectWidth``, ``FaceRectHeight``, or else the boxes around the landmarks ``x_0`` … ``y_67``; both tables
    in pixels of the same image size). Where a table has none of the first table's paths, files are matched by their names, with
    as many parent folders as make them unique. Images (.jpg, .png …) match whatever their frame. Without ``input``, rows are
    matched by frame alone; without ``frame``, too, in order. An ``input`` that names one table (.csv), as py-feat's
    ``read_openface`` sets it, is ignored.

    Args:
        fexes: model's name -> its table, such as a Fex: AUs as ``AU01`` … in [0, 1], NaN where unknown. Tables of OpenFace are
            read as they are: intensities ``AU01_r`` are divided by 5; an AU counts as present by ``AU01_c``, or without that
            column from intensity 1 (0.2 after the division); rows without ``success`` are unknown; frames, which OpenFace
            counts from 1, are counted from 0 (for several videos, add ``input`` yourself). At least two models, or one and
            labels.
        labels: FACS codes, ``AU01``, ``AU1`` or ``au1``: 1, 0, or NaN, -1 or 9 where not coded. Matched as above (boxes are
            needed in frames with several faces), or, without ``input`` and ``frame``, in order: then all tables need the same
            rows.
        threshold: value from which an AU counts as present.
        thresholds: model's name -> threshold for this model, in [0, 1], which replaces `threshold` and OpenFace's own rules.
        bootstrap: number of resamples for the intervals; 0 for none.
        confidence: of the intervals, which are bias-corrected and accelerated (`bootstrap.bca_interval`). Resamples in which a
            score is undefined do not count; where they are more than half, or there is only one unit to draw, the interval is
            NaN.
        cluster: column, of the labels or of a model's table, whose values are drawn with all their rows. By default
            ``"input"`` if the labelled rows come from at least 5 files, otherwise single rows.
        seed: of the random draws.

    Returns:
        The comparison; `Comparison.plot` draws it.

    Warns:
        UserWarning: labels of few people or files, rows and columns of the labels that are not used, and labels that would fit
            better one frame earlier or later.

    Raises:
        InputError: tables that cannot be read or matched, models without an AU in common, labels that are not 0 and 1; the
            message names the table and the remedy.
        ValueError: `bootstrap` or `confidence` out of range.

    Example:
        >>> frames = pd.DataFrame({"input": "a.mp4", "frame": range(4)})
        >>> one, other = frames.assign(AU12=[0.1, 0.2, 0.8, 0.9]), frames.assign(AU12=[0.2, 0.6, 0.7, 0.9])
        >>> comparison = compare({"one": one, "other": other}, frames.assign(AU12=[0, 0, 1, 1]))
        >>> comparison.agreement[["AU", "n", "kappa"]].to_dict("records")
        [{'AU': 'AU12', 'n': 4, 'kappa': 0.5}]
        >>> comparison.accuracy.query("AU == 'AU12'")[["model", "f1", "auc"]].to_dict("records")
        [{'model': 'one', 'f1': 1.0, 'auc': 1.0}, {'model': 'other', 'f1': 0.8, 'auc': 1.0}]
    """
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be 0 or more, got {bootstrap}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if len(fexes) < 2 - (labels is not None):
        raise InputError(f"at least two models are needed (or one and labels), got {', '.join(map(repr, fexes)) or 'none'}")
    model_thresholds = dict(thresholds or {})
    if unknown := sorted(set(model_thresholds) - set(fexes)):
        raise InputError(f"thresholds name {unknown[0]!r}, which is not a model; models are {', '.join(map(repr, fexes))}")
    models = [read_model(name, fex, threshold, model_thresholds.get(name)) for name, fex in fexes.items()]
    truth = None if labels is None else read_labels(labels)
    _require_shared_aus(models, truth)
    in_order = truth is not None and truth.inputs is None and truth.frames is None
    rows = join(models if truth is None or in_order else [*models, truth])
    if truth is not None and in_order:
        rows = _with_labels_in_order(rows, models, truth)
    predictions = {model.name: rows.spread(model.values, i) for i, model in enumerate(models)}
    decisions = {model.name: rows.spread(model.present, i) for i, model in enumerate(models)}
    agreement = _agreement(predictions, decisions)
    if truth is None:
        return Comparison(agreement, None, predictions, decisions, None, None)
    aligned = rows.spread(truth.values, len(models))
    scores = labelled_scores(predictions, decisions, aligned)
    used = np.unique(np.concatenate([entry.rows for entry in scores]))
    units, resampled = _units(cluster, rows, [*models, truth], used)
    if bootstrap:
        warn_of_few(units[used], resampled, rows, used)
    warn_of_labels(models, truth, rows, aligned, predictions, cluster)
    accuracy = accuracy_table(scores, list(predictions), units, bootstrap, confidence, seed)
    return Comparison(agreement, accuracy, predictions, decisions, aligned, resampled)


def intraclass_correlation(ratings: Floats, kind: Literal["agreement", "consistency"] = "agreement") -> float:
    """Compute the intraclass correlation of single ratings, two-way (McGraw & Wong, Psychological Methods 1996, table 4).

    With the mean squares of rows MSR, of columns MSC and of the residual MSE, for n rows and k columns::

        agreement, ICC(A,1):    (MSR − MSE) / (MSR + (k − 1)·MSE + k/n·(MSC − MSE))
        consistency, ICC(C,1):  (MSR − MSE) / (MSR + (k − 1)·MSE)

    Agreement counts a shift between raters as disagreement, consistency does not. They are ICC(2,1) and ICC(3,1) of Shrout &
    Fleiss 1979.

    Args:
        ratings: [n, k] of n faces by k raters, without NaN.
        kind: "agreement" for ICC(A,1), "consistency" for ICC(C,1).

    Returns:
        At most 1; NaN for fewer than two rows or columns, and where each rater gives only one value.

    Example:
        >>> round(intraclass_correlation(np.array([[0.1, 0.2], [0.5, 0.6], [0.9, 1.0]])), 3)
        0.97
    """
    n, k = ratings.shape
    if n < 2 or k < 2 or not np.ptp(ratings, axis=0).any():
        return math.nan
    centred = ratings - ratings.mean()
    row_means, column_means = centred.mean(axis=1), centred.mean(axis=0)
    residual = centred - row_means[:, None] - column_means
    ms_rows, ms_columns = k * (row_means**2).sum() / (n - 1), n * (column_means**2).sum() / (k - 1)
    ms_error = (residual**2).sum() / ((n - 1) * (k - 1))
    total = ms_rows + (k - 1) * ms_error + (k / n * (ms_columns - ms_error) if kind == "agreement" else 0.0)
    return float((ms_rows - ms_error) / total) if total > 0 else math.nan


def _require_shared_aus(models: Sequence[AUTable], truth: AUTable | None) -> None:
    for a, b in combinations(models, 2):
        if not len(a.values.columns.intersection(b.values.columns)):
            raise InputError(
                f"{a.name!r} and {b.name!r} have no AU in common: the one has {', '.join(a.values)}, the other"
                f" {', '.join(b.values)}"
            )
    if truth is not None and not any(len(model.values.columns.intersection(truth.values.columns)) for model in models):
        raise InputError(f"labels are of {', '.join(truth.values)}, and no model has one of these AUs")


def _with_labels_in_order(rows: JointRows, models: Sequence[AUTable], truth: AUTable) -> JointRows:
    hint = "; give labels the columns input and frame"
    for model, positions in zip(models, rows.positions, strict=True):
        if len(model) != len(truth):
            raise InputError(
                f"labels have {counted(len(truth), 'row')} without input and frame, and {model.name!r} has {len(model)}{hint}"
            )
        if not np.array_equal(positions, rows.positions[0]):
            raise InputError(f"{models[0].name!r} and {model.name!r} have other rows, or in another order{hint}")
    return JointRows(rows.index, rows.inputs, [*rows.positions, rows.positions[0]])


def _agreement(predictions: Mapping[str, pd.DataFrame], decisions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    table = []
    for au in by_number({au for known in predictions.values() for au in known}):
        for a, b in combinations([name for name, known in predictions.items() if au in known], 2):
            x, y = predictions[a][au].to_numpy(), predictions[b][au].to_numpy()
            both = np.isfinite(x) & np.isfinite(y)
            x, y = x[both], y[both]
            present_x, present_y = (decisions[name][au].to_numpy()[both].astype(int) for name in (a, b))
            table.append(
                {
                    "AU": au,
                    "name": facs_name(au),
                    "model_a": a,
                    "model_b": b,
                    "n": int(both.sum()),
                    "pearson_r": _pearson(x, y),
                    "icc": intraclass_correlation(np.stack([x, y], axis=1)),
                    "kappa": _kappa(present_x, present_y),
                    "prevalence_a": mean(present_x),
                    "prevalence_b": mean(present_y),
                    "mean_a": mean(x),
                    "mean_b": mean(y),
                }
            )
    measures = ["n", "pearson_r", "icc", "kappa", "prevalence_a", "prevalence_b", "mean_a", "mean_b"]
    return pd.DataFrame(table, columns=["AU", "name", "model_a", "model_b", *measures])


def _pearson(x: Floats, y: Floats) -> float:
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly constant values
        return float(pearsonr(x, y).statistic)


def _kappa(x: npt.NDArray[np.int_], y: npt.NDArray[np.int_]) -> float:
    if not len(x) or (np.array_equal(x, y) and not np.ptp(x)):
        return math.nan
    return float(cohen_kappa_score(x, y, labels=[0, 1]))


def _units(cluster: str | None, rows: JointRows, tables: Sequence[AUTable], used: Integers) -> tuple[Integers, str]:
    """Number the units of the bootstrap: [R] from 0 over the used rows and -1 in the others; and return the units' name."""
    units = np.full(len(rows.index), -1)
    if cluster is None and (rows.inputs is None or len(set(rows.inputs[used])) < _FEW_CLUSTERS):
        units[used] = np.arange(len(used))
        return units, "rows"
    column = cluster or "input"
    values = pd.Series(None, index=range(len(units)), dtype=object)
    if column == "input" and rows.inputs is not None:
        values[:] = rows.inputs
    else:
        columns = [
            (table.source[column], positions)
            for table, positions in zip(tables, rows.positions, strict=True)
            if column in table.source
        ]
        if not columns:
            raise InputError(f"cluster names the column {column!r}, which neither labels nor models have")
        for cells, positions in columns:  # the labels come last, so their values replace those of the models
            known = cells.notna().to_numpy()
            values.iloc[positions[known]] = cells.to_numpy(dtype=object)[known]
    missing = int(values.iloc[used].isna().sum())
    if missing:
        lacking = counted(missing, "labelled row has", "labelled rows have")
        raise InputError(f"{lacking} nothing in the column {column!r}, which cluster names")
    units[used] = values.iloc[used].factorize()[0]
    return units, column
