"""Smoothing, filling and resampling against signals whose answers are known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.signal import fill_gaps, resample, smooth, stretches

METHODS = "median", "savgol", "loess"


def even(n: int, rate: float = 25.0) -> np.ndarray:
    return np.arange(n) / rate


def uneven(n: int, seed: int = 0) -> np.ndarray:
    """Steps of 20 to 60 ms."""
    return np.cumsum(np.random.default_rng(seed).uniform(0.02, 0.06, n))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("times", [even(60), uneven(60)], ids=["even", "uneven"])
def test_a_ramp_stays_a_ramp(method: str, times: np.ndarray) -> None:
    ramp = 0.1 + 0.3 * times
    found = smooth(pd.DataFrame({"AU12": ramp}), times, method, 0.3)["AU12"]
    inner = (times > times[0] + 0.2) & (times < times[-1] - 0.2)
    slack = 1e-6 if method != "median" or np.ptp(np.diff(times)) < 1e-9 else 0.02  # the median frame is not the middle one
    assert np.abs(found - ramp)[inner].max() < slack


def test_a_parabola_stays_one_with_savitzky_golay_but_not_with_the_median() -> None:
    parabola = pd.DataFrame({"AU12": (even(50) - 1) ** 2})
    assert np.allclose(smooth(parabola, even(50), "savgol", 0.4), parabola, atol=1e-9)
    assert not np.allclose(smooth(parabola, even(50), "median", 0.4), parabola, atol=1e-3)


def test_the_median_removes_short_pulses_and_keeps_edges() -> None:
    step = np.repeat([0.0, 1.0], 30)
    spiky = step.copy()
    spiky[[10, 11, 45]] = [1, 1, 0]
    found = smooth(pd.DataFrame({"AU12": spiky}), even(60), "median", 0.28)  # 7 frames at 25 a second
    assert np.array_equal(found["AU12"], step)


def test_loess_removes_noise_and_an_outlier() -> None:
    time = even(250)
    clean = 0.5 + 0.3 * np.sin(time)
    noisy = clean + np.random.default_rng(0).normal(0, 0.05, 250)
    noisy[100] = 5.0
    found = smooth(pd.DataFrame({"AU12": noisy}), time, "loess", 0.8)["AU12"]
    assert np.abs(found - clean).std() < 0.03
    assert abs(found[100] - clean[100]) < 0.1


@pytest.mark.parametrize("rate", [10.0, 25.0, 60.0])
def test_a_window_is_seconds_at_every_rate(rate: float) -> None:
    """A pulse of 0.2 s goes with a window of 0.5 s and stays with one of 0.3 s."""
    time = np.arange(0, 4, 1 / rate)
    pulse = pd.DataFrame({"AU12": ((time >= 2) & (time < 2.2 - 1e-9)).astype(float)})
    assert smooth(pulse, time, "median", 0.5)["AU12"].max() == 0
    assert smooth(pulse, time, "median", 0.3)["AU12"].max() == 1


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    first=st.integers(1, 30),
    second=st.integers(1, 30),
    gap=st.floats(0.3, 20),
    method=st.sampled_from(METHODS),
)
def test_splitting_at_a_gap_changes_nothing(seed: int, first: int, second: int, gap: float, method: str) -> None:
    rng = np.random.default_rng(seed)
    a, b = np.cumsum(rng.uniform(0.02, 0.06, first)), np.cumsum(rng.uniform(0.02, 0.06, second))
    time, scores = np.concatenate([a, a[-1] + gap + b]), pd.DataFrame({"AU12": rng.random(first + second)})
    whole = smooth(scores, time, method, 0.3)["AU12"]
    parts = [smooth(scores[:first], time[:first], method, 0.3), smooth(scores[first:], time[first:], method, 0.3)]
    assert np.allclose(whole, pd.concat(parts)["AU12"], atol=1e-9)
    parts = [fill_gaps(scores[:first], time[:first]), fill_gaps(scores[first:], time[first:])]
    assert np.allclose(fill_gaps(scores, time), pd.concat(parts))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.integers(-1000, 1000), method=st.sampled_from(METHODS))
def test_shifting_time_changes_no_smoothed_score(seed: int, shift: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    time, scores = np.cumsum(rng.uniform(0.02, 0.06, 40)), pd.DataFrame({"AU12": rng.random(40)})
    assert np.allclose(smooth(scores, time, method, 0.3), smooth(scores, time + shift, method, 0.3), atol=1e-6)


def test_gaps_are_filled_up_to_the_stated_length_and_never_beyond() -> None:
    time = even(30, 10)
    values = 0.03 * np.arange(30)
    gappy = values.copy()
    gappy[[3, 4, 10, 11, 12, 0, 29]] = np.nan  # 0.3 s and 0.4 s from known to known, and both ends
    found = fill_gaps(pd.DataFrame({"AU12": gappy}), time, 0.3)["AU12"]
    assert np.allclose(found[3:5], values[3:5])
    assert found[[10, 11, 12, 0, 29]].isna().all()
    assert found.drop([0, 10, 11, 12, 29]).notna().all()


def test_what_is_unknown_stays_unknown_when_smoothed() -> None:
    scores = pd.DataFrame({"AU12": [0.1, np.nan, 0.3, 0.2], "AU06": np.nan})
    found = smooth(scores, even(4), "median")
    assert found["AU12"].isna().tolist() == [False, True, False, False]
    assert found["AU06"].isna().all()


def test_resampling_reads_lines_exactly_and_leaves_gaps() -> None:
    time = uneven(100)
    time[50:] += 3
    found, at = resample(pd.DataFrame({"AU12": 0.2 * time}), time, rate=30)
    known = found["AU12"].notna().to_numpy()
    assert np.allclose(np.diff(at), 1 / 30)
    assert np.allclose(found["AU12"][known], 0.2 * at[known])
    assert np.array_equal(known, (at <= time[49] + 1e-6) | (at >= time[50] - 1e-6))


def test_stretches_part_where_steps_are_long() -> None:
    assert [(part.start, part.stop) for part in stretches(np.array([0, 0.1, 0.4, 0.5]), 0.25)] == [(0, 2), (2, 4)]
    assert list(stretches(np.array([]))) == []


def test_bad_input_is_refused() -> None:
    scores = pd.DataFrame({"AU12": [0.1, 0.2, 0.3]})
    with pytest.raises(InputError, match=r"times go back at row 2, from 0.2 to 0.1 s"):
        smooth(scores, [0, 0.2, 0.1])
    with pytest.raises(InputError, match="row 1 has no time"):
        fill_gaps(scores, [0, np.nan, 1])
    with pytest.raises(ValueError, match="method must be one of median, savgol, loess"):
        smooth(scores, [0, 1, 2], "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="window must be positive"):
        smooth(scores, [0, 1, 2], window=0)
    with pytest.raises(ValueError, match="rate must be positive"):
        resample(scores, [0, 1, 2], 0)
