"""F1 and area under the ROC curve (AUC) of models against labels, with bootstrap intervals.

In a resample (Efron & Tibshirani 1993, chapter 13) faces are not copied: how often each unit (a face, or a cluster of faces
such as a video) was drawn is a weight, and both scores are sums of weights. The AUC is the share of pairs of a face with the AU
and one without in which the former has the higher score, ties counting half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array
from sklearn.metrics import f1_score, roc_auc_score

from fgnet_plugin.comparison_rows import Floats, Integers, by_number, facs_name

_COLUMNS = "AU", "name", "model", "n", "prevalence", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high"
_BLOCK = 2**19  # numbers worked on at a time: 4 MiB, which a processor's cache holds


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


@dataclass(frozen=True, eq=False)
class Case:
    """Scores of n faces for one AU, and what is so."""

    truth: npt.NDArray[np.bool_]
    """[n] whether the face has the AU."""
    score: Floats
    """[n]"""
    present: npt.NDArray[np.bool_]
    """[n] whether the AU counts as present by its score."""
    units: Integers
    """[n] with which unit the face is drawn."""

    @cached_property
    def _with(self) -> Integers:
        return self.units[self.truth]

    @cached_property
    def _without(self) -> Integers:
        """Units of the faces without the AU, by rising score."""
        return self.units[~self.truth][self.score[~self.truth].argsort(kind="stable")]

    @cached_property
    def _below(self) -> tuple[Integers, Integers]:
        """For each face with the AU, how many without have a lower score, and how many none that is higher."""
        rising = np.sort(self.score[~self.truth])
        return np.searchsorted(rising, self.score[self.truth], "left"), np.searchsorted(rising, self.score[self.truth], "right")

    def counts(self, units: int) -> Floats:
        """[4, units]: true and false positives, and faces with and without the AU, in each unit."""
        kinds = self.truth & self.present, ~self.truth & self.present, self.truth, ~self.truth
        return np.stack([np.bincount(self.units[kind], minlength=units) for kind in kinds]).astype(np.float64)

    def beaten(self, weights: Floats) -> Floats:
        """Weights [without, m] of faces without the AU, by rising score -> sums over those each with it beats [with, m]."""
        sums = np.zeros((len(weights) + 1, weights.shape[1]))
        np.cumsum(weights, axis=0, out=sums[1:])
        low, high = self._below
        return (sums[low] + sums[high]) / 2

    def wins(self, drawn: Floats) -> Floats:
        """Pairs won, of m resamples [m], where drawn [units, m] says how often each unit is in each."""
        won: Floats = np.einsum("pm,pm->m", drawn[self._with], self.beaten(drawn[self._without]))
        return won

    def wins_between(self, units: int) -> Floats:
        """Pairs won by the faces of one unit against those of another, [units, units]."""
        ones = csr_array((np.ones(len(self._with)), (self._with, np.arange(len(self._with)))), shape=(units, len(self._with)))
        step = max(1, _BLOCK // max(1, len(self.truth)))
        blocks = [np.arange(start, min(start + step, units)) for start in range(0, units, step)]
        return np.concatenate([ones @ self.beaten((self._without[:, None] == block) * 1.0) for block in blocks], axis=1)


def resampled_scores(cases: Sequence[Case], units: int, times: int, seed: int) -> Floats:
    """F1 and AUC of resamples of units with replacement; a resample is the same for all cases.

    Args:
        cases: scores, AU by AU and model by model.
        units: how many there are to draw from, and are drawn each time.
        times: number of resamples.
        seed: of the drawing.

    Returns:
        [2, cases, times] in [0, 1]; NaN where undefined: F1 without a face with the AU, AUC without one of each kind, and all
        where there are fewer than two units.
    """
    scores = np.full((2, len(cases), times), np.nan)
    if units < 2:
        return scores
    generator = np.random.default_rng(seed)
    counts = [case.counts(units) for case in cases]
    # With few units, pairs of units are counted once and weighted each time; with many, that table would be the larger work.
    between = [case.wins_between(units) for case in cases] if units <= times else None
    step = max(1, _BLOCK // units)
    for start in range(0, times, step):
        of_block = slice(start, min(start + step, times))
        drawn = _drawn(generator, units, of_block.stop - start)
        for i, case in enumerate(cases):
            true, false, with_au, without = counts[i] @ drawn
            won = case.wins(drawn) if between is None else (drawn * (between[i] @ drawn)).sum(axis=0)
            scores[0, i, of_block] = _ratio(2 * true, true + false + with_au, with_au > 0)
            scores[1, i, of_block] = _ratio(won, with_au * without, with_au * without > 0)
    return scores


def interval(samples: Floats, confidence: float) -> tuple[float, float]:
    """Percentile interval of samples [times]; NaN where fewer than half of them are defined."""
    defined = samples[np.isfinite(samples)]
    if not len(defined) or 2 * len(defined) < len(samples):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _drawn(generator: np.random.Generator, units: int, times: int) -> Floats:
    """[units, times] how often each unit is drawn."""
    draws = generator.integers(units, size=(times, units)) + units * np.arange(times)[:, None]
    return np.bincount(draws.ravel(), minlength=units * times).reshape(times, units).T.astype(np.float64, order="C")


def _ratio(above: Floats, below: npt.NDArray[Any], defined: npt.NDArray[np.bool_]) -> Floats:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=defined)


def mean(values: npt.ArrayLike) -> float:
    """Of what is not NaN; NaN where nothing is."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan
