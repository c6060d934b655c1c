"""Agreement of AU scores with human coders: on base rates, frame by frame, and on events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

from fgnet_plugin.action_units import by_number, facs_name
from fgnet_plugin.comparison.agreement import intraclass_correlation
from fgnet_plugin.comparison.openface import AU_COLUMN
from fgnet_plugin.comparison.tables import UNCODED
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.events import find_events
from fgnet_plugin.measures.recordings import Recording, read_recordings
from fgnet_plugin.measures.steps import gap_of
from fgnet_plugin.utils.arrays import Floats

_SAME_FRAME = 1e-3  # seconds; coded frames are found by their times
_MIDDLE = 0.5


@dataclass(frozen=True, eq=False)
class CoderAgreement:
    """Result of `agree_with_coders`."""

    base_rates: pd.DataFrame
    """A row for each AU: ``AU``, ``name``, ``recordings``, ``icc`` (ICC(A,1) of both base rates over the recordings), ``coded``
    and ``detected`` (mean base rates)."""
    frames: pd.DataFrame
    """A row for each AU: ``AU``, ``name``, ``n`` (frames coded and detected), ``kappa`` (Cohen), ``mcc`` (Matthews
    correlation); NaN where undefined: kappa where both give the same one value, MCC where one of both gives only one."""
    events: pd.DataFrame
    """A row for each AU: ``AU``, ``name``, ``coded`` and ``detected`` (numbers of events), ``matched``, ``precision``,
    ``recall``, ``f1``, ``onset_error`` (mean of detected − coded onset of the matched, in seconds); NaN where undefined."""


def agree_with_coders(
    detected: Mapping[str, Recording], coded: Mapping[str, Recording], *, tolerance: float = 0.5, min_duration: float = 0.1
) -> CoderAgreement:
    """Compare a detector's recordings with the same ones coded by people.

    Only frames count that both have (times alike to a millisecond) and in which both know the AU. Events of both are found in
    these frames (see `events.find_events`); a detected and a coded event are a match if their onsets differ by at most
    `tolerance`, each at most once, the nearest first overall.

    Args:
        detected: name -> recording.
        coded: name -> recording whose scores are 1, 0 or NaN.
        tolerance: seconds between onsets.
        min_duration: of events, in seconds.

    Raises:
        InputError: no recording, frame or AU in common.

    Example:
        >>> from fgnet_plugin.measures.recordings import read_recordings
        >>> table = pd.DataFrame({"input": "a.mp4", "frame": range(6), "AU12": [0.1, 0.2, 0.8, 0.9, 0.2, 0.1]})
        >>> codes = table.assign(AU12=[0, 0, 1, 1, 1, 0])
        >>> read = [{one.name: one for one in read_recordings(rows, rate=10)} for rows in (table, codes)]
        >>> agree_with_coders(*read).events[["coded", "detected", "matched"]].to_dict("records")
        [{'coded': 1, 'detected': 1, 'matched': 1}]
    """
    names = [name for name in detected if name in coded]
    if not names:
        raise InputError(
            f"the coded recordings ({', '.join(list(coded)[:3])}) and the detected ones ({', '.join(list(detected)[:3])}) have"
            " no name in common"
        )
    aus = by_number(_aus(detected, names) & _aus(coded, names))
    if not aus:
        raise InputError(f"no AU is both coded ({', '.join(by_number(_aus(coded, names)))}) and detected")
    shared = {name: _shared_frames(detected[name], coded[name]) for name in names}
    if not any(len(frames[0]) for frames in shared.values()):
        raise InputError("no frame is both coded and detected: their times differ")
    base_rates, frames, events = [], [], []
    for au in aus:
        pairs = [_pair(detected[name], coded[name], shared[name], au) for name in names]
        rates = np.array([(x.mean(), y.mean()) for x, y, _ in pairs if len(x)]).reshape(-1, 2)
        present, truth = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
        mean = rates.mean(axis=0) if len(rates) else np.full(2, math.nan)
        base_rates.append((au, facs_name(au), len(rates), intraclass_correlation(rates), mean[1], mean[0]))
        frames.append((au, facs_name(au), len(truth), *_of_frames(truth, present)))
        gaps = [gap_of(detected[name]) for name in names]
        events.append((au, facs_name(au), *_of_events(pairs, gaps, tolerance, min_duration)))
    return CoderAgreement(
        pd.DataFrame(base_rates, columns=["AU", "name", "recordings", "icc", "coded", "detected"]),
        pd.DataFrame(frames, columns=["AU", "name", "n", "kappa", "mcc"]),
        pd.DataFrame(
            events,
            columns=["AU", "name", "coded", "detected", "matched", "precision", "recall", "f1", "onset_error"],
        ),
    )


def read_codes(table: pd.DataFrame, rate: float | None = None) -> dict[str, Recording]:
    """Read a table coded by people, frame by frame, as recordings for `agree_with_coders`.

    Args:
        table: with ``input``, ``frame``, seconds (``time``) or a `rate`, and AUs: 1, 0, or NaN, -1 or 9 where not coded.
        rate: frames per second.

    Example:
        >>> codes = read_codes(pd.DataFrame({"input": "a.mp4", "frame": range(3), "AU12": [0, 9, 1]}), rate=10)
        >>> codes["a.mp4"].present["AU12"].tolist()
        [0.0, nan, 1.0]
    """
    aus = [column for column in table if AU_COLUMN.fullmatch(str(column).strip())]
    coded = table.assign(**{str(au): table[au].mask(table[au].isin(UNCODED)) for au in aus})
    return {recording.name: recording for recording in read_recordings(coded, rate=rate)}


def match_onsets(detected: npt.ArrayLike, coded: npt.ArrayLike, tolerance: float) -> list[tuple[int, int]]:
    """Pair detected onsets [n] with coded ones [m] that are at most `tolerance` apart: as many as possible, then the nearest.

    Example:
        >>> match_onsets([1.0, 5.0], [1.2, 9.0], tolerance=0.5)
        [(0, 0)]
    """
    distance = np.abs(np.subtract.outer(np.asarray(detected, float), np.asarray(coded, float)))
    near = distance <= tolerance + 1e-9
    far = 1 + min(distance.shape) * (tolerance + 1)  # one match more outweighs any sum of distances
    rows, columns = linear_sum_assignment(np.where(near, distance, far))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if near[i, j]]


def _aus(recordings: Mapping[str, Recording], names: list[str]) -> set[str]:
    return {str(au) for name in names for au in recordings[name].scores}


def _shared_frames(detected: Recording, coded: Recording) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows of both that are the same frame."""
    nearest = np.clip(np.searchsorted(detected.time, coded.time - _SAME_FRAME), 0, max(len(detected) - 1, 0))
    if not len(detected) or not len(coded):
        return nearest[:0], nearest[:0]
    same = np.abs(detected.time[nearest] - coded.time) <= _SAME_FRAME
    return nearest[same], np.flatnonzero(same)


def _pair(
    detected: Recording, coded: Recording, rows: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], au: str
) -> tuple[Floats, Floats, Floats]:
    """Return presence by the detector and by the coder, and the times, in the frames in which both are known."""
    if au not in detected.present or au not in coded.present:
        return np.empty(0), np.empty(0), np.empty(0)
    x, y = detected.present[au].to_numpy()[rows[0]], coded.present[au].to_numpy()[rows[1]]
    both = np.isfinite(x) & np.isfinite(y)
    return x[both], y[both], detected.time[rows[0]][both]


def _of_frames(truth: Floats, present: Floats) -> tuple[float, float]:
    varied = len(truth) > 0 and bool(np.ptp(truth)), len(truth) > 0 and bool(np.ptp(present))
    kappa = float(cohen_kappa_score(truth, present)) if any(varied) else math.nan
    return kappa, float(matthews_corrcoef(truth, present)) if all(varied) else math.nan


def _of_events(
    pairs: list[tuple[Floats, Floats, Floats]], gaps: list[float], tolerance: float, min_duration: float
) -> tuple[float, ...]:
    coded = detected = 0
    errors: list[float] = []
    for (present, truth, time), gap in zip(pairs, gaps, strict=True):
        tables = (
            find_events(pd.DataFrame({"AU": values}), time, _MIDDLE, min_duration=min_duration, max_gap=gap)
            for values in (present, truth)
        )
        found, expected = (table["onset"].to_numpy(np.float64) for table in tables)
        detected, coded = detected + len(found), coded + len(expected)
        errors += [float(found[i] - expected[j]) for i, j in match_onsets(found, expected, tolerance)]
    matched = len(errors)
    precision, recall = (matched / count if count else math.nan for count in (detected, coded))
    f1 = 2 * matched / (detected + coded) if detected + coded else math.nan
    return coded, detected, matched, precision, recall, f1, float(np.mean(errors)) if errors else math.nan
