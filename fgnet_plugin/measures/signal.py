"""Smooth scores over time, fill short gaps and resample to a common rate, by times in seconds rather than by frame numbers.

Frames further apart than `MAX_GAP` have nothing to do with each other: no method looks across such a gap.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.signal import savgol_filter
from statsmodels.nonparametric.smoothers_lowess import lowess

from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.arrays import Floats, Integers

MAX_GAP = 0.25
"""Seconds without a known score after which a new stretch begins."""
Smoother = Literal["median", "savgol", "loess"]
_EDGE = 1e-6  # seconds by which a window is wider, so that rounded times do not decide whether a frame is in it
_EVEN = 0.02  # steps that differ by less than this share are an even rate


def stretches(time: Floats, max_gap: float = MAX_GAP) -> Iterator[slice]:
    """Yield the stretches of times [n] without a gap: where two times are more than `max_gap` seconds apart, a new one begins.

    Example:
        >>> list(stretches(np.array([0.0, 0.1, 0.2, 5.0, 5.1])))
        [slice(0, 3, None), slice(3, 5, None)]
    """
    if len(time):
        ends = [*(np.flatnonzero(np.diff(time) > max_gap + _EDGE) + 1).tolist(), len(time)]
        yield from (slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True))


def check_times(time: npt.ArrayLike, of: str = "time") -> Floats:
    """Return times as float64 [n]. Raises InputError, naming the recording, where one is not finite or they go back."""
    times: Floats = np.asarray(time, dtype=np.float64)
    if not np.isfinite(times).all():
        raise InputError(f"{of}: row {int(np.argmin(np.isfinite(times)))} has no time")
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise InputError(f"{of}: times go back at row {back[0] + 1}, from {times[back[0]]:g} to {times[back[0] + 1]:g} s")
    return times


def smooth(
    scores: pd.DataFrame,
    time: npt.ArrayLike,
    method: Smoother = "median",
    window: float = 0.3,
    *,
    order: int = 2,
    max_gap: float = MAX_GAP,
) -> pd.DataFrame:
    """Smooth each column over time, stretch by stretch.

    - ``"median"``: of all known scores within half a window; takes out spikes and keeps edges. Any frame rate.
    - ``"savgol"``: Savitzky and Golay's local polynomial (`scipy.signal.savgol_filter`); keeps the height and place of a peak.
    - ``"loess"``: Cleveland's robust local line (`statsmodels`, three reweightings); takes out noise and single outliers.

    The latter two need an even rate: a stretch whose rate varies is interpolated to its median step, smoothed, and read at its
    own times again. A stretch shorter than the window is smoothed with what there is of it.

    Args:
        scores: [n, k], NaN where unknown. What is unknown stays so; see `fill_gaps`.
        time: [n] seconds, rising.
        method: see above.
        window: seconds, over all of which a smoothed score looks.
        order: of the polynomial of ``"savgol"``.
        max_gap: seconds between known scores after which a new stretch begins.

    Raises:
        InputError: times that are unknown or go back.
        ValueError: an unknown method, or a window that is not positive.

    Example:
        >>> smooth(pd.DataFrame({"AU12": [0.0, 0.0, 1.0, 0.0, 0.0]}), [0, 0.1, 0.2, 0.3, 0.4])["AU12"].tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    if method not in get_args(Smoother):
        raise ValueError(f"method must be one of {', '.join(get_args(Smoother))}, got {method!r}")
    if not window > 0:
        raise ValueError(f"window must be positive, got {window}")
    times = check_times(time)
    smoothed = scores.astype(np.float64)
    for column in smoothed:
        values = smoothed[column].to_numpy(copy=True)
        known = np.flatnonzero(np.isfinite(values))
        for part in stretches(times[known], max_gap):
            rows = known[part]
            values[rows] = _smooth_stretch(values[rows], times[rows], method, window, order)
        smoothed[column] = values
    return smoothed


def _smooth_stretch(values: Floats, time: Floats, method: Smoother, window: float, order: int) -> Floats:
    if len(values) < 3:
        return values
    if method == "median":
        series = pd.Series(values, index=pd.to_timedelta(time - time[0], unit="s"))
        width = pd.Timedelta(window + 2 * _EDGE, unit="s")
        return series.rolling(width, center=True, closed="both", min_periods=1).median().to_numpy()
    if method == "savgol":
        return _on_even_times(values, time, lambda even, step: _savgol(even, window / step, order))
    return _on_even_times(values, time, lambda even, step: _loess(even, window / step))


def _savgol(values: Floats, width: float, order: int) -> Floats:
    frames = min(2 * round((width - 1) / 2) + 1, len(values) - (len(values) + 1) % 2)  # odd, and no longer than the stretch
    return savgol_filter(values, frames, order) if frames > order else values


def _loess(values: Floats, width: float) -> Floats:
    frames = min(max(round(width), 3), len(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all residuals 0, as on a line: no reweighting is needed
        smoothed: Floats = lowess(
            values, np.arange(len(values), dtype=float), frac=frames / len(values), it=3, is_sorted=True, return_sorted=False
        )
    return np.where(np.isfinite(smoothed), smoothed, values)


def _on_even_times(values: Floats, time: Floats, smooth_even: Callable[[Floats, float], Floats]) -> Floats:
    """Apply a method for even steps to a stretch, by way of interpolation where its steps differ."""
    steps = np.diff(time)
    step = float(np.median(steps))
    if not step > 0:
        return values
    if np.ptp(steps) <= _EVEN * step + 2 * _EDGE:
        return smooth_even(values, step)
    even = np.linspace(time[0], time[-1], max(round((time[-1] - time[0]) / step) + 1, 2))
    return np.interp(time, even, smooth_even(np.interp(even, time, values), even[1] - even[0]))


def fill_gaps(scores: pd.DataFrame, time: npt.ArrayLike, longest: float = MAX_GAP) -> pd.DataFrame:
    """Interpolate unknown scores on a line between the known ones around them, if these are at most `longest` seconds apart.

    What lies in a longer gap, before the first known score or after the last stays unknown.

    Args:
        scores: [n, k], NaN where unknown.
        time: [n] seconds, rising.
        longest: seconds from the last known score to the next.

    Example:
        >>> fill_gaps(pd.DataFrame({"AU12": [0.0, np.nan, 0.5, np.nan, np.nan]}), [0, 0.1, 0.2, 0.3, 0.4])["AU12"].tolist()
        [0.0, 0.25, 0.5, nan, nan]
    """
    times = check_times(time)
    filled = {column: _interpolated(times, times, scores[column].to_numpy(np.float64), longest) for column in scores}
    return pd.DataFrame(filled, index=scores.index)


def resample(scores: pd.DataFrame, time: npt.ArrayLike, rate: float, longest: float = MAX_GAP) -> tuple[pd.DataFrame, Floats]:
    """Read scores at even steps, from the first time to the last, by interpolation on lines.

    Smooth first with a window of 1 / rate or more where the new rate is lower than the old one: nothing is averaged here.

    Args:
        scores: [n, k], NaN where unknown.
        time: [n] seconds, rising.
        rate: frames per second of the result.
        longest: seconds between known scores up to which to interpolate; within a longer gap the result is NaN.

    Returns:
        Scores [m, k] and their times [m].

    Example:
        >>> scores, time = resample(pd.DataFrame({"AU12": [0.0, 0.2]}), [0, 0.2], rate=10)
        >>> scores["AU12"].round(3).tolist(), time.tolist()
        ([0.0, 0.1, 0.2], [0.0, 0.1, 0.2])
    """
    if not rate > 0:
        raise ValueError(f"rate must be positive, got {rate}")
    times = check_times(time)
    if not len(times):
        return scores.astype(np.float64), times
    even = times[0] + np.arange(int((times[-1] - times[0]) * rate + 1 + _EDGE)) / rate
    return pd.DataFrame(
        {column: _interpolated(even, times, scores[column].to_numpy(np.float64), longest) for column in scores}
    ), even


def _interpolated(at: Floats, time: Floats, values: Floats, longest: float) -> Floats:
    """Interpolate at times [m] between the known ones of values [n]; NaN in gaps longer than `longest` and outside."""
    known: Integers = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.full(len(at), np.nan)
    times, scores = time[known], values[known]
    before = np.searchsorted(times, at + _EDGE, "right") - 1
    after = np.searchsorted(times, at - _EDGE, "left")
    inside = (before >= 0) & (after < len(times))
    gap = times[np.clip(after, 0, len(times) - 1)] - times[np.clip(before, 0, None)]
    return np.where(inside & (gap <= longest + _EDGE), np.interp(at, times, scores), np.nan)
