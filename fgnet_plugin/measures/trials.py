"""Read the trials of recordings from tables of times: BIDS events, PsychoPy's logs, or any with a start and an end."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.design import match_names, name_column, read_text_table
from fgnet_plugin.utils.text import counted, plural


def read_trials(
    recordings: Sequence[str],
    table: pd.DataFrame | str | Path,
    *,
    start: str | None = None,
    end: str | None = None,
    shift: float = 0.0,
) -> dict[str, pd.DataFrame]:
    """Read which stretches of which recordings are trials.

    Understood without further words: BIDS events (``onset`` and ``duration`` in seconds, ``trial_type``); ``start`` and
    ``end``; PsychoPy's logs with one pair of columns ``….started`` and ``….stopped`` (rows without a start, as of other
    routines, are passed over). The recording is what a column ``recording`` (or ``input``, ``file``) says, else the one whose
    name begins as the file of trials does: ``sub-01_task-x_events.tsv`` belongs to ``sub-01_task-x.mp4``; a single recording
    needs neither.

    Args:
        recordings: their names.
        table: of trials, or its file (.csv, .tsv).
        start, end: columns of the seconds, where there are others or several.
        shift: seconds to add, such as where the experiment's clock starts before the camera's.

    Returns:
        Recording -> trials with ``trial`` (number from 1, within the recording), ``start``, ``end``, and ``trial_type`` or
        ``condition`` where the table has them; by start.

    Raises:
        InputError: unknown columns, trials that overlap or end before they start, or trials of no recording.

    Example:
        >>> events = pd.DataFrame({"onset": [0.0, 5.0], "duration": [4.0, 4.0], "trial_type": ["sad", "happy"]})
        >>> read_trials(["P1.mp4"], events)["P1.mp4"].to_dict("records")[1]
        {'trial': 2, 'start': 5.0, 'end': 9.0, 'trial_type': 'happy'}
    """
    of = "the table of trials" if isinstance(table, pd.DataFrame) else str(table)
    rows = read_text_table(table if isinstance(table, pd.DataFrame) else str(table)).reset_index(drop=True)
    first, last = _columns(rows, of, start, end)
    starts = pd.to_numeric(rows[first], errors="coerce")
    ends = pd.to_numeric(rows[last], errors="coerce") + (starts if last == "duration" else 0.0)
    known = starts.notna()
    if not known.any():
        raise InputError(f"{of}: no row has a number of seconds in the column {first}")
    unended = known & ends.isna()
    if unended.any():
        raise InputError(f"{of}: row {int(unended.to_numpy().argmax())} has a start, but no number in the column {last}")
    if lacking := int((~known).sum()):
        are = plural(lacking, "is", "are")
        warnings.warn(f"{of}: {counted(lacking, 'row')} without a number in the column {first} {are} passed over", stacklevel=2)
    named = [column for column in ("trial_type", "condition") if column in rows]
    trials = pd.DataFrame({"start": starts + shift, "end": ends + shift}).join(rows[named])
    found = {}
    for recording, chosen in _by_recording(rows, recordings, of, table).items():
        kept = trials.loc[[i for i in chosen if known[i]]].sort_values("start", kind="stable").reset_index(drop=True)
        if len(kept):
            _check(kept, f"{of}, {recording}")
            kept.insert(0, "trial", np.arange(1, len(kept) + 1))
            found[recording] = kept
    if not found:
        raise InputError(f"{of} has no trial of any recording, such as {recordings[0] if recordings else 'none'}")
    return found


def _columns(rows: pd.DataFrame, of: str, start: str | None, end: str | None) -> tuple[str, str]:
    for column in (start, end):
        if column is not None and column not in rows:
            raise InputError(f"{of} has no column {column!r}; it has {', '.join(map(str, rows.columns[:12]))}")
    if start is not None or end is not None:
        if start is None or end is None:
            raise InputError("both columns are needed, that of the start and that of the end of a trial")
        return start, end
    for pair in (("onset", "duration"), ("start", "end")):
        if set(pair) <= set(rows):
            return pair
    routines = [str(name).removesuffix(".started") for name in rows if str(name).endswith(".started")]
    pairs = [name for name in routines if f"{name}.stopped" in rows]
    if len(pairs) == 1:
        return f"{pairs[0]}.started", f"{pairs[0]}.stopped"
    if pairs:
        raise InputError(
            f"{of} has the times of several routines ({', '.join(pairs)}): say which are the trials, such as with"
            f" --trial-start {pairs[0]}.started --trial-end {pairs[0]}.stopped"
        )
    raise InputError(f"{of} has no times of trials: neither onset and duration, nor start and end, nor ….started and ….stopped")


def _by_recording(
    rows: pd.DataFrame, recordings: Sequence[str], of: str, table: pd.DataFrame | str | Path
) -> dict[str, list[int]]:
    """Recording -> numbers of its rows."""
    try:
        column = name_column(rows.drop(columns="stimulus", errors="ignore"), of)
    except InputError:
        if len(recordings) == 1:
            return {recordings[0]: list(rows.index)}
        stem = "" if isinstance(table, pd.DataFrame) else Path(table).stem.removesuffix("_events")
        fitting = [name for name in recordings if stem and Path(name).stem.startswith(stem)]
        if len(fitting) == 1:
            return {fitting[0]: list(rows.index)}
        raise
    matches = match_names(recordings, rows[column].astype(str).tolist())
    used = {i for found in matches.values() for i in found}
    if unused := [i for i in rows.index if i not in used]:
        warnings.warn(
            f"{of}: {counted(len(unused), 'row is', 'rows are')} of no recording that is there, such as"
            f" {rows[column].iloc[unused[0]]}",
            stacklevel=3,
        )
    return matches


def _check(trials: pd.DataFrame, of: str) -> None:
    starts, ends = trials["start"].to_numpy(), trials["end"].to_numpy()
    backward = ends <= starts
    if backward.any():
        i = int(backward.argmax())
        raise InputError(f"{of}: trial {i + 1} ends at {ends[i]:g} s and starts at {starts[i]:g} s")
    late = np.flatnonzero(ends[:-1] > starts[1:] + 1e-9)
    if len(late):
        i = int(late[0])
        raise InputError(
            f"{of}: trials {i + 1} ({starts[i]:g} to {ends[i]:g} s) and {i + 2} ({starts[i + 1]:g} to {ends[i + 1]:g} s)"
            " overlap; frames would count twice"
        )
