"""Rendered faces: the same for the same seed, labelled as drawn, moved as FACS says."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from fgnet_plugin.alignment import ffhq_square
from fgnet_plugin.training.config.detector import Csv
from fgnet_plugin.training.data.csv_corpus import read_csv
from fgnet_plugin.training.rendered import AUS, DOMAINS, HeadCorpus, RenderedCorpus, mesh, muscles, sheets, write_corpus
from fgnet_plugin.training.rendered import corpus as corpus_module
from fgnet_plugin.training.rendered.expressions import LABELLED, PRESENT, draw_expression

DIGEST = """
import hashlib
from fgnet_plugin.training.rendered import RenderedCorpus
faces = RenderedCorpus(("studio", "webcam", "street", "film"), size=48, seed=4)
print(hashlib.sha256(b"".join(t.numpy().tobytes() for i in (5, 2, 7) for t in faces[i].values())).hexdigest())
"""


def face_with(*aus: int, level: float = 1.0) -> np.ndarray:
    """[68, 2] landmarks (x right, y up) of the mean face with these AUs on."""
    drawn = np.zeros((len(muscles.DRAWN), 2), np.float32)
    for au in aus:
        drawn[muscles.DRAWN.index(au)] = level
    return muscles.pose_expression(mesh.neutral(), drawn)[mesh.arrays()["dlib68"].astype(int), :2]


def opening(points: np.ndarray) -> float:
    """Distance of the inner lips at the middle of the mouth."""
    return float(points[62, 1] - points[66, 1])


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_process() -> None:
    faces = RenderedCorpus(("studio", "webcam", "street", "film"), size=48, seed=4)
    faces[0], faces[9]
    here = hashlib.sha256(b"".join(t.numpy().tobytes() for i in (5, 2, 7) for t in faces[i].values())).hexdigest()
    there = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there
    other = RenderedCorpus(("studio", "webcam", "street", "film"), size=48, seed=5)
    assert not torch.equal(other[5]["image"], faces[5]["image"])


def test_a_face_is_what_training_needs() -> None:
    for framing in ("aligned", "photo"):
        item = RenderedCorpus(("studio",), size=40, seed=1, framing=framing)[3]
        assert item["image"].shape == (3, 40, 40)
        assert item["image"].dtype == torch.uint8
        assert item["landmarks"].shape == (68, 2)
        assert item["labels"].shape == item["intensities"].shape == (len(AUS),)
    assert {"AU01", "AU02", "AU04", "AU06", "AU07", "AU09", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24", "AU25",
            "AU26"} == set(AUS)  # fmt: skip


def test_labels_are_what_was_drawn_and_do_not_touch() -> None:
    rng = np.random.default_rng(0)
    draws = [draw_expression(rng) for _ in range(3000)]
    labels = np.stack([labels for _, labels, _ in draws])
    intensities = np.stack([intensities for _, _, intensities in draws])
    assert (intensities[labels == 1] >= PRESENT).all()
    assert (intensities[labels == 0] == 0).all()
    lips = LABELLED.index(25)
    others = np.isnan(labels) & (np.arange(len(LABELLED)) != lips)
    assert ((intensities[others] > 0) & (intensities[others] < PRESENT)).all()
    assert (np.isnan(labels[:, lips]) | (labels[:, lips] == (intensities[:, lips] >= PRESENT))).all()
    share = np.nanmean(labels, 0)
    assert (share > 0.1).all(), dict(zip(LABELLED, share, strict=True))
    assert (share < 0.6).all(), dict(zip(LABELLED, share, strict=True))
    on = np.nan_to_num(labels)
    assert not (on[:, LABELLED.index(24)] * on[:, LABELLED.index(25)]).any()  # pressed lips do not part


def test_lips_that_are_labelled_shut_are_shut() -> None:
    rng = np.random.default_rng(1)
    lips, dlib = LABELLED.index(25), mesh.arrays()["dlib68"].astype(int)
    shut, parted = [], []
    for _ in range(600):
        drawn, labels, _ = draw_expression(rng)
        if not np.isnan(labels[lips]):
            (parted if labels[lips] else shut).append(opening(muscles.pose_expression(mesh.neutral(), drawn)[dlib, :2]))
    assert max(shut) < 0.5 < 2 < min(parted)


def test_aus_move_what_facs_says() -> None:
    rest = face_with()
    assert abs(opening(rest)) < 0.1
    up = lambda points, *which: (points - rest)[list(which), 1].mean()  # noqa: E731
    assert up(face_with(1), 21, 22) > 6 > up(face_with(1), 17, 26)
    assert up(face_with(2), 17, 26) > 5 > up(face_with(2), 21, 22)
    assert up(face_with(4), 19, 20, 21, 22, 23, 24) < -4
    assert (face_with(4)[22, 0] - face_with(4)[21, 0]) < (rest[22, 0] - rest[21, 0]) - 3  # brows draw together
    assert up(face_with(7), 40, 41, 46, 47) > 2
    assert up(face_with(9), 31, 35) > 3
    assert up(face_with(10), 50, 51, 52) > 3
    assert up(face_with(12), 48, 54) > 7
    assert face_with(12)[54, 0] - face_with(12)[48, 0] > rest[54, 0] - rest[48, 0] + 8
    assert up(face_with(15), 48, 54) < -6
    assert up(face_with(17), 8, 57) > 3
    assert opening(face_with(25)) > 5
    assert opening(face_with(25, 26)) > opening(face_with(25)) + 6
    assert up(face_with(26), 8) < -8
    red = lambda points: points[51, 1] - points[57, 1]  # noqa: E731
    assert red(face_with(23)) < 0.75 * red(rest)
    assert red(face_with(24)) < 0.75 * red(rest)
    assert face_with(23)[54, 0] - face_with(23)[48, 0] < rest[54, 0] - rest[48, 0] - 3


@pytest.mark.parametrize("au", [n for n in LABELLED if n not in (25, 26)])
def test_lips_stay_shut_without_au_25_and_26(au: int) -> None:
    assert abs(opening(face_with(au, level=1.3))) < 0.1


def test_aligned_faces_are_framed_as_ffhq_is() -> None:
    corpus = RenderedCorpus(("studio",), size=64, seed=2)
    corners = torch.stack([ffhq_square(corpus[i]["landmarks"]) for i in range(24)]) + 0.5
    wanted = torch.tensor([[0.0, 0.0], [0.0, 64.0], [64.0, 64.0], [64.0, 0.0]])
    error = (corners - wanted).norm(dim=-1).mean(1)
    assert error.median() < 0.09 * 64  # a detector's error is drawn on purpose
    assert error.min() > 0.001 * 64


def test_without_an_error_the_frame_is_ffhqs() -> None:
    class Exact:
        """Draws no error."""

        def normal(self, mean: float, deviation: float, shape: object = None) -> np.ndarray:
            return np.full(np.shape(np.empty(shape)) if shape is not None else (), mean)

        def uniform(self, low: float, high: float) -> float:
            return 1.0

    points = torch.from_numpy(RenderedCorpus(("street",), size=64, seed=2, framing="photo")[1]["landmarks"].numpy() + 0.5)
    matrix = torch.from_numpy(corpus_module.framed(Exact(), "aligned", 64)(points.numpy()))
    square = ffhq_square(points.double()) @ matrix[:, :2].T.double() + matrix[:, 2].double()
    wanted = torch.tensor([[0.0, 0.0], [0.0, 64.0], [64.0, 64.0], [64.0, 0.0]]).double()
    assert (square - wanted).abs().max() < 1e-3


def test_mouth_pixels_follow_the_jaw() -> None:
    """The mouth of an open-mouthed face is darker inside than its lips, in the picture, where the landmarks say it is."""
    corpus = RenderedCorpus(("studio",), size=96, seed=3, length=4000)
    darker = []
    for i in range(400):
        rng = np.random.default_rng([3, list(DOMAINS).index("studio"), i])
        _, labels, intensities = draw_expression(rng)
        if labels[LABELLED.index(26)] == 1 and intensities[LABELLED.index(26)] > 0.8 and labels[LABELLED.index(25)] == 1:
            item = corpus[i]
            assert torch.equal(item["labels"].isnan(), torch.from_numpy(labels).isnan())
            grey, points = item["image"].float().mean(0), item["landmarks"].round().long().clamp(0, 95)
            middle = (points[62] + points[66]) // 2
            darker.append((grey[middle[1], middle[0]] < grey[points[33][1], points[33][0]]).item())
    assert len(darker) > 10
    assert np.mean(darker) > 0.7


def test_domains_differ() -> None:
    def look(name: str) -> np.ndarray:
        corpus = RenderedCorpus((name,), size=128, seed=6)
        images = torch.stack([corpus[i]["image"] for i in range(24)]).float()
        colour = (images.amax(1) - images.amin(1)).mean()
        fine = (images[..., 1:] - images[..., :-1]).abs().mean()
        return np.array([colour, fine])

    studio, webcam, film = look("studio"), look("webcam"), look("film")
    assert film[0] < 1  # black and white, but for JPEG's rounding
    assert studio[0] > 15
    assert webcam[1] > 1.15 * studio[1]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown rendered corpus 'paintings'.*studio"):
        RenderedCorpus(("paintings",))
    with pytest.raises(ValueError, match="sequence of names"):
        RenderedCorpus("studio")
    with pytest.raises(ValueError, match="framing"):
        RenderedCorpus(("studio",), framing="wide")
    with pytest.raises(IndexError, match="face 5 of 5"):
        RenderedCorpus(("studio",), length=5)[5]


@pytest.mark.parametrize(("renderer", "corpus"), [("masks", RenderedCorpus), ("heads", HeadCorpus)])
def test_written_faces_read_back_as_a_csv_corpus(
    renderer: Literal["masks", "heads"], corpus: type[RenderedCorpus | HeadCorpus], tmp_path: Path
) -> None:
    path = write_corpus(tmp_path, ("studio", "film"), count=6, size=64, seed=3, renderer=renderer)
    read = read_csv(path, corpus.aus, 64, Csv(train=str(path)))
    drawn = corpus(("studio", "film"), size=64, seed=3, length=6)
    assert len(read) == 6
    assert read.subjects[5] == "3-5"
    for i in range(6):
        assert torch.equal(read[i]["image"], drawn[i]["image"])
        assert torch.equal(read[i]["labels"].nan_to_num(-1), drawn[i]["labels"].nan_to_num(-1))
        assert (read[i]["landmarks"] - drawn[i]["landmarks"]).abs().max() < 0.006


def test_sheets_are_written(tmp_path: Path) -> None:
    sheets.au_sheet(tmp_path / "aus.png", size=48, people=1)
    sheets.face_sheet(tmp_path / "faces.png", ("studio",), size=32, columns=2)
    with Image.open(tmp_path / "aus.png") as picture:
        assert picture.size == (150 + 2 * 48, 48 * len(AUS))
    with Image.open(tmp_path / "faces.png") as picture:
        assert picture.size == (64, 64)
    with pytest.raises(OSError, match=r"missing.*cannot be written"):
        sheets.face_sheet(tmp_path / "missing" / "faces.png", ("studio",), size=32, columns=1)
