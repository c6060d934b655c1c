"""Prediction-powered inference: estimates from many frames that a network coded and few that people coded, and their intervals.

For least squares, the estimate of Angelopoulos et al. (Science 2023) with the power tuning of PPI++ (arXiv 2311.01453)::

    θ = β(X_coded, Y) + λ · (β(X_all, f) − β(X_coded, f))

with the labels Y, the scores f, and β the coefficients of weighted least squares; a mean is the coefficient of a constant. The
term with λ has the expectation 0 whatever the scores are, so that θ has no bias; λ is the one with the smallest variance in
[0, 1]. Frames of a person are alike, which the papers leave out: the variance is that of the jackknife over people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.arrays import Floats, Integers


@dataclass(frozen=True, eq=False)
class Rows:
    """n faces."""

    design: Floats
    """[n, p] what the outcome is regressed on."""
    outcomes: Floats
    """[n, m] outcomes: the scores last."""
    weight: Floats
    """[n]"""
    person: Integers
    """[n] numbers of people, the same in all tables."""


@dataclass(frozen=True, eq=False)
class Estimates:
    """One kind of estimate of p coefficients."""

    value: Floats
    low: Floats
    high: Floats
    p: Floats
    """Of the t test of 0, two-sided; NaN without variance."""


@dataclass(frozen=True, eq=False)
class PPIResult:
    """Estimates of p coefficients; each is an array [p]."""

    powered: Estimates
    coded_only: Estimates
    """From the labels alone."""
    naive: Estimates
    """From the scores of all faces, as if they were labels."""
    power: Floats
    """λ: 0 where the scores do not help."""


def estimate(coded: Rows, every: Rows, confidence: float = 0.95) -> PPIResult:
    """Estimate the coefficients of least squares.

    Args:
        coded: the faces with labels; outcomes are the labels and the scores [n, 2].
        every: all faces, the coded ones among them or not; outcomes are the scores [N, 1].
        confidence: of the intervals, which are t intervals with as many degrees of freedom as there are coded people, less the
            coefficients and λ.

    Raises:
        InputError: too few coded people, or a coefficient that rests on one person.
    """
    people = 1 + int(max(coded.person.max(initial=-1), every.person.max(initial=-1)))
    of_coded, without = _coefficients(coded, people)  # [p, 2], [people, p, 2]
    of_all, all_without = _coefficients(every, people)
    p = len(of_coded)
    coded_people, all_people = len(np.unique(coded.person)), len(np.unique(every.person))
    if coded_people < p + 2:
        raise InputError(
            f"{coded_people} coded people are too few to estimate {p} coefficients with an interval: at least {p + 2}"
        )
    labels, correction = of_coded[:, 0], of_all[:, 0] - of_coded[:, 1]
    u = without[..., 0] - labels
    v = all_without[..., 0] - without[..., 1] - correction
    product, square = u * v, v**2
    power = _power(product.sum(0), square.sum(0))
    # Also the power is fitted to the people, and would be another without one of them.
    powers = _power(product.sum(0) - product, square.sum(0) - square)
    w = u + powers * (v + correction) - power * correction
    share = (coded_people - 1) / coded_people
    return PPIResult(
        _interval(labels + power * correction, share * (w**2).sum(0), coded_people - p - 1, confidence),
        _interval(labels, share * (u**2).sum(0), coded_people - p, confidence),
        _interval(of_all[:, 0], _jackknife(all_without[..., 0] - of_all[:, 0], all_people), all_people - p, confidence),
        power,
    )


def _coefficients(rows: Rows, people: int) -> tuple[Floats, Floats]:
    """Coefficients [p, m] of least squares, and those without each person [people, p, m]."""
    p, m = rows.design.shape[1], rows.outcomes.shape[1]
    weighted = rows.design * rows.weight[:, None]
    products = np.stack(
        [
            _sums(weighted[:, i] * column, rows.person, people)
            for i in range(p)
            for column in (*rows.design.T, *rows.outcomes.T)
        ],
        1,
    ).reshape(people, p, p + m)
    total = products.sum(0)
    rest = total - products
    for sums in (total[None], rest):
        scale = np.sqrt(np.einsum("kii->ki", sums[..., :p]))
        cosines = sums[..., :p] / np.maximum(scale[:, :, None] * scale[:, None], 1e-300)
        if (np.linalg.eigvalsh(cosines)[:, 0] < 1e-8).any():
            raise InputError(
                "a coefficient rests on one person, or the predictors say the same: code more people, or leave a predictor out"
            )
    return np.linalg.solve(total[:, :p], total[:, p:]), np.linalg.solve(rest[..., :p], rest[..., p:])


def _power(products: Floats, squares: Floats) -> Floats:
    """λ of the smallest variance, in [0, 1]: 0 where the scores change nothing."""
    return np.divide(-products, squares, out=np.zeros_like(products), where=squares > 0).clip(0, 1)


def _sums(values: Floats, person: Integers, people: int) -> Floats:
    return np.asarray(np.bincount(person, values, people), np.float64)


def _jackknife(deviations: Floats, people: int) -> Floats:
    """Variances [p] of estimates whose values without each person deviate by these [people, p]."""
    return np.asarray((people - 1) / people * (deviations**2).sum(0), np.float64)


def _interval(value: Floats, variance: Floats, freedom: int, confidence: float) -> Estimates:
    error = np.sqrt(variance)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * error
    ratio = np.divide(abs(value), error, out=np.full_like(value, np.nan), where=error > 0)
    return Estimates(value, value - half, value + half, np.asarray(2 * stats.t.sf(ratio, freedom), np.float64))
