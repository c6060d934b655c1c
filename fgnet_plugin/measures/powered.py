"""Base rates, means, differences and regressions with valid intervals: `prediction_powered`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.comparison.tables import read_model
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.coded import coded_faces
from fgnet_plugin.measures.design import HOW_TO_TELL
from fgnet_plugin.measures.ppi import PPIResult, Rows, estimate
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.text import counted

_MEAN = "mean"


def prediction_powered(
    fex: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    subject: str,
    predictors: Sequence[str] = (),
    aus: Sequence[str] | None = None,
    equal_people: bool = False,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Estimate how often AUs are present, or what they depend on, from all machine-coded faces and a few that people coded.

    The coded people must be a random sample of those in `fex`, and of each the coded faces a random sample, or one with the
    probabilities that the labels' column ``weight`` says (`coding_sheet` writes it).

    Args:
        fex: scores of all faces, of any model, calibrated or not: good scores make intervals narrow, bad ones don't make them
            wrong.
        labels: FACS codes of some faces, matched as by `comparison.compare`.
        subject: column of `fex` that says who is filmed.
        predictors: columns of `fex` to regress the AU on, least squares: numbers as they are; text as differences from its
            alphabetically first value. Without, the mean: the base rate.
        aus: which; by default all that are coded.
        equal_people: every person counts the same; by default, every face.
        confidence: of the intervals.

    Returns:
        One row for each AU and coefficient: ``AU``, ``name``, ``term`` ("mean"; or "intercept" and the predictors),
        ``estimate``, ``low``, ``high``; the same from the labels alone, ``coded_only`` …; and ``naive`` …, the scores taken as
        labels, which is
        biased: to see by how much. ``power`` (λ of PPI++), ``coded`` and ``faces``, ``coded_people`` and ``people``.

    Raises:
        InputError: tables that can't be matched, columns that are missing or empty, too few coded people.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> smiles = rng.random(600) < 0.3
        >>> fex = pd.DataFrame({"input": "film.mp4", "frame": range(600), "subject": np.arange(600) // 20})
        >>> fex["AU12"] = np.clip(0.6 * smiles + 0.5 * rng.random(600), 0, 1)
        >>> labels = fex[["input", "frame"]].assign(AU12=smiles.astype(int))[::5]
        >>> found = prediction_powered(fex, labels, subject="subject")
        >>> found[["AU", "estimate", "low", "high", "coded", "faces"]].round(2).to_dict("records")
        [{'AU': 'AU12', 'estimate': 0.25, 'low': 0.21, 'high': 0.3, 'coded': 120, 'faces': 600}]
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    for column in (subject, *predictors):
        if column not in fex:
            raise InputError(f"the table of scores has no column {column!r}: {HOW_TO_TELL}")
        if fex[column].isna().any():
            raise InputError(f"the column {column} is empty in {counted(int(fex[column].isna().sum()), 'row')}")
    coded = coded_faces(fex, labels, subject)
    unknown = [au for au in aus or () if au not in coded.scores]
    if unknown:
        raise InputError(f"there are no labels and scores of {', '.join(unknown)}; there are of {', '.join(coded.scores)}")
    scores = read_model("scores", fex, 0.5).values
    design, terms = _design(fex, predictors)
    person = pd.factorize(fex[subject].astype(str))[0].astype(np.intp)
    rows: list[dict[str, Any]] = []
    for au in aus or [str(name) for name in coded.scores]:
        score = scores[au].to_numpy()
        all_known = np.flatnonzero(np.isfinite(score))
        of_labels = np.isfinite(coded.labels[au].to_numpy()) & np.isfinite(coded.scores[au].to_numpy())
        where, label = coded.rows[of_labels], coded.labels[au].to_numpy()[of_labels]
        weight, ones = coded.weights[of_labels], np.ones(len(all_known))
        if equal_people:
            weight, ones = (w / np.bincount(who, w)[who] for w, who in ((weight, person[where]), (ones, person[all_known])))
        sample = Rows(design[where], np.stack([label, score[where]], 1), weight, person[where])
        try:
            found = estimate(sample, Rows(design[all_known], score[all_known, None], ones, person[all_known]), confidence)
        except InputError as error:
            raise InputError(f"{au}: {error}") from error
        counts = {"coded": len(where), "faces": len(all_known)}
        counts |= {"coded_people": len(np.unique(person[where])), "people": len(np.unique(person[all_known]))}
        rows += [{"AU": au, "name": facs_name(au), "term": term, **_row(found, i), **counts} for i, term in enumerate(terms)]
    return pd.DataFrame(rows)


def _row(found: PPIResult, i: int) -> dict[str, float]:
    row: dict[str, float] = {}
    for prefix, of in (("", found.powered), ("coded_only", found.coded_only), ("naive", found.naive)):
        before = f"{prefix}_" if prefix else ""
        row |= {prefix or "estimate": float(of.value[i]), f"{before}low": float(of.low[i]), f"{before}high": float(of.high[i])}
    return row | {"power": float(found.power[i])}


def _design(fex: pd.DataFrame, predictors: Sequence[str]) -> tuple[Floats, list[str]]:
    """The predictors' values [n, p], the first a constant, and their names."""
    columns, terms = [np.ones(len(fex))], [_MEAN if not predictors else "intercept"]
    for name in predictors:
        if pd.api.types.is_numeric_dtype(fex[name]):
            columns.append(fex[name].to_numpy(float))
            terms.append(name)
            continue
        texts = fex[name].astype(str).to_numpy()
        levels = sorted(set(texts))
        if len(levels) < 2:
            raise InputError(f"the column {name} has only one value, {levels[0]!r}: nothing can depend on it")
        columns += [(texts == level).astype(float) for level in levels[1:]]
        terms += [f"{name}: {level} − {levels[0]}" for level in levels[1:]]
    return np.stack(columns, 1), terms
