"""How well a student agrees with its teacher on the same faces, AU by AU, with intervals by person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.comparison.bootstrap import draw_units, interval
from fgnet_plugin.comparison.measures import ratio
from fgnet_plugin.utils.arrays import Floats

MEASURES = "r", "icc", "kappa", "f1", "bias"
"""Measures with intervals; see `agreement_table`."""
_PRESENT = 0.5
_LIMITS = 1.96
_FACTORS = 1.25, 2.5


@dataclass(frozen=True, eq=False)
class Answers:
    """Scores of student and teacher for the same n faces and A AUs."""

    aus: tuple[str, ...]
    student: Floats
    """[n, A] in [0, 1]"""
    teacher: Floats
    """[n, A] in [0, 1]"""
    person: npt.NDArray[np.object_]
    """[n] who is seen."""


def agreement_table(
    answers: Answers, least: float, *, times: int = 1000, confidence: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Measure the agreement AU by AU.

    Args:
        answers: of both.
        least: ICC below which an AU counts as weak.
        times: resamples of people for the intervals.
        confidence: of the intervals.
        seed: of the resamples.

    Returns:
        A row for each AU: ``AU``, ``name``, ``n``, ``people``; ``r`` (Pearson) and ``icc`` (ICC(A,1)) of the scores, ``kappa``
        (Cohen) and ``f1`` of the decisions at 0.5, the teacher's taken as true, ``bias`` (mean of student − teacher), each with
        ``…_low`` and ``…_high``, NaN with fewer than two people; ``limit_low`` and ``limit_high``, Bland & Altman's limits of
        agreement; ``rms`` (root mean square of student − teacher), and ``rms_bound``, see `bound_of_people`;
        ``base_rate_teacher`` and ``base_rate_student``; and ``weak``, whether the ICC is below `least` or undefined.

    Example:
        >>> scores = np.array([[0.1], [0.9], [0.8], [0.2]])
        >>> answers = Answers(("AU12",), scores, scores, np.array(["a", "a", "b", "b"], object))
        >>> agreement_table(answers, 0.6)[["AU", "icc", "kappa", "weak"]].to_dict("records")
        [{'AU': 'AU12', 'icc': 1.0, 'kappa': 1.0, 'weak': False}]
    """
    people, unit = np.unique(answers.person.astype(str), return_inverse=True)
    drawn = draw_units(np.random.default_rng(seed), len(people), times) if len(people) > 1 else None
    rows = []
    for i, au in enumerate(answers.aus):
        sums = _sums(answers.student[:, i], answers.teacher[:, i], unit, len(people))
        whole = measures_of(sums.sum(1, keepdims=True))
        row: dict[str, object] = {"AU": au, "name": facs_name(au), "n": len(unit), "people": len(people)}
        with np.errstate(divide="ignore", invalid="ignore"):  # of few people, some resamples have none
            samples = None if drawn is None else measures_of(sums @ drawn)
        for name in MEASURES:
            low, high = (math.nan, math.nan) if samples is None else interval(samples[name], confidence)
            row |= {name: float(whole[name][0]), f"{name}_low": low, f"{name}_high": high}
        spread, bias = float(whole["spread"][0]), float(whole["bias"][0])
        row |= {"limit_low": bias - _LIMITS * spread, "limit_high": bias + _LIMITS * spread}
        of_people = measures_of(sums)["rms"]
        row |= {"rms": float(whole["rms"][0]), "rms_bound": bound_of_people(of_people)}
        row |= {f"base_rate_{who}": float(whole[f"base_rate_{who}"][0]) for who in ("teacher", "student")}
        rows.append(row | {"weak": not float(whole["icc"][0]) >= least})
    return pd.DataFrame(rows)


def bound_of_people(rms: Floats) -> float:
    """Compute how far student and teacher may be apart for another person: the upper limit of a 95 % prediction interval.

    It takes logarithms of the people's root mean squares for normally distributed. Few people tell little of their spread, so
    that it is kept between 1.25 and 2.5 times their geometric mean.

    Args:
        rms: [people].

    Example:
        >>> round(bound_of_people(np.array([0.1, 0.1, 0.1, 0.1])), 3), round(bound_of_people(np.array([0.1])), 3)
        (0.125, 0.25)
    """
    logs = np.log(np.maximum(rms, 1e-6))
    narrowest, widest = _FACTORS
    factor, n = widest, len(logs)
    if n > 1:
        half = float(stats.t.ppf(0.975, n - 1)) * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / n)
        factor = math.exp(min(max(half, math.log(narrowest)), math.log(widest)))
    return float(np.exp(logs.mean())) * factor


def mean_measures(table: pd.DataFrame) -> dict[str, float]:
    """Average r, ICC, kappa and F1 over the AUs in which they are defined."""
    return {name: float(table[name].mean()) for name in ("r", "icc", "kappa", "f1")}


def curve_point(faces: int, table: pd.DataFrame) -> dict[str, object]:
    """Describe one student of a learning curve: how many faces it learned from, and its ICC by AU."""
    return {"faces": faces, **mean_measures(table), "icc_of": {row.AU: _rounded(row.icc) for row in table.itertuples()}}


def card(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Bring a table to JSON for a checkpoint's metadata: AU -> measure -> value; None where undefined."""
    columns: Sequence[str] = [str(name) for name in table if name not in ("AU", "name")]
    return {row["AU"]: {name: _rounded(row[name]) for name in columns} for row in table.to_dict("records")}


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _sums(student: Floats, teacher: Floats, unit: npt.NDArray[np.intp], units: int) -> Floats:
    """Sums [10, units] over each unit's faces, from which all measures follow."""
    x, y = student, teacher
    a, b = x > _PRESENT, y > _PRESENT
    terms = [np.ones_like(x), x, y, x * x, y * y, x * y, a & b, a & ~b, ~a & b, ~a & ~b]
    return np.stack([np.bincount(unit, np.asarray(term, float), units) for term in terms])


def measures_of(sums: Floats) -> dict[str, Floats]:
    """Compute all measures [m] from sums [10, m]; NaN where undefined."""
    n, x, y, xx, yy, xy, both, only_student, only_teacher, neither = sums
    var_x, var_y, cov = xx - x * x / n, yy - y * y / n, xy - x * y / n  # times n
    varied = (var_x > 1e-9 * n) & (var_y > 1e-9 * n)
    ones = np.maximum(n - 1, 1)
    ms_rows, ms_error = (var_x + var_y + 2 * cov) / 2 / ones, (var_x + var_y - 2 * cov) / 2 / ones
    ms_columns = (x - y) ** 2 / n / 2
    total = ms_rows + ms_error + 2 / n * (ms_columns - ms_error)
    expected = ((both + only_student) * (both + only_teacher) + (neither + only_student) * (neither + only_teacher)) / n**2
    return {
        "r": ratio(cov, np.sqrt(np.maximum(var_x * var_y, 1e-300)), varied),
        "icc": ratio(ms_rows - ms_error, total, (n > 1) & (var_x + var_y > 1e-9 * n)),
        "kappa": ratio((both + neither) / n - expected, 1 - expected, expected < 1 - 1e-12),
        "f1": ratio(2 * both, 2 * both + only_student + only_teacher, both + only_teacher > 0),
        "bias": (x - y) / n,
        "spread": np.sqrt(np.maximum(var_x + var_y - 2 * cov, 0) / ones),
        "rms": np.sqrt(np.maximum(xx + yy - 2 * xy, 0) / n),
        "base_rate_teacher": (both + only_teacher) / n,
        "base_rate_student": (both + only_student) / n,
    }
