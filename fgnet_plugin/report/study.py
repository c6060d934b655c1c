"""Write the page of a study: a table of its recordings, each with a link to its own page."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.comparison.agreement import Comparison
from fgnet_plugin.report.methods import Provenance, citations, methods_paragraph
from fgnet_plugin.report.page import agreement_tables, embedded, environment
from fgnet_plugin.report.timeline import Timeline
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.text import counted

POINTS = 60
"""Of a recording's curve of one AU."""
_UNKNOWN = 255
_STEPS = 250
_NOTES = 10


@dataclass(frozen=True)
class StudyRow:
    """What the page of a study shows of a recording, and what its paragraph counts."""

    recording: Timeline
    """Without its rows, which are too many for a whole study."""
    data: dict[str, Any]
    """For the page's script."""


def study_row(recording: Timeline, name: str, threshold: float, link: str | None) -> StudyRow:
    """Gather what the page of a study shows of a recording.

    Args:
        recording: its rows may be forgotten afterwards.
        name: what to call it.
        threshold: score above which an AU is present.
        link: address of its own page, relative to the study's.
    """
    main = max(recording.persons, key=lambda person: len(person.places), default=None)
    present: dict[str, float] = {}
    curves: dict[str, str] = {}
    for au in recording.aus if main is not None else []:
        assert main is not None
        scores = main.spread(au, len(recording.frames))
        known = scores[np.isfinite(scores)]
        if len(known):
            present[au] = round(float((known >= threshold).mean()), 4)
            curves[au] = _curve(scores)
    seconds = recording.duration
    data = {
        "name": name,
        "seconds": None if math.isnan(seconds) else round(seconds, 2),
        "share": round(recording.share_with_face, 4),
        "persons": len(recording.persons),
        "present": present,
        "curves": curves,
        "link": link,
    }
    bare = Timeline(
        recording.input, recording.frames, recording.times, recording.timed, recording.aus, [], recording.boxes, recording.notes
    )
    return StudyRow(bare, data)


def write_study(
    path: Path,
    rows: Sequence[StudyRow],
    made: Provenance,
    threshold: float,
    title: str,
    notes: Sequence[str] = (),
    comparison: Comparison | None = None,
) -> None:
    """Write the page of a study.

    Args:
        path: of the .html file.
        rows: from `study_row`.
        made: how the table was made.
        threshold: score above which an AU is present.
        title: of the page.
        notes: sentences about what is left out.
        comparison: with other AU models or human coders, shown as tables.
    """
    recordings = [row.recording for row in rows]
    aus = sorted({au for recording in recordings for au in recording.aus}, key=au_number)
    frames = sum(len(recording.frames) for recording in recordings)
    said = [f"{Path(recording.input).name}: {note}" for recording in recordings for note in recording.notes]
    more = (
        [f"{counted(len(said) - _NOTES, 'more note is', 'more notes are')} on the recordings' pages."]
        if len(said) > _NOTES
        else []
    )
    text = (
        environment()
        .get_template("study.html.jinja")
        .render(
            title=title,
            rows=rows,
            frames=frames,
            share=sum(len(recording.boxes) for recording in recordings) / frames,
            aus=aus,
            names={au: NAMES[au_number(au)] for au in aus},
            points=POINTS,
            made=made,
            threshold=threshold,
            notes=[*notes, *said[:_NOTES], *more],
            agreement=[] if comparison is None else agreement_tables(comparison),
            methods=methods_paragraph(recordings, made, threshold),
            citations=citations(made),
            data=embedded({"aus": aus, "threshold": threshold, "rows": [row.data for row in rows]}),
        )
    )
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _curve(scores: Floats) -> str:
    """Reduce scores to `POINTS` bytes in base64: the largest of each stretch in steps of 1/250, 255 where there is none."""
    parts = np.array_split(scores, min(POINTS, len(scores)))
    most = np.array([np.nanmax(part) if np.isfinite(part).any() else np.nan for part in parts])
    values = np.where(np.isfinite(most), np.clip(np.nan_to_num(most), 0, 1) * _STEPS, _UNKNOWN).round()
    return base64.b64encode(values.astype(np.uint8).tobytes()).decode()
