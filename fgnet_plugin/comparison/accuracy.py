"""F1 and area under the ROC curve (AUC) of models against labels, with bootstrap intervals.

In a resample (Efron & Tibshirani 1993, chapter 13) faces are not copied: how often each unit (a face, or a cluster of faces
such as a video) was drawn is a weight, and both scores are sums of weights. The AUC is the share of pairs of a face with the AU
and one without in which the former has the higher score, ties counting half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import f1_score, roc_auc_score

from fgnet_plugin.action_units import by_number, facs_name
from fgnet_plugin.comparison.bootstrap import Case, _ratio, interval, resampled_scores
from fgnet_plugin.utils.arrays import Floats, Integers

_COLUMNS = "AU", "name", "model", "n", "prevalence", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high"


@dataclass(frozen=True, eq=False)
class Judged:
    """What one model says of one AU, beside the labels, in n of the R rows."""

    au: str
    model: str
    rows: Integers
    """[n] which of the R."""
    truth: npt.NDArray[np.bool_]
    """[n] whether the face has the AU."""
    score: Floats
    """[n]"""
    present: npt.NDArray[np.bool_]
    """[n] whether the AU counts as present by its score."""

    def points(self) -> tuple[float, float]:
        """F1 and AUC of all rows; NaN where undefined."""
        if not self.truth.any():
            return math.nan, math.nan
        auc = math.nan if self.truth.all() else float(roc_auc_score(self.truth, self.score))
        return float(f1_score(self.truth, self.present, zero_division=0.0)), auc


def judge(predictions: Mapping[str, pd.DataFrame], decisions: Mapping[str, pd.DataFrame], labels: pd.DataFrame) -> list[Judged]:
    """AU by AU, the models that know it, on the labelled rows that all of them know.

    Args:
        predictions, decisions: model -> [R, AUs], as in `comparison.Comparison`.
        labels: [R, AUs] 1, 0 or NaN.
    """
    judged = []
    for au, label in labels.items():
        truth = label.to_numpy()
        known = {
            model: np.isfinite(table[au].to_numpy()) & np.isfinite(truth) for model, table in predictions.items() if au in table
        }
        common = np.logical_and.reduce([np.isfinite(truth), *(of_model for of_model in known.values() if of_model.any())])
        for model, of_model in known.items():
            rows = np.flatnonzero(common & of_model)
            values, present = predictions[model][au].to_numpy()[rows], decisions[model][au].to_numpy()[rows] > 0
            judged.append(Judged(str(au), model, rows, truth[rows] > 0, values, present))
    return judged


def accuracy_table(
    judged: Sequence[Judged], models: Sequence[str], units: Integers, bootstrap: int, confidence: float, seed: int
) -> pd.DataFrame:
    """The table `comparison.Comparison.accuracy`.

    Args:
        judged: from `judge`.
        models: their names.
        units: [R] the unit of each row, numbered from 0 over the rows that `judged` names.
        bootstrap: number of resamples.
        confidence: share of them in an interval.
        seed: of the drawing.
    """
    points = np.array([of_one.points() for of_one in judged]).reshape(-1, 2)
    cases = [Case(of_one.truth, of_one.score, of_one.present, units[of_one.rows]) for of_one in judged]
    samples = resampled_scores(cases, 1 + int(units.max(initial=-1)), bootstrap, seed)
    table = []
    for i, of_one in enumerate(judged):
        scores = _with_intervals(points[i], samples[:, i], confidence)
        table.append((of_one.au, facs_name(of_one.au), of_one.model, len(of_one.rows), mean(of_one.truth), *scores))
    shared = by_number(set.intersection(*({of_one.au for of_one in judged if of_one.model == model} for model in models)))
    for model in models:
        own = [i for i, of_one in enumerate(judged) if of_one.model == model and of_one.au in shared]
        n = len(set().union(*(judged[i].rows.tolist() for i in own)))
        scores = _with_intervals([mean(of_score) for of_score in points[own].T], _means(samples[:, own]), confidence)
        name = f"of {len(shared)} AUs that all models know"
        table.append(("mean", name, model, n, mean([mean(judged[i].truth) for i in own]), *scores))
    return pd.DataFrame(table, columns=list(_COLUMNS))


def _with_intervals(points: Sequence[float] | Floats, samples: Floats, confidence: float) -> list[float]:
    """Points of F1 and AUC, samples [2, times] -> F1, its limits, AUC, its limits."""
    limits = [
        interval(of_score, confidence) if np.isfinite(p) else (math.nan,) * 2
        for p, of_score in zip(points, samples, strict=True)
    ]
    return [float(value) for point, of_score in zip(points, limits, strict=True) for value in (point, *of_score)]


def _means(samples: Floats) -> Floats:
    """[2, AUs, times] -> [2, times]: over the AUs whose score a resample has."""
    defined = np.isfinite(samples)
    count = defined.sum(axis=1)
    return _ratio(np.where(defined, samples, 0.0).sum(axis=1), count, count > 0)


def mean(values: npt.ArrayLike) -> float:
    """Of what is not NaN; NaN where nothing is."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan
