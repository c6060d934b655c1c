"""Synchrony of two people: windowed cross-correlation of one score of each, tested against surrogate pairs of windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.signal import resample
from fgnet_plugin.utils.arrays import Floats

_LEAST_WINDOWS = 4  # with fewer there are hardly any surrogates


@dataclass(frozen=True)
class Synchrony:
    """Result of `synchrony`."""

    value: float
    """Mean over the windows of Fisher's z of the highest correlation within the lags."""
    correlation: float
    """The same as a correlation: tanh of `value`."""
    surrogate_mean: float
    surrogate_sd: float
    """Of the value in surrogates; NaN with `surrogates=0`."""
    p: float
    """Share of surrogates with at least this value, the pair itself counted in: never 0. One-sided."""
    lag: float
    """Median over the windows of the lag of the highest correlation, in seconds; positive if the second person follows."""
    windows: int
    """Number of windows in which both are known throughout and neither is constant."""


def synchrony(
    first: npt.ArrayLike,
    first_time: npt.ArrayLike,
    second: npt.ArrayLike,
    second_time: npt.ArrayLike,
    *,
    rate: float = 10.0,
    window: float = 10.0,
    max_lag: float = 2.0,
    surrogates: int = 1000,
    seed: int = 0,
) -> Synchrony:
    """Measure how much two people's scores move together, allowing for a lag.

    Both are read at `rate` on a common clock. In each window (they follow each other without overlap) the first person's
    scores are correlated with the second's, shifted by up to ± `max_lag`; the highest correlation counts (Boker et al.,
    Psychological Methods 2002). Surrogates pair the windows of the one with windows of the other from another time, at random
    (as Ramseyer & Tschacher, 2011): what is left is how similar any two windows of these people are.

    Args:
        first, second: [n], [m] scores of one AU, NaN where unknown.
        first_time, second_time: their times in seconds, on one clock.
        rate: frames per second of the common clock.
        window: seconds; longer than an expression, shorter than a conversation's topic.
        max_lag: seconds.
        surrogates: number of random pairings.
        seed: of the random pairings.

    Raises:
        InputError: fewer than four windows can be used.

    Example:
        >>> time = np.arange(0, 120, 0.1)
        >>> wave = np.random.default_rng(0).normal(size=1200).cumsum()
        >>> found = synchrony(wave, time, np.roll(wave, 5), time)
        >>> round(found.correlation, 2) > 0.95, round(found.lag, 1), found.p < 0.01
        (True, 0.5, True)
    """
    one, one_time = resample(pd.DataFrame({"score": first}), first_time, rate)
    other, other_time = resample(pd.DataFrame({"score": second}), second_time, rate)
    start = max(one_time[0], other_time[0]) if len(one_time) and len(other_time) else 0.0
    end = min(one_time[-1], other_time[-1]) if len(one_time) and len(other_time) else -1.0
    clock = start + np.arange(max(int((end - start) * rate + 1 + 1e-6), 0)) / rate
    x, y = (_at(clock, times, table["score"].to_numpy()) for times, table in ((one_time, one), (other_time, other)))
    length, lags = round(window * rate), round(max_lag * rate)
    starts = np.arange(lags, len(clock) - length - lags + 1, length)
    windows = np.array([x[i : i + length] for i in starts]).reshape(-1, length)
    around = np.array([y[i - lags : i + length + lags] for i in starts]).reshape(-1, length + 2 * lags)
    usable = np.isfinite(windows).all(1) & np.isfinite(around).all(1)
    usable &= (np.ptp(windows, axis=1) > 0) & (np.ptp(around, axis=1) > 0)
    if usable.sum() < _LEAST_WINDOWS:
        raise InputError(
            f"synchrony needs {_LEAST_WINDOWS} windows of {window:g} s (and {max_lag:g} s around them) in which both people are"
            f" known and neither score is constant; there are {int(usable.sum())} of {len(starts)}: shorten the window, or fill"
            " short gaps"
        )
    peaks, best = _peaks(windows[usable], around[usable], lags)
    count = len(peaks)
    value = float(np.diagonal(peaks).mean())
    generator = np.random.default_rng(seed)
    drawn = np.array([_mean_of_pairing(peaks, generator) for _ in range(surrogates)])
    p = (1 + int((drawn >= value).sum())) / (1 + surrogates) if surrogates else math.nan
    mean, sd = (float(drawn.mean()), float(drawn.std(ddof=1))) if surrogates > 1 else (math.nan, math.nan)
    return Synchrony(value, math.tanh(value), mean, sd, p, float(np.median(np.diagonal(best))) / rate, count)


def _at(clock: Floats, time: Floats, values: Floats) -> Floats:
    """Read even scores at other even times of the same rate; NaN next to what is unknown."""
    if not len(time):
        return np.full(len(clock), np.nan)
    return np.interp(clock, time, values)  # a NaN spreads to the times between it and its neighbours


def _peaks(windows: Floats, around: Floats, lags: int) -> tuple[Floats, Floats]:
    """Correlate each of W windows with each of W at all lags: the highest Fisher's z [W, W], and its lag in frames [W, W]."""
    length = windows.shape[1]
    order = sorted(range(-lags, lags + 1), key=abs)  # of equal correlations, that of the smallest lag counts
    first = _standardised(windows)
    each = np.stack([first @ _standardised(around[:, lags + lag : lags + lag + length]).T for lag in order])
    best = each.argmax(axis=0)
    return np.arctanh(np.clip(each.max(axis=0), -0.9999, 0.9999)), np.array(order, dtype=float)[best]


def _standardised(windows: Floats) -> Floats:
    centred = windows - windows.mean(axis=1, keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 1e-12)  # a constant one correlates with nothing


def _mean_of_pairing(peaks: Floats, generator: np.random.Generator) -> float:
    """Pair each window with one of another time: a random cycle through all of them has none that stays in its place."""
    cycle = generator.permutation(len(peaks))
    return float(peaks[cycle, np.roll(cycle, 1)].mean())
