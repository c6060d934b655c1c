"""Bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from fgnet_plugin.utils.arrays import Floats, Integers

_BLOCK = 2**19  # numbers worked on at a time: 4 MiB, which a processor's cache holds


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
