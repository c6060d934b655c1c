"""Score AU models against labels: F1 and area under the ROC curve (AUC), with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.action_units import by_number, facs_name
from fgnet_plugin.comparison.bootstrap import Case, bca_interval, draw_units, resampled_scores, scores_without
from fgnet_plugin.comparison.measures import ratio
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.text import counted

_COLUMNS = "AU", "name", "model", "n", "prevalence", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high"


@dataclass(frozen=True, eq=False)
class LabelledScores:
    """Scores of one model for one AU in the n labelled rows among R, with their labels."""

    au: str
    model: str
    rows: Integers
    """[n] positions among the R rows."""
    truth: npt.NDArray[np.bool_]
    """[n] whether the face has the AU."""
    score: Floats
    """[n]"""
    present: npt.NDArray[np.bool_]
    """[n] whether the AU counts as present by its score."""


def labelled_scores(
    predictions: Mapping[str, pd.DataFrame], decisions: Mapping[str, pd.DataFrame], labels: pd.DataFrame
) -> list[LabelledScores]:
    """Select, AU by AU, the labelled rows that all models with values for that AU know, and each model's scores in them.

    Args:
        predictions, decisions: model -> [R, AUs], as in `comparison.Comparison`.
        labels: [R, AUs] 1, 0 or NaN.
    """
    selected = []
    for au, label in labels.items():
        truth = label.to_numpy()
        known = {
            model: np.isfinite(table[au].to_numpy()) & np.isfinite(truth) for model, table in predictions.items() if au in table
        }
        common = np.logical_and.reduce([np.isfinite(truth), *(mask for mask in known.values() if mask.any())])
        for model, mask in known.items():
            rows = np.flatnonzero(common & mask)
            score, present = predictions[model][au].to_numpy()[rows], decisions[model][au].to_numpy()[rows] > 0
            selected.append(LabelledScores(str(au), model, rows, truth[rows] > 0, score, present))
    return selected


def accuracy_table(
    scores: Sequence[LabelledScores], models: Sequence[str], units: Integers, bootstrap: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Make the table `comparison.Comparison.accuracy`.

    Args:
        scores: from `labelled_scores`.
        models: their names.
        units: [R] the unit of each row, numbered from 0 over the rows that `scores` names.
        bootstrap: number of resamples.
        confidence: share of them in an interval.
        seed: of the random draws.
    """
    cases = [Case(entry.truth, entry.score, entry.present, units[entry.rows]) for entry in scores]
    points = np.array([case.points() for case in cases]).reshape(-1, 2)
    count = 1 + int(units.max(initial=-1))
    samples = resampled_scores(cases, draw_units(np.random.default_rng(seed), count, bootstrap))
    without = scores_without(cases, count)
    table = []
    for i, entry in enumerate(scores):
        values = _with_intervals(points[i], samples[:, i], without[:, i], confidence)
        table.append((entry.au, facs_name(entry.au), entry.model, len(entry.rows), mean(entry.truth), *values))
    shared = by_number(set.intersection(*({entry.au for entry in scores if entry.model == model} for model in models)))
    for model in models:
        chosen = [i for i, entry in enumerate(scores) if entry.model == model and entry.au in shared]
        n = len(set().union(*(scores[i].rows.tolist() for i in chosen)))
        means = [mean(column) for column in points[chosen].T]
        values = _with_intervals(means, _means(samples[:, chosen]), _means(without[:, chosen]), confidence)
        name = f"of {counted(len(shared), 'AU')} that all models know"
        table.append(("mean", name, model, n, mean([mean(scores[i].truth) for i in chosen]), *values))
    return pd.DataFrame(table, columns=list(_COLUMNS))


def _with_intervals(points: Sequence[float] | Floats, samples: Floats, without: Floats, confidence: float) -> list[float]:
    """Points of F1 and AUC, samples [2, times], [2, units] without each unit -> F1, its limits, AUC, its limits."""
    values: list[float] = []
    for point, resampled, left in zip(points, samples, without, strict=True):
        values += [float(point), *bca_interval(float(point), resampled, left, confidence)]
    return values


def _means(samples: Floats) -> Floats:
    """[2, AUs, …] -> [2, …]: over the AUs whose score a resample has."""
    defined = np.isfinite(samples)
    count = defined.sum(axis=1)
    return ratio(np.where(defined, samples, 0.0).sum(axis=1), count, count > 0)


def mean(values: npt.ArrayLike) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan
