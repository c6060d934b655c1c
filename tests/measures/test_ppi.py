"""Prediction-powered inference: closed forms, and the coverage of 500 simulated studies with a biased detector."""

import numpy as np
import pandas as pd
import pytest
from made_scores import MADE
from numpy.typing import NDArray

from fgnet_plugin import measures
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.ppi import Estimates, PPIResult, Rows, estimate

RATE, EFFECT = 0.29, 0.1
"""What `made_study` draws from: how often the AU is present, and how much more often in the second condition."""


def made_study(rng: np.random.Generator, people: int = 100, faces: int = 60) -> pd.DataFrame:
    """People with their own rates in two conditions, and a detector that is biased by person and misses more in the second."""
    person = np.repeat(np.arange(people), faces)
    second = np.tile(np.arange(faces) % 2, people)
    rate = 0.8 * rng.beta(3, 7, people)[person] + EFFECT * second  # 0.24 and 0.34
    label = rng.random(len(person)) < rate
    bias = rng.normal(0, 0.08, people)[person]
    score = np.clip(np.where(label, 0.75 - 0.2 * second, 0.25) + bias + rng.normal(0, 0.2, len(person)), 0, 1)
    return pd.DataFrame({"person": person, "second": second, "label": label.astype(float), "score": score})


def coded_rows(rng: np.random.Generator, study: pd.DataFrame, people: int, faces: int) -> NDArray[np.intp]:
    """So many random people of the study, and of each so many random faces."""
    person = study["person"].to_numpy()
    chosen = rng.permutation(person.max() + 1)[:people]
    return np.concatenate([rng.permutation(np.flatnonzero(person == one))[:faces] for one in chosen])


def result(study: pd.DataFrame, coded: NDArray[np.intp], predictors: list[str]) -> PPIResult:
    design = np.column_stack([np.ones(len(study)), *(study[name] for name in predictors)])
    label, score, person = (study[name].to_numpy() for name in ("label", "score", "person"))
    sample = Rows(design[coded], np.column_stack([label[coded], score[coded]]), np.ones(len(coded)), person[coded])
    return estimate(sample, Rows(design, score[:, None], np.ones(len(study)), person))


def covers(of: Estimates, truth: float) -> bool:
    return bool(of.low[-1] <= truth <= of.high[-1])


def width(of: Estimates) -> float:
    return float(of.high[-1] - of.low[-1])


@pytest.mark.parametrize("people", [8, 20])
@pytest.mark.parametrize(("predictors", "truth"), [([], RATE), (["second"], EFFECT)], ids=["base rate", "difference"])
def test_coverage_of_500_studies(people: int, predictors: list[str], truth: float) -> None:
    """95 % intervals hold the truth, are narrower than those of the labels alone, and the naive ones never hold it."""
    rng = np.random.default_rng(people + len(predictors))
    held, widths, values = np.empty((500, 3)), np.empty((500, 3)), np.empty(500)
    for i in range(500):
        study = made_study(rng)
        found = result(study, coded_rows(rng, study, people, 15), predictors)
        kinds = found.powered, found.coded_only, found.naive
        held[i], widths[i] = [covers(of, truth) for of in kinds], [width(of) for of in kinds]
        values[i] = found.powered.value[-1]
    powered, coded_only, naive = held.mean(0)
    assert powered >= 0.93
    assert coded_only >= 0.93
    assert naive < 0.05
    assert widths[:, 0].mean() < 0.95 * widths[:, 1].mean()
    assert values.mean() == pytest.approx(truth, abs=3 * values.std() / np.sqrt(500))  # no bias


def test_a_mean_with_one_face_each_is_the_papers() -> None:
    """Of independent faces: θ = mean f over all + mean(Y − f) over the coded, var = var(f)/N + var(Y − f)/n, for λ = 1."""
    rng = np.random.default_rng(0)
    label = (rng.random(4400) < 0.3).astype(float)
    score = 0.1 + 0.8 * label + rng.normal(0, 0.05, 4400)
    coded, rest = np.arange(400), np.arange(400, 4400)
    one = np.ones((4400, 1))
    found = estimate(
        Rows(one[coded], np.column_stack([label[coded], score[coded]]), np.ones(400), coded),
        Rows(one[rest], score[rest, None], np.ones(4000), rest),
    )
    assert found.power[0] == 1
    error = label[coded] - score[coded]
    assert found.powered.value[0] == pytest.approx(score[rest].mean() + error.mean())
    deviation = np.sqrt(score[rest].var() / 4000 + error.var() / 400)
    assert width(found.powered) == pytest.approx(2 * 1.96 * deviation, rel=0.01)
    assert width(found.coded_only) == pytest.approx(2 * 1.96 * label[coded].std() / 20, rel=0.01)


def test_useless_scores_cost_little() -> None:
    """Nor does the power that is fitted to noise make intervals too narrow."""
    rng = np.random.default_rng(1)
    held, ratio, power = np.empty(1000), np.empty(1000), np.empty(1000)
    for i in range(1000):
        study = made_study(rng, people=60, faces=30).assign(score=lambda table: rng.random(len(table)))
        found = result(study, coded_rows(rng, study, 10, 15), [])
        held[i], power[i] = covers(found.powered, RATE), found.power[0]
        ratio[i] = width(found.powered) / width(found.coded_only)
    assert held.mean() >= 0.93
    assert 0.95 < ratio.mean() < 1.06
    assert np.median(power) < 0.3


def test_frames_that_repeat_change_nothing() -> None:
    """Each face ten times over is no more evidence."""
    rng = np.random.default_rng(2)
    study = made_study(rng, people=30)
    coded = coded_rows(rng, study, 12, 10)
    tenfold = study.loc[study.index.repeat(10)].reset_index(drop=True)
    once, often = result(study, coded, []), result(tenfold, (coded[:, None] * 10 + np.arange(10)).ravel(), [])
    assert often.powered.value == pytest.approx(once.powered.value)
    assert often.powered.low == pytest.approx(once.powered.low)


def as_tables(study: pd.DataFrame, coded: NDArray[np.intp]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = pd.DataFrame({"input": [f"p{person:03d}.mp4" for person in study["person"]], "frame": study.index})
    condition = study["second"].map({0: "alone", 1: "together"})
    fex = rows.assign(AU12=study["score"], subject=rows["input"], condition=condition, age=20.0 + study["person"])
    MADE.note(fex)
    return fex, rows.assign(AU12=study["label"]).iloc[coded].sample(frac=1, random_state=0)


def test_tables() -> None:
    rng = np.random.default_rng(3)
    study = made_study(rng)
    coded = coded_rows(rng, study, 20, 15)
    fex, labels = as_tables(study, coded)
    mean = measures.prediction_powered(fex, labels, subject="subject")
    found = result(study, coded, [])
    row = mean.iloc[0]
    assert row[["AU", "name", "term"]].tolist() == ["AU12", "lip corner puller", "mean"]
    assert row[["estimate", "low", "high"]].tolist() == pytest.approx(
        [found.powered.value[0], found.powered.low[0], found.powered.high[0]]
    )
    assert row["coded_only"] == pytest.approx(study["label"].iloc[coded].mean())
    assert row["naive"] == pytest.approx(study["score"].mean())
    assert row[["coded", "faces", "coded_people", "people"]].tolist() == [300, 6000, 20, 100]
    difference = measures.prediction_powered(fex, labels, subject="subject", predictors=["condition", "age"])
    assert difference["term"].tolist() == ["intercept", "condition: together − alone", "age"]
    assert difference["low"][1] < EFFECT < difference["high"][1]
    assert difference["low"][2] < 0 < difference["high"][2]
    assert not difference["naive_low"][1] < EFFECT < difference["naive_high"][1]


def test_people_that_count_the_same() -> None:
    """Half of the people have ten times the frames and twice the rate."""
    rng = np.random.default_rng(4)
    person = np.concatenate([np.repeat(np.arange(40), 100), np.repeat(np.arange(40, 80), 10)])
    label = (rng.random(len(person)) < np.where(person < 40, 0.6, 0.3)).astype(float)
    study = pd.DataFrame({"person": person, "second": 0, "label": label, "score": (0.2 + 0.6 * label)})
    fex, labels = as_tables(study, coded_rows(rng, study, 80, 10))
    of_frames = measures.prediction_powered(
        fex, labels.assign(weight=np.where(labels["input"] < "p040", 10, 1)), subject="subject"
    )
    of_people = measures.prediction_powered(fex, labels, subject="subject", equal_people=True)
    assert of_frames["estimate"][0] == pytest.approx(0.3 + 0.3 * 10 / 11, abs=0.05)
    assert of_people["estimate"][0] == pytest.approx(0.45, abs=0.04)


def test_bad_tables() -> None:
    rng = np.random.default_rng(5)
    study = made_study(rng, people=20)
    fex, labels = as_tables(study, coded_rows(rng, study, 10, 15))
    power = measures.prediction_powered
    with pytest.raises(InputError, match="no column 'person'"):
        power(fex, labels, subject="person")
    with pytest.raises(InputError, match="condition is empty in 600 rows"):
        power(
            fex.assign(condition=fex["condition"].where(fex["condition"] == "alone")),
            labels,
            subject="subject",
            predictors=["condition"],
        )
    with pytest.raises(InputError, match="only one value, 'alone'"):
        power(fex.assign(condition="alone"), labels, subject="subject", predictors=["condition"])
    with pytest.raises(InputError, match="AU12: 2 coded people are too few"):
        power(fex, labels[labels["input"].isin(sorted(set(labels["input"]))[:2])], subject="subject")
    with pytest.raises(InputError, match="AU12: a coefficient rests on one person, or the predictors say the same"):
        power(fex.assign(again=fex["age"] * 2), labels, subject="subject", predictors=["age", "again"])
    with pytest.raises(InputError, match="no labels and scores of AU01"):
        power(fex, labels, subject="subject", aus=["AU01"])
    with pytest.raises(ValueError, match="confidence"):
        power(fex, labels, subject="subject", confidence=95)


def test_codes_of_a_coding_sheet() -> None:
    """Its weights undo that rare scores are drawn more often: no bias, which without them would be large."""
    rng = np.random.default_rng(6)
    found, plain = np.empty(50), np.empty(50)
    for i in range(50):
        study = made_study(rng, people=40, faces=30)
        fex, _ = as_tables(study, np.arange(1))
        sheet = measures.coding_sheet(fex, "subject", 300, seed=i)
        labels = sheet.assign(AU12=study["label"].to_numpy()[sheet["frame"]])
        found[i] = measures.prediction_powered(fex, labels, subject="subject")["estimate"][0]
        plain[i] = labels["AU12"].mean()
    assert found.mean() == pytest.approx(RATE, abs=3 * found.std() / np.sqrt(50))
    assert plain.mean() > RATE + 0.03
