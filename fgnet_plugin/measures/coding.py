"""Codings: which AUs happen when in a recording, as people code them, and as a detector's table says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.events import find_events
from fgnet_plugin.measures.recordings import Recording

_AU = re.compile(r"au[ _]?0*(\d{1,2})\b.*|0*(\d{1,2})", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Coding:
    """The events of one person in one recording."""

    recording: str
    """Path or name of the video."""
    aus: tuple[str, ...]
    """The AUs that were coded: where they have no event, they are absent; others are unknown."""
    events: pd.DataFrame
    """A row for each event: "AU"; "onset" and "offset" in seconds, the latter exclusive; equal for an event of one moment."""
    length: float = 0.0
    """Seconds of the recording; 0 where unknown."""
    rate: float = 0.0
    """Frames per second; 0 where unknown."""


def au_of(text: str) -> str | None:
    """Read the AU from what coders call a tier or a behaviour; None where it names none.

    Example:
        >>> au_of("AU 12"), au_of("au6"), au_of("4"), au_of("AU25 lips part"), au_of("speech")
        ('AU12', 'AU06', 'AU04', 'AU25', None)
    """
    found = _AU.fullmatch(text.strip())
    return f"AU{int(found[1] or found[2]):02d}" if found else None


def code_recording(
    recording: Recording,
    threshold: float | Mapping[str, float] | None = None,
    *,
    aus: Sequence[str] | None = None,
    min_duration: float = 0.1,
    min_gap: float = 0.1,
) -> Coding:
    """Find the events of a recording, as a coder would note them.

    Args:
        recording: of `read_recordings`.
        threshold: see `find_events`; by default the recording's own.
        aus: only these; by default all that have a score in some frame.
        min_duration, min_gap: seconds; see `find_events`.

    Raises InputError for an AU that the recording lacks.
    """
    known = [str(au) for au in recording.scores if recording.scores[au].notna().any()]
    lacking = [au for au in aus or () if au not in known]
    if lacking:
        raise InputError(f"{recording.name} has no scores of {', '.join(lacking)}; it has those of {', '.join(known)}")
    scores = recording.scores[list(aus or known)]
    limits = {au: recording.thresholds[au] for au in map(str, scores)} if threshold is None else threshold
    events = find_events(scores, recording.time, limits, min_duration=min_duration, min_gap=min_gap)
    step = _frame_step(recording)
    length = float(recording.time[-1] + step) if len(recording) else 0.0
    return Coding(recording.name, tuple(map(str, scores)), events, length, 1 / step if step else 0.0)


def frame_labels(coding: Coding, recording: Recording) -> pd.DataFrame:
    """Tell which AUs are present in each frame, as `comparison.compare` takes labels.

    A frame has an AU if the middle of the time for which it is shown lies within an event: times that a coder's program rounds
    to milliseconds, or sets between two frames, lead to the same frames.

    Args:
        coding: of the recording.
        recording: its frames, of `read_recordings`.

    Returns:
        A row for each frame of the recording: "input", "frame" where the table has it, the face's box where it has one, and
        each AU of the coding, 1.0 or 0.0.

    Example:
        >>> from fgnet_plugin.measures.recordings import read_recordings
        >>> [recording] = read_recordings(pd.DataFrame({"input": "a.mp4", "frame": range(4), "AU12": 0.0}), rate=25)
        >>> coding = Coding("a.mp4", ("AU12",), pd.DataFrame({"AU": ["AU12"], "onset": [0.04], "offset": [0.1199]}))
        >>> frame_labels(coding, recording)["AU12"].tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    step = _frame_step(recording)
    middle = recording.time + step / 2
    labels = recording.rows[[name for name in recording.rows if name in _PLACE]].copy()
    labels["input"] = recording.name
    for au in coding.aus:
        present = np.zeros(len(middle))
        for onset, offset in coding.events.loc[coding.events["AU"] == au, ["onset", "offset"]].to_numpy(float):
            shown = (middle >= onset) & (middle < offset) if offset > onset else np.abs(middle - onset) <= step / 2
            present[shown] = 1.0
        labels[au] = present
    return labels


def label_recordings(codings: Sequence[Coding], recordings: Iterable[Recording]) -> tuple[pd.DataFrame, list[str]]:
    """Tell which AUs are present in each frame of several recordings.

    A coding belongs to the recording of the same file name, with or without suffix; one alone to the only recording.

    Args:
        codings: of `read_codings`.
        recordings: of `read_recordings`.

    Returns:
        The rows of `frame_labels`, AUs that were not coded in a recording being NaN there; and what to tell of codings and
        recordings that have no counterpart.

    Raises InputError where no coding is of one of the recordings, or two are of the same.
    """
    given = list(recordings)
    said, parts = [], []
    if len(codings) == len(given) == 1:
        pairs = {given[0].name: codings[0]}
        if _stem(codings[0].recording) != _stem(given[0].name):
            said.append(f"the coding names {codings[0].recording or 'no video'}, and is taken for one of {given[0].name}")
    else:
        by_stem: dict[str, Coding] = {}
        for coding in codings:
            if _stem(coding.recording) in by_stem:
                raise InputError(f"two codings are of {coding.recording}: give them one at a time")
            by_stem[_stem(coding.recording)] = coding
        pairs = {recording.name: by_stem[_stem(recording.name)] for recording in given if _stem(recording.name) in by_stem}
        said += [f"{recording.name} has no coding, and is left out" for recording in given if recording.name not in pairs]
        unused = [coding for coding in codings if coding not in pairs.values()]
        said += [f"the coding of {coding.recording} is left out: the table has no such recording" for coding in unused]
    parts = [frame_labels(pairs[recording.name], recording) for recording in given if recording.name in pairs]
    if not parts:
        names = ", ".join(recording.name for recording in given[:3])
        raise InputError(f"none of the codings is of a recording of the table ({names}): their videos need the same names")
    return pd.concat(parts, ignore_index=True), said


_PLACE = ("frame", "FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")


def _frame_step(recording: Recording) -> float:
    """Compute how long a frame is shown, in seconds, also where the table has only every so many-th; 0 for a single frame."""
    if len(recording) < 2:
        return 0.0
    steps = np.diff(recording.time)
    if "frame" in recording.rows:
        steps = steps / np.maximum(np.diff(pd.to_numeric(recording.rows["frame"]).to_numpy(float)), 1)
    return float(np.median(steps))


def _stem(name: str) -> str:
    """Take the file name without folders and suffix, in lower case."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return (last.rpartition(".")[0] or last).casefold()
