"""Tests of trained runs as published: fold 0's list across corpora, and frames that are missing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("jinja2", reason="the extra `train` is not installed")

from test_evaluate import AUS, evaluated, made_up_run, reader, toy_corpus

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
