"""Measures and intervals against scikit-learn, SciPy and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, pearsonr
from simulated_subjects import corpus, f1, f1_of_many
from sklearn import metrics

from fgnet_plugin.comparison.agreement import intraclass_correlation
from fgnet_plugin.comparison.bootstrap import Case, bca_interval, draw_units, interval, resampled_scores, scores_without
from fgnet_plugin.comparison.measures import OF_DECISIONS, average_precision, intensity_sums, of_intensities

NAMES = ("auc", "pr_auc", *OF_DECISIONS)


def faces(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    return truth, (truth + rng.normal(0, 1, n)).round(1) - 0.5  # with ties


def by_sklearn(truth: np.ndarray, score: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    present, w = score > 0, {"sample_weight": weight}
    balanced = weight * np.where(truth, 1, (weight * truth).sum() / (weight * ~truth).sum())
    accuracy = metrics.accuracy_score(truth, present, **w)
    return {
        "auc": metrics.roc_auc_score(truth, score, **w),
        "pr_auc": metrics.average_precision_score(truth, score, **w),
        "f1": metrics.f1_score(truth, present, **w),
        "accuracy": accuracy,
        "precision": metrics.precision_score(truth, present, **w),
        "recall": metrics.recall_score(truth, present, **w),
        "f1_skew": metrics.f1_score(truth, present, sample_weight=balanced),
        "mcc": metrics.matthews_corrcoef(truth, present, **w),
        "kappa": metrics.cohen_kappa_score(truth, present, **w),
        "free_kappa": (accuracy - 0.5) / 0.5,
    }


def test_all_measures_are_sklearns_weighted_or_not_and_without_each_unit() -> None:
    truth, score = faces(0)
    units = np.arange(300) % 12
    case = Case(truth, score, score > 0, units)
    assert dict(zip(NAMES, case.points(NAMES), strict=True)) == pytest.approx(by_sklearn(truth, score, np.ones(300)))
    drawn = draw_units(np.random.default_rng(1), 12, 5)
    samples = resampled_scores([case], drawn, NAMES)[:, 0]
    for i in range(5):
        assert dict(zip(NAMES, samples[:, i], strict=True)) == pytest.approx(by_sklearn(truth, score, drawn[units, i] * 1.0))
    without = scores_without([case], 12, NAMES)[:, 0]
    for unit in (0, 7):
        rest = by_sklearn(truth, score, (units != unit) * 1.0)
        assert dict(zip(NAMES, without[:, unit], strict=True)) == pytest.approx(rest)


def test_where_measures_are_not_defined() -> None:
    nothing = Case(np.zeros(4, bool), np.arange(4.0), np.zeros(4, bool), np.arange(4))
    found = dict(zip(NAMES, nothing.points(NAMES), strict=True))
    assert found.pop("accuracy") == found.pop("free_kappa") == 1
    assert np.isnan(list(found.values())).all()
    never = Case(np.array([True, False]), np.zeros(2), np.zeros(2, bool), np.arange(2))
    assert never.points(("precision", "mcc", "f1", "kappa")).tolist() == [0, 0, 0, 0]  # as scikit-learn
    assert np.isnan(average_precision(np.zeros(3, bool), np.arange(3.0), np.ones((3, 2)))).all()


def test_intensities_against_scipy_and_a_worked_example() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 6, 200).astype(float)
    estimate = 0.6 * truth + rng.normal(0, 1, 200)
    icc, mae, r = of_intensities(intensity_sums(truth, estimate).sum(1, keepdims=True))[:, 0]
    assert icc == pytest.approx(intraclass_correlation(np.stack([truth, estimate], 1), "consistency"))
    assert mae == pytest.approx(metrics.mean_absolute_error(truth, estimate))
    assert r == pytest.approx(pearsonr(truth, estimate).statistic)
    # The first two judges of Shrout & Fleiss 1979, table 2, by their analysis of variance: (MSR − MSE) / (MSR + MSE).
    first, second = np.array([9.0, 6, 8, 7, 10, 6]), np.array([2.0, 1, 4, 1, 5, 2])
    means = (first + second) / 2
    rows = 2 * ((means - means.mean()) ** 2).sum() / 5
    residual = np.stack([first - first.mean(), second - second.mean()]) - (means - means.mean())
    error = (residual**2).sum() / 5
    assert of_intensities(intensity_sums(first, second).sum(1, keepdims=True))[0, 0] == pytest.approx(
        (rows - error) / (rows + error)
    )
    assert np.isnan(of_intensities(intensity_sums(np.ones(5), truth[:5]).sum(1, keepdims=True))).all()


def test_bca_is_scipys_but_for_the_width_that_few_units_need() -> None:
    """With the level that the widening amounts to, SciPy's BCa of the same statistic has the same limits."""
    from scipy.stats import norm, t

    values = np.random.default_rng(3).exponential(1.0, 14)
    drawn = np.random.default_rng(4).multinomial(14, np.full(14, 1 / 14), 20000).T  # as SciPy draws
    low, high = bca_interval(values.mean(), values @ drawn / drawn.sum(0), (values.sum() - values) / 13, 0.95)
    level = 2 * norm.cdf(np.sqrt(14 / 13) * t.ppf(0.975, 13)) - 1
    theirs = bootstrap((values,), np.mean, n_resamples=20000, confidence_level=level, rng=5, method="BCa")
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
    assert np.isnan(bca_interval(np.nan, values, values, 0.95)).all()
    assert bca_interval(0.5, np.full(9, 0.5), np.full(5, 0.5), 0.95) == (0.5, 0.5)


def test_intervals_of_f1_cover_better_than_percentiles_with_14_subjects() -> None:
    """400 simulated corpora of clustered faces; docs/evaluation.md has more of them, and 27 subjects."""
    rng, truth = np.random.default_rng(6), f1_of_many(0.8, 1.2)
    held = np.zeros(2)
    for _ in range(400):
        sums = corpus(rng, 14, 0.8, 1.2)
        samples = f1(sums @ draw_units(rng, 14, 300))
        without = f1(sums.sum(1, keepdims=True) - sums)
        classic = f1(sums @ rng.multinomial(14, np.full(14, 1 / 14), 300).T)
        limits = interval(classic, 0.95), bca_interval(float(f1(sums.sum(1))), samples, without, 0.95)
        held += [low <= truth <= high for low, high in limits]
    before, after = held / 400
    assert before < 0.925
    assert 0.925 <= after <= 0.985
    assert after > before + 0.02
