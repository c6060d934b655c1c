"""Models side by side: agreement, scores against labels with their intervals, messages, and the figure."""

import doctest
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from fex_rows import AUS, faces, frames, row, with_aus
from PIL import Image
from scipy.stats import pearsonr
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from fgnet_plugin.action_units import NAMES
from fgnet_plugin.comparison import agreement
from fgnet_plugin.comparison.agreement import Comparison, compare, intraclass_correlation
from fgnet_plugin.comparison.bootstrap import Case, bca_interval, draw_units, interval, resampled_scores, scores_without
from fgnet_plugin.errors import InputError


def noisy(truth: npt.NDArray[np.bool_], noise: float, seed: int) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-2 * (truth - 0.5) - noise * np.random.default_rng(seed).normal(size=truth.shape)))


def test_examples() -> None:
    found = doctest.testmod(agreement)
    assert found.attempted > 0
    assert found.failed == 0


# Agreement


def test_icc_is_that_of_shrout_and_fleiss() -> None:
    """Psychological Bulletin 86, 1979, tables 2 and 4: six targets, four judges."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)
    assert round(intraclass_correlation(ratings, "agreement"), 2) == 0.29
    assert round(intraclass_correlation(ratings, "consistency"), 2) == 0.71


def test_icc_of_two_raters_by_hand() -> None:
    # A constant shift: mean squares of rows 2, of columns 1.5, of the residual 0.
    shifted = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    assert intraclass_correlation(shifted) == pytest.approx(2 / (2 + 2 / 3 * 1.5))
    assert intraclass_correlation(shifted, "consistency") == pytest.approx(1)


@pytest.mark.parametrize("ratings", [np.ones((1, 2)), np.ones((5, 1)), np.full((5, 2), 0.1), np.array([[0.1, 0.7]] * 5)])
def test_icc_is_undefined_without_variance(ratings: npt.NDArray[np.float64]) -> None:
    assert math.isnan(intraclass_correlation(ratings))


def test_agreement_is_that_of_scipy_and_sklearn() -> None:
    a, b = with_aus(frames(50), 0, ["AU01", "AU12"]), with_aus(frames(50), 1, ["AU01", "AU12"])
    found = compare({"a": a, "b": b}, threshold=0.4)
    assert found.accuracy is None
    assert found.labels is None
    assert found.resampled is None
    assert list(found.agreement["AU"]) == ["AU01", "AU12"]
    one = row(found.agreement, AU="AU12")
    x, y = a["AU12"], b["AU12"]
    assert (one["name"], one["model_a"], one["model_b"], one["n"]) == ("lip corner puller", "a", "b", 50)
    assert one["pearson_r"] == pytest.approx(pearsonr(x, y).statistic)
    assert one["kappa"] == pytest.approx(cohen_kappa_score(x >= 0.4, y >= 0.4))
    assert one["icc"] == pytest.approx(intraclass_correlation(np.stack([x, y], 1)))
    assert (one["prevalence_a"], one["prevalence_b"]) == pytest.approx(((x >= 0.4).mean(), (y >= 0.4).mean()))
    assert (one["mean_a"], one["mean_b"]) == pytest.approx((x.mean(), y.mean()))


def test_missing_aus_and_values_are_left_out_pair_by_pair() -> None:
    a, b, c = (with_aus(frames(20), seed, ["AU01", "AU02"]) for seed in range(3))
    a.loc[:4, "AU01"] = np.nan
    b.loc[3:9, "AU01"] = np.inf
    c["AU02"] = np.nan
    agreement = compare({"a": a, "b": b, "c": c}).agreement
    assert row(agreement, AU="AU01", model_a="a", model_b="b")["n"] == 10
    assert row(agreement, AU="AU01", model_a="b", model_b="c")["n"] == 13
    assert list(agreement.query("AU == 'AU02'")[["model_a", "model_b"]].itertuples(index=False, name=None)) == [("a", "b")]


@pytest.mark.filterwarnings("error")
def test_constant_values_are_undefined_without_a_warning() -> None:
    a = frames(6).assign(AU01=0.0, AU02=0.2, AU04=0.9)
    b = frames(6).assign(AU01=0.0, AU02=np.linspace(0, 1, 6), AU04=0.1)
    labels = frames(6).assign(AU01=0, AU02=1, AU04=[0, 1] * 3)
    agreement = compare({"a": a, "b": b}, labels, bootstrap=0).agreement.set_index("AU")
    assert agreement.loc["AU01", ["pearson_r", "icc", "kappa"]].isna().all()
    assert math.isnan(agreement.loc["AU02", "pearson_r"])
    assert agreement.loc["AU02", ["icc", "kappa"]].tolist() == pytest.approx([0, 0])
    assert agreement.loc["AU04", "kappa"] == 0


def test_models_have_thresholds_of_their_own() -> None:
    values = frames(4).assign(AU01=[0.1, 0.4, 0.6, 0.9])
    found = compare({"a": values, "b": values}, thresholds={"b": 0.4})
    assert found.decisions["a"]["AU01"].tolist() == [0, 0, 1, 1]
    assert found.decisions["b"]["AU01"].tolist() == [0, 1, 1, 1]
    with pytest.raises(InputError, match=r"thresholds name 'c', which is not a model; models are 'a', 'b'"):
        compare({"a": values, "b": values}, thresholds={"c": 0.4})


def test_values_out_of_range_need_a_threshold() -> None:
    a, b = frames(4).assign(AU01=[0.1, 0.4, 0.6, 0.9]), frames(4).assign(AU01=[-3.0, -1.0, 2.0, 0.0])
    with pytest.raises(InputError, match=r"'b' has AUs from -3 to 2, .*thresholds=\{'b': …\}"):
        compare({"a": a, "b": b})
    assert compare({"a": a, "b": b}, thresholds={"b": 0.0}).decisions["b"]["AU01"].tolist() == [0, 0, 1, 1]


def test_openface_tables() -> None:
    plain = pd.DataFrame({"frame": range(4), "AU01": [0.0, 0.2, 0.5, 1.0], "AU28": [0.1, 0.2, 0.7, 0.9], "AU12": 0.3})
    openface = pd.DataFrame(
        {"frame": [1, 2, 3, 4], " success": [1, 1, 1, 0], " AU01_r": [0.0, 1.0, 2.5, 5.0], " AU12_r": [0.9, 1.0, 2.0, 3.0]}
        | {" AU01_c": [0, 0, 1, 1], " AU28_c": [0, 1, 1, 1], " AU45_r": [0.0, 0.0, 3.0, 0.0]}
    )
    found = compare({"xgb": plain, "openface": openface})
    values, decisions = found.predictions["openface"], found.decisions["openface"]
    assert list(values) == ["AU01", "AU12", "AU28", "AU45"]
    np.testing.assert_allclose(values["AU01"], [0, 0.2, 0.5, np.nan])
    np.testing.assert_equal(decisions["AU01"].to_numpy(), [0, 0, 1, np.nan])  # as AU01_c says
    np.testing.assert_equal(decisions["AU12"].to_numpy(), [0, 1, 1, np.nan])  # from intensity 1 on
    np.testing.assert_equal(values["AU28"].to_numpy(), [0, 1, 1, np.nan])
    assert row(found.agreement, AU="AU01")[["n", "icc"]].tolist() == [3, pytest.approx(1)]
    own = compare({"xgb": plain, "openface": openface}, thresholds={"openface": 0.2}).decisions["openface"]
    np.testing.assert_equal(own["AU01"].to_numpy(), [0, 1, 1, np.nan])


@pytest.mark.parametrize("rows", [slice(None), slice(2, None), slice(1, None, 2)])
def test_openface_counts_frames_from_1_wherever_a_table_begins(rows: slice) -> None:
    values = np.linspace(0, 1, 8)
    plain = pd.DataFrame({"frame": range(8), "AU12": values})
    openface = pd.DataFrame({" frame": range(1, 9), " confidence": 0.9, " success": 1, " AU12_r": 5 * values})
    by_others = openface.drop(columns=" AU12_r").assign(AU12=values)  # of OpenFace's columns, all but the AUs
    for table in (openface[rows], openface.drop(columns=" success")[rows], by_others[rows]):
        found = row(compare({"plain": plain, "openface": table}).agreement)
        assert found[["n", "icc"]].tolist() == [len(table), pytest.approx(1)]
    with pytest.raises(InputError, match=r"'openface': row 0 has the frame 0, but OpenFace, .*leave its column frame"):
        compare({"plain": plain, "openface": openface.assign(**{" frame": range(8)})})


# Labels


def test_accuracy_is_that_of_sklearn() -> None:
    truth = np.random.default_rng(0).random((200, 3)) < 0.3
    rows, aus = frames(200), ["AU01", "AU02", "AU12"]
    a, b = (pd.concat([rows, pd.DataFrame(noisy(truth, 2, seed).round(2), columns=aus)], axis=1) for seed in (1, 2))
    labels = pd.concat([rows, pd.DataFrame(truth.astype(int), columns=["AU1", "au02", "AU12"])], axis=1)
    found = compare({"a": a, "b": b.drop(columns="AU12")}, labels.sample(frac=1, random_state=0), bootstrap=200)
    scored = row(found.accuracy, AU="AU02", model="b")
    assert (scored["n"], scored["name"]) == (200, "outer brow raiser")
    assert scored["prevalence"] == pytest.approx(truth[:, 1].mean())
    assert scored["f1"] == pytest.approx(f1_score(truth[:, 1], b["AU02"] >= 0.5))
    assert scored["auc"] == pytest.approx(roc_auc_score(truth[:, 1], b["AU02"]))
    assert scored["f1_low"] < scored["f1"] < scored["f1_high"]
    assert scored["auc_low"] < scored["auc"] < scored["auc_high"]
    assert found.accuracy is not None
    assert len(found.accuracy) == 3 + 2 + 2
    mean, of_a = row(found.accuracy, AU="mean", model="a"), found.accuracy.query("model == 'a'").set_index("AU")
    assert mean["f1"] == pytest.approx(of_a.loc[["AU01", "AU02"], "f1"].mean())
    assert mean["auc"] == pytest.approx(of_a.loc[["AU01", "AU02"], "auc"].mean())
    assert mean["name"] == "of 2 AUs that all models know"
    assert mean["n"] == 200
    assert mean["f1_low"] < mean["f1"] < mean["f1_high"]
    assert found.resampled == "rows"


def test_rows_that_are_not_coded_or_not_seen_by_all() -> None:
    a, b = (with_aus(frames(10), seed, ["AU01", "AU02"]) for seed in (0, 1))
    b.loc[0, "AU01"] = np.nan
    labels = frames(12).assign(AU01=[1, 9, -1, np.nan, *[0, 1] * 4], AU02=[9] * 11 + [1])
    found = compare({"a": a, "b": b}, labels, bootstrap=0)
    assert found.accuracy is not None
    assert found.accuracy.query("AU == 'AU01'")["n"].tolist() == [6, 6]
    assert found.accuracy.query("AU == 'AU02'")["n"].tolist() == [0, 0]
    assert found.labels is not None
    np.testing.assert_equal(found.labels["AU01"].to_numpy()[:5], [1, np.nan, np.nan, np.nan, 0])
    scored = row(found.accuracy, AU="AU01", model="a")
    assert scored["auc"] == pytest.approx(roc_auc_score([0, 1] * 3, a["AU01"][4:]))
    assert math.isnan(scored["auc_low"])


def test_scores_without_both_kinds_of_rows() -> None:
    a = with_aus(frames(10), 0, ["AU01", "AU02"])
    accuracy = compare({"a": a}, frames(10).assign(AU01=0, AU02=1), bootstrap=50).accuracy
    assert row(accuracy, AU="AU01")[["f1", "f1_low", "auc", "auc_low"]].isna().all()
    assert row(accuracy, AU="AU02")["f1"] > 0
    assert row(accuracy, AU="AU02")[["auc", "auc_low"]].isna().all()


def test_labels_in_order() -> None:
    a = with_aus(frames(10), 0, ["AU01"])
    labels = pd.DataFrame({"AU01": (a["AU01"] > 0.5).astype(int)})
    assert row(compare({"a": a, "b": a}, labels).accuracy, AU="AU01", model="b")["f1"] == 1
    with pytest.raises(InputError, match="labels have 9 rows without input and frame, and 'a' has 10; give labels the columns"):
        compare({"a": a, "b": a}, labels[:9])
    with pytest.raises(InputError, match="'a' and 'b' have other rows, or in another order; give labels the columns"):
        compare({"a": a, "b": a[::-1]}, labels)


def test_labels_of_one_face_among_several() -> None:
    labels = faces([1]).assign(AU01=[0, 1, 1])
    found = compare({"a": faces([0, 1, 2]), "b": faces([2, 1, 0])}, labels, thresholds={"a": 0.1})
    assert row(found.accuracy, AU="AU01", model="a")[["n", "f1"]].tolist() == [3, 1]
    assert row(found.accuracy, AU="AU01", model="b")[["n", "f1"]].tolist() == [3, 0]


# Intervals


@pytest.mark.parametrize("units", [40, 400])  # fewer and more than resamples: two ways to the same sums
def test_resampled_scores_are_those_of_copied_rows(units: int) -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(400) < 0.3
    score = noisy(truth, 1, 1).round(1)
    of_row = generator.permutation(np.arange(400) % units)
    drawn = draw_units(np.random.default_rng(7), units, 50)
    f1, auc = resampled_scores([Case(truth, score, score >= 0.5, of_row)], drawn)[:, 0]
    for i, draw in enumerate(drawn.T):
        copied = np.repeat(np.arange(400), draw[of_row])
        assert f1[i] == pytest.approx(f1_score(truth[copied], score[copied] >= 0.5))
        assert auc[i] == pytest.approx(roc_auc_score(truth[copied], score[copied]))


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    """AUC of two normal distributions one standard deviation apart, Φ(1/√2); 90 % intervals of 100 samples."""
    expected, held = 0.5 * (1 + math.erf(0.5)), 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        truth = np.arange(120) < 60
        score = generator.normal(size=120) + truth
        cases = [Case(truth, score, score > 0.5, np.arange(120))]
        samples = resampled_scores(cases, draw_units(generator, 120, 300))[1, 0]
        low, high = bca_interval(float(cases[0].points()[1]), samples, scores_without(cases, 120)[1, 0], 0.9)
        held += low <= expected <= high
    assert 82 <= held <= 97


def clustered() -> tuple[pd.DataFrame, pd.DataFrame]:
    """20 files of 50 frames; how well the AU is seen differs from file to file."""
    rows = frames(50, files=20)
    generator = np.random.default_rng(0)
    truth = generator.random(1000) < 0.4
    seen = np.repeat(generator.normal(1, 1.5, 20), 50)
    score = 1 / (1 + np.exp(-seen * (truth - 0.5) * 2 - generator.normal(size=1000)))
    return rows.assign(AU01=score), rows.assign(AU01=truth.astype(int), subject=rows.index // 100, row=rows.index)


def test_clusters_have_wider_intervals_than_rows() -> None:
    fex, labels = clustered()
    width = {}
    for cluster in (None, "input", "subject", "row"):
        found = compare({"a": fex}, labels, cluster=cluster)
        assert found.resampled == (cluster or "input")
        scored = row(found.accuracy, AU="AU01")
        width[cluster] = scored["auc_high"] - scored["auc_low"]
    assert width[None] == width["input"]
    assert width["input"] > 2 * width["row"]
    assert width["subject"] > 2 * width["row"]


def test_few_files_are_not_clusters_by_themselves() -> None:
    fex, labels = clustered()
    assert compare({"a": fex[:200]}, labels).resampled == "rows"
    assert compare({"a": fex[:250]}, labels).resampled == "input"
    one = row(compare({"a": fex[:50]}, labels, cluster="input").accuracy, AU="AU01")
    assert one["f1"] > 0
    assert one[["f1_low", "f1_high", "auc_low", "auc_high"]].isna().all()


def test_the_seed_decides() -> None:
    fex, labels = clustered()
    first, again, other = (compare({"a": fex}, labels, bootstrap=50, seed=seed).accuracy for seed in (0, 0, 1))
    assert first is not None
    assert first.equals(again)
    assert not first.equals(other)


def test_interval_needs_half_of_the_resamples() -> None:
    samples = np.array([0.1, 0.2, np.nan, np.nan])
    assert interval(samples, 0.5) == pytest.approx((0.125, 0.175))
    assert all(math.isnan(limit) for limit in interval(np.append(samples, np.nan), 0.5))


# Messages


def test_tables_that_cannot_be_compared() -> None:
    a = with_aus(frames(5), 0, ["AU01", "AU02"])
    cases: list[tuple[dict[str, pd.DataFrame], str]] = [
        ({"a": a}, "at least two models are needed .*got 'a'"),
        ({"a": a, "b": a.drop(columns=["AU01", "AU02"])}, "'b' has no values of AUs; expected columns such as AU01"),
        (
            {"a": a, "b": with_aus(frames(5), 0, ["AU04"])},
            "'a' and 'b' have no AU in common: the one has AU01, AU02, the other AU04",
        ),
        ({"a": a, "b": a.assign(au1=0.0)}, "'b': more than one column holds AU01"),
        ({"a": a, "b": a.assign(AU01_r=0.0)}, "'b' has AU01 both as a column of its own and as OpenFace writes it"),
        ({"a": a, "b": a.assign(AU01="much")}, "'b': the column AU01 holds something other than numbers"),
        (
            {"a": a, "b": a.assign(input="other.mp4")},
            r"no row of 'b' is of the same input and frame as one of 'a': 'b' has 5 rows from input other.mp4, frame 0; 'a' has"
            r" 5 rows from input /videos/v0.mp4, frame 0",
        ),
        (
            {"a": with_aus(frames(5, files=2), 0), "b": a.drop(columns="input")},
            "'b' has no column input, but 'a' holds several",
        ),
        ({"a": a, "b": a.drop(columns=["input", "frame"])}, "'b' has neither a column input nor frame, which others have"),
        ({"a": a, "b": a.drop(columns="frame")}, "'b' has several rows for input /videos/v0.mp4 and nothing to distinguish"),
        ({"a": a, "b": a.assign(frame=[0, 1, 2, 3, np.nan])}, "'b': row 4 has no number in the column frame"),
        ({"a": a, "b": a.assign(frame=[0, 1, np.inf, 3, 4])}, "'b': row 2 has no number in the column frame"),
        (
            {"a": a.drop(columns=["input", "frame"]), "b": a[:4].drop(columns=["input", "frame"])},
            "without the columns input and frame, tables need the same number of rows; they have: 'a' 5, 'b' 4",
        ),
    ]
    for fexes, message in cases:
        with pytest.raises(InputError, match=message):
            compare(fexes)


def test_labels_that_cannot_be_used() -> None:
    a = with_aus(frames(5), 0, ["AU01", "AU02"])
    cases = [
        (frames(5), "labels have no AUs"),
        (frames(5).assign(AU01=9), "labels have AUs, but no row is coded"),
        (frames(5).assign(AU01=[0, 1, 2, 5, 9]), r"labels of AU01 hold 5: probably intensities.*\(labels\[aus\] >= 2\)"),
        (frames(5).assign(AU01=[0, 1, 0.5, 0, 1]), "labels of AU01 hold 0.5; expected 0 and 1"),
        (frames(5).assign(AU43=1), "labels are of AU43, and no model has one of these AUs"),
        (frames(5).assign(AU01=1, frame=range(7, 12)), "no row of the table of labels is of the same input and frame"),
    ]
    for labels, message in cases:
        with pytest.raises(InputError, match=message):
            compare({"a": a}, labels)


def test_the_advice_for_intensities() -> None:
    labels = pd.DataFrame({"AU01": [0.0, 1.0, 2.0, 5.0, 9.0, -1.0, np.nan]})
    aus = ["AU01"]
    thresholded = (labels[aus] >= 2).astype(float).where(labels[aus].isin(range(6)))
    np.testing.assert_equal(thresholded["AU01"].to_numpy(), [0, 0, 1, 1, np.nan, np.nan, np.nan])


def test_settings_that_cannot_be() -> None:
    fex, labels = clustered()
    with pytest.raises(InputError, match="cluster names the column 'person', which neither labels nor models have"):
        compare({"a": fex}, labels, cluster="person")
    with pytest.raises(InputError, match="900 labelled rows have nothing in the column 'subject'"):
        compare({"a": fex}, labels.assign(subject=labels["subject"].where(labels["subject"] == 0)), cluster="subject")
    with pytest.raises(ValueError, match="bootstrap must be 0 or more, got -1"):
        compare({"a": fex}, labels, bootstrap=-1)
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got 95"):
        compare({"a": fex}, labels, confidence=95)


# Figure


def compared(models: int, aus: int, labelled: bool) -> Comparison:
    rows = frames(40, files=2)
    truth = np.random.default_rng(0).random((80, aus)) < 0.4
    fexes = {
        f"model {i}": pd.concat([rows, pd.DataFrame(noisy(truth, i + 1, i), columns=AUS[:aus])], axis=1) for i in range(models)
    }
    labels = pd.concat([rows, pd.DataFrame(truth * 1, columns=AUS[:aus])], axis=1) if labelled else None
    return compare(fexes, labels, bootstrap=20)


@pytest.mark.parametrize(
    ("models", "aus", "labelled"), [(2, 20, False), (2, 1, True), (4, 20, True), (5, 3, False), (1, 2, True)]
)
@pytest.mark.filterwarnings("error", "ignore:the 80 labelled rows come from 2 files only")
def test_figure(tmp_path: Path, models: int, aus: int, labelled: bool) -> None:
    pytest.importorskip("matplotlib")
    figure = compared(models, aus, labelled).plot()
    figure.savefig(tmp_path / "comparison.png", dpi=60)
    pixels = np.asarray(Image.open(tmp_path / "comparison.png").convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2].swapaxes(0, 1), pixels[:, -2:].swapaxes(0, 1)):
        assert (edge > 200).all()  # nothing runs over the border
    titles = [axes.get_title() or axes.get_xlabel() for axes in figure.axes]
    assert len(titles) == (0 if models == 1 else 2 if models == 2 else 4) + 2 * labelled
    assert ("F1" in titles) == labelled
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown[:aus] == [f"{au} {name}" for au, name in zip(AUS[:aus], NAMES.values(), strict=False)]


def test_heat_maps_show_the_numbers() -> None:
    pytest.importorskip("matplotlib")
    found = compared(3, 4, labelled=False)
    written = [text.get_text() for text in found.plot().axes[0].texts]
    assert written == [f"{value:.2f}".replace("0.", ".").replace("-", "−") for value in found.agreement["icc"]]
