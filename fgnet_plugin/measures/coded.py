"""Bring together scores and the labels that people gave the same faces, with who is filmed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.comparison.matching import join
from fgnet_plugin.comparison.tables import AUTable, read_labels, read_model
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.design import HOW_TO_TELL
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.text import counted, plural


@dataclass(frozen=True, eq=False)
class CodedFaces:
    """The R faces that have scores and labels, of AUs that both know."""

    scores: pd.DataFrame
    """[R, AUs] NaN where unknown."""
    labels: pd.DataFrame
    """[R, AUs] 1.0, 0.0, or NaN where not coded."""
    subjects: npt.NDArray[np.object_]
    """[R] who is filmed."""
    weights: Floats
    """[R] for how many faces each stands: 1, or the labels' column ``weight``."""
    rows: Integers
    """[R] the faces' places in the table of scores."""

    def of(self, au: str) -> AUSample:
        """Select the faces whose score and label of an AU are known."""
        score, label = self.scores[au].to_numpy(), self.labels[au].to_numpy()
        known = np.isfinite(score) & np.isfinite(label)
        names, subject = np.unique(self.subjects[known].astype(str), return_inverse=True)
        return AUSample(score[known], label[known] > 0, subject.astype(np.intp), names.tolist(), self.weights[known])


@dataclass(frozen=True, eq=False)
class AUSample:
    """The n faces with a score and a label of one AU."""

    score: Floats
    """[n]"""
    truth: npt.NDArray[np.bool_]
    """[n]"""
    subject: Integers
    """[n] numbers of the subjects, from 0."""
    names: list[str]
    """The subjects' names."""
    weight: Floats
    """[n]"""

    def subjects_with(self, present: bool) -> int:
        """Count the subjects who have a face with the AU, or one without."""
        return len(np.unique(self.subject[self.truth == present]))


def coded_faces(fex: pd.DataFrame, labels: pd.DataFrame, subject: str) -> CodedFaces:
    """Match a table of scores with labels, by the rules of `comparison.compare`.

    Args:
        fex: table of AUs, such as a Fex.
        labels: FACS codes 1, 0, or NaN, -1 or 9 where not coded; optionally ``weight``, as `coding_sheet` writes it.
        subject: column, of either table, that says who is filmed.

    Raises:
        InputError: tables that can't be read or matched, no AU in common, no such column. Labels that match no row, and AUs
            that only one of the tables has, bring a warning.
    """
    model, truth = read_model("scores", fex, 0.5), read_labels(labels)
    in_model, in_truth = _common_rows(model, truth)
    if len(in_truth) < len(truth):
        missing = np.setdiff1d(np.arange(len(truth)), in_truth)
        warnings.warn(
            f"{len(missing)} of {len(truth)} coded rows {plural(len(missing), 'matches', 'match')} no row of the scores and"
            f" {plural(len(missing), 'is', 'are')} left out; the first is {place(truth, int(missing[0]))}",
            stacklevel=3,
        )
    aus = [au for au in truth.values.columns if au in model.values]
    if not aus:
        raise InputError(
            f"labels are of {', '.join(truth.values)}, and the scores are of {', '.join(model.values)}: none in common"
        )
    if len(aus) < truth.values.shape[1]:
        unknown = [au for au in truth.values.columns if au not in aus]
        warnings.warn(f"there are labels of {', '.join(unknown)}, but no scores: left out", stacklevel=3)
    return CodedFaces(
        model.values[aus].iloc[in_model].reset_index(drop=True),
        truth.values[aus].iloc[in_truth].reset_index(drop=True),
        _subjects(subject, model, truth, in_model, in_truth),
        weights_of(truth.source, "labels")[in_truth],
        in_model,
    )


def place(table: AUTable, row: int) -> str:
    """Say in words which file and frame a row is of."""
    file = [] if table.inputs is None else [f"input {table.inputs[row]}"]
    return ", ".join(file + ([] if table.frames is None else [f"frame {table.frames[row]:g}"])) or f"row {row}"


def weights_of(table: pd.DataFrame, what: str) -> Floats:
    """Get the column ``weight`` [n], or ones. Raises InputError for weights that are not above 0."""
    if "weight" not in table:
        return np.ones(len(table))
    weights = pd.to_numeric(table["weight"], errors="coerce").to_numpy(float)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise InputError(f"{what}: the column weight must hold numbers above 0 in every row")
    return weights


def _common_rows(model: AUTable, truth: AUTable) -> tuple[Integers, Integers]:
    """Rows of the scores and of the labels that are the same faces."""
    if truth.inputs is None and truth.frames is None:
        if len(truth) != len(model):
            raise InputError(
                f"labels have {counted(len(truth), 'row')} without the columns input and frame, and the scores have"
                f" {len(model)}: add the columns, or give labels of all rows"
            )
        return np.arange(len(model)), np.arange(len(truth))
    of_model, of_truth = join([model, truth]).positions
    _, in_model, in_truth = np.intersect1d(of_model, of_truth, return_indices=True)
    return in_model, in_truth


def _subjects(column: str, model: AUTable, truth: AUTable, in_model: Integers, in_truth: Integers) -> npt.NDArray[np.object_]:
    for table, rows in ((truth, in_truth), (model, in_model)):
        if column in table.source:
            subjects = table.source[column].iloc[rows]
            if subjects.isna().any():
                raise InputError(
                    f"the column {column} is empty in {counted(int(subjects.isna().sum()), 'row')}: say who is filmed in each"
                )
            return subjects.astype(str).to_numpy(object)
    raise InputError(
        f"neither the labels nor the scores have a column {column!r}. Frames of one person are alike, so who is filmed must be"
        f" known: {HOW_TO_TELL}; where each file shows another person, the column is input"
    )
