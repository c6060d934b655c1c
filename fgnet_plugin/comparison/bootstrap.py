"""Bootstrap the scores of AUs without copying any face, with intervals that cover what they say for few people.

How often each unit (a face, or a cluster of faces such as a video or a person) was drawn is a weight, and all scores are made
of sums of weights (Efron & Tibshirani 1993, chapter 13). Each unit's weight is Poisson(1), its own (Hanley & MacGibbon
2006), so that resamples of test sets that share people can be paired. The AUC is the share of pairs of a face with the AU and
one without in which the former has the higher score, ties counting half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.stats import norm, t

from fgnet_plugin.comparison import measures as of
from fgnet_plugin.comparison.measures import ratio
from fgnet_plugin.utils.arrays import Floats, Integers

Weights = npt.NDArray[np.uint8]
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

    def points(self, measures: Sequence[str] = ("f1", "auc")) -> Floats:
        """Return the measures of all faces, [measures]; NaN where undefined."""
        one = Case(self.truth, self.score, self.present, np.zeros(len(self.truth), np.intp))
        return _Sums(one, 1, 1, True).scores(np.ones((1, 1)), measures)[:, 0]

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

    def wins_with(self, units: int) -> tuple[float, Floats]:
        """Count the pairs won, all and, [units], those that a unit has a face in."""
        low, high = self._below
        won = (low + high) / 2  # [with]
        rising = np.sort(self.score[self.truth])
        of_others = np.sort(self.score[~self.truth])
        lost = len(rising) - (np.searchsorted(rising, of_others, "left") + np.searchsorted(rising, of_others, "right")) / 2
        involved = np.bincount(self._with, won, units) + np.bincount(self._without, lost, units) - self.wins_within(units)
        return float(won.sum()), involved


class _Sums:
    """What the scores of a case's resamples are made of, computed once."""

    def __init__(self, case: Case, units: int, times: int, compare_copies: bool) -> None:
        self.case, self.compare_copies = case, compare_copies
        self.counts = of.counts(case.truth, case.present, case.units, units)
        # With few units, pairs of units are counted once and weighted each time; with many, that table would be more work.
        self.between = case.wins_between(units) if units <= times else None
        self.within = None if compare_copies else case.wins_within(units)

    def scores(self, drawn: Floats, measures: Sequence[str]) -> Floats:
        """Compute measures of resamples, [measures, m]; drawn [units, m] holds how often each unit is in each resample."""
        sums = self.counts @ drawn
        found = []
        for measure in measures:
            if measure == "auc":
                found.append(self._auc(drawn, sums[2] * sums[3]))
            elif measure == "pr_auc":
                found.append(_average_precision(self.case, drawn))
            else:
                found.append(of.OF_DECISIONS[measure](*sums))
        return np.stack(found)

    def _auc(self, drawn: Floats, pairs: Floats) -> Floats:
        won = self.case.wins(drawn) if self.between is None else (drawn * (self.between @ drawn)).sum(axis=0)
        if self.within is not None:
            copies = drawn * (drawn - 1)
            pairs, won = pairs - (self.counts[2] * self.counts[3]) @ copies, won - self.within @ copies
        return ratio(won, pairs, pairs > 0)


def _average_precision(case: Case, drawn: Floats) -> Floats:
    step = max(1, 8 * _BLOCK // max(1, len(case.truth)))
    blocks = [drawn[:, start : start + step] for start in range(0, drawn.shape[1], step)]
    return np.concatenate([of.average_precision(case.truth, case.score, block[case.units]) for block in blocks])


def resampled_scores(
    cases: Sequence[Case],
    weights: Weights,
    measures: Sequence[str] = ("f1", "auc"),
    compare_copies: bool = True,
) -> Floats:
    """Compute measures of resamples of units; a resample is the same for all cases.

    Args:
        cases: scores, AU by AU and model by model.
        weights: [units, times] how often each unit is drawn, see `draw_units`.
        measures: ``auc``, ``pr_auc``, and those of `measures.OF_DECISIONS`.
        compare_copies: whether the AUC has the pairs of a face of a unit and one of another copy of the same unit. A person who
            is drawn twice stands for two people, but pairs of a person with the same person are easier than pairs of different
            people: where there are only a few people, leave such pairs out, or resamples look better than the test set.

    Returns:
        [measures, cases, times]; NaN where undefined: F1 without a face with the AU, AUC without one of each kind, and all
        where there are fewer than two units.
    """
    units, times = weights.shape
    scores = np.full((len(measures), len(cases), times), np.nan)
    if units < 2:
        return scores
    sums = [_Sums(case, units, times, compare_copies) for case in cases]
    step = max(1, _BLOCK // units)
    for start in range(0, times, step):
        block = slice(start, min(start + step, times))
        drawn = weights[:, block].astype(np.float64)
        for i, of_case in enumerate(sums):
            scores[:, i, block] = of_case.scores(drawn, measures)
    return scores


def scores_without(cases: Sequence[Case], units: int, measures: Sequence[str] = ("f1", "auc")) -> Floats:
    """Compute the measures without each unit (jackknife), which `bca_interval` needs: [measures, cases, units]."""
    scores = np.full((len(measures), len(cases), units), np.nan)
    for i, case in enumerate(cases):
        sums = of.counts(case.truth, case.present, case.units, units)
        rest = sums.sum(axis=1, keepdims=True) - sums
        for k, measure in enumerate(measures):
            if measure == "auc":
                won, involved = case.wins_with(units)
                pairs = rest[2] * rest[3]
                scores[k, i] = ratio(won - involved, pairs, pairs > 0)
            elif measure == "pr_auc":
                step = max(1, 8 * _BLOCK // max(units, 1))
                blocks = (np.arange(start, min(start + step, units)) for start in range(0, units, step))
                left = (1.0 - (np.arange(units)[:, None] == block) for block in blocks)
                scores[k, i] = np.concatenate([_average_precision(case, drawn) for drawn in left])
            else:
                scores[k, i] = of.OF_DECISIONS[measure](*rest)
    return scores


def interval(samples: Floats, confidence: float) -> tuple[float, float]:
    """Return the percentile interval of samples [times]; NaN where fewer than half of them are defined."""
    defined = samples[np.isfinite(samples)]
    if not len(defined) or 2 * len(defined) < len(samples):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bca_interval(point: float, samples: Floats, without: Floats, confidence: float) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval (Efron 1987), widened for few units as Student's t is.

    Percentile intervals are too narrow for few people: their variance lacks the factor n / (n − 1), and they have normal
    quantiles where Student's belong. Hesterberg (2015) widens their level accordingly; here that of BCa is.
    docs/evaluation.md has the simulated coverage.

    Args:
        point: the measure of all units.
        samples: [times] of resamples.
        without: [units] without each unit; n counts those that make a difference.
        confidence: such as 0.95.

    Returns:
        The limits; NaN where there is no point, or fewer than half of the samples are defined.

    Example:
        >>> heights = np.random.default_rng(0).normal(170, 10, 12)
        >>> drawn = draw_units(np.random.default_rng(1), 12, 2000)
        >>> means, without = heights @ drawn / drawn.sum(0), (heights.sum() - heights) / 11
        >>> low, high = bca_interval(heights.mean(), means, without, 0.95)
        >>> bool(low < np.quantile(means, 0.025) < heights.mean() < np.quantile(means, 0.975) < high)
        True
    """
    defined = samples[np.isfinite(samples)]
    if not math.isfinite(point) or not len(defined) or 2 * len(defined) < len(samples):
        return math.nan, math.nan
    known = without[np.isfinite(without)]
    influence = known.mean() - known if len(known) else np.zeros(1)
    n = max(2, int((np.abs(known - point) > 1e-12).sum()) + len(without) - len(known))
    cubes, squares = (influence**3).sum(), (influence**2).sum()
    acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
    close = 1e-9 * max(1.0, abs(point))
    below = ((defined < point - close).mean() + (defined <= point + close).mean()) / 2
    edge = 0.5 / len(defined)
    bias = norm.ppf(np.clip(below, edge, 1 - edge))
    wide = math.sqrt(n / (n - 1)) * t.ppf((1 + confidence) / 2, n - 1)
    shares = []
    for side in (bias - wide, bias + wide):
        divisor = 1 - acceleration * side
        shares.append(norm.cdf(bias + side / divisor) if divisor > 0 else float(side > 0))
    low, high = np.quantile(defined, shares)
    return float(low), float(high)


def draw_units(generator: np.random.Generator, units: int, times: int) -> Weights:
    """Draw units, `times` times: how often each is drawn, [units, times], Poisson(1)."""
    drawn = np.empty((units, times), np.uint8)
    step = max(1, _BLOCK // max(1, times))
    for start in range(0, units, step):
        block = drawn[start : start + step]
        block[:] = generator.poisson(1.0, block.shape)
    return drawn
