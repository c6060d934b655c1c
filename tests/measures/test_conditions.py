"""Differences of conditions within people: against paired t tests, the coverage of their intervals, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_scores import MADE
from scipy import stats

from fgnet_plugin import measures
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures import Method

CONDITIONS = "alone", "together"


def made_study(rng: np.random.Generator, people: int = 40, effect: float = 0.2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and labels of people with 10 to 40 frames in each condition; the network misses more smiles together."""
    rows = []
    for i in range(people):
        own, bias = rng.beta(3, 9), rng.normal(0, 0.08)
        for second, condition in enumerate(CONDITIONS):
            frames = int(rng.integers(10, 41))
            smiles = rng.random(frames) < own + effect * second
            score = np.where(smiles, 0.75 - 0.2 * second, 0.25) + bias + rng.normal(0, 0.15, frames)
            name = {"input": f"{condition}/P{i:02}.mp4", "subject": f"P{i:02}", "condition": condition}
            rows.append(pd.DataFrame({"frame": range(frames), "AU12": score.clip(0, 1), "label": smiles * 1.0}).assign(**name))
    table = pd.concat(rows, ignore_index=True)
    table["AU15"] = 0.1
    MADE.note(table)
    return table.drop(columns="label"), table[["input", "frame"]].assign(AU12=table["label"], AU15=0.0)


def test_with_all_faces_coded_it_is_the_paired_t_test() -> None:
    scores, labels = made_study(np.random.default_rng(0), people=12)
    found = measures.contrast(scores, labels)
    row = found.table.set_index("AU").loc["AU12"]
    whole = scores.assign(label=labels["AU12"])
    for column, kind in (("label", "coded_only"), ("AU12", "naive")):
        means = whole.pivot_table(index="subject", columns="condition", values=column)
        paired = stats.ttest_rel(means["together"], means["alone"])
        limits = paired.confidence_interval()
        assert row[kind] == pytest.approx((means["together"] - means["alone"]).mean())
        # The jackknife's degrees of freedom are those of two means.
        ratio = stats.t.ppf(0.975, 10) / stats.t.ppf(0.975, 11)
        assert row[f"{kind}_high"] - row[kind] == pytest.approx(ratio * (limits.high - row[kind]))
    assert row["difference"] == pytest.approx(row["coded_only"])
    assert row["condition_rate"] - row["reference_rate"] == pytest.approx(row["difference"])
    rare = found.table.set_index("AU").loc["AU15"]
    assert not rare["tested"]
    assert np.isnan([rare["difference"], rare["p"], rare["p_corrected"]]).all()
    assert len(found.people) == 12 * 2 * 2
    means = found.people.query("AU == 'AU12'").pivot_table(index="subject", columns="condition", values="mean")
    assert (means["together"] - means["alone"]).mean() == pytest.approx(row["naive"])


@pytest.mark.filterwarnings("ignore:AU12. a coverage of 0.9 needs")
@pytest.mark.parametrize(
    ("method", "studies"), [(None, 20), *(pytest.param(name, 100, marks=pytest.mark.slow) for name in ("platt", "isotonic"))]
)
def test_coverage_with_coding_sheets(method: Method | None, studies: int) -> None:
    """Intervals hold the effect, also with a calibration from the same sheet, and are narrower than those of the labels."""
    held, widths = np.empty((studies, 3)), np.empty((studies, 3))
    for i in range(studies):
        scores, labels = made_study(np.random.default_rng(1000 + i))
        sheet = measures.coding_sheet(scores, "subject", 320, seed=i, aus=["AU12"])
        coded = sheet[["input", "frame", "weight"]].merge(labels[["input", "frame", "AU12"]])
        calibration = method and measures.calibrate(scores, coded, subject="subject", method=method, bootstrap=1)
        row = measures.contrast(scores.drop(columns="AU15"), coded, calibration=calibration).table.iloc[0]
        for k, kind in enumerate(("", "coded_only_", "naive_")):
            low, high = row[f"{kind}low"], row[f"{kind}high"]
            held[i, k], widths[i, k] = low <= 0.2 <= high, high - low
    assert held[:, 0].mean() >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / studies)
    assert held[:, 2].mean() < 0.2
    assert widths[:, 0].mean() < 0.9 * widths[:, 1].mean()


def test_people_of_one_condition_are_named_and_three_conditions_compared() -> None:
    scores, labels = made_study(np.random.default_rng(1), people=10)
    alone = (scores["subject"] == "P03") & (scores["condition"] == "together")
    with pytest.warns(UserWarning, match="left out, as they have no faces in one of the conditions: P03"):
        found = measures.contrast(scores[~alone].reset_index(drop=True), labels[~alone].reset_index(drop=True))
    assert found.table.set_index("AU").loc["AU12", "people"] == 9
    third = scores.assign(condition=scores["condition"].where(scores["frame"] % 2 == 0, "later"))
    found = measures.contrast(third, labels, conditions=("together", "alone", "later"), aus=["AU12"])
    assert found.table[["reference", "condition"]].to_numpy().tolist() == [["together", "alone"], ["together", "later"]]
    assert found.table.loc[0, "difference"] < 0
    assert len(found.plot().axes) == 1


def test_probabilities_of_a_calibration(tmp_path: Path) -> None:
    scores, labels = made_study(np.random.default_rng(2), people=25)
    labels = labels.drop(columns="AU15")
    calibration = measures.calibrate(scores, labels, subject="subject", method="platt", bootstrap=20)
    calibration.save(tmp_path / "c.json")
    with pytest.warns(UserWarning, match="the calibration lacks AU15"):
        found = measures.contrast(scores, labels, calibration=tmp_path / "c.json")
    people = found.people.groupby("condition")["mean"].mean()
    real = labels.assign(condition=scores["condition"]).groupby("condition")["AU12"].mean()
    assert people["together"] + people["alone"] == pytest.approx(real.sum(), abs=0.05)
    with pytest.warns(UserWarning, match="the calibration has no threshold for AU15: left out"):
        summary = measures.summarize(scores, calibration=calibration, rate=25).long
    assert set(summary["AU"]) == {"AU12"}
    rates = summary.groupby(summary["recording"].str.split("/").str[0])["base_rate"].mean()
    assert rates["together"] > rates["alone"]
    scores.attrs.clear()
    with pytest.raises(InputError, match="does not say which weights"):
        measures.summarize(scores, calibration=calibration, rate=25)


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({}, {"condition": "mood"}, "no column 'mood', which is to say in which condition: tell it with a column, --pattern"),
        ({}, {"subject": "who"}, "no column 'who', which is to say who is filmed"),
        ({}, {"conditions": ["alone", "apart"]}, "no row has the condition 'apart'; there are alone, together"),
        ({}, {"conditions": ["alone"]}, "has only 'alone' to compare"),
        ({}, {"aus": ["AU06"]}, "no labels and scores of AU06; there are of AU12, AU15"),
        ({"subject": None}, {}, "the column subject is empty in"),
        ({}, {"confidence": 95}, "confidence must lie between 0 and 1"),
    ],
)
def test_what_is_refused(change: dict[str, object], options: dict[str, object], says: str) -> None:
    scores, labels = made_study(np.random.default_rng(3), people=6)
    with pytest.raises((InputError, ValueError), match=says):
        measures.contrast(scores.assign(**change), labels, **options)


def test_nobody_is_in_both_conditions() -> None:
    scores, labels = made_study(np.random.default_rng(3), people=6)
    odd = scores["subject"].str[-1].astype(int) % 2 == (scores["condition"] == "alone")
    with pytest.raises(InputError, match=r"nobody has faces in all of alone, together.*fgnet estimate --predictor condition"):
        measures.contrast(scores[odd].reset_index(drop=True), labels[odd].reset_index(drop=True))
