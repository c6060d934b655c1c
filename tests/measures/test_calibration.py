"""Calibration: scores of a known link and of rendered people; what it is refused for; its file."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_scores import MADE, made_sample, tables
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, f1_score, precision_score, recall_score

from fgnet_plugin import measures
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.calibration import Calibration
from fgnet_plugin.measures.coded import coded_faces
from fgnet_plugin.measures.curves import choose, fit, held_out
from fgnet_plugin.measures.reliability import reliability
from fgnet_plugin.utils.made_by import MadeBy

STUDY = Path(__file__).parent / "files" / "rendered_people.csv"


@pytest.fixture(scope="module")
def rendered() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of the bundled network and labels of 120 rendered people, 20 faces each."""
    study = pd.read_csv(STUDY)
    aus = [name.removesuffix("_label") for name in study if name.endswith("_label")]
    rows = pd.DataFrame({"input": study["subject"] + ".mp4", "frame": study["face"], "subject": study["subject"]})
    scores = rows.join(study[aus])
    measures.made_by("fgnet-rendered", "bundled", "bundled").note(scores)
    return scores, rows.join(study[[f"{au}_label" for au in aus]].set_axis(aus, axis="columns"))


@pytest.fixture(scope="module")
def calibration(rendered: tuple[pd.DataFrame, pd.DataFrame]) -> Calibration:
    return measures.calibrate(*rendered, subject="subject", bootstrap=200)


def of_people(table: pd.DataFrame, even: bool) -> pd.DataFrame:
    """Every second person."""
    return table[(table["subject"].str[-3:].astype(int) % 2 == 0) == even]


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_rendered_people_that_were_not_seen(rendered: tuple[pd.DataFrame, pd.DataFrame], method: measures.Method) -> None:
    """Learnt on one half of the people, the error on the other half falls for every AU, and the held-out report foretold it."""
    scores, labels = rendered
    found = measures.calibrate(of_people(scores, True), of_people(labels, True), subject="subject", method=method, bootstrap=50)
    others = of_people(scores, False)
    probabilities = measures.calibrated(others, found)
    gains = []
    for au, of in found.aus.items():
        truth = of_people(labels, False)[au].to_numpy()
        coded = np.isfinite(truth)
        people = pd.factorize(others["subject"][coded])[0]
        before, after = (
            reliability(table[au].to_numpy()[coded], truth[coded] > 0, people, np.ones(coded.sum()), bootstrap=1)
            for table in (others, probabilities)
        )
        gains.append((before.ece[0] - after.ece[0], before.brier[0] - after.brier[0], abs(after.brier[0] - of.after.brier[0])))
    ece, brier, off = np.array(gains).T
    assert len(ece) == 12
    assert (ece > 0).all()
    assert (brier > 0).sum() >= 11
    assert brier.mean() > 0.01
    assert off.max() < 0.03


def test_the_report(calibration: Calibration, rendered: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    report = calibration.report.set_index("AU")
    assert (report["ece"] < report["ece_before"]).all()
    assert (report["brier"] < report["brier_before"]).all()
    for name in ("brier", "brier_before", "ece_before"):
        assert ((report[f"{name}_low"] < report[name]) & (report[name] < report[f"{name}_high"])).all()
    assert (report["subjects"] == 120).all()
    assert report.loc["AU12", "prevalence"] == pytest.approx(rendered[1]["AU12"].mean())
    assert calibration.plot().get_axes()[0].get_title().startswith("AU01")


def test_brier_score_and_ece_by_hand() -> None:
    rng = np.random.default_rng(0)
    sample = made_sample(rng, 30, 40)
    found = reliability(sample.score, sample.truth, sample.subject, np.ones(1200), bootstrap=100)
    assert found.brier[0] == pytest.approx(brier_score_loss(sample.truth, sample.score))
    bins = np.array_split(np.argsort(sample.score), 10)
    ece = sum(len(b) / 1200 * abs(sample.score[b].mean() - sample.truth[b].mean()) for b in bins)
    assert found.ece[0] == pytest.approx(ece, abs=0.002)
    assert found.ece[1] < found.ece[0] < found.ece[2]
    assert np.allclose(found.predicted, [sample.score[b].mean() for b in bins], atol=0.01)
    assert all(low <= at <= high for low, at, high in zip(found.low, found.observed, found.high, strict=True))


def test_weights_are_as_repeated_faces() -> None:
    sample = made_sample(np.random.default_rng(1), 10, 30)
    times = np.random.default_rng(2).integers(1, 4, 300)
    repeated = [np.repeat(part, times) for part in (sample.score, sample.truth, sample.subject)]
    weighted = fit("isotonic", sample.score, sample.truth, times.astype(float))
    assert np.allclose(weighted(sample.score), fit("isotonic", repeated[0], repeated[1], np.ones(times.sum()))(sample.score))
    for threshold in ("youden", "f1", 0.8):
        one = choose(threshold, sample.score, sample.truth, times.astype(float))
        assert one == choose(threshold, repeated[0], repeated[1], np.ones(times.sum()))


def test_thresholds() -> None:
    sample = made_sample(np.random.default_rng(3), 10, 20)
    score, truth = sample.score, sample.truth
    everything = np.unique(score)

    def best(of: NDArray[np.float64]) -> float:
        return float(of.max())

    for threshold, measured in {
        "f1": lambda t: f1_score(truth, score >= t),
        "youden": lambda t: recall_score(truth, score >= t) - (score >= t)[~truth].mean(),
    }.items():
        found = choose(threshold, score, truth, np.ones(200))
        assert measured(found.threshold) == pytest.approx(best(np.array([measured(t) for t in everything])))
    found = choose(0.9, score, truth, np.ones(200))
    assert precision_score(truth, score >= found.threshold) == pytest.approx(found.precision)
    precise = [t for t in everything if precision_score(truth, score >= t) >= 0.9]
    assert found.threshold == min(precise)
    assert np.isnan(choose(0.99, np.full(10, 0.5), np.arange(10) > 5, np.ones(10)).threshold)


def test_no_one_is_judged_by_a_curve_that_saw_them() -> None:
    """Where each person's labels follow their own rule, held-out probabilities know nothing of it."""
    rng = np.random.default_rng(4)
    sample = made_sample(rng, 8, 200, spread=0.0)
    flipped = np.where(sample.subject == 0, ~sample.truth, sample.truth)
    odd = type(sample)(sample.score, flipped, sample.subject, sample.names, sample.weight)
    probabilities = held_out("isotonic", odd, 5, 0)
    own, others = sample.subject == 0, sample.subject != 0
    assert np.corrcoef(probabilities[own], flipped[own])[0, 1] < -0.4
    assert np.corrcoef(probabilities[others], flipped[others])[0, 1] > 0.4


def test_a_known_link_is_found() -> None:
    rng = np.random.default_rng(5)
    score = rng.random(40_000)
    truth = rng.random(40_000) < score**2
    at = np.linspace(0.1, 0.9, 9)
    assert np.allclose(fit("isotonic", score, truth, np.ones(40_000))(at), at**2, atol=0.04)
    logit = np.log(score / (1 - score))
    truth = rng.random(40_000) < 1 / (1 + np.exp(-(0.5 * logit - 1)))
    slope, intercept = fit("platt", score, truth, np.ones(40_000)).x
    assert (slope, intercept) == (pytest.approx(0.5, abs=0.03), pytest.approx(-1, abs=0.05))


def test_the_file(calibration: Calibration, tmp_path: Path, rendered: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    path = tmp_path / "calibration.json"
    calibration.save(path)
    assert Calibration.read(path) == calibration
    pd.testing.assert_frame_equal(measures.calibrated(rendered[0], path), measures.calibrated(rendered[0], calibration))
    content = json.loads(path.read_text())
    assert content["made_by"] == {
        "weights": content["made_by"]["weights"],
        "face_model": "bundled",
        "landmark_model": "bundled",
    }
    assert len(content["made_by"]["weights"]) == 64
    for damage in (
        "",
        "[]",
        "{}",
        json.dumps(content)[:-20],
        json.dumps({**content, "version": 9}),
        json.dumps({**content, "aus": {"AU12": {}}}),
        json.dumps(
            {**content, "aus": {"AU12": {**content["aus"]["AU12"], "curve": {"method": "isotonic", "x": ["a"], "y": [1]}}}}
        ),
        json.dumps({**content, "threshold": "best"}),
        "[" * 100_000,
    ):
        path.write_text(damage)
        with pytest.raises(InputError, match=r"calibration\.json"):
            Calibration.read(path)
    with pytest.raises(FileNotFoundError):
        Calibration.read(tmp_path / "none.json")


def test_infinite_limits_and_missing_thresholds_in_the_file(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = measures.calibrate(
            *tables(made_sample(np.random.default_rng(6), 4, 30)), subject="subject", threshold=0.999, bootstrap=20
        )
    text = " ".join(str(one.message) for one in said)
    assert "no threshold has a precision of 0.999" in text
    assert "needs 9 people" in text
    found.save(tmp_path / "c.json")
    again = Calibration.read(tmp_path / "c.json").aus["AU12"]
    assert np.isnan(again.decision.threshold)
    assert again.limits == found.aus["AU12"].limits
    assert set(again.limits.sets(np.array([0.0, 0.5, 1.0]))) == {"undecided"}


def test_calibrated_tables(calibration: Calibration, rendered: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    scores = rendered[0].assign(AU12=rendered[0]["AU12"].where(rendered[0]["frame"] > 0), AU09=0.5)
    before = scores.copy()
    with pytest.warns(UserWarning, match="the calibration lacks AU09: NaN"):
        table = measures.calibrated(scores, calibration)
    pd.testing.assert_frame_equal(scores, before)
    assert table["AU09"].isna().all()
    assert table["AU12"].isna().tolist() == scores["AU12"].isna().tolist() == table["AU12_present"].isna().tolist()
    known = table["AU12"].notna()
    assert table["AU12"][known].between(0, 1).all()
    level = calibration.aus["AU12"].decision.threshold
    assert (table["AU12_present"][known] == (table["AU12"][known] >= level)).all()
    assert np.corrcoef(table["AU12"][known].rank(), scores["AU12"][known].rank())[0, 1] > 0.95
    for again in (measures.calibrated, measures.conformal_sets):
        with pytest.raises(InputError, match="calibrated already"):
            again(table, calibration)
    with pytest.warns(UserWarning, match="the table lacks AU43"):
        measures.calibrated(rendered[0].drop(columns="AU43"), calibration)


@pytest.mark.parametrize(
    "other",
    [MadeBy("other", "bundled", "bundled"), MadeBy("", "retinaface", "bundled"), MadeBy("", "bundled", "mobilefacenet")],
)
def test_other_weights_and_face_models_are_refused(
    calibration: Calibration, rendered: tuple[pd.DataFrame, pd.DataFrame], other: MadeBy
) -> None:
    scores = rendered[0].copy()
    MadeBy(other.weights or calibration.made_by.weights, other.face_model, other.landmark_model).note(scores)
    for use in (measures.calibrated, measures.conformal_sets):
        with pytest.raises(InputError, match=r"the calibration is for weights .* and the table is of weights"):
            use(scores, calibration)


def test_silence_about_the_origin_is_refused(
    calibration: Calibration, rendered: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    """A CSV loses the attributes: then the file beside it says it, or the caller does."""
    path = tmp_path / "fex.csv"
    rendered[0].to_csv(path, index=False)
    read = pd.read_csv(path)
    with pytest.raises(InputError, match="does not say which weights"):
        measures.calibrated(read, calibration)
    with pytest.raises(InputError, match=r"fex\.csv does not say which weights"):
        measures.calibrated(read, calibration, made_by=path)
    with pytest.raises(InputError, match="does not say which weights"):
        measures.calibrate(read, rendered[1], subject="subject")
    models = {"au_model": "fgnet-rendered", "face_model": "bundled", "landmark_model": "bundled"}
    run = tmp_path / "fex.csv.run"
    run.write_text(json.dumps({"checkpoint": calibration.made_by.weights, "models": models}) + "\nfinished\n")
    measures.calibrated(read, calibration, made_by=path)
    measures.calibrated(read, calibration, made_by=measures.made_by("fgnet-rendered", "bundled", "bundled"))
    run.write_text(json.dumps({"checkpoint": "0" * 64, "models": models}) + "\nfinished\n")
    with pytest.raises(InputError, match="the table is of weights 000000000000"):
        measures.calibrated(read, calibration, made_by=path)
    with pytest.raises(InputError, match="says that it was made by"):
        measures.calibrated(rendered[0], calibration, made_by=MADE)


def test_openface_says_what_it_is() -> None:
    table = pd.DataFrame({"frame": [1, 2], "confidence": 0.9, "success": 1, " AU12_r": [0.0, 5.0], " AU12_c": [0, 1]})
    assert measures.origin_of(table).weights == "OpenFace"


def test_bad_tables(rendered: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    scores, labels = rendered
    with pytest.raises(InputError, match="column 'person'"):
        measures.calibrate(scores, labels, subject="person")
    with pytest.raises(InputError, match="subject is empty in 20 rows"):
        measures.calibrate(
            scores, labels.assign(subject=labels["subject"].where(labels["subject"] != "person003")), subject="subject"
        )
    with pytest.raises(InputError, match="no row of"):
        measures.calibrate(scores, labels.assign(input=labels["input"] + "x"), subject="subject")
    with pytest.raises(InputError, match="none in common"):
        measures.calibrate(
            scores, labels[["input", "frame", "subject", "AU12"]].rename(columns={"AU12": "AU09"}), subject="subject"
        )
    with pytest.raises(InputError, match="intensities"):
        measures.calibrate(scores, labels.assign(AU12=labels["AU12"] * 3), subject="subject")
    with pytest.raises(InputError, match="two people"):
        measures.calibrate(scores, labels[labels["subject"] == "person000"], subject="subject")
    with pytest.raises(InputError, match="numbers above 0"):
        measures.calibrate(scores, labels.assign(weight=0), subject="subject")
    with pytest.raises(InputError, match="2400"):
        measures.calibrate(scores, labels.drop(columns=["input", "frame"]).head(10), subject="subject")
    for options in ({"method": "beta"}, {"threshold": "best"}, {"threshold": 1.5}, {"coverage": 1}, {"folds": 1}):
        with pytest.raises(ValueError, match="must"):
            measures.calibrate(scores, labels, subject="subject", **options)


def test_what_is_left_out_is_said(rendered: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    scores, labels = rendered
    more = pd.concat([labels, labels.head(3).assign(frame=[900, 901, 902])], ignore_index=True).assign(AU09=1)
    few = more.assign(AU43=np.where(more["subject"] == "person001", 1.0, 0.0))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = measures.calibrate(scores, few, subject="subject", bootstrap=10)
    text = " ".join(str(one.message) for one in said)
    assert (
        "3 of 2403 coded rows match no row of the scores and are left out; the first is input person000.mp4, frame 900" in text
    )
    assert "labels of AU09, but no scores" in text
    assert "too few people to calibrate AU43 (1 person with it, 119 without)" in text
    assert "AU43" not in found.aus
    assert "AU12" in found.aus


def test_labels_in_order_and_matched_are_the_same(rendered: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    scores, labels = rendered
    matched = coded_faces(scores, labels.sample(frac=1, random_state=0), "subject").of("AU12")
    in_order = coded_faces(scores, labels.drop(columns=["input", "frame"]), "subject").of("AU12")
    assert np.array_equal(matched.score, in_order.score)
    assert np.array_equal(matched.truth, in_order.truth)
    assert matched.names == in_order.names


@pytest.mark.slow
def test_the_rendered_people_are_what_the_network_says_of_them() -> None:
    """The table that these tests read, for some of its people, rendered anew: ``study(120, 20, seed=20)`` made it."""
    from rendered_people import study

    anew, kept = study(3, 20, seed=20), pd.read_csv(STUDY).head(60)
    aus = [name for name in kept if name.startswith("AU")]
    assert (anew[aus] - kept[aus]).abs().max(axis=None) < 0.02
