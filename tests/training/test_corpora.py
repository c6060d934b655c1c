"""Corpora of CSV files: folds, who trains and who is tested, few-sample draws, what is refused."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgnet_plugin.action_units import CORPUS_AUS, SHARED_AUS
from fgnet_plugin.training.config import detector
from fgnet_plugin.training.config.detector import Csv
from fgnet_plugin.training.data import folds

AUS = ("AU01", "AU12")
SUBJECTS = ("F001", "F002", "F003", "F005", "F004", "F006", "M003")  # two of fold 0, two of fold 1, three of fold 2


def write_corpus(folder: Path, subjects: Sequence[str] = SUBJECTS, each: int = 4, name: str = "labels.csv") -> Path:
    """A CSV file in the published layout, with intensity columns that mean nothing to the reader; AUs vary in each subject."""
    rows = []
    for subject in subjects:
        for i in range(each):
            image = Path("BP4D/aligned_images") / subject / "T1" / f"{i:05d}.jpg"
            points = Path("BP4D/aligned_landmarks") / subject / "T1" / f"{i:05d}.npy"
            for path in (image, points):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / image).is_file():
                Image.new("RGB", (16, 16), (i, 0, 0)).save(folder / image)
                np.save(folder / points, np.full((68, 2), i, np.float32))
            rows.append([image.as_posix(), i % 2, (i + 1) % 2, 5 * (i % 2), 0])
    path = folder / name
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["image_path", "au1", "au12", "au1_intensity", "au12_intensity"], *rows])
    return path


def parts(config: Csv, seed: int = 0) -> tuple[set[str], set[str], set[str]]:
    """Who trains, who validates, who is tested."""
    from fgnet_plugin.training.data import csv_corpus

    train, val = csv_corpus.csv_corpora(config, AUS, 16, seed)
    test = csv_corpus.test_corpus(config, AUS, 16)
    return set(train.subjects), set(val.subjects), set(test.subjects) if test else set()


def test_the_published_folds_are_those_of_the_paper() -> None:
    assert {name: [len(fold) for fold in table] for name, table in folds.PUBLISHED.items()} == {
        "BP4D": [14, 14, 13],
        "DISFA": [9, 9, 9],
    }
    for name, table in folds.PUBLISHED.items():
        folds.check_folds(table, name)
    women, men = {f"F{i:03d}" for i in range(1, 24)}, {f"M{i:03d}" for i in range(1, 19)}
    assert frozenset().union(*folds.PUBLISHED["BP4D"]) == women | men
    absent = {14, 15, 19, 20, 22}  # numbers that DISFA has no subject of
    assert frozenset().union(*folds.PUBLISHED["DISFA"]) == {f"SN{i:03d}" for i in range(1, 33)} - {f"SN{i:03d}" for i in absent}
    assert {"F001", "M014"} <= folds.PUBLISHED["BP4D"][0]
    assert {"SN001", "SN002", "SN009"} <= folds.PUBLISHED["DISFA"][0]
    assert {"SN006", "SN031"} <= folds.PUBLISHED["DISFA"][1]
    assert folds.folds_of("disfa") is folds.PUBLISHED["DISFA"]
    assert folds.published_folds("mine.csv") is None


def test_a_users_folds(tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    path.write_text("subject,fold,remark\na,0,x\n b ,1,\n\nc,1,\na,0,again\n")
    assert folds.read_folds(path) == (frozenset("a"), frozenset("bc"))
    assert folds.subjects_of_fold(str(path), 1, ["a", "b"]) == {"b"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("subject,fold\na,0\nb,1\na,1\n", r"folds\.csv:2: a is in the folds 0 and 1 \(lines 2 and 4\)"),
        ("subject,fold\na,0\nb,one\n,1\n", r"(?s)^2 bad rows:.*csv:3: fold is 'one'.*csv:4: subject is empty"),
        ("subject,fold\na,0\nb,2\n", r"folds must count 0, 1, … without a gap, found 0, 2"),
        ("subject,fold\na,0\nb,0\n", r"needs at least two folds, found 1"),
        ("subject,fold\n", r"needs at least two folds, found 0"),
        ("who,fold\na,0\n", r"needs the columns subject and fold, found who, fold"),
        ("", r"needs the columns subject and fold, found nothing"),
    ],
)
def test_folds_that_are_refused(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=says):
        folds.read_folds(path)


def test_a_table_of_folds_is_checked() -> None:
    with pytest.raises(ValueError, match=r"(?s)mine: a is in the folds 0 and 2.*mine: fold 1 has no subject"):
        folds.check_folds([["a"], [], ["a", "b"]], "mine")
    with pytest.raises(ValueError, match="no such file; folds are bp4d, disfa, or a CSV file"):
        folds.folds_of("none.csv")


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_the_fold_is_tested_and_nobody_is_in_two_parts(fold: int, tmp_path: Path) -> None:
    config = Csv(str(write_corpus(tmp_path)), folds="bp4d", fold=fold, val_fraction=0.3)
    for seed in range(4):
        train, val, test = parts(config, seed)
        assert test == set(SUBJECTS) & folds.PUBLISHED["BP4D"][fold]
        assert train | val | test == set(SUBJECTS)
        assert not train & val
        assert not (train | val) & test
        assert val
    assert len({frozenset(parts(config, seed)[1]) for seed in range(8)}) > 1
    assert detector.selection(config) == "best epoch chosen on 30% of the training subjects, set aside, by mean AUC"


def test_choosing_on_the_test_split_says_so(tmp_path: Path) -> None:
    config = Csv(str(write_corpus(tmp_path)), folds="BP4D", fold=1, validation="test")
    train, val, test = parts(config)
    assert val == test == {"F003", "F005"}
    assert train == set(SUBJECTS) - test
    assert config.chosen_by == "f1"
    assert "on the test split by mean F1, as the published code does" in detector.selection(config)
    by_auc = dataclasses.replace(config, choose_by="auc")
    assert detector.selection(by_auc) == "best epoch chosen on the test split by mean AUC: optimistic"
    assert dataclasses.replace(config, validation="subjects").chosen_by == "auc"


def test_files_of_their_own(tmp_path: Path) -> None:
    train, val, test = (write_corpus(tmp_path, s, name=f"{s[0]}.csv") for s in (["F001", "F002"], ["F003"], ["F004"]))
    config = Csv(str(train), val=str(val), test=str(test))
    assert parts(config) == ({"F001", "F002"}, {"F003"}, {"F004"})
    assert detector.selection(config) == "best epoch chosen on the validation file F003.csv by mean AUC"
    assert detector.selection(dataclasses.replace(config, choose_by="f1")).endswith("F003.csv by mean F1")
    assert parts(Csv(str(train)))[2] == set()
    assert parts(Csv(str(train), test=str(test), validation="test")) == ({"F001", "F002"}, {"F004"}, {"F004"})


def test_subjects_that_two_files_share(tmp_path: Path) -> None:
    train, val, test = (
        write_corpus(tmp_path, s, name=f"{name}.csv")
        for name, s in [("train", ["F001", "F002", "F003"]), ("val", ["F003", "F004"]), ("test", ["F001", "F002"])]
    )
    with pytest.raises(ValueError, match="subjects in common") as caught:
        parts(Csv(str(train), val=str(val), test=str(test)))
    assert f"{train} and {val} have subjects in common: F003." in str(caught.value)
    assert f"{train} and {test} have subjects in common: F001, F002." in str(caught.value)
    assert parts(Csv(str(train), val=str(val), test=str(test), shared_subjects=True))[1] == {"F003", "F004"}


def test_subjects_that_no_fold_lists_are_named_together(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, [*SUBJECTS, "F050", "M099"])
    for read in (parts, lambda config: folds.subjects_of_fold("bp4d", 0, ["F001", "M099", "F050", "F003"], str(path))):
        with pytest.raises(ValueError, match=r"labels\.csv: no fold of bp4d lists the subjects F050, M099;"):
            read(Csv(str(path), folds="bp4d", fold=0))
    one = write_corpus(tmp_path, ["F001", "F002"], name="one.csv")
    with pytest.raises(ValueError, match=r"one\.csv: shows only subjects of fold 0 of bp4d"):
        parts(Csv(str(one), folds="bp4d", fold=0))
    with pytest.raises(ValueError, match=r"one\.csv: shows nobody of fold 2 of bp4d"):
        parts(Csv(str(one), folds="bp4d", fold=2))
    with pytest.raises(ValueError, match=r"data\.csv\.fold must say which fold of bp4d is tested, 0 to 2; got None"):
        parts(Csv(str(one), folds="bp4d"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fold": 1}, "fold needs folds"),
        ({"folds": "bp4d", "fold": 3}, "fold counts from 0, and bp4d and disfa have 3, got 3"),
        ({"folds": "mine.csv", "fold": -1}, "fold counts from 0"),
        ({"folds": "bp4d", "test": "test.csv"}, "give one of folds and test"),
        ({"validation": "test"}, "validation: test needs folds or test"),
        ({"validation": "test", "test": "t.csv", "val": "v.csv"}, "validation: test and val contradict each other"),
        ({"aus": ("shared", "AU12")}, "aus: shared stands for all AUs of the list"),
        ({"samples": 0}, "samples must be at least 1"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Csv("train.csv", **settings)


def test_shared_aus() -> None:
    assert Csv("train.csv", aus=("shared",)).aus == SHARED_AUS == ("AU01", "AU02", "AU04", "AU06", "AU12")
    assert [CORPUS_AUS["BP4D"].index(au) for au in SHARED_AUS] == [0, 1, 2, 3, 6]
    assert [CORPUS_AUS["DISFA"].index(au) for au in SHARED_AUS] == [0, 1, 2, 3, 5]
    assert tuple(au for au in CORPUS_AUS["BP4D"] if au in CORPUS_AUS["DISFA"]) == SHARED_AUS


def test_shared_aus_in_a_settings_file(tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector

    config = read_detector("published", ["data.csv.aus=[shared]", "data.csv.folds=disfa", "data.csv.fold=2"])
    assert config.data.csv.aus == SHARED_AUS
    with pytest.raises(ValueError, match=r"data\.csv\.fold needs folds"):
        read_detector("published", ["data.csv.folds=''", "data.csv.fold=2"])


def test_bad_rows_of_all_files_come_together(tmp_path: Path) -> None:
    files = {name: write_corpus(tmp_path, [s], name=f"{name}.csv") for name, s in zip(("train", "val"), SUBJECTS, strict=False)}
    test = tmp_path / "test.csv"
    test.write_text("image_path,au1\n")
    for line, (path, label) in enumerate([(files["train"], "often"), (files["val"], "7")], start=3):
        rows = list(csv.reader(path.open()))
        rows[line - 1][1] = label
        csv.writer(path.open("w", newline="")).writerows(rows)
    with pytest.raises(ValueError, match="2 bad rows") as caught:
        parts(Csv(str(files["train"]), val=str(files["val"]), test=str(test)))
    for problem in (
        f"{files['train']}:3: AU01 is 'often', not a number",
        f"{files['val']}:4: AU01 is 7; labels are",
        f"{test}: no column for AU12",
        f"{test}: no rows",
    ):
        assert problem in str(caught.value)


def test_bad_rows_of_the_test_fold_are_found_before_training(tmp_path: Path) -> None:
    path = write_corpus(tmp_path)
    (tmp_path / "BP4D/aligned_images/F001/T1/00002.jpg").unlink()
    with pytest.raises(ValueError, match=r"labels\.csv:4: .*F001/T1/00002\.jpg: no such file"):
        parts(Csv(str(path), folds="bp4d", fold=0))


def test_only_the_first_process_reads_pictures_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others look at the header: a picture that is missing or of another size is found by all."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    path = write_corpus(tmp_path)
    image = tmp_path / "BP4D/aligned_images/F001/T1/00002.jpg"
    Image.effect_noise((16, 16), 100).save(image)
    image.write_bytes(image.read_bytes()[:-20])
    for rank, says in ((0, r"csv:4: .*00002\.jpg: not an image, or damaged"), (1, None)):
        monkeypatch.setattr(rank_zero_only, "rank", rank)
        if says is None:
            assert parts(Csv(str(path)))[0]
            image.unlink()
            says = r"csv:4: .*00002\.jpg: no such file"
        with pytest.raises(ValueError, match=says):
            parts(Csv(str(path)))


def test_the_test_split_alone_is_read_without_the_others(tmp_path: Path) -> None:
    from fgnet_plugin.training.data import csv_corpus

    path = write_corpus(tmp_path)
    (tmp_path / "BP4D/aligned_images/F003/T1/00002.jpg").unlink()  # fold 1
    corpus = csv_corpus.test_corpus(Csv(str(path), folds="bp4d", fold=0), AUS, 16)
    assert set(corpus.subjects) == {"F001", "F002"}
    assert corpus.labels[:4].tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]


def test_few_samples_are_drawn_from_the_training_subjects(tmp_path: Path) -> None:
    from fgnet_plugin.training.data.csv_corpus import csv_corpora

    path = write_corpus(tmp_path, each=8)
    config = Csv(str(path), folds="bp4d", fold=2, samples=11, val_fraction=0.25)
    drawn = [csv_corpora(config, AUS, 16, seed) for seed in (0, 0, 1)]
    images = [train.images for train, _ in drawn]
    assert images[0] == images[1] != images[2]
    for train, val in drawn:
        assert len(set(train.images)) == 11
        assert not set(train.subjects) & (set(val.subjects) | folds.PUBLISHED["BP4D"][2])
    assert torch.equal(drawn[0][0].labels, drawn[1][0].labels)
    with pytest.raises(ValueError, match=r"data\.csv\.samples asks for 1,000 frames, the training subjects have 24"):
        csv_corpora(Csv(str(path), folds="bp4d", fold=2, samples=1000), AUS, 16, 0)


def test_reading_needs_no_pyfeat(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = """
import sys
sys.modules.update({"feat": None, "kornia": None})
import fgnet_plugin.training.data.folds, fgnet_plugin.training.data.csv_corpus, fgnet_plugin.training.prepare
"""
    subprocess.run([sys.executable, "-c", code], check=True)
