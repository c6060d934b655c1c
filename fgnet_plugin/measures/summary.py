"""Summaries of recordings, trials and people: a row for each, with base rates, means and events of every AU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.baseline import Baseline, BaselineBuilder, Scale
from fgnet_plugin.measures.design import FACTORS
from fgnet_plugin.measures.events import find_events, frame_durations
from fgnet_plugin.measures.probabilities import for_tables
from fgnet_plugin.measures.quality import EYES, Exclusions, flow
from fgnet_plugin.measures.recordings import Recording, Table, read_recordings
from fgnet_plugin.measures.steps import Steps, gap_of
from fgnet_plugin.utils.arrays import Floats

if TYPE_CHECKING:
    from fgnet_plugin.measures.calibration import Calibration
    from fgnet_plugin.utils.made_by import MadeBy

By = Literal["recording", "trial", "person"]
MEASURES = (
    *("frames", "known_frames", "known_share", "seconds", "base_rate", "mean", "sd", "max"),
    *("events", "events_per_minute", "event_duration", "event_rise", "event_decay"),
)
_SUMS = (
    "frames",
    "known_frames",
    "seconds",
    "weight",
    "present",
    "sum",
    "squares",
    "events",
    "whole",
    "duration",
    "rise",
    "decay",
)


@dataclass(frozen=True, eq=False)
class Summary:
    """Result of `summarize`.

    Example:
        >>> table = pd.DataFrame({"input": "a.mp4", "frame": range(50), "AU12": [0.1] * 25 + [0.9] * 25})
        >>> found = summarize(table, rate=25)
        >>> found.events[["AU", "onset", "offset"]].to_dict("records")
        [{'AU': 'AU12', 'onset': 1.0, 'offset': 2.0}]
        >>> found.wide()["AU12_mean"].item()
        0.5
    """

    long: pd.DataFrame
    """A row for each unit (recording, trial or person) and AU: what the unit is, ``AU``, ``name``, then `MEASURES`."""
    exclusions: pd.DataFrame
    """See `quality.flow`."""
    events: pd.DataFrame
    """A row for each event; see `events.find_events`."""
    unit: list[str]
    """The columns that say what a row's unit is."""

    def wide(self) -> pd.DataFrame:
        """Return a row for each unit, with a column for each AU and measure, such as ``AU12_base_rate``."""
        units = self.long[self.unit].drop_duplicates().reset_index(drop=True)
        keys = pd.MultiIndex.from_frame(self.long[self.unit].astype(str))
        rows = pd.MultiIndex.from_frame(units.astype(str)).get_indexer(keys)
        columns = {}
        for au in self.long["AU"].unique():
            of_au = self.long["AU"] == au
            for measure in MEASURES:
                column = np.full(len(units), np.nan)
                column[rows[of_au]] = self.long.loc[of_au, measure]
                columns[f"{au}_{measure}"] = column
        return pd.concat([units, pd.DataFrame(columns)], axis=1)


def summarize(
    tables: Table | Sequence[Table],
    *,
    by: By = "recording",
    factors: pd.DataFrame | None = None,
    trials: Mapping[str, pd.DataFrame] | None = None,
    steps: Steps | None = None,
    baseline: BaselineBuilder | None = None,
    scale: Scale = "difference",
    rate: float | None = None,
    threshold: float | None = None,
    min_duration: float = 0.1,
    min_gap: float = 0.1,
    speech: Callable[[Recording], Floats | None] | None = None,
    sharp: Callable[[Recording], Floats] | None = None,
    worn: Callable[[Recording], Floats] | None = None,
    aus: Collection[str] | None = None,
    calibration: Calibration | str | Path | None = None,
    made_by: MadeBy | None = None,
) -> Summary:
    """Summarise each recording, trial or person.

    Frames count by how long they last (see `events.frame_durations`), so that a frame rate that varies weighs nothing.
    ``base_rate`` and events are of the scores before the baseline; ``mean``, ``sd`` and ``max`` of those after it.

    Args:
        tables: see `recordings.read_recordings`; they are read recording by recording, and twice with a baseline.
        by: what a row of the result is. ``"person"`` pools the recordings and trials with the same factors, each by its
            seconds: 60 people in 2 conditions are 120 rows.
        factors: subject, group, condition and session by recording, of `design.from_pattern`, `from_folders`, `from_table`;
            by default the columns of these names in the tables, if any.
        trials: recording -> trials, of `trials.read_trials`; recordings without any are left out of ``by="trial"``.
        steps: what is done to the scores first.
        baseline: new, of `baseline.BaselineBuilder`; needs subjects.
        scale: of the scores after the baseline.
        rate, threshold: see `recordings.read_recordings`.
        min_duration, min_gap: of events, in seconds; see `events.find_events`.
        speech: gives the stretches with speech of a recording, or None where it is not known.
        sharp: gives the sharpness of a recording's frames.
        worn: gives the score of glasses in a recording's frames; needs tables with landmarks.
        aus: only these; by default all that are known in at least one recording.
        calibration: of `calibration.calibrate`, or its file: ``mean``, ``sd`` and ``max`` are of probabilities, base rates and
            events by its thresholds; AUs that it lacks are left out, with a warning.
        made_by: what made the scores, where the tables don't say it; only for a calibration.

    Raises:
        InputError: unreadable tables, a missing subject, unknown AUs, a calibration for other scores, trials without
            ``by="trial"`` or ``"person"``.

    Example:
        >>> table = pd.DataFrame({"input": "a.mp4", "frame": range(50), "AU12": [0.1] * 25 + [0.9] * 25})
        >>> summarize(table, rate=25).long[["recording", "AU", "base_rate", "events"]].to_dict("records")
        [{'recording': 'a.mp4', 'AU': 'AU12', 'base_rate': 0.5, 'events': 1}]
    """
    if by not in get_args(By):
        raise ValueError(f"by must be one of {', '.join(get_args(By))}, got {by!r}")
    if by == "trial" and not trials:
        raise InputError("a row for each trial needs a table of trials")
    if calibration is not None and threshold is not None:
        raise InputError("a calibration has its own thresholds: give either it or a threshold")
    chosen = steps or Steps()
    probable = None if calibration is None else for_tables(calibration, tables, made_by)
    known = _Factors(factors)

    def recordings() -> Iterable[tuple[Recording, Recording, Exclusions]]:
        for recording in read_recordings(tables, rate=rate, threshold=threshold, keep=EYES if worn is not None else ()):
            kept, counts = chosen.apply(
                _only(probable(recording) if probable is not None else recording, aus),
                speech and speech(recording),
                sharp(recording) if sharp is not None else None,
                worn(recording) if worn is not None else None,
            )
            yield recording, kept, counts

    reference: Baseline | None = None
    if baseline is not None:
        for read, recording, _ in recordings():
            baseline.add(recording, known.subject(read))
        reference = baseline.build()
    rows, excluded, events = [], [], []
    for read, recording, counts in recordings():
        excluded.append(counts)
        unit = {**known.of(read), "recording": recording.name}
        scored = recording if reference is None else reference.apply(recording, known.subject(read), scale)
        for trial in _trials(recording.name, trials):
            sums, found = _measure(recording, scored, trial, min_duration, min_gap)
            of_trial = {name: value for name, value in trial.items() if name not in ("start", "end")}
            if trial and not sums["frames"].any():
                warnings.warn(
                    f"{recording.name}: trial {trial['trial']} ({trial['start']:g} to {trial['end']:g} s) has no frames; the"
                    f" recording lasts from {recording.time[0]:g} to {recording.time[-1]:g} s",
                    stacklevel=2,
                )
            rows.append(sums.assign(**unit | of_trial))
            events.append(found.assign(**unit | of_trial))
    if not rows:
        raise InputError("no recording has a trial" if trials else "the tables hold no recordings")
    sums = pd.concat(rows, ignore_index=True)
    if by == "person" and "subject" not in sums:
        raise InputError(_NO_SUBJECT)
    others = [column for column in ("trial", "trial_type", "condition") if trials and column in sums]
    unit_columns = list(dict.fromkeys([*(factor for factor in FACTORS if factor in sums), "recording", *others]))
    if by == "person":
        unit_columns = [column for column in unit_columns if column not in ("recording", "trial")]
    known_aus = sums.groupby("AU", sort=False)["known_frames"].sum()
    sums = sums[sums["AU"].isin(known_aus.index[known_aus > 0])]
    happened = pd.concat(events, ignore_index=True)
    event_units = [column for column in dict.fromkeys([*unit_columns, "recording", *others]) if column in happened]
    happened = happened[[*event_units, *(column for column in happened if column not in event_units)]]
    return Summary(_finished(sums, unit_columns), flow(excluded), happened, unit_columns)


_NO_SUBJECT = (
    "whose recordings these are is not known: tell it with a column subject, --pattern, --folders or --manifest"
    + " (in Python, factors=)"
)


class _Factors:
    """Factors of recordings: from a table by recording, else from columns of the recording's own rows."""

    def __init__(self, table: pd.DataFrame | None) -> None:
        self._table = table

    def of(self, recording: Recording) -> dict[str, str]:
        found = {}
        for factor in FACTORS:
            if factor in recording.rows:
                values = recording.rows[factor].dropna().astype(str).unique()
                if len(values) > 1:
                    raise InputError(
                        f"{recording.name}: the column {factor} holds several values ({', '.join(values[:3])}); where a"
                        " recording has several parts, give a table of trials"
                    )
                found[factor] = values[0] if len(values) else ""
        if self._table is not None:
            found.update({str(name): str(value) for name, value in self._table.loc[recording.name].items()})
        return found

    def subject(self, recording: Recording) -> str:
        subject = self.of(recording).get("subject")
        if not subject:
            raise InputError(f"{recording.name}: {_NO_SUBJECT}")
        return subject


def _only(recording: Recording, aus: Collection[str] | None) -> Recording:
    if aus is None:
        return recording
    if unknown := [au for au in aus if au not in recording.scores]:
        raise InputError(f"{recording.name} has no {unknown[0]}; it has {', '.join(map(str, recording.scores))}")
    chosen = [au for au in recording.scores if au in set(aus)]
    thresholds = {str(au): recording.thresholds[str(au)] for au in chosen}
    return replace(recording, scores=recording.scores[chosen], present=recording.present[chosen], thresholds=thresholds)


def _trials(name: str, trials: Mapping[str, pd.DataFrame] | None) -> list[dict[str, Any]]:
    if trials is None:
        return [{}]
    return (
        [{str(key): value for key, value in row.items()} for row in trials[name].to_dict("records")] if name in trials else []
    )


def _measure(
    recording: Recording, scored: Recording, trial: Mapping[str, Any], min_duration: float, min_gap: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sum what is known of each AU within a trial: `_SUMS` and ``max``; and find the events."""
    time = recording.time
    inside = np.ones(len(time), dtype=bool) if not trial else (time >= trial["start"]) & (time < trial["end"])
    gap = gap_of(recording)
    before, after = recording.scores[inside], scored.scores[inside]
    found = find_events(before, time[inside], recording.thresholds, min_duration=min_duration, min_gap=min_gap, max_gap=gap)
    lasting = frame_durations(time[inside], gap)
    rows = []
    for au in before:
        values, present = after[au].to_numpy(), recording.present[au].to_numpy()[inside]
        known = np.isfinite(before[au].to_numpy())
        seconds = float(lasting[known].sum())
        weight = np.where(known, lasting if seconds else 1.0, 0.0)  # single frames, such as photos, have no duration
        measured = known & np.isfinite(values)
        of_scores = weight[measured] / (weight[measured].sum() or 1.0) * weight.sum()
        events = found[found["AU"] == au]
        whole = events[events["complete"].astype(bool)]
        rows.append(
            {
                "AU": au,
                "frames": int(inside.sum()),
                "known_frames": int(known.sum()),
                "seconds": seconds,
                "weight": float(weight.sum()),
                "present": float(weight[present > 0].sum()),
                "sum": float(of_scores @ values[measured]) if measured.any() else np.nan,
                "squares": float(of_scores @ values[measured] ** 2) if measured.any() else np.nan,
                "max": float(values[measured].max()) if measured.any() else np.nan,
                "events": len(events),
                "whole": len(whole),
                **{name: float(whole[name].sum()) for name in ("duration", "rise", "decay")},
            }
        )
    return pd.DataFrame(rows, columns=["AU", *_SUMS, "max"]), found.drop(columns=["first_row", "apex_row", "last_row"])


def _finished(sums: pd.DataFrame, unit: list[str]) -> pd.DataFrame:
    """Pool the rows of each unit and AU, and compute the measures."""
    grouped = sums.groupby([*unit, "AU"], sort=False, dropna=False)
    pooled = grouped[list(_SUMS)].sum(min_count=1)
    pooled["max"] = grouped["max"].max()
    pooled = pooled.reset_index()
    weight = pooled["weight"].where(pooled["weight"] > 0)
    whole = pooled["whole"].where(pooled["whole"] > 0)
    minutes = pooled["seconds"].where(pooled["seconds"] > 0) / 60
    mean = pooled["sum"] / weight
    table = pooled[[*unit, "AU"]].assign(
        name=[facs_name(au) for au in pooled["AU"]],
        frames=pooled["frames"].astype(int),
        known_frames=pooled["known_frames"].astype(int),
        known_share=pooled["known_frames"] / pooled["frames"].where(pooled["frames"] > 0),
        seconds=pooled["seconds"],
        base_rate=pooled["present"] / weight,
        mean=mean,
        sd=np.sqrt((pooled["squares"] / weight - mean**2).clip(lower=0)),
        max=pooled["max"],
        events=pooled["events"].astype(int),
        events_per_minute=pooled["events"] / minutes,
        event_duration=pooled["duration"] / whole,
        event_rise=pooled["rise"] / whole,
        event_decay=pooled["decay"] / whole,
    )
    return table[[*unit, "AU", "name", *MEASURES]]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table that R, JASP and SPSS read: UTF-8, a point as decimal mark, empty cells where a value is missing."""
    table.to_csv(path, index=False, lineterminator="\n", float_format="%.6g")
