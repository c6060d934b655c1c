"""Conformal sets: the formula, and coverage for new people over 200 repeats."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_scores import made_sample

from fgnet_plugin.measures.coded import AUSample
from fgnet_plugin.measures.conformal import Limits, limits, people_needed, quantile

STUDY = Path(__file__).parent / "files" / "rendered_people.csv"


def covered(found: Limits, sample: AUSample, label: bool) -> float:
    """Share of frames with this label that get it or "undecided": of each person, then over people."""
    of_label = sample.truth == label
    wrong = found.sets(sample.score[of_label]) == ("absent" if label else "present")
    people = sample.subject[of_label]
    counts = np.bincount(people)
    return float(1 - (np.bincount(people, wrong)[counts > 0] / counts[counts > 0]).mean())


def kept(found: Limits, sample: AUSample, label: bool) -> float:
    """Share of frames with this label that its limit keeps: of each person, then over people."""
    score, people = sample.score[sample.truth == label], sample.subject[sample.truth == label]
    inside = score >= found.present_from if label else score <= found.absent_to
    counts = np.bincount(people)
    return float((np.bincount(people, inside)[counts > 0] / counts[counts > 0]).mean())


def by_frames(sample: AUSample, coverage: float) -> Limits:
    """What split conformal prediction gives that takes frames as exchangeable."""

    def of(strangeness: np.ndarray) -> float:
        rank = int(np.ceil(coverage * (len(strangeness) + 1)))
        return float(np.sort(strangeness)[min(rank, len(strangeness)) - 1])

    return Limits(-of(-sample.score[sample.truth]), of(sample.score[~sample.truth]))


def test_quantile_by_hand() -> None:
    """Two people with 1 and 4 frames: each person weighs 1/3, the new one, too."""
    strangeness, subject = np.array([0.9, 0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 1, 1, 1])
    ones = np.ones(5)
    assert quantile(strangeness, subject, ones, 1 / 12) == 0.1
    assert quantile(strangeness, subject, ones, 0.3) == 0.4
    assert quantile(strangeness, subject, ones, 0.5) == 0.9
    assert quantile(strangeness, subject, ones, 0.7) == np.inf
    assert quantile(np.empty(0), np.empty(0, int), np.empty(0), 0.5) == np.inf


def test_with_one_frame_each_it_is_split_conformal_prediction() -> None:
    rng = np.random.default_rng(0)
    for people in (9, 20, 57):
        values = rng.random(people)
        rank = int(np.ceil(0.9 * (people + 1)))
        assert quantile(values, np.arange(people), np.ones(people), 0.9) == np.sort(values)[rank - 1]
    assert people_needed(0.9) == 9
    assert people_needed(0.95) == 19


def test_sets() -> None:
    scores = np.array([0.0, 0.4, 0.5, 0.6, 1.0, np.nan])
    assert Limits(0.6, 0.4).sets(scores).tolist() == ["absent", "absent", "undecided", "present", "present", None]
    assert Limits(0.4, 0.6).sets(scores).tolist() == ["absent", "undecided", "undecided", "undecided", "present", None]


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_coverage_for_new_people_with_made_scores(coverage: float) -> None:
    """200 repeats: 20 coded people with 5 to 100 frames each, and 200 new ones; frames taken as exchangeable cover less."""
    rng = np.random.default_rng(1)
    found, naive, exact = np.empty((200, 2)), np.empty((200, 2)), np.empty((200, 2))
    for i in range(200):
        coded = made_sample(rng, 20, rng.integers(5, 101, 20), spread=1.5)
        new = made_sample(rng, 200, 20, spread=1.5)
        for label in (0, 1):
            found[i, label] = covered(limits(coded, coverage), new, bool(label))
            naive[i, label] = covered(by_frames(coded, coverage), new, bool(label))
            exact[i, label] = kept(limits(coded, coverage), new, bool(label))
    error = found.std(0) / np.sqrt(200)
    assert (found.mean(0) > coverage - 2 * error).all()
    assert (exact.mean(0) > coverage - 2 * error).all()
    assert (exact.mean(0) < coverage + 1 / 21 + 2 * error).all()  # and not by sets that are larger than needed
    assert (naive.mean(0) < found.mean(0)).all()
    assert naive.mean() < coverage


def test_coverage_for_new_rendered_people() -> None:
    """200 repeats for each AU: 40 of 120 rendered people are coded, the others are new."""
    study = pd.read_csv(STUDY)
    people = pd.factorize(study["subject"])[0]
    rng = np.random.default_rng(2)
    for au in [name.removesuffix("_label") for name in study if name.endswith("_label")]:
        label, score = study[f"{au}_label"].to_numpy(), study[au].to_numpy()
        shares, exact = np.empty((200, 2)), np.empty((200, 2))
        for i in range(200):
            chosen = np.isin(people, rng.permutation(120)[:40])
            coded, new = (
                AUSample(score[rows], label[rows] > 0, people[rows], [], np.ones(rows.sum()))
                for rows in (np.isfinite(label) & chosen, np.isfinite(label) & ~chosen)
            )
            found = limits(coded, 0.9)
            shares[i] = [covered(found, new, bool(of)) for of in (0, 1)]
            exact[i] = [kept(found, new, bool(of)) for of in (0, 1)]
        # Repeats share their 120 people, so that their own spread says too little: 120 people tell 0.9 to about 0.03.
        assert (shares.mean(0) > 0.9 - 0.015).all(), au
        assert (exact.mean(0) > 0.9 - 0.015).all(), au
        assert (exact.mean(0) < 0.9 + 1 / 41 + 0.015).all(), au
