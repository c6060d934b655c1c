"""Codings as BORIS's files: projects (.boris), which BORIS opens, and its export of aggregated events (.tsv, .csv)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin.action_units import by_number, facs_name
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.coding import Coding, au_of
from fgnet_plugin.utils.distinct_names import distinct_names
from fgnet_plugin.utils.files import atomic_write

_BEHAVIOR, _START, _STOP = "Behavior", "Start (s)", "Stop (s)"
_FORMAT = "7.0"


def write_project(codings: Sequence[Coding], path: Path) -> None:
    """Write codings as a project of BORIS: an observation for each recording, a state event for each AU.

    A file that is there is replaced.
    """
    aus = by_number({au for coding in codings for au in coding.aus})
    behaviors = {
        str(i): {
            "type": "State event",
            "key": "",
            "code": au,
            "description": facs_name(au),
            "color": "",
            "category": "",
            "modifiers": {},
            "excluded": "",
            "coding map": "",
        }
        for i, au in enumerate(aus)
    }
    names = distinct_names([coding.recording for coding in codings])
    project = {
        "time_format": "hh:mm:ss",
        "project_date": "",
        "project_name": path.stem,
        "project_description": "",
        "project_format_version": _FORMAT,
        "subjects_conf": {},
        "behaviors_conf": behaviors,
        "observations": {names[coding.recording]: _observation(coding) for coding in codings},
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps(project, indent=1, ensure_ascii=False), encoding="utf-8")


def _observation(coding: Coding) -> dict[str, Any]:
    video = str(Path(coding.recording).absolute())
    edges = [
        [round(float(time), 3), "", au, "", "", round(float(time) * coding.rate)]
        for au, *times in coding.events[["AU", "onset", "offset"]].itertuples(index=False)
        for time in times
    ]
    return {
        "file": {"1": [video], **{str(player): [] for player in range(2, 9)}},
        "type": "MEDIA",
        "date": "",
        "description": "",
        "time offset": 0.0,
        "events": sorted(edges),
        "observation time interval": [0, 0],
        "independent_variables": {},
        "close_behaviors_between_videos": False,
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "media_info": {
            "length": {video: coding.length},
            "fps": {video: coding.rate},
            "hasVideo": {video: True},
            "hasAudio": {video: False},
            "offset": {"1": 0.0},
        },
    }


def read_project(path: Path) -> list[Coding]:
    """Read the codings of a project of BORIS. Behaviours that name no AU are left out, with a warning.

    Raises:
        InputError: no project; an observation of several videos or several subjects; an event without an end.
    """
    try:
        project = json.loads(path.read_text(encoding="utf-8"))
        behaviors = {entry["code"]: entry["type"].casefold() for entry in project["behaviors_conf"].values()}
        observations = dict(project["observations"])
        found = [_read_observation(path, name, about, behaviors) for name, about in observations.items()]
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged, or no project of BORIS ({type(error).__name__}: {error})") from error
    if not any(coding.aus for coding in found):
        raise InputError(f"{path} has no AUs: none of its behaviors is called AU12 or the like")
    if others := [code for code in behaviors if au_of(code) is None]:
        warnings.warn(f"{path}: behaviors that are no AUs are left out: {', '.join(others)}", stacklevel=2)
    return found


def _read_observation(path: Path, name: str, about: dict[str, Any], behaviors: dict[str, str]) -> Coding:
    files = [file for player in about["file"].values() for file in player] if about["file"] else [name]
    if len(files) > 1:
        raise InputError(f"{path}: the observation {name} is of several videos ({', '.join(files)}): make one for each")
    if about.get("time offset"):
        warnings.warn(f"{path}: the time offset of {name}, {about['time offset']} s, is not heeded", stacklevel=3)
    edges: dict[str, list[float]] = {}
    subjects = set()
    for time, subject, code, *_ in about["events"]:
        if au_of(code) is not None:
            subjects.add(str(subject))
            edges.setdefault(code, []).append(float(time))
    _check_subjects(path, name, subjects)
    rows = [row for code, times in edges.items() for row in _pairs(f"{path}, {name}", code, times, behaviors.get(code, ""))]
    aus = by_number({au for code in behaviors if (au := au_of(code))})
    return Coding(str(files[0]), tuple(aus), pd.DataFrame(sorted(rows), columns=["AU", "onset", "offset"]))


def _pairs(of: str, code: str, times: list[float], kind: str) -> Iterator[tuple[str, float, float]]:
    """Pair the starts and ends of a behaviour."""
    au, ordered = str(au_of(code)), sorted(times)
    if kind.startswith("point"):
        yield from ((au, time, time) for time in ordered)
        return
    if len(ordered) % 2:
        raise InputError(
            f"{of}: {code} has a start without an end, or the other way round; BORIS's check of state events says where"
        )
    yield from ((au, start, end) for start, end in zip(ordered[::2], ordered[1::2], strict=True))


def write_aggregated(codings: Sequence[Coding], path: Path) -> None:
    """Write codings as BORIS exports aggregated events, a row for each event, separated by tabs."""
    names = distinct_names([coding.recording for coding in codings])
    parts = [
        pd.DataFrame(
            {
                "Observation id": names[coding.recording],
                "Media duration (s)": round(coding.length, 3),
                "FPS (frame/s)": round(coding.rate, 3),
                "Subject": "No focal subject",
                _BEHAVIOR: coding.events["AU"],
                "Behavior type": "STATE",
                _START: coding.events["onset"].round(3),
                _STOP: coding.events["offset"].round(3),
                "Duration (s)": (coding.events["offset"] - coding.events["onset"]).round(3),
                "Media file name": coding.recording,
            }
        )
        for coding in codings
    ]
    with atomic_write(path) as part:
        pd.concat(parts, ignore_index=True).to_csv(part, sep="\t", index=False)


def is_aggregated(path: Path) -> bool:
    """Tell whether a file is an export of BORIS's aggregated events."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    return all(f"{name}" in header for name in (_BEHAVIOR, _START, _STOP))


def read_aggregated(path: Path) -> list[Coding]:
    """Read an export of BORIS's aggregated events.

    The export does not tell which AUs were looked at: those that occur somewhere in it are taken for coded in all its
    observations, others are unknown. A project (.boris) tells it.

    Raises:
        InputError: no such export, none with AUs, or an observation of several subjects.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        separator = "\t" if "\t" in file.readline() else ","
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        times = table[[_START, _STOP]].apply(pd.to_numeric, errors="coerce")
        known = pd.DataFrame({"AU": table[_BEHAVIOR].map(au_of), "onset": times[_START], "offset": times[_STOP]})
        media = table.get("Media file name", table.get("Media file", table["Observation id"]))
        subject = table.get("Subject", pd.Series("", table.index))
        named = known["AU"].notna()
        if others := sorted(set(table.loc[~named, _BEHAVIOR])):
            warnings.warn(f"{path}: behaviors that are no AUs are left out: {', '.join(others)}", stacklevel=2)
        untimed = named & known[["onset", "offset"]].isna().any(axis=1)
        if untimed.any():
            raise InputError(f"{path}: line {int(untimed.to_numpy().argmax()) + 2} has no start or no stop")
        codings = []
        for name, rows in known[named].groupby(table["Observation id"], sort=False):
            _check_subjects(path, str(name), set(subject[rows.index]))
            if len(files := set(media[rows.index])) > 1:
                raise InputError(f"{path}: the observation {name} is of several videos ({', '.join(sorted(files))})")
            codings.append(Coding(files.pop() or str(name), (), rows.reset_index(drop=True)))
    except (KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged, or no export of BORIS's aggregated events ({error})") from error
    aus = tuple(by_number(set(known["AU"].dropna())))
    if not aus:
        raise InputError(f"{path} has no AUs: none of its behaviors is called AU12 or the like")
    return [Coding(coding.recording, aus, coding.events) for coding in codings]


def _check_subjects(path: Path, name: str, subjects: set[str]) -> None:
    if len(subjects) > 1:
        named = ", ".join(sorted(subject or "none" for subject in subjects))
        raise InputError(f"{path}: the observation {name} has codes of several subjects ({named}): make one for each")
