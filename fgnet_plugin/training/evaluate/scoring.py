"""From predictions to a run's scores: of all faces, of resampled subjects, and of permutations that know nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import precision_recall_curve

from fgnet_plugin.comparison.bootstrap import Case, Weights, resampled_scores, scores_without
from fgnet_plugin.comparison.measures import OF_DECISIONS, OF_INTENSITIES, counts, intensity_sums, of_intensities
from fgnet_plugin.training.data.intensities import MAX_INTENSITY
from fgnet_plugin.training.evaluate.predictions import Predictions
from fgnet_plugin.training.evaluate.runs import Run
from fgnet_plugin.training.evaluate.scores import COUNTS, Tested
from fgnet_plugin.utils.arrays import Floats, Integers

OCCURRENCE = ("f1", "auc", "pr_auc", *(name for name in OF_DECISIONS if name != "f1"))
PERMUTATIONS = 200


def scored(
    run: Run,
    predictions: Predictions,
    times: int,
    seed: int,
    thresholds: Mapping[str, float] | None = None,
    intensities: Floats | None = None,
) -> Tested:
    """Score a run on a test.

    Args:
        run, predictions: what is scored.
        times: bootstrap resamples of the subjects.
        seed: of the drawing. A subject's weights follow from seed, corpus and name: the same subjects are drawn for every run,
            and in every test set of the corpus that they are in.
        thresholds: AU -> activation from which it counts as present, chosen on validation faces, for ``f1_chosen``.
        intensities: [N, A] coded intensities 0…5, NaN where unknown, for ICC(3,1), MAE and Pearson's r. Activations are taken
            for intensities by the fixed line 2.5 · (activation + 1).
    """
    subjects, units = np.unique(predictions.subjects.astype(str), return_inverse=True)
    weights = subject_weights(predictions.test.name, subjects.tolist(), times, seed)
    cases, chosen = [], []
    for au, labels, activations in zip(predictions.aus, predictions.labels.T, predictions.activations.T, strict=True):
        known = np.isfinite(labels)
        score, truth, of = activations[known], labels[known] > 0.5, units[known].astype(np.intp)
        cases.append(Case(truth, score, score > 0, of))
        limit = np.nan if thresholds is None else thresholds.get(au, np.nan)
        chosen.append(Case(truth, score, score >= limit, of))
    parts = [_of_occurrence(cases, weights, OCCURRENCE)]
    names = list(OCCURRENCE)
    if thresholds:
        parts.append(_of_occurrence(chosen, weights, ("f1",)))
        parts[-1][0][:, [au not in thresholds for au in predictions.aus]] = np.nan
        names.append("f1_chosen")
    auc = OCCURRENCE.index("auc")
    for scores in zip(*parts, strict=True):  # an AU without faces of both kinds has no scores of occurrence at all
        undefined = np.isnan(scores[0][auc])
        for part in scores:
            part[:, undefined] = np.nan
    parts.append(_of_counts(cases, weights))
    names += COUNTS
    if intensities is not None:
        parts.append(_of_intensities(intensities, predictions.activations, units.astype(np.intp), weights))
        names += OF_INTENSITIES
    points, samples, without = (np.concatenate(found) for found in zip(*parts, strict=True))
    if len(subjects) < 2:
        samples[:] = np.nan
    chance = np.full((len(names), len(cases), PERMUTATIONS), np.nan)
    generator = np.random.default_rng(seed)
    for i, case in enumerate(cases):
        if np.isfinite(points[auc, i]) and len(subjects) > 1:
            chance[: len(OCCURRENCE), i] = permuted(case, OCCURRENCE, PERMUTATIONS, generator)
    return Tested(run, predictions, tuple(names), points, samples, without, chance, tuple(subjects.tolist()))


def subject_weights(corpus: str, subjects: Sequence[str], times: int, seed: int) -> Weights:
    """Draw how often each subject is in each resample, Poisson(1): [subjects, times]."""
    found = np.empty((len(subjects), times), np.uint8)
    for row, subject in zip(found, subjects, strict=True):
        of_subject = int(hashlib.sha256(f"{seed} {corpus} {subject}".encode()).hexdigest()[:15], 16)
        row[:] = np.random.default_rng(of_subject).poisson(1.0, times)
    return found


def best_thresholds(predictions: Predictions) -> dict[str, float]:
    """AU -> the activation with the largest F1 on these faces, where there are some of both kinds."""
    found = {}
    for au, labels, activations in zip(predictions.aus, predictions.labels.T, predictions.activations.T, strict=True):
        known = np.isfinite(labels)
        truth = labels[known] > 0.5
        if truth.any() and not truth.all():
            precision, recall, limits = precision_recall_curve(truth, activations[known])
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
            found[au] = float(limits[int(np.argmax(f1[:-1]))])
    return found


def permuted(case: Case, measures: Sequence[str], times: int, generator: np.random.Generator) -> Floats:
    """Compute measures where each subject's faces are given another subject's activations, [measures, times].

    Whole subjects change places, in the order of their faces, so that activations stay as alike from frame to frame as they
    are. Where subjects have different numbers of faces, the next one's follow.
    """
    order = np.argsort(case.units, kind="stable")
    truth, score, present = case.truth[order], case.score[order], case.present[order]
    blocks = np.split(np.arange(len(order)), np.flatnonzero(np.diff(case.units[order])) + 1)
    rank_of = np.argsort(np.argsort(-score, kind="stable"), kind="stable")  # place of each face by falling score
    falling = np.sort(score)[::-1]
    last = np.append(np.diff(falling) != 0, True)  # ends of equal scores
    found = np.cumsum(np.ones(len(score)))[last]
    positives, negatives = float(truth.sum()), float((~truth).sum())
    scores = np.empty((len(measures), times))
    for k in range(times):
        circle = generator.permutation(len(blocks))  # each subject is given the next one's: never its own
        given_to = dict(zip(circle.tolist(), np.roll(circle, -1).tolist(), strict=True))
        given = np.concatenate([blocks[given_to[i]] for i in range(len(blocks))])
        by_rank = np.empty(len(truth))
        by_rank[rank_of[given]] = truth
        true = np.cumsum(by_rank)[last]
        rises, false = np.diff(true, prepend=0.0), found - true
        both = (truth & present[given]).sum(dtype=float)
        sums = np.array([both, present.sum() - both, positives, negatives])[:, None]
        below = negatives - (false + np.concatenate([[0.0], false[:-1]])) / 2  # faces without the AU that each group beats
        ranked = {"auc": (rises * below).sum() / (positives * negatives), "pr_auc": (rises * true / found).sum() / positives}
        scores[:, k] = [ranked[name] if name in ranked else OF_DECISIONS[name](*sums)[0] for name in measures]
    return scores


def _of_occurrence(cases: Sequence[Case], weights: Weights, measures: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    """Measures [M, A], of resamples [M, A, B], without each subject [M, A, U]."""
    points = np.array([case.points(measures) for case in cases]).T
    samples = resampled_scores(cases, weights, measures, compare_copies=False)
    return points, samples, scores_without(cases, len(weights), measures)


def _of_counts(cases: Sequence[Case], weights: Weights) -> tuple[Floats, Floats, Floats]:
    """The same of `COUNTS`."""
    sums = np.stack([counts(case.truth, case.present, case.units, len(weights))[:3] for case in cases], axis=1)
    return sums.sum(axis=2), sums @ weights.astype(np.float64), sums.sum(axis=2, keepdims=True) - sums


def _of_intensities(
    intensities: Floats, activations: Floats, units: Integers, weights: Weights
) -> tuple[Floats, Floats, Floats]:
    """The same of `OF_INTENSITIES`."""
    found: list[tuple[Floats, Floats, Floats]] = []
    for coded, activation in zip(intensities.T, activations.T, strict=True):
        known = np.isfinite(coded)
        terms = intensity_sums(coded[known], MAX_INTENSITY / 2 * (activation[known] + 1))
        sums = np.stack([np.bincount(units[known], term, len(weights)) for term in terms]).astype(np.float64)
        total = sums.sum(axis=1, keepdims=True)
        whole = of_intensities(total)[:, 0]
        found.append((whole, of_intensities(sums @ weights.astype(np.float64)), of_intensities(total - sums)))
    points, samples, without = (np.stack(parts, axis=1) for parts in zip(*found, strict=True))
    return points, samples, without
