"""Bootstrap F1 and the area under the ROC curve (AUC), without copying any face.

How often each unit (a face, or a cluster of faces such as a video or a person) was drawn is a weight, and both scores are sums
of weights (Efron & Tibshirani 1993, chapter 13). The AUC is the share of pairs of a face with the AU and one without in which
the former has the higher score, ties counting half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.metrics import f1_score, roc_auc_score

from fgnet_plugin.utils.arrays import Floats, Integers

_BLOCK = 2**19  # numbers worked on at a time: 4 MiB, which a processor's cache holds


@dataclass(frozen=True, eq=False)
class Case:
    """Scores of n faces for one AU, and their labels."""

    truth: npt.NDArray[np.bool_]
    """[n] whether the face has the AU."""
    score: Floats
    """[n]"""
    present: npt.NDArray[np.bool_]
    """[n] whether the AU counts as present by its score."""
    units: Integers
    """[n] number of the unit with which the face is drawn."""

    def points(self) -> tuple[float, float]:
        """Return F1 and AUC of all faces; NaN where undefined."""
        if not self.truth.any():
            return math.nan, math.nan
        auc = math.nan if self.truth.all() else float(roc_auc_score(self.truth, self.score))
        return float(f1_score(self.truth, self.present, zero_division=0.0)), auc

    @cached_property
    def _with(self) -> Integers:
        """Units of the faces with the AU."""
        return self.units[self.truth]

    @cached_property
    def _without(self) -> Integers:
        """Units of the faces without the AU, by rising score."""
        return self.units[~self.truth][self.score[~self.truth].argsort(kind="stable")]

    @cached_property
    def _below(self) -> tuple[Integers, Integers]:
        """For each face with the AU, the number of faces without it that have a lower score, and a lower or equal one."""
        rising = np.sort(self.score[~self.truth])
        return np.searchsorted(rising, self.score[self.truth], "left"), np.searchsorted(rising, self.score[self.truth], "right")

    def counts(self, units: int) -> Floats:
        """Count true and false positives, and faces with and without the AU, in each unit: [4, units]."""
        kinds = self.truth & self.present, ~self.truth & self.present, self.truth, ~self.truth
        return np.stack([np.bincount(self.units[kind], minlength=units) for kind in kinds]).astype(np.float64)

    def beaten(self, weights: Floats) -> Floats:
        """Sum weights [without, m] of faces without the AU, by rising score, over those that each face with it beats."""
        sums = np.zeros((len(weights) + 1, weights.shape[1]))
        np.cumsum(weights, axis=0, out=sums[1:])
        low, high = self._below
        return (sums[low] + sums[high]) / 2

    def wins(self, drawn: Floats) -> Floats:
        """Count the pairs won in m resamples, [m]; drawn [units, m] holds how often each unit is in each resample."""
        won: Floats = np.einsum("pm,pm->m", drawn[self._with], self.beaten(drawn[self._without]))
        return won

    def wins_between(self, units: int) -> Floats:
        """Count the pairs won by the faces of one unit against those of another, [units, units]."""
        ones = csr_array((np.ones(len(self._with)), (self._with, np.arange(len(self._with)))), shape=(units, len(self._with)))
        step = max(1, _BLOCK // max(1, len(self.truth)))
        blocks = [np.arange(start, min(start + step, units)) for start in range(0, units, step)]
        return np.concatenate([ones @ self.beaten((self._without[:, None] == block) * 1.0) for block in blocks], axis=1)

    def wins_within(self, units: int) -> Floats:
        """Count the pairs won by the faces of a unit against those of the same unit, [units]."""
        key = self.units * len(self.score) + np.unique(self.score, return_inverse=True)[1]  # by unit, then by score
        rising = np.sort(key[~self.truth])
        low, high = (np.searchsorted(rising, key[self.truth], side) for side in ("left", "right"))
        first = np.searchsorted(rising, self._with * len(self.score))
        return np.bincount(self._with, (low + high) / 2 - first, minlength=units).astype(np.float64)


def resampled_scores(cases: Sequence[Case], units: int, times: int, seed: int, compare_copies: bool = True) -> Floats:
    """Compute F1 and AUC of resamples of units with replacement; a resample is the same for all cases.

    Args:
        cases: scores, AU by AU and model by model.
        units: how many units there are to draw from, and are drawn each time.
        times: number of resamples.
        seed: of the random draws, which depend on nothing else but `units` and `times`.
        compare_copies: whether the AUC has the pairs of a face of a unit and one of another copy of the same unit. A person who
            is drawn twice stands for two people, but pairs of a person with the same person are easier than pairs of different
            people: where there are only a few people, leave such pairs out, or resamples look better than the test set.

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
    within = [] if compare_copies else [case.wins_within(units) for case in cases]
    step = max(1, _BLOCK // units)
    for start in range(0, times, step):
        block = slice(start, min(start + step, times))
        drawn = draw_units(generator, units, block.stop - start)
        for i, case in enumerate(cases):
            true, false, with_au, without = counts[i] @ drawn
            pairs = with_au * without
            won = case.wins(drawn) if between is None else (drawn * (between[i] @ drawn)).sum(axis=0)
            if not compare_copies:
                copies = drawn * (drawn - 1)
                pairs, won = pairs - (counts[i][2] * counts[i][3]) @ copies, won - within[i] @ copies
            scores[0, i, block] = ratio(2 * true, true + false + with_au, with_au > 0)
            scores[1, i, block] = ratio(won, pairs, pairs > 0)
    return scores


def interval(samples: Floats, confidence: float) -> tuple[float, float]:
    """Return the percentile interval of samples [times]; NaN where fewer than half of them are defined."""
    defined = samples[np.isfinite(samples)]
    if not len(defined) or 2 * len(defined) < len(samples):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def draw_units(generator: np.random.Generator, units: int, times: int) -> Floats:
    """Draw `units` units with replacement, `times` times: how often each is drawn, [units, times]."""
    draws = generator.integers(units, size=(times, units)) + units * np.arange(times)[:, None]
    return np.bincount(draws.ravel(), minlength=units * times).reshape(times, units).T.astype(np.float64, order="C")


def ratio(above: Floats, below: npt.NDArray[Any], defined: npt.NDArray[np.bool_]) -> Floats:
    """Divide arrays of one shape; NaN where the ratio is not defined."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=defined)
