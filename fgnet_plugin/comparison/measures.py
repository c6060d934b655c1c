"""Measures of a detector against labels, from weighted sums over faces: scores of decisions, rankings and intensities.

All work on many weightings of the same faces at once, which is what a bootstrap needs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fgnet_plugin.utils.arrays import Floats, Integers

TITLES = {
    "f1": "F1",
    "auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1_skew": "skew-normalised F1",
    "mcc": "MCC",
    "kappa": "Cohen's κ",
    "free_kappa": "free-margin κ",
    "f1_chosen": "F1 at the validation's threshold",
    "icc": "ICC(3,1)",
    "mae": "MAE",
    "pearson_r": "Pearson r",
}
"""Measure -> what readers call it."""


def _f1(true: Floats, false: Floats, with_au: Floats, without: Floats) -> Floats:
    return ratio(2 * true, true + false + with_au, with_au > 0)


def _skew_normalised_f1(true: Floats, false: Floats, with_au: Floats, without: Floats) -> Floats:
    both = (with_au > 0) & (without > 0)
    return ratio(2 * true, true + with_au + false * ratio(with_au, without, both), both)


def _accuracy(true: Floats, false: Floats, with_au: Floats, without: Floats) -> Floats:
    faces = with_au + without
    return ratio(true + without - false, faces, faces > 0)


def _precision(true: Floats, false: Floats, with_au: Floats, without: Floats) -> Floats:
    found = true + false
    return np.where(with_au > 0, ratio(true, np.where(found > 0, found, 1), found >= 0), np.nan)


def _recall(true: Floats, false: Floats, with_au: Floats, without: Floats) -> Floats:
    return ratio(true, with_au, with_au > 0)


def _mcc(true: Floats, false: Floats, with_au: Floats, without: Floats) -> Floats:
    found, rest = true + false, with_au + without - true - false
    product = np.sqrt(found * rest * with_au * without)
    above = true * (without - false) - false * (with_au - true)
    return np.where((with_au > 0) & (without > 0), ratio(above, np.where(product > 0, product, 1), product >= 0), np.nan)


def _kappa(true: Floats, false: Floats, with_au: Floats, without: Floats) -> Floats:
    found, rest = true + false, with_au + without - true - false
    above = 2 * (true * (without - false) - false * (with_au - true))
    return ratio(above, found * without + with_au * rest, (with_au > 0) & (without > 0))


def _free_kappa(true: Floats, false: Floats, with_au: Floats, without: Floats) -> Floats:
    return 2 * _accuracy(true, false, with_au, without) - 1


OF_DECISIONS: dict[str, Callable[[Floats, Floats, Floats, Floats], Floats]] = {
    "f1": _f1,
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1_skew": _skew_normalised_f1,
    "mcc": _mcc,
    "kappa": _kappa,
    "free_kappa": _free_kappa,
}
"""Measure -> function of true positives, false positives, faces with the AU and faces without it (arrays of one shape).

F1, precision and recall are NaN without a face with the AU, MCC, κ and skew-normalised F1 without one of each kind. Where the
AU is never found, precision and MCC are 0, as scikit-learn has it. Skew-normalised F1 (Jeni et al. 2013) counts false positives
as if there were as many faces without the AU as with it. Free-margin κ is 2 · accuracy − 1 (Brennan & Prediger 1981).

Example:
    >>> OF_DECISIONS["f1_skew"](*np.array([[8.0], [9.0], [10.0], [90.0]]))  # 9 of 90 are as 1 of 10
    array([0.84210526])
"""


def average_precision(truth: npt.NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Compute average precision, the area under the precision-recall curve by steps, under many weightings.

    Args:
        truth, score: [n].
        weights: [n, m] ≥ 0.

    Returns:
        [m] as scikit-learn's ``average_precision_score``; NaN where no face with the AU has a weight.

    Example:
        >>> average_precision(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]), np.ones((3, 1)))
        array([0.83333333])
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)[: len(order)]  # equal scores fall together
    weights = weights[order]
    true = np.cumsum(weights * truth[order, None], axis=0)[last]
    found = np.cumsum(weights, axis=0)[last]
    steps = np.diff(true, axis=0, prepend=0.0)
    total = true[-1] if len(true) else np.zeros(weights.shape[1])
    return ratio((steps * ratio(true, found, found > 0)).sum(axis=0, where=found > 0), total, total > 0)


OF_INTENSITIES = "icc", "mae", "pearson_r"


def intensity_sums(truth: Floats, estimate: Floats) -> Floats:
    """Return what the measures of intensities are functions of, face by face: [7, n], to be summed with weights."""
    return np.stack(
        [np.ones_like(truth), truth, estimate, truth * truth, estimate * estimate, truth * estimate, np.abs(truth - estimate)]
    )


def of_intensities(sums: Floats) -> Floats:
    """Compute ICC(3,1), mean absolute error and Pearson's r from the weighted sums of `intensity_sums`, [7, m] -> [3, m].

    ICC(3,1) is Shrout & Fleiss' (1979), for the two raters label and estimate. NaN where there are fewer than two faces or
    all labels are the same.
    """
    n, x, y, xx, yy, xy, error = sums
    enough = n > 1
    faces = np.where(enough, n, 2)
    of_x, of_y, of_both = xx - x * x / faces, yy - y * y / faces, xy - x * y / faces
    varied = enough & (of_x > 1e-9 * faces)
    # With two raters, MSR − MSE = 2·cov and MSR + MSE = var + var.
    icc = ratio(2 * of_both, np.where(varied, of_x + of_y, 1), varied)
    product = np.sqrt(np.maximum(of_x, 0) * np.maximum(of_y, 0))
    correlated = varied & (of_y > 1e-9 * faces)
    return np.stack([icc, ratio(error, faces, varied), ratio(of_both, np.where(correlated, product, 1), correlated)])


def counts(truth: npt.NDArray[np.bool_], present: npt.NDArray[np.bool_], units: Integers, count: int) -> Floats:
    """Count true and false positives, and faces with and without the AU, in each of `count` units: [4, count]."""
    kinds = truth & present, ~truth & present, truth, ~truth
    return np.stack([np.bincount(units[kind], minlength=count) for kind in kinds]).astype(np.float64)


def ratio(above: Floats, below: npt.NDArray[np.generic], defined: npt.NDArray[np.bool_]) -> Floats:
    """Divide arrays of one shape; NaN where the ratio is not defined."""
    out: Floats = np.full(np.shape(above), np.nan)
    return np.divide(above, below, out=out, where=defined)
