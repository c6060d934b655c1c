"""Preparing a corpus of one's own: pictures and a table of codes, as `compare` takes them as labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from torch import Tensor
from typer.testing import CliRunner

from fgnet_plugin.cli.app import app
from fgnet_plugin.training.config.detector import Csv
from fgnet_plugin.training.data.csv_corpus import csv_corpora
from fgnet_plugin.training.prepare import CodedFrame, prepare, read_own

FACE = data.astronaut()[0:256, 96:352]


def points(photo: Tensor, frame: CodedFrame) -> np.ndarray:
    """Made-up landmarks that an aligned face can be cut out by: float32 [68, 2]."""
    angle = np.linspace(0, 2 * np.pi, 68)
    found = np.stack([128 + 40 * np.cos(angle), 110 + 40 * np.sin(angle)], 1)
    found[36:42], found[42:48], found[48], found[54] = (105, 95), (150, 95), (110, 140), (145, 141)
    return found.astype(np.float32)


def written(folder: Path, *lines: str) -> Path:
    for name in ("a", "b", "c"):
        (folder / "clips" / "aligned_images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(FACE).save(folder / "clips" / "aligned_images" / f"{name}.png")
    table = folder / "codes.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return table


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(newline="", encoding="utf-8")))


def test_faces_labels_and_people(tmp_path: Path) -> None:
    """What is missing is reported; what is not coded is left out and said; training reads the rest, person by person."""
    table = written(
        tmp_path,
        *(
            "Image , subject,note,AU6,au_12".lower(),
            "clips/aligned_images/a.png,P 1,x,1,0",
            "clips/aligned_images/b.png,P2,,0,9",
            "clips/aligned_images/c.png,P3,,,-1",
        ),
        *("clips/aligned_images/gone.png,P2,,1,1", f"{tmp_path / 'clips' / 'aligned_images' / 'c.png'},P3,,0.0,1.0", ""),
    )
    done = prepare(read_own(table, "mine"), tmp_path / "corpora", points, size=64, suffix="png", progress=False)
    assert (done.coded, done.written) == (4, 3)
    assert "1 frame is left out: no AU is coded there" in done.summary()
    labels = rows_of(tmp_path / "corpora" / "mine" / "labels.csv")
    assert [(row["AU06"], row["AU12"]) for row in labels] == [("1", "0"), ("0", "9"), ("0", "1")]
    assert labels[0]["image_path"] == "mine/aligned_images/P_1/clips_aligned_images_a_png/00000.png"
    (missing,) = rows_of(tmp_path / "corpora" / "mine" / "report.csv")
    assert missing["prepared"] == "no"
    assert missing["reason"] == "no photo or video"
    config = Csv(str(done.labels), val_fraction=0.5, image_root=str(tmp_path / "corpora"))
    train, val = csv_corpora(config, ("AU06",), 64, seed=1)
    assert {*train.subjects, *val.subjects} == {"P_1", "P2", "P3"}
    assert not set(train.subjects) & set(val.subjects)


def test_a_table_that_has_grown_finds_the_faces_of_before(tmp_path: Path) -> None:
    first = ("input,subject,AU12", "clips/aligned_images/b.png,P2,1")
    prepare(read_own(written(tmp_path, *first)), tmp_path / "corpora", points, size=64, progress=False)
    face = tmp_path / "corpora" / "own" / "aligned_images" / "P2" / "clips_aligned_images_b_png" / "00000.jpg"
    before = face.stat().st_mtime_ns
    table = written(tmp_path, first[0], "clips/aligned_images/a.png,P2,0", first[1])
    assert prepare(read_own(table), tmp_path / "corpora", points, size=64, progress=False).written == 2
    assert face.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["input,AU12", "clips/aligned_images/a.png,1"], "has the columns input, AU12; wanted are input, subject and AU"),
        (["input,subject,AU12,au12", "clips/aligned_images/a.png,P1,1,1"], "each once"),
        (["input,subject,AU12", "clips/aligned_images/a.png,P1,9"], "not one frame with a coded AU"),
        (
            ["input,subject,frame,AU12", "a.mp4,P1,,1", ",P1,,1", "clips/aligned_images/a.png,,,0.7", "a.mp4,P1,x,1",
             "b.mp4,P1,1,1", "b.mp4,P1,1.0,0"],
            r"6 bad rows:\n.*:2: a\.mp4 is a video: which frame is it\?.*\n.*:3: input is empty\n.*:4: AU12 is '0\.7'.*\n"
            r".*:4: subject is empty\n.*:5: the frame's number is 'x'.*\n.*:7: b\.mp4, frame 1, is there twice",
        ),
    ],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_own(written(tmp_path, *lines))


def test_the_command(tmp_path: Path) -> None:
    """With the face finder."""
    table = written(tmp_path, "input,subject,AU12", "clips/aligned_images/a.png,P1,1")
    arguments = [
        "train",
        "prepare",
        "own",
        str(table),
        str(tmp_path / "out"),
        "--name",
        "mine",
        "--size",
        "64",
        "--workers",
        "0",
    ]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "1 of 1 coded frame prepared" in done.output
    assert (tmp_path / "out" / "mine" / "aligned_images" / "P1" / "clips_aligned_images_a_png" / "00000.jpg").is_file()
