"""What a page shows of one recording: its persons, their AUs over time, and the events in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import AUS, FACEBOX, LANDMARKS, POSE, known_aus
from fgnet_plugin.measures.events import find_events
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.tables import read_pieces
from fgnet_plugin.utils.text import counted, plural

NEEDED = [
    "input",
    "frame",
    "time",
    "approx_time",
    *FACEBOX,
    *LANDMARKS,
    *POSE[:3],
    *AUS,
    "Identity",
    "FrameHeight",
    "FrameWidth",
]
"""The columns of a table that a page is made of."""
MOST_PERSONS = 12
_BRIEF = 0.02  # share of a recording's frames below which a person is left out, as passers-by are
_GAP = 2.5  # times the usual step between frames


@dataclass(frozen=True)
class Event:
    """An event of `fgnet_plugin.measures.find_events`, in places of the recording's frames: the last is part of it."""

    au: str
    onset: int
    apex: int
    offset: int
    score: float
    """At the apex."""


@dataclass(frozen=True, eq=False)
class Person:
    """One person of a recording; `places` are those of the frames in which the face was found."""

    label: str
    places: Integers
    """[k] rising places among the recording's frames."""
    rows: pd.DataFrame
    """[k] rows of the table."""
    events: list[Event] = field(default_factory=list)

    def spread(self, column: str, length: int) -> Floats:
        """Return a column for every frame of the recording [length], NaN where the face was not found."""
        values = np.full(length, np.nan)
        if column in self.rows:
            values[self.places] = self.rows[column].to_numpy(float)
        return values


@dataclass(frozen=True, eq=False)
class Timeline:
    """A recording, or a picture, as its rows of a table tell it."""

    input: str
    frames: Integers
    """[n] numbers of the frames that have rows."""
    times: Floats
    """[n] seconds, or numbers of frames where the table has no times."""
    timed: bool
    """Whether `times` are seconds."""
    aus: list[str]
    persons: list[Person]
    boxes: dict[int, Floats]
    """Place of a frame -> [faces, 4] left, top, width and height of all faces in it, in pixels."""
    notes: list[str]
    """What is left out or guessed, in sentences."""

    @property
    def is_picture(self) -> bool:
        """Whether there is one frame only."""
        return len(self.frames) == 1

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last; NaN where unknown."""
        if not self.timed or self.is_picture:
            return math.nan
        return float(self.times[-1] - self.times[0] + self.step)

    @property
    def step(self) -> float:
        """The usual time from a frame to the next."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    @property
    def share_with_face(self) -> float:
        """Share of the frames in which any face was found."""
        return len(self.boxes) / len(self.frames)

    def breaks(self) -> Integers:
        """Find the places after which frames are missing: the next one comes much later than usual."""
        steps = np.diff(self.times)
        return np.flatnonzero(steps > _GAP * self.step) if len(steps) else np.empty(0, int)


Pieces = Callable[[Sequence[str]], Iterable[pd.DataFrame]]
"""Gives a table that is not in one file in pieces, each with those of the named columns that it has."""


def pieces_of(table: pd.DataFrame | Path | Pieces, columns: Sequence[str]) -> Iterable[pd.DataFrame]:
    """Give a table in pieces."""
    if isinstance(table, Path):
        return read_pieces(table, columns)
    return [pd.DataFrame(table)] if isinstance(table, pd.DataFrame) else table(columns)


def timelines(table: pd.DataFrame | Path | Pieces, threshold: float = 0.5) -> Iterator[Timeline]:
    """Read the recordings of a table, in its order, in which rows of one input follow one another; one is in memory at a time.

    Args:
        table: of ``fgnet detect`` or a `Fex`: in memory, its .csv or .parquet file, or in pieces.
        threshold: score from which an AU counts as present.

    Raises:
        InputError: a table without rows, AUs or frame numbers.
    """
    name, kept = "", list[pd.DataFrame]()
    for piece in pieces_of(table, NEEDED):
        if "frame" not in piece or not any(au in piece for au in AUS):
            raise InputError(
                "the table has no column frame, or no AUs: give one of fgnet detect, or a Fex with input and frame"
            )
        inputs = piece["input"].astype(str) if "input" in piece else pd.Series("", piece.index)
        for change, rows in piece.groupby((inputs != inputs.shift()).cumsum(), sort=False):
            del change
            current = str(inputs[rows.index[0]])
            if kept and current != name:
                yield of_rows(name, pd.concat(kept, ignore_index=True), threshold)
                kept = []
            name = current
            kept.append(rows)
    if not kept:
        raise InputError("the table has no rows")
    yield of_rows(name, pd.concat(kept, ignore_index=True), threshold)


def of_rows(name: str, rows: pd.DataFrame, threshold: float = 0.5) -> Timeline:
    """Make a recording of its rows; see `timelines`."""
    rows = rows.sort_values("frame", kind="stable").reset_index(drop=True)
    frames, places = np.unique(rows["frame"].to_numpy(int), return_inverse=True)
    times, timed = _times(rows, places, len(frames))
    found = (
        rows["FaceRectX"].notna().to_numpy() if "FaceRectX" in rows else rows[known_aus(rows)].notna().any(axis=1).to_numpy()
    )
    aus, notes = known_aus(rows), list[str]()
    persons = [
        Person(person.label, person.places, person.rows, events_of(person, times, timed, aus, threshold))
        for person in _persons(rows, places, found, len(frames), notes)
    ]
    if not timed and len(frames) > 1:
        notes.append("The table has no times: numbers of frames take their place.")
    elif timed and "time" not in rows and len(frames) > 1:
        notes.append("The table has no exact times (--columns with time): they are whole seconds and frame numbers in between.")
    return Timeline(name, frames, times, timed, aus, persons, _boxes(rows, places, found), notes)


def events_of(person: Person, times: Floats, timed: bool, aus: list[str], threshold: float) -> list[Event]:
    """Find the events of each AU by `find_events`, in order of their first frames; of one frame, the AUs over the threshold."""
    if len(times) == 1:
        scores = {au: float(person.rows[au].iloc[0]) for au in aus}
        return [Event(au, 0, 0, 0, score) for au, score in scores.items() if score >= threshold]
    shortest = {} if timed else {"min_duration": 0.0, "min_gap": 0.0, "max_gap": _GAP}
    found = find_events(person.rows[aus].reset_index(drop=True), times[person.places], threshold, **shortest)
    onset, apex, offset = person.places[found[["first_row", "apex_row", "last_row"]].to_numpy(int).T]
    events = [
        Event(str(au), int(first), int(best), int(last), float(peak))
        for au, first, best, last, peak in zip(found["AU"], onset, apex, offset, found["peak"], strict=True)
    ]
    return sorted(events, key=lambda event: (event.onset, event.au))


def _times(rows: pd.DataFrame, places: npt.NDArray[np.intp], count: int) -> tuple[Floats, bool]:
    """Return the time of each frame [count], and whether they are seconds."""
    first = np.full(count, -1)
    first[places[::-1]] = np.arange(len(rows))[::-1]
    of_frame = rows.iloc[first]
    if "time" in rows and of_frame["time"].notna().all():
        return of_frame["time"].to_numpy(float), True
    if "approx_time" in rows and count > 1:
        parts = of_frame["approx_time"].astype(str).str.extract(r"^(\d+):(\d+)(?::(\d+))?$").astype(float)
        if parts[[0, 1]].notna().all(axis=None):
            whole = np.where(parts[2].notna(), parts[0] * 3600 + parts[1] * 60 + parts[2].fillna(0), parts[0] * 60 + parts[1])
            frames = of_frame["frame"].to_numpy(float)
            if whole[-1] > whole[0] and (np.diff(whole) >= 0).all():
                # Whole seconds alone would put many frames at one time: a line through them is off by less than a second.
                slope, offset = np.polyfit(frames, whole + 0.5, 1)
                return np.maximum.accumulate(slope * frames + offset), True
    return of_frame["frame"].to_numpy(float), False


def _persons(
    rows: pd.DataFrame, places: npt.NDArray[np.intp], found: npt.NDArray[np.bool_], count: int, notes: list[str]
) -> Iterator[Person]:
    """Tell the persons apart by the column Identity; without it, take the largest face of each frame."""
    if not found.any():
        return
    faces, at = rows[found], places[found]
    if count == 1:
        order = np.argsort(faces["FaceRectX"].to_numpy(), kind="stable") if "FaceRectX" in faces else np.arange(len(faces))
        for number, i in enumerate(order, start=1):
            yield Person(f"face {number}" if len(order) > 1 else "the face", at[[i]], faces.iloc[[i]])
        return
    if "Identity" in faces and faces["Identity"].notna().any():
        sizes = faces["Identity"].value_counts(sort=True)
        kept = [label for label, size in sizes.items() if size >= max(_BRIEF * count, 2)][:MOST_PERSONS] or [sizes.index[0]]
        for label in kept:
            mine = (faces["Identity"] == label).to_numpy()
            once = ~pd.Series(at[mine]).duplicated().to_numpy()
            yield Person(str(label), at[mine][once], faces[mine][once])
        others = len(faces) - int(faces["Identity"].isin(kept).sum())
        if others:
            are = plural(others, "is", "are")
            notes.append(
                f"{counted(others, 'face')} of persons who are seen briefly, or whom nobody told apart, {are} not shown."
            )
        return
    width = faces["FaceRectWidth"].to_numpy() if "FaceRectWidth" in faces else np.zeros(len(faces))
    order = np.lexsort([-width, at])
    once = ~pd.Series(at[order]).duplicated().to_numpy()
    chosen = order[once]
    if len(chosen) < len(faces):
        notes.append(
            f"The table tells no persons apart: the largest face of each frame is shown, {len(faces) - len(chosen)} are not."
        )
    yield Person("the largest face" if len(chosen) < len(faces) else "the face", at[chosen], faces.iloc[chosen])


def _boxes(rows: pd.DataFrame, places: npt.NDArray[np.intp], found: npt.NDArray[np.bool_]) -> dict[int, Floats]:
    columns = FACEBOX[:4]
    if not set(columns) <= set(rows):
        return {int(place): np.empty((0, 4)) for place in np.unique(places[found])}
    values = rows.loc[found, columns].to_numpy(float)
    at = places[found]
    order = np.argsort(at, kind="stable")
    edges = np.flatnonzero(np.diff(at[order])) + 1
    parts = np.split(order, edges) if len(order) else []
    return {int(at[part[0]]): values[part] for part in parts}
