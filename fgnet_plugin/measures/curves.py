"""Fit what turns a score into a probability, and choose the probability from which an AU counts as present."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from fgnet_plugin.measures.coded import AUSample
from fgnet_plugin.utils.arrays import Floats

Method = Literal["isotonic", "platt"]
Threshold = Literal["youden", "f1"] | float
_EDGE = 1e-4  # scores are kept so far from 0 and 1, where the logit is infinite


@dataclass(frozen=True)
class Curve:
    """Score to probability."""

    method: Method
    x: tuple[float, ...]
    """Of isotonic curves the scores of the knots; of Platt's slope and intercept."""
    y: tuple[float, ...]
    """Of isotonic curves the probabilities of the knots, which never fall; of Platt's nothing."""

    def __call__(self, scores: Floats) -> Floats:
        """Turn scores [n] into probabilities [n]; NaN stays."""
        if self.method == "isotonic":
            return np.where(np.isnan(scores), np.nan, np.interp(scores, self.x, self.y))
        slope, intercept = self.x
        return 1 / (1 + np.exp(-(slope * _logit(scores) + intercept)))


def fit(method: Method, score: Floats, truth: npt.NDArray[np.bool_], weight: Floats) -> Curve:
    """Fit a curve to scores [n], labels [n] and weights [n], which hold faces with the AU and without.

    Isotonic: the rising step function of least squared error (Zadrozny & Elkan 2002), read between its knots by straight lines.
    Platt: ``1 / (1 + exp(−(a · logit(score) + b)))`` of greatest likelihood, with Platt's (1999) targets (N₊ + 1) / (N₊ + 2)
    and 1 / (N₋ + 2) instead of 1 and 0, which keep it finite where scores tell the labels apart without an error.
    """
    if method == "isotonic":
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, truth, weight)
        return Curve(method, tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))
    positive, negative = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    logits = np.tile(_logit(score), 2)[:, None]
    both = np.repeat([True, False], len(score))
    model = LogisticRegression(C=1e6).fit(logits, both, np.concatenate([weight * target, weight * (1 - target)]))
    return Curve(method, (float(model.coef_[0, 0]), float(model.intercept_[0])), ())


def held_out(method: Method, sample: AUSample, folds: int, seed: int) -> Floats:
    """Compute each face's probability [n] by a curve that was fitted without its subject.

    `folds` is at most the number of subjects with the AU, and of those with faces without it.
    """
    probabilities = np.empty(len(sample.score))
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for train, test in splits.split(sample.score, sample.truth, sample.subject):
        truth = sample.truth[train]
        if truth.all() or not truth.any():  # one subject has nearly all of them
            probabilities[test] = truth.mean()
            continue
        probabilities[test] = fit(method, sample.score[train], truth, sample.weight[train])(sample.score[test])
    return probabilities


@dataclass(frozen=True)
class Decision:
    """A threshold, and how it does on the faces that it was chosen on."""

    threshold: float
    """NaN where no threshold has the wanted precision."""
    precision: float
    recall: float
    f1: float
    false_positive_rate: float


def choose(threshold: Threshold, probability: Floats, truth: npt.NDArray[np.bool_], weight: Floats) -> Decision:
    """Choose the probability from which an AU counts as present.

    Args:
        threshold: "youden": the largest recall − false positive rate (Youden 1950); "f1": the largest F1; a number in (0, 1):
            the largest recall with at least that precision.
        probability, truth, weight: [n], with faces of both kinds.
    """
    order = np.argsort(-probability, kind="stable")
    last = np.append(np.diff(probability[order]) != 0, True)  # equal probabilities fall together
    true = np.cumsum(weight[order] * truth[order])[last]
    false = np.cumsum(weight[order] * ~truth[order])[last]
    precision, recall, fpr = true / (true + false), true / true[-1], false / false[-1]
    f1 = 2 * true / (true + false + true[-1])
    if threshold == "youden":
        best = int(np.argmax(recall - fpr))
    elif threshold == "f1":
        best = int(np.argmax(f1))
    else:
        enough = np.flatnonzero(precision >= float(threshold))
        if not len(enough):
            return Decision(*[float("nan")] * 5)
        best = int(enough[-1])
    value = probability[order][last][best]
    return Decision(*(float(x) for x in (value, precision[best], recall[best], f1[best], fpr[best])))


def check_options(method: str, threshold: Threshold) -> None:
    """Raise ValueError for an unknown method or threshold."""
    if method not in ("isotonic", "platt"):
        raise ValueError(f"method must be 'isotonic' or 'platt', got {method!r}")
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if threshold not in ("youden", "f1") and not (number and 0 < float(threshold) < 1):
        raise ValueError(f"threshold must be 'youden', 'f1' or a precision between 0 and 1, got {threshold!r}")


def _logit(scores: Floats) -> Floats:
    kept = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.log(kept / (1 - kept))
