"""Write the page of a recording: one file without any request to a network."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.comparison.agreement import Comparison
from fgnet_plugin.report.methods import Provenance, citations, methods_paragraph
from fgnet_plugin.report.pictures import Peak, Shown
from fgnet_plugin.report.timeline import Event, Person, Timeline
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.files import atomic_write

MOST_POINTS = 40_000
"""Of a track on the page; of longer recordings, each point is the largest of several frames."""
_UNKNOWN = 65_535
_STEPS = 10_000


def write_page(
    path: Path,
    recording: Timeline,
    made: Provenance,
    threshold: float,
    pictures: Sequence[Shown] = (),
    peaks: Sequence[Peak] = (),
    notes: Sequence[str] = (),
    back: str | None = None,
    comparison: Comparison | None = None,
) -> None:
    """Write the page of a recording.

    Args:
        path: of the .html file.
        recording: what it shows.
        made: how the table was made.
        threshold: score above which an AU is present.
        pictures, peaks: from `Illustrator`.
        notes: sentences about what is left out, beside the recording's own.
        back: address of the study's page, relative to this one.
        comparison: with other AU models or human coders, shown as tables.
    """
    summary = [_summary(person, recording, threshold) for person in recording.persons]
    longest = _longest_gap(recording)
    every = -(-len(recording.frames) // MOST_POINTS)
    if every > 1:
        notes = [*notes, f"The recording is long: each point of the curves is the largest score of {every} frames."]
    recording, pictures, peaks = thinned(recording, every, pictures, peaks)
    data = {
        "timed": recording.timed,
        "threshold": threshold,
        "frames": _packed(recording.frames, np.uint32),
        "times": _packed(recording.times, np.float32),
        "breaks": recording.breaks().tolist(),
        "aus": [{"name": au, "text": NAMES[au_number(au)]} for au in recording.aus],
        "persons": [_person(person, recording) for person in recording.persons],
        "pictures": [{"place": shown.place, "src": shown.source, "scale": shown.scale} for shown in pictures],
    }
    text = (
        environment()
        .get_template("recording.html.jinja")
        .render(
            title=Path(recording.input).name or "recording",
            recording=recording,
            data=embedded(data),
            made=made,
            threshold=threshold,
            summary=summary,
            peaks=peaks,
            names={au: NAMES[au_number(au)] for au in recording.aus},
            notes=[*recording.notes, *notes],
            methods=methods_paragraph([recording], made, threshold),
            citations=citations(made),
            longest=longest,
            back=back,
            agreement=[] if comparison is None else agreement_tables(comparison),
        )
    )
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def thinned(
    recording: Timeline, every: int, pictures: Sequence[Shown], peaks: Sequence[Peak]
) -> tuple[Timeline, Sequence[Shown], Sequence[Peak]]:
    """Make one point of so many frames: of each AU the largest score, of all else the first frame's."""
    if every <= 1:
        return recording, pictures, peaks

    def moved(event: Event) -> Event:
        return replace(event, onset=event.onset // every, apex=event.apex // every, offset=event.offset // every)

    persons = []
    for person in recording.persons:
        of_point = person.rows.groupby(person.places // every)
        rows = of_point.first()
        rows[recording.aus] = of_point[recording.aus].max()
        events = [moved(event) for event in person.events]
        persons.append(Person(person.label, rows.index.to_numpy(int), rows.reset_index(drop=True), events))
    boxes: dict[int, Floats] = {}
    for place, of_frame in recording.boxes.items():
        boxes.setdefault(place // every, of_frame)
    few = replace(recording, frames=recording.frames[::every], times=recording.times[::every], persons=persons, boxes=boxes)
    shown = [replace(picture, place=picture.place // every) for picture in pictures]
    return few, shown, [replace(peak, event=moved(peak.event)) for peak in peaks]


def environment() -> Environment:
    """Return the environment of the page templates; `asset(name)` puts a file of static/ into a page."""
    loaded = Environment(loader=PackageLoader("fgnet_plugin.report"), undefined=StrictUndefined, autoescape=True)
    loaded.globals["asset"] = lambda name: Markup((resources.files("fgnet_plugin.report") / "static" / name).read_text("utf-8"))
    loaded.filters["clock"] = clock
    loaded.filters["percent"] = lambda share: "–" if math.isnan(share) else f"{share:.0%}"
    loaded.filters["score"] = lambda value: "–" if math.isnan(value) else f"{value:.2f}"
    return loaded


def embedded(data: Any) -> Markup:
    """Write data as JSON that may stand in a script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def clock(seconds: float, timed: bool = True) -> str:
    """Write a time as minutes and seconds, or the number of a frame.

    Example:
        >>> clock(75.25), clock(3675.0), clock(12, timed=False)
        ('1:15.25', '1:01:15.00', 'frame 12')
    """
    if not timed:
        return f"frame {seconds:.0f}"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:05.2f}" if hours else f"{minutes}:{rest:05.2f}"


def packed_scores(values: Floats) -> str:
    """Pack scores in [0, 1] into base64 of uint16: ten-thousandths, and 65535 for NaN."""
    return _packed(np.where(np.isfinite(values), np.clip(np.nan_to_num(values), 0, 1) * _STEPS, _UNKNOWN).round(), np.uint16)


def agreement_tables(comparison: Comparison) -> list[tuple[str, list[str], list[list[str]]]]:
    """Make tables of a comparison for a page: caption, columns and rows of text."""
    tables = [("Agreement of models", comparison.agreement)] if len(comparison.agreement) else []
    if comparison.accuracy is not None:
        tables.append((f"Against human codes; 95 % intervals, resampled by {comparison.resampled}", comparison.accuracy))
    shown = []
    for caption, table in tables:
        cells = [[_cell(value) for value in row] for row in table.to_numpy()]
        shown.append((caption, [str(name).replace("_", " ") for name in table], cells))
    return shown


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.2f}"
    return str(value)


def _packed(values: npt.ArrayLike, kind: Any) -> str:
    return base64.b64encode(np.asarray(values).astype(np.dtype(kind).newbyteorder("<")).tobytes()).decode()


def _person(person: Person, recording: Timeline) -> dict[str, Any]:
    length = len(recording.frames)
    boxes = np.full((length, 4), -1.0)
    if "FaceRectX" in person.rows:
        boxes[person.places] = person.rows[["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]].to_numpy(float)
    return {
        "label": person.label,
        "scores": {au: packed_scores(person.spread(au, length)) for au in recording.aus},
        "boxes": _packed(boxes.round().clip(-32000, 32000), np.int16),
        "certainty": packed_scores(person.spread("FaceScore", length)),
        "yaw": _packed(np.nan_to_num(np.degrees(person.spread("Yaw", length)), nan=-999).round(), np.int16),
        "events": [[event.au, event.onset, event.apex, event.offset, round(event.score, 3)] for event in person.events],
    }


def _summary(person: Person, recording: Timeline, threshold: float) -> dict[str, Any]:
    """For each AU of a person: how often, how strong, how long."""
    rows = []
    step = recording.step if recording.timed else math.nan
    seen = len(person.places) * step
    for au in recording.aus:
        scores = person.rows[au].to_numpy(float)
        known = scores[np.isfinite(scores)]
        lengths = [
            recording.times[event.offset] - recording.times[event.onset] + recording.step
            for event in person.events
            if event.au == au
        ]
        rows.append(
            {
                "au": au,
                "present": float((known >= threshold).mean()) if len(known) else math.nan,
                "mean": float(known.mean()) if len(known) else math.nan,
                "most": float(known.max()) if len(known) else math.nan,
                "events": len(lengths),
                "rate": len(lengths) / seen * 60 if seen > 0 else math.nan,
                "length": float(np.mean(lengths)) if lengths and recording.timed else math.nan,
            }
        )
    return {"person": person, "rows": rows, "share": len(person.places) / len(recording.frames)}


def _longest_gap(recording: Timeline) -> tuple[float, float]:
    """Return the length of the longest stretch without any face, and when it begins; NaN where there is none."""
    missing = np.ones(len(recording.frames) + 2, bool)
    missing[0] = missing[-1] = False
    missing[1:-1][list(recording.boxes)] = False
    edges = np.flatnonzero(np.diff(missing.astype(np.int8))).reshape(-1, 2)
    if not len(edges):
        return math.nan, math.nan
    first, after = edges[int((edges[:, 1] - edges[:, 0]).argmax())]
    return float(recording.times[after - 1] - recording.times[first] + recording.step), float(recording.times[first])
