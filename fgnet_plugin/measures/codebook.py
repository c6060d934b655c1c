"""The codebook of a summary: what every column of its tables means."""

from __future__ import annotations

import re

import pandas as pd

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.measures.summary import MEASURES, Summary

_MEANINGS: dict[str, tuple[str, str]] = {
    "subject": ("the person", ""),
    "group": ("the group that the person belongs to", ""),
    "condition": ("the condition", ""),
    "session": ("the session", ""),
    "recording": ("the recording, as the tables of frames name it", ""),
    "trial": ("number of the trial within its recording, from 1", ""),
    "trial_type": ("kind of trial, as the table of trials says", ""),
    "AU": ("action unit of the Facial Action Coding System", ""),
    "name": ("name of the action unit", ""),
    "frames": ("frames, with and without a face", "count"),
    "known_frames": ("frames in which the AU is known, after all exclusions", "count"),
    "known_share": ("known_frames / frames", "0 to 1"),
    "seconds": ("time in which the AU is known", "s"),
    "base_rate": ("share of that time in which the AU is present, by the threshold", "0 to 1"),
    "mean": ("mean score, after the baseline if one was given", "score"),
    "sd": ("standard deviation of the score over time", "score"),
    "max": ("highest score", "score"),
    "events": ("number of events", "count"),
    "events_per_minute": ("events / (seconds / 60)", "1/min"),
    "event_duration": ("mean duration of the complete events; missing without one", "s"),
    "event_rise": ("mean time from onset to apex of the complete events", "s"),
    "event_decay": ("mean time from apex to offset of the complete events", "s"),
    "onset": ("time of the event's first frame", "s"),
    "apex": ("time of the event's highest score", "s"),
    "offset": ("end of the event's last frame", "s"),
    "duration": ("offset - onset", "s"),
    "rise": ("apex - onset", "s"),
    "decay": ("offset - apex", "s"),
    "peak": ("highest score of the event, before the baseline", "score"),
    "complete": ("False if the event touches a gap, the start or the end, so that its duration is cut", "True or False"),
    "no_face": ("frames without a face", "count"),
    "used": ("frames that no rule excluded", "count"),
    "used_share": ("used / frames", "0 to 1"),
    "speech": ("used frames with speech, where mouth AUs are unknown; missing where speech was not looked for", "count"),
    "further_faces": ("rows of further faces in the same frames, which were left out", "count"),
}
_WIDE = re.compile(rf"(AU\d+)_({'|'.join(MEASURES)})")


def make_codebook(summary: Summary) -> pd.DataFrame:
    """Explain every column of a summary's tables: ``file``, ``column``, ``meaning``, ``unit``, ``type``.

    Example:
        >>> from fgnet_plugin.measures.summary import summarize
        >>> table = pd.DataFrame({"input": "a.mp4", "frame": range(3), "AU12": 0.9})
        >>> make_codebook(summarize(table, rate=25)).query("file == 'wide.csv' and column == 'AU12_mean'")["meaning"].item()
        'AU12 (lip corner puller): mean score, after the baseline if one was given'
    """
    tables = {
        "long.csv": summary.long,
        "wide.csv": summary.wide(),
        "events.csv": summary.events,
        "exclusions.csv": summary.exclusions,
    }
    rows = []
    for file, table in tables.items():
        for column in map(str, table):
            meaning, unit = _meaning(column, file)
            rows.append((file, column, meaning, unit, "number" if table[column].dtype.kind in "iuf" else "text"))
    return pd.DataFrame(rows, columns=["file", "column", "meaning", "unit", "type"])


def _meaning(column: str, file: str) -> tuple[str, str]:
    if parts := _WIDE.fullmatch(column):
        meaning, unit = _MEANINGS[parts[2]]
        return f"{parts[1]} ({facs_name(parts[1])}): {meaning}", unit
    if file == "events.csv" and column == "mean":
        return "mean score of the event, before the baseline", "score"
    if file == "exclusions.csv" and column == "frames":
        return "frames of the recording", "count"
    if file == "exclusions.csv" and column not in _MEANINGS:
        return f"frames that the rule {column} excluded, of those that earlier rules left", "count"
    return _MEANINGS[column]
