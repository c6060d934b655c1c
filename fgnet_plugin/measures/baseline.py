"""A person's own baseline: scores relative to the same person's neutral face."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.design import match_names, name_column, read_text_table
from fgnet_plugin.measures.recordings import Recording
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.text import counted

Scale = Literal["difference", "z", "logit"]
_FEW = 10  # frames below which a baseline is hardly one
_NO_SPREAD = 1e-6  # of scores that do not move; they are kept as float32
_LEAST, _MOST = 1e-4, 1 - 1e-4  # scores between which logits are taken


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a subject's scores are compared with."""

    centre: pd.DataFrame
    """[subjects, AUs] median of the neutral frames or a low quantile of all frames."""
    spread: pd.DataFrame
    """[subjects, AUs] standard deviation of the neutral frames, or of all frames with a quantile."""
    frames: pd.Series
    """[subjects] number of frames it was made of."""
    source: str
    """How it was made, in words."""

    def apply(self, recording: Recording, subject: str, scale: Scale = "difference") -> Recording:
        """Express a recording's scores relative to its subject's baseline.

        With the score s, centre c and spread d of the subject: difference s − c; z (s − c) / d; logit: ln(s / (1 − s)) −
        ln(c / (1 − c)), with s and c kept within 0.0001 and 0.9999. z is NaN where d is 0. ``present`` and its thresholds stay
        those of the scores as they were. The result's ``attrs["baseline"]`` says what was done.

        Raises:
            InputError: a subject without a baseline.
            ValueError: an unknown scale.
        """
        if scale not in get_args(Scale):
            raise ValueError(f"scale must be one of {', '.join(get_args(Scale))}, got {scale!r}")
        if subject not in self.centre.index:
            raise InputError(f"{recording.name}: no baseline of the subject {subject!r}")
        centre = self.centre.loc[subject].reindex(recording.scores.columns)
        if scale == "difference":
            scores = recording.scores - centre
        elif scale == "z":
            spread = self.spread.loc[subject].reindex(recording.scores.columns)
            scores = (recording.scores - centre) / spread.where(spread > _NO_SPREAD)
        else:
            scores = _logit(recording.scores) - _logit(centre)
        about = {"scale": scale, "source": self.source, "subject": subject, "frames": int(self.frames[subject])}
        return replace(recording, scores=scores, attrs={**recording.attrs, "baseline": about})


class BaselineBuilder:
    """Gathers the frames that baselines are made of, while recordings pass by.

    Args:
        quantile: in (0, 1): the baseline is this quantile of all frames of a subject, as OpenFace's dynamic models do within
            one video. None to use neutral stretches.
        neutral: recording -> (start, end) in seconds, the stretches in which faces are neutral; see `read_neutral`.

    Exactly one of the two.

    Example:
        >>> builder = BaselineBuilder(neutral={"P1.mp4": (0.0, 2.0)})
        >>> for recording in recordings:  # doctest: +SKIP
        ...     builder.add(recording, subject="P1")
        >>> corrected = builder.build().apply(recording, "P1", "difference")  # doctest: +SKIP
    """

    def __init__(
        self, *, quantile: float | None = None, neutral: Mapping[str, Sequence[tuple[float, float]]] | None = None
    ) -> None:
        if (quantile is None) == (neutral is None):
            raise ValueError("give either a quantile or neutral stretches")
        if quantile is not None and not 0 < quantile < 1:
            raise ValueError(f"quantile must lie between 0 and 1, got {quantile}")
        self._quantile, self._neutral = quantile, neutral
        self._frames: dict[str, list[pd.DataFrame]] = {}
        self._subjects: dict[str, None] = {}

    def add(self, recording: Recording, subject: str) -> None:
        """Take the frames of a recording that count. Raises InputError for a neutral stretch in which no frame has a face."""
        self._subjects[subject] = None
        if self._neutral is None:
            self._keep(subject, recording.scores)
            return
        for start, end in self._neutral.get(recording.name, ()):
            chosen = recording.scores[(recording.time >= start) & (recording.time <= end)]
            where = recording.name if end == math.inf else f"{recording.name}, {start:g} to {end:g} s"
            if not chosen.notna().any(axis=None):
                what = "has no frame with a face" if len(chosen) else "has no frames"
                raise InputError(f"the baseline of {subject}: {where} {what}; choose another neutral stretch")
            self._keep(subject, chosen)

    def _keep(self, subject: str, scores: pd.DataFrame) -> None:
        self._frames.setdefault(subject, []).append(scores.dropna(how="all").astype(np.float32))

    def build(self) -> Baseline:
        """Make the baselines. Raises InputError for a subject without a frame to make one of."""
        lacking = [name for name in self._subjects if not sum(map(len, self._frames.get(name, [])))]
        if lacking:
            what = "a neutral stretch" if self._neutral is not None else "a frame with a face"
            without = counted(len(lacking), "subject has", "subjects have")
            raise InputError(f"{without} no baseline, as none of their recordings has {what}: {lacking[0]}")
        centre, spread, count = {}, {}, {}
        for subject in list(self._frames):
            frames = pd.concat(self._frames.pop(subject)).astype(np.float64)
            centre[subject] = frames.median() if self._quantile is None else frames.quantile(self._quantile)
            spread[subject] = frames.std(ddof=1)
            count[subject] = len(frames)
            if len(frames) < _FEW:
                warnings.warn(f"the baseline of {subject} is made of {counted(len(frames), 'frame')} only", stacklevel=2)
        source = "median of neutral stretches" if self._quantile is None else f"quantile {self._quantile:g} of all frames"
        return Baseline(pd.DataFrame(centre).T, pd.DataFrame(spread).T, pd.Series(count), source)


def read_neutral(
    recordings: Sequence[str], table: pd.DataFrame | str | None = None, pattern: str | None = None
) -> dict[str, list[tuple[float, float]]]:
    """Say which stretches of which recordings are neutral.

    Args:
        recordings: their names.
        table: table or file with columns ``recording``, ``start`` and ``end`` (seconds; without both, whole recordings).
        pattern: text in the names of recordings that are neutral as a whole, such as ``"neutral"``.

    Raises:
        InputError: a row whose recording is not there, an end before its start, or a pattern that no name has.

    Example:
        >>> read_neutral(["P1_neutral.mp4", "P1_film.mp4"], pattern="neutral")
        {'P1_neutral.mp4': [(-inf, inf)]}
    """
    if pattern is not None:
        found = {name: [(-math.inf, math.inf)] for name in recordings if pattern in name}
        if not found:
            raise InputError(f"no recording has {pattern!r} in its name, which should name the neutral ones")
        return found
    if table is None:
        raise ValueError("give a table or a pattern")
    of = "the table of neutral stretches" if isinstance(table, pd.DataFrame) else str(table)
    rows = read_text_table(table)
    column = name_column(rows, of)
    matches = match_names(recordings, rows[column].astype(str).tolist())
    neutral: dict[str, list[tuple[float, float]]] = {}
    starts, ends = (_seconds(rows, name, of, default) for name, default in (("start", -math.inf), ("end", math.inf)))
    for recording, found_rows in matches.items():
        for i in found_rows:
            if not ends[i] > starts[i]:
                raise InputError(f"{of}: the stretch of {recording} ends at {ends[i]:g} s and starts at {starts[i]:g} s")
            neutral.setdefault(recording, []).append((float(starts[i]), float(ends[i])))
    unused = set(range(len(rows))) - {i for found_rows in matches.values() for i in found_rows}
    if unused:
        raise InputError(f"{of}: no recording is called {rows[column].iloc[min(unused)]}")
    return neutral


def _seconds(rows: pd.DataFrame, column: str, of: str, default: float) -> Floats:
    if column not in rows:
        return np.full(len(rows), default)
    values = pd.to_numeric(rows[column], errors="coerce")
    if values.isna().any():
        raise InputError(f"{of}: row {int(values.isna().to_numpy().argmax())} has no number of seconds in the column {column}")
    return values.to_numpy(np.float64)


def _logit(scores: pd.DataFrame | pd.Series) -> pd.DataFrame | pd.Series:
    inside = scores.clip(_LEAST, _MOST)
    return np.log(inside / (1 - inside))
