"""Tests of trained runs as published: fold 0's list across corpora, missing frames, F1 over all folds together."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("jinja2", reason="the extra `train` is not installed")

from sklearn.metrics import f1_score
from test_evaluate import AUS, evaluated, made_up_run, predictions_of, reader, toy_corpus

__all__ = ["reader"]  # a fixture


def with_subjects(path: Path, names: tuple[str, ...], **columns: str) -> None:
    """Gives a toy corpus' subjects other names, and its rows more columns."""
    rows = list(csv.DictReader(path.open(newline="")))
    for row in rows:
        row |= {"subject": names[int(Path(row["image_path"]).parts[-2][1:])], **columns}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_across_corpora_on_the_whole_or_on_fold_0(reader: Any, tmp_path: Path) -> None:
    home, away = toy_corpus(tmp_path, "Home"), toy_corpus(tmp_path, "DISFA", AUS[1:], seed=1)
    with_subjects(away, ("SN001", "SN002", "SN003", "SN004", "SN006", "SN009"), padding="constant")
    faces = {"faces": {"padding": "reflect", "target_landmarks": "moved"}}
    run = made_up_run(tmp_path / "runs", "run", home, fold=0, training=faces)
    on = (("DISFA", str(away)),)
    whole = evaluated(tmp_path / "out", run, on=on)
    assert [one.predictions.test.name for one in whole.tested] == ["DISFA"]
    assert len(whole.tested[0].predictions.labels) == 36
    part = evaluated(tmp_path / "out", run, on=on, fold=0)
    (tested,) = part.tested
    assert tested.predictions.test.name == "DISFA, test subjects of fold 0"
    assert not tested.predictions.test.within
    assert set(tested.predictions.subjects) == {"SN001", "SN002", "SN009"}
    summary = pd.read_csv(tmp_path / "out/summary.csv")
    assert set(summary["tested_on"]) == {"DISFA, test subjects of fold 0"}
    assert summary["notes"].str.contains("have padding constant, those that it was trained on reflect").all()
    with pytest.raises(ValueError, match="--on-fold is for BP4D and DISFA, whose published folds are 0, 1 and 2"):
        evaluated(tmp_path / "out", run, on=(("Elsewhere", str(away)),), fold=0)


def test_missing_frames_are_counted(reader: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, away = toy_corpus(tmp_path, "Home"), toy_corpus(tmp_path, "Away", AUS[1:], seed=1)
    run = made_up_run(tmp_path / "runs", "run", home, fold=0, training={"missing_frames": {"train": 7}})
    gone = [tmp_path / row["image_path"] for row in csv.DictReader(away.open(newline=""))][:5]
    kept = [path.read_bytes() for path in gone]
    for path in gone:
        path.unlink()
    on = (("Away", str(away)),)
    with pytest.raises(ValueError, match="5 bad rows"):
        evaluated(tmp_path / "out", run, on=on)
    found = evaluated(tmp_path / "out", run, on=on, skip_missing=True)
    assert len(found.tested[0].predictions.labels) == 31
    assert f"{away}: 5 of 36 frames are not there and left out" in capsys.readouterr().out
    assert f"5 of the 36 frames in {away} are not there, and left out" in found.notes
    assert "7 listed train frames were not there, and left out" in found.notes
    for path, content in zip(gone, kept, strict=True):  # once they are there, what was kept of the test does not stand for it
        path.write_bytes(content)
    assert len(evaluated(tmp_path / "out", run, on=on, skip_missing=True).tested[0].predictions.labels) == 36


def test_pooled_f1_is_that_of_all_frames_together(tmp_path: Path) -> None:
    from fgnet_plugin.training.evaluate.pooled import pooled_f1
    from fgnet_plugin.training.evaluate.runs import read_run
    from fgnet_plugin.training.evaluate.scores import tested

    rng = np.random.default_rng(0)
    home = toy_corpus(tmp_path, "Home")
    members, kept = [], []
    for fold, seed, frames in ((0, 0, 50), (1, 0, 400), (0, 1, 50), (1, 1, 400)):
        labels = (rng.random((frames, 2)) < (0.1, 0.5)).astype(float)
        labels[:5, 0] = np.nan
        activations = rng.normal(0, 1, labels.shape) + (1 + 2 * fold) * np.nan_to_num(labels)
        run = read_run(str(made_up_run(tmp_path / "runs", f"{fold}{seed}", home, fold=fold, seed=seed)))
        members.append(tested(run, predictions_of(labels, activations, rng.integers(0, 9, frames), AUS[:2]), 5, 0))
        kept.append((seed, labels, activations))
    expected: Callable[[int, int], float] = lambda at, seed: f1_score(  # noqa: E731
        np.concatenate([truth[:, at][~np.isnan(truth[:, at])] for s, truth, _ in kept if s == seed]),
        np.concatenate([score[:, at][~np.isnan(truth[:, at])] > 0 for s, truth, score in kept if s == seed]),
    )
    for at, au in enumerate(AUS[:2]):
        assert pooled_f1(members, [au]) == pytest.approx(np.mean([expected(at, seed) for seed in (0, 1)]))
    both = [expected(at, seed) for seed in (0, 1) for at in (0, 1)]
    assert pooled_f1(members, AUS[:2]) == pytest.approx(np.mean(both))
    over_folds = np.mean([member.points[0].mean() for member in members])
    assert abs(pooled_f1(members, AUS[:2]) - over_folds) > 0.01
    assert np.isnan(pooled_f1(members, ()))
