"""Find when AUs come and go: events with onset, apex and offset, how often they happen, and which happen together."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.signal import MAX_GAP, check_times, stretches
from fgnet_plugin.utils.arrays import Floats

EVENT_COLUMNS = (
    *("AU", "onset", "apex", "offset", "duration", "rise", "decay", "peak", "mean"),
    *("first_row", "apex_row", "last_row", "complete"),
)


def frame_durations(time: Floats, max_gap: float = MAX_GAP) -> Floats:
    """Compute how long each of n frames lasts, in seconds: until the next one.

    The last frame before a gap and at the end lasts the median step of its stretch; a stretch of one frame has no duration.

    Example:
        >>> frame_durations(np.array([0.0, 0.1, 0.2, 5.0])).round(3).tolist()
        [0.1, 0.1, 0.1, 0.0]
    """
    durations = np.zeros(len(time))
    for part in stretches(time, max_gap):
        steps = np.diff(time[part])
        durations[part] = np.append(steps, np.median(steps)) if len(steps) else 0.0
    return durations


def find_events(
    scores: pd.DataFrame,
    time: npt.ArrayLike,
    threshold: float | Mapping[str, float] = 0.5,
    *,
    release: float = 0.8,
    min_duration: float = 0.1,
    min_gap: float = 0.1,
    max_gap: float = MAX_GAP,
) -> pd.DataFrame:
    """Find the events of each AU by hysteresis.

    An event is a stretch of frames with scores of at least ``release * threshold`` of which one reaches `threshold`: a score
    that trembles around the threshold makes one event, not many. Events with less than `min_gap` seconds between them are then
    joined, and those shorter than `min_duration` dropped. Frames with an unknown score are passed over up to `max_gap`
    seconds; a longer gap ends an event.

    Args:
        scores: [n, AUs], NaN where unknown.
        time: [n] seconds, rising.
        threshold: score that an event must reach, for all AUs or AU by AU.
        release: share of the threshold below which an event ends, in (0, 1].
        min_duration, min_gap, max_gap: seconds.

    Returns:
        A row for each event, by AU (in the order of the columns) and onset: ``onset`` (time of its first frame), ``apex`` (of
        its highest score, the first of several), ``offset`` (end of its last frame), ``duration`` = offset − onset, ``rise`` =
        apex − onset, ``decay`` = offset − apex, all in seconds; ``peak`` and ``mean`` of its scores; ``first_row``,
        ``apex_row``, ``last_row`` (from 0); ``complete``: False if it touches a gap, the start or the end, so that its true
        duration is unknown.

    Raises:
        InputError: times that go back, or a threshold of an AU that `scores` lacks.
        ValueError: `release` out of range, or a threshold that is not positive.

    Example:
        >>> smile = pd.DataFrame({"AU12": [0.1, 0.45, 0.9, 0.6, 0.1]})
        >>> find_events(smile, [0, 0.1, 0.2, 0.3, 0.4])[["onset", "apex", "peak", "complete"]].to_dict("records")
        [{'onset': 0.1, 'apex': 0.2, 'peak': 0.9, 'complete': True}]
    """
    if not 0 < release <= 1:
        raise ValueError(f"release must lie in (0, 1], got {release}")
    times = check_times(time)
    limits = dict.fromkeys(map(str, scores), 0.5)
    if isinstance(threshold, Mapping):
        if unknown := sorted(set(threshold) - set(limits)):
            raise InputError(f"thresholds name {unknown[0]}, which the table lacks; it has {', '.join(limits)}")
        limits.update(threshold)
    else:
        limits = dict.fromkeys(limits, float(threshold))
    if any(not limit > 0 for limit in limits.values()):
        raise ValueError(f"thresholds must be positive, got {min(limits.values())}")
    rows = []
    for au in limits:
        values = scores[au].to_numpy(np.float64)
        known = np.flatnonzero(np.isfinite(values))
        lasting = frame_durations(times[known], max_gap)
        for part in stretches(times[known], max_gap):
            frames = known[part]
            found = _in_stretch(values[frames], times[frames], lasting[part], limits[au], release, min_duration, min_gap)
            rows += [(au, *event[:8], *(int(frames[row]) for row in event[8:11]), event[11]) for event in found]
    return pd.DataFrame(rows, columns=list(EVENT_COLUMNS))


def _in_stretch(
    values: Floats, time: Floats, lasting: Floats, threshold: float, release: float, min_duration: float, min_gap: float
) -> list[tuple[Any, ...]]:
    """Find the events of one AU in a stretch without gaps; times are those of `EVENT_COLUMNS`, rows are of the stretch."""
    active = np.concatenate([[False], values >= release * threshold, [False]])
    edges = np.flatnonzero(np.diff(active))
    runs = [(start, end - 1) for start, end in edges.reshape(-1, 2) if values[start:end].max() >= threshold]
    ends = time + lasting
    joined: list[tuple[int, int]] = []
    for start, last in runs:
        if joined and time[start] - ends[joined[-1][1]] < min_gap - 1e-9:
            joined[-1] = joined[-1][0], last
        else:
            joined.append((start, last))
    events = []
    for start, last in joined:
        onset, offset = time[start], ends[last]
        if offset - onset < min_duration - 1e-9:
            continue
        apex = start + int(values[start : last + 1].argmax())
        shape = (offset - onset, time[apex] - onset, offset - time[apex], values[apex], values[start : last + 1].mean())
        complete = start > 0 and last < len(values) - 1
        events.append((onset, time[apex], offset, *shape, start, apex, last, complete))
    return events


def event_measures(events: pd.DataFrame, seconds: Mapping[str, float]) -> pd.DataFrame:
    """Summarise events AU by AU.

    Args:
        events: of `find_events`.
        seconds: AU -> time that was observed.

    Returns:
        A row for each AU: ``events``; ``events_per_minute`` of observed time; ``event_duration``, ``event_rise`` and
        ``event_decay``, means over the complete events, in seconds, NaN without one.

    Example:
        >>> events = find_events(pd.DataFrame({"AU12": [0.0, 0.9, 0.9, 0.0]}), [0, 0.1, 0.2, 0.3])
        >>> event_measures(events, {"AU12": 30.0}).loc["AU12", "events_per_minute"].item()
        2.0
    """
    aus = list(seconds)
    count = events.groupby("AU").size().reindex(aus, fill_value=0)
    whole = events[events["complete"].astype(bool)].groupby("AU")[["duration", "rise", "decay"]].mean().reindex(aus)
    minutes = pd.Series(seconds, dtype=float) / 60
    table = pd.DataFrame({"events": count, "events_per_minute": (count / minutes).where(minutes > 0)})
    return table.assign(**{f"event_{name}": whole[name] for name in whole}).rename_axis("AU")


def overlap(
    scores: pd.DataFrame, time: npt.ArrayLike, threshold: float | Mapping[str, float] = 0.5, max_gap: float = MAX_GAP
) -> pd.DataFrame:
    """Measure for each pair of AUs how much of the time they are present together, such as AU6 with AU12.

    Args:
        scores: [n, AUs], NaN where unknown; a frame counts for a pair that is known in it.
        time: [n] seconds; frames count by how long they last.
        threshold: from which an AU counts as present, for all or AU by AU (0.5 for those not named).
        max_gap: seconds after which a new stretch begins.

    Returns:
        A row for each pair: ``AU_a``, ``AU_b``, ``seconds`` (both known), ``both`` and ``either`` (seconds present),
        ``jaccard`` = both / either, ``a_given_b`` and ``b_given_a`` = both / seconds of the other, ``expected`` = share of a ×
        share of b, which both / seconds would be if they were independent. NaN where a divisor is 0.

    Example:
        >>> pair = overlap(pd.DataFrame({"AU06": [0, 1, 1, 0], "AU12": [0, 1, 1, 1]}), [0, 0.1, 0.2, 0.3])
        >>> pair[["AU_a", "AU_b", "a_given_b"]].round(2).to_dict("records")
        [{'AU_a': 'AU06', 'AU_b': 'AU12', 'a_given_b': 0.67}]
    """
    times = check_times(time)
    lasting = frame_durations(times, max_gap)
    limits = threshold if isinstance(threshold, Mapping) else dict.fromkeys(scores, threshold)
    rows = []
    for a, b in combinations(map(str, scores), 2):
        x, y = scores[a].to_numpy(np.float64), scores[b].to_numpy(np.float64)
        weights = np.where(np.isfinite(x) & np.isfinite(y), lasting, 0.0)
        present_a, present_b = x >= limits.get(a, 0.5), y >= limits.get(b, 0.5)
        total, of_a, of_b = (float(weights @ present) for present in (np.ones(len(x)), present_a, present_b))
        both = float(weights @ (present_a & present_b))
        either = of_a + of_b - both
        shares = [_share(both, divisor) for divisor in (either, of_b, of_a)]
        rows.append((a, b, total, both, either, *shares, _share(of_a * of_b, total * total)))
    columns = ["AU_a", "AU_b", "seconds", "both", "either", "jaccard", "a_given_b", "b_given_a", "expected"]
    return pd.DataFrame(rows, columns=columns)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
