"""Repeated subject folds, and corpora that are left out one by one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import typer.testing

pytest.importorskip("lightning", reason="the extra `train` is not installed")

from fgnet_plugin.cli.app import app
from fgnet_plugin.training.data.folds import read_folds
from fgnet_plugin.training.data.make_folds import leave_one_corpus_out, repeated_folds


def labels(path: Path, subjects: int, aus: str) -> Path:
    rows = [f"aligned_images/S{i}/0.png,{','.join('1' for _ in aus.split(','))}" for i in range(subjects)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"image_path,{aus}\n" + "\n".join(rows) + "\n")
    return path


def test_repeated_folds_are_read_and_share_no_subject_within_a_repeat(tmp_path: Path) -> None:
    file = labels(tmp_path / "toy.csv", 7, "au1,au12")
    command = ["train", "folds", str(file), "--out", str(tmp_path / "folds.csv"), "--folds", "3", "--repeats", "4"]
    run = typer.testing.CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    folds = read_folds(tmp_path / "folds.csv")
    assert len(folds) == 12
    for repeat in range(4):
        of = folds[3 * repeat : 3 * repeat + 3]
        assert sorted(subject for fold in of for subject in fold) == [f"S{i}" for i in range(7)]
        assert sorted(map(len, of)) == [2, 2, 3]
    assert len({frozenset(folds[3 * repeat : 3 * repeat + 3]) for repeat in range(4)}) > 1
    with pytest.raises(ValueError, match="needs at least 2 folds"):
        repeated_folds(["a"], 2, 1, 0)
    table = pd.read_csv(tmp_path / "folds.csv")
    pd.concat([table, table[:1].assign(fold=(table.loc[0, "fold"] + 1) % 3)]).to_csv(tmp_path / "twice.csv", index=False)
    with pytest.raises(ValueError, match="is in the folds"):
        read_folds(tmp_path / "twice.csv")


def test_each_corpus_is_left_out_once(tmp_path: Path) -> None:
    corpora = {
        "One": labels(tmp_path / "one" / "labels.csv", 2, "au1,au6,au12"),
        "Two": labels(tmp_path / "two" / "labels.csv", 3, "AU12,AU01"),
    }
    joined, folds = leave_one_corpus_out(corpora, tmp_path / "out")
    table = pd.read_csv(joined)
    assert list(table) == ["image_path", "subject", "AU01", "AU12"]
    assert len(table) == 5
    assert table["image_path"][0] == str(tmp_path.resolve() / "one" / "aligned_images/S0/0.png")
    assert read_folds(folds) == ({"One/S0", "One/S1"}, {"Two/S0", "Two/S1", "Two/S2"})
    with pytest.raises(ValueError, match="no AU that all label"):
        leave_one_corpus_out(corpora | {"Two": labels(tmp_path / "x.csv", 2, "au4")}, tmp_path / "out")
