"""Do people show an AU more often in one condition than in another? Differences within people: `contrast`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.comparison.openface import AU_COLUMN
from fgnet_plugin.comparison.tables import read_model
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.calibration import Calibration, calibrated
from fgnet_plugin.measures.coded import coded_faces
from fgnet_plugin.measures.design import HOW_TO_TELL
from fgnet_plugin.measures.pairs_plot import plot_pairs
from fgnet_plugin.measures.ppi import Rows, estimate
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.made_by import MadeBy
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_BY = 5
"""An AU that fewer coded people show is not tested."""
COLUMNS = (
    *(
        "AU",
        "name",
        "reference",
        "condition",
        "reference_rate",
        "condition_rate",
        "difference",
        "low",
        "high",
        "p",
        "p_corrected",
    ),
    *("coded_only", "coded_only_low", "coded_only_high", "naive", "naive_low", "naive_high"),
    *("tested", "prevalence", "shown_by", "people", "coded_people", "faces", "coded", "power"),
)


@dataclass(frozen=True, eq=False)
class Contrast:
    """Result of `contrast`.

    Example:
        >>> found = contrast(fex, labels, conditions=["alone", "together"])  # doctest: +SKIP
        >>> found.people.pivot(index="subject", columns=["AU", "condition"], values="mean")  # doctest: +SKIP
    """

    table: pd.DataFrame
    """A row for each AU and each condition but the first; see `contrast`."""
    people: pd.DataFrame
    """A row for each person, condition and AU: ``subject``, ``condition``, ``AU``, ``faces`` and ``mean``, of scores or, with a
    calibration, of probabilities."""
    calibrated: bool

    def plot(self) -> Figure:
        """Plot each AU's conditions with a line for each person; AUs that were not tested in grey. Needs matplotlib."""
        return plot_pairs(self.table, self.people, "mean probability" if self.calibrated else "mean score")


def contrast(
    fex: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    subject: str = "subject",
    condition: str = "condition",
    conditions: Sequence[str] = (),
    calibration: Calibration | str | Path | None = None,
    made_by: MadeBy | str | Path | None = None,
    aus: Sequence[str] | None = None,
    min_prevalence: float = 0.01,
    confidence: float = 0.95,
) -> Contrast:
    """Estimate how much more often each AU is present in one condition than in another, within people.

    Prediction-powered (see `prediction_powered`): from the scores of all faces and the labels of some, so that a biased network
    makes intervals wide, but not wrong. Every person counts the same, and within a person all known frames of a condition.
    People without a known face in one of the conditions are left out, with a warning.

    Args:
        fex: scores of all faces.
        labels: FACS codes of some, as of `prediction_powered`: the coded people a random sample, and of each the coded faces.
        subject: column of `fex` that says who is filmed.
        condition: column of `fex` with the conditions, as text.
        conditions: which, at least two; the others are compared with the first. By default all, in alphabetical order.
        calibration: from `calibrate`, or its file: probabilities are used instead of scores. Of AUs that it lacks, because
            too few people showed them, the scores are, with a warning: the intervals hold for both.
        made_by: what made the scores, where the table does not say it; only for a calibration.
        aus: which; by default all that are coded.
        min_prevalence: share of coded frames with the AU, by their weights, from which it is tested; `SHOWN_BY` people must
            show it, too.
        confidence: of the intervals.

    Returns:
        The table has the columns `COLUMNS`: base rates of the reference (the first condition) and of the condition, their
        ``difference`` with its interval, ``p`` of a t test of no difference, and ``p_corrected`` for all that were tested
        (Benjamini & Hochberg); the difference by the labels alone, ``coded_only``; and ``naive``, by the scores taken as
        labels, which is biased. NaN where an AU is hardly present, and so not ``tested``. ``power`` is λ of PPI++.

    Raises:
        InputError: tables that can't be matched, columns or conditions that are missing, nobody in all conditions, too few
            coded people.

    Example:
        >>> found = contrast(fex, labels, conditions=["alone", "together"])  # doctest: +SKIP
        >>> found.table[["AU", "difference", "low", "high", "p_corrected"]]  # doctest: +SKIP
        >>> found.plot().savefig("contrast.png")  # doctest: +SKIP
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    _check_columns(fex, subject, condition)
    levels = _levels(fex[condition].astype(str), condition, conditions)
    scored = fex if calibration is None else _probable(fex, calibration, made_by)
    coded = coded_faces(scored, labels, subject)
    scores = read_model("scores", scored, 0.5).values
    usable = [str(au) for au in coded.scores if scores[au].notna().any()]
    unknown = [au for au in aus or () if au not in usable]
    if unknown or not usable:
        raise InputError(f"there are no labels and scores of {', '.join(unknown)}; there are of {', '.join(usable) or 'none'}")
    person, names = pd.factorize(fex[subject].astype(str))
    level = pd.Index(levels).get_indexer(fex[condition].astype(str))
    cells = _Cells(person.astype(np.intp), level.astype(np.intp), len(names), len(levels))
    chosen = list(aus or usable)
    _say_left_out(cells, scores[chosen].notna().any(axis=1).to_numpy(), names, levels)
    rows, people = [], []
    for au in chosen:
        score = scores[au].to_numpy()
        all_known = cells.paired(np.flatnonzero(np.isfinite(score)))
        truth = coded.labels[au].to_numpy()
        usable_codes = np.isfinite(truth) & np.isin(coded.rows, all_known)
        where, truth = coded.rows[usable_codes], truth[usable_codes]
        weight = (
            coded.weights[usable_codes] / cells.count(all_known)[cells.of(where)] if "weight" in labels else cells.even(where)
        )
        sample = Rows(cells.design(where), np.stack([truth, score[where]], 1), weight, cells.person[where])
        every = Rows(cells.design(all_known), score[all_known, None], cells.even(all_known), cells.person[all_known])
        rows += _rows(au, sample, every, levels, min_prevalence, confidence)
        people.append(_people(au, cells, all_known, score[all_known], names, levels))
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    tested = table["p"].notna()
    if tested.any():
        table.loc[tested, "p_corrected"] = false_discovery_control(table.loc[tested, "p"])
    return Contrast(table, pd.concat(people, ignore_index=True), calibration is not None)


def _check_columns(fex: pd.DataFrame, subject: str, condition: str) -> None:
    for column, what in ((subject, "who is filmed"), (condition, "in which condition")):
        if column not in fex:
            raise InputError(f"the table of scores has no column {column!r}, which is to say {what}: {HOW_TO_TELL}")
        if fex[column].isna().any():
            raise InputError(f"the column {column} is empty in {counted(int(fex[column].isna().sum()), 'row')}")


def _probable(fex: pd.DataFrame, calibration: Calibration | str | Path, made_by: MadeBy | str | Path | None) -> pd.DataFrame:
    """Probabilities of the AUs that the calibration knows, and the scores of the others."""
    found = calibration if isinstance(calibration, Calibration) else Calibration.read(calibration)
    parts = {name: AU_COLUMN.fullmatch(str(name).strip()) for name in fex}
    lacking = {name: f"AU{int(part[1]):02d}" for name, part in parts.items() if part}
    lacking = {name: au for name, au in lacking.items() if au not in found.aus}
    table = calibrated(fex.drop(columns=list(lacking)), found, made_by=made_by)
    table[list(lacking)] = fex[list(lacking)]
    if named := sorted({au for name, au in lacking.items() if fex[name].notna().any()}):
        warnings.warn(f"the calibration lacks {', '.join(named)}: scores are used instead of probabilities", stacklevel=3)
    return table


def _levels(values: pd.Series, column: str, wanted: Sequence[str]) -> list[str]:
    found = sorted(values.unique())
    if unknown := [level for level in wanted if level not in found]:
        raise InputError(f"no row has the {column} {unknown[0]!r}; there are {', '.join(found[:8])}")
    levels = list(dict.fromkeys(wanted)) or found
    if len(levels) < 2:
        raise InputError(f"the column {column} has only {levels[0]!r} to compare: a contrast needs two conditions")
    return levels


class _Cells:
    """The frames of each person in each condition. Rows of the table are meant by their numbers.

    Args:
        person: [R] number of who is filmed.
        level: [R] number of the condition, -1 for none of those that are compared.
        people, levels: how many there are.
    """

    def __init__(self, person: Integers, level: Integers, people: int, levels: int) -> None:
        self.person, self.level, self.people, self.levels = person, level, people, levels

    def of(self, rows: Integers) -> Integers:
        return self.person[rows] * self.levels + self.level[rows]

    def count(self, rows: Integers) -> Floats:
        """Frames of each cell [people * levels], at least 1."""
        return np.maximum(np.bincount(self.of(rows), minlength=self.people * self.levels), 1).astype(float)

    def even(self, rows: Integers) -> Floats:
        """Weights with which each cell counts the same."""
        return 1 / self.count(rows)[self.of(rows)]

    def complete(self, rows: Integers) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether each person has a frame in every condition [people]."""
        rows = rows[self.level[rows] >= 0]
        there = np.bincount(self.of(rows), minlength=self.people * self.levels) > 0
        return np.asarray(there.reshape(self.people, self.levels).all(1))

    def paired(self, rows: Integers) -> Integers:
        """Keep the rows of the compared conditions and of people who are in all of them."""
        return rows[(self.level[rows] >= 0) & self.complete(rows)[self.person[rows]]]

    def design(self, rows: Integers) -> Floats:
        """A constant, and whether it is each condition but the first [n, levels]."""
        others = self.level[rows, None] == np.arange(1, self.levels)
        return np.column_stack([np.ones(len(rows)), others]).astype(float)


def _say_left_out(cells: _Cells, known: Any, names: pd.Index, levels: Sequence[str]) -> None:
    rows = np.flatnonzero(known)
    complete = cells.complete(rows)
    if not complete.any():
        raise InputError(
            f"nobody has faces in all of {', '.join(levels)}: a contrast is within people. Where each person is in one"
            " condition: fgnet estimate --predictor condition"
        )
    if not complete.all():
        alone = names[~complete].tolist()
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        warnings.warn(
            f"left out, as they have no faces in one of the conditions: {', '.join(map(str, alone[:3]))}{more}", stacklevel=3
        )


def _rows(
    au: str, sample: Rows, every: Rows, levels: Sequence[str], min_prevalence: float, confidence: float
) -> list[dict[str, Any]]:
    truth = sample.outcomes[:, 0]
    about: dict[str, Any] = {
        "AU": au,
        "name": facs_name(au),
        "reference": levels[0],
        "prevalence": float(np.average(truth, weights=sample.weight)) if len(truth) else np.nan,
        "shown_by": len(np.unique(sample.person[truth > 0])),
        "people": len(np.unique(every.person)),
        "coded_people": len(np.unique(sample.person)),
        "faces": len(every.person),
        "coded": len(truth),
    }
    about["tested"] = bool(about["prevalence"] >= min_prevalence and about["shown_by"] >= SHOWN_BY)
    if not about["tested"]:
        return [{**about, "condition": level} for level in levels[1:]]
    try:
        found = estimate(sample, every, confidence)
    except InputError as error:
        raise InputError(f"{au}: {error}") from error
    rows = []
    for i, level in enumerate(levels[1:], start=1):
        row = {**about, "condition": level, "reference_rate": found.powered.value[0], "power": found.power[i]}
        row["condition_rate"] = row["reference_rate"] + found.powered.value[i]
        row |= {"difference": found.powered.value[i], "low": found.powered.low[i], "high": found.powered.high[i]}
        row["p"] = found.powered.p[i]
        for name, of in (("coded_only", found.coded_only), ("naive", found.naive)):
            row |= {name: of.value[i], f"{name}_low": of.low[i], f"{name}_high": of.high[i]}
        rows.append(row)
    return rows


def _people(au: str, cells: _Cells, rows: Integers, score: Floats, names: pd.Index, levels: Sequence[str]) -> pd.DataFrame:
    cell = cells.of(rows)
    total = np.bincount(cell, score, cells.people * cells.levels)
    count = np.bincount(cell, minlength=cells.people * cells.levels)
    there = np.flatnonzero(count)
    return pd.DataFrame(
        {
            "subject": names[there // cells.levels],
            "condition": np.array(levels, object)[there % cells.levels],
            "AU": au,
            "faces": count[there],
            "mean": total[there] / count[there],
        }
    )
