"""Students in use: AUs that agree too little with the teacher's, and new recordings unlike those that they learned from."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.filters import gaussian
from students import TEACHER, WEAK, face_video, grey, looks_like, own_student

from fgnet_plugin import OfflineDetector, load
from fgnet_plugin.checkpoints.fgnet import read_info, save
from fgnet_plugin.errors import CheckpointError, InputError
from fgnet_plugin.inference import cascade as cascade_module
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.cascade import SAMPLE, SOURCE, STUDENT, UNSURE, cascade
from fgnet_plugin.inference.faces_again import scores_again
from fgnet_plugin.inference.overlay import overlay
from fgnet_plugin.inference.sides import sides
from fgnet_plugin.inference.uncertainty import uncertainty
from fgnet_plugin.inference.verify import DrawnFaces, Verifier, notes_on, verify_student
from fgnet_plugin.measures import prediction_powered
from fgnet_plugin.pyfeat.heatmaps import heatmaps


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of a face that moves."""
    return face_video(tmp_path_factory.mktemp("video") / "face.mp4")


@pytest.fixture(scope="module")
def student(video: Path) -> Path:
    return own_student(video.parent / "student.safetensors", looks_like(video))


@pytest.fixture(scope="module")
def models(student: Path) -> tuple[AUModel, AUModel]:
    """Student and teacher."""
    return AUModel(student, weak_aus=True), AUModel(TEACHER)


@pytest.fixture(scope="module")
def table(student: Path, video: Path) -> pd.DataFrame:
    with pytest.warns(match=r"AU15 agree too little .* --weak-aus"):
        detector = OfflineDetector(student)
    return detector.detect(str(video), progress_bar=False)


def test_weak_aus_are_nan_unless_asked_for(student: Path, video: Path, table: pd.DataFrame) -> None:
    assert table[WEAK].isna().all()
    assert table["AU12"].notna().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        detector = OfflineDetector(student, weak_aus=True)
    run = detector.plan([str(video)])
    assert run.row_settings()["weak_aus"] is True
    assert detector.detect(str(video), progress_bar=False, frames=(0, 1))[WEAK].notna().all()


def test_weak_aus_are_hidden_everywhere_unless_the_table_shows_them(
    student: Path, models: tuple[AUModel, AUModel], table: pd.DataFrame, tmp_path: Path
) -> None:
    """In heatmaps, overlays, halves of faces and spreads; the network itself knows them."""
    with pytest.warns(match=f"{WEAK} agree too little"):
        hiding = AUModel(student)
    assert WEAK in hiding.net.aus
    assert WEAK not in hiding.aus
    few, shown = table[:1], table[:1].assign(**{WEAK: 0.9})
    assert f"{WEAK}_left" not in sides(few, hiding)
    assert sides(shown, hiding)[f"{WEAK}_left"].notna().all()
    pd.testing.assert_frame_equal(sides(shown, hiding), sides(shown, models[0]))
    assert f"{WEAK}_spread" not in uncertainty(few, hiding, 2)
    (face,) = heatmaps(few, au_model=hiding)
    assert face.aus == hiding.aus
    with pytest.raises(InputError, match=rf"hides {WEAK}, which agree too little .* \(weak_aus=True"):
        heatmaps(few, aus=[WEAK], au_model=hiding)
    (whole,) = heatmaps(shown, au_model=hiding)
    assert whole.aus == hiding.net.aus
    twelve = face.aus.index("AU12"), whole.aus.index("AU12")
    assert torch.equal(face.maps[twelve[0]], whole.maps[twelve[1]])
    with pytest.raises(InputError, match=f"the table has no values of {WEAK}"):
        overlay(str(few["input"][0]), few, tmp_path / "o.mp4", aus=[WEAK], heatmaps=hiding, progress_bar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        overlay(str(few["input"][0]), shown, tmp_path / "o.mp4", aus=[WEAK], heatmaps=hiding, progress_bar=False)


def test_recordings_like_those_learned_from_do_not_warn(student: Path, table: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = verify_student(table, student, 5)
    rows = found.agreement.set_index("AU")
    assert (rows.drop(WEAK)["n"] == 5).all()
    assert rows.drop(WEAK)["rms"].max() < 1e-4
    assert rows.loc[WEAK, "n"] == 0
    assert not found.agreement["unlike"].any()
    assert list(found.looks.values()) == [[]]


def test_recordings_unlike_those_learned_from_warn(student: Path, table: pd.DataFrame) -> None:
    other = table.assign(AU12=(table["AU12"] + 0.5) % 1)
    with pytest.warns(match=r"face.mp4: .* less than its report lets expect, in AU12 \(6 faces\)\. Don't use these AUs"):
        found = verify_student(iter([other[:3], other[3:]]), student, 50)
    assert found.agreement.loc[found.agreement["unlike"], "AU"].tolist() == ["AU12"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (grey, r"less colourful than all of them: saturation 0\.\d\d, theirs 0\.\d\d to"),
        (lambda picture: picture // 4, "darker than all of them: brightness 0.1"),
        (lambda picture: (gaussian(picture, 3, channel_axis=2) * 255).astype(np.uint8), "less sharp than all of them"),
    ],
)
def test_recordings_that_look_otherwise_warn(
    models: tuple[AUModel, AUModel], table: pd.DataFrame, tmp_path: Path, change: Any, word: str
) -> None:
    """Though student and teacher, which are one here, agree."""
    student, teacher = models
    other = table.assign(input=str(face_video(tmp_path / "other.mp4", change)))
    scores = scores_again(other, student)
    other = other.assign(**{au: scores[:, i] for i, au in enumerate(student.aus)})
    with pytest.warns(match=rf"other\.mp4 looks unlike the recordings of .* study: .*{word}") as said:
        found = verify_student(other, student, teacher=teacher)
    assert len(said) == 1
    assert not found.agreement["unlike"].any()


def test_of_several_files_those_that_look_otherwise_are_named(
    models: tuple[AUModel, AUModel], table: pd.DataFrame, tmp_path: Path
) -> None:
    other = table.assign(input=str(face_video(tmp_path / "other.mp4", grey)))
    with pytest.warns(match=r"1 of 2 files look unlike .* study: \S*other\.mp4: ") as said:
        verify_student([table, other], models[0], 5, teacher=models[1])
    assert "face.mp4" not in str(said[0].message)


def test_of_few_faces_only_the_looks_are_compared(models: tuple[AUModel, AUModel], table: pd.DataFrame, tmp_path: Path) -> None:
    """As of a picture in a dataset; of a recording without a face, nothing."""
    verifier = Verifier(*models, "cpu")
    other = table[:2].assign(input=str(face_video(tmp_path / "other.mp4", grey)))
    for rows, warned in ((other, 1), (other.assign(x_0=np.nan), 0)):
        drawn = DrawnFaces(5)
        drawn.add(rows)
        found = verifier.verify(drawn)
        assert found.agreement.empty
        assert len(found.warnings) == warned


def test_cards_that_do_not_say_how_recordings_look(student: Path, video: Path, tmp_path: Path) -> None:
    old, few = own_student(tmp_path / "old.safetensors", None), own_student(tmp_path / "few.safetensors", looks_like(video, 3))
    assert "does not say how its recordings look: only agreement is compared" in notes_on(read_info(old), "old")[0]
    assert "has 3 people: of so few" in notes_on(read_info(few), "few")[0]
    assert notes_on(read_info(student), "new") == []


def test_detection_verifies_its_table(student: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = OfflineDetector(student, weak_aus=True)
    monkeypatch.setattr(detector.fgnet, "path", _with_card(student, tmp_path, {"rms": -1.0, "rms_bound": -1.0}))
    options = {"save": tmp_path / "fex.csv", "load": False, "relative_to": video.parent, "progress_bar": False}
    with pytest.warns(match="less than its report lets expect"):
        detector.detect(str(video), verify=5, **options)


def _with_card(student: Path, folder: Path, agreement: dict[str, float]) -> Path:
    info = read_info(student)
    training = info.training | {"agreement": dict.fromkeys(info.config.aus, agreement)}
    return save(load(student), folder / "other.safetensors", dataclasses.replace(info, training=training))


def test_what_can_not_be_verified_is_said(student: Path, table: pd.DataFrame, video: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no student"):
        verify_student(table, TEACHER, 5)
    with pytest.raises(InputError, match="is no student"):
        OfflineDetector(TEACHER).detect(str(video), verify=5)
    with pytest.raises(CheckpointError, match="is not the teacher of"):
        verify_student(table, student, 5, teacher="fgnet-rendered-1")
    with pytest.raises(CheckpointError, match=r"is needed: .* say where it is"):
        verify_student(table, student, 5, teacher=tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="needs landmarks"):
        OfflineDetector(student, weak_aus=True).detect(str(video), verify=5, columns="aus")
    with pytest.raises(InputError, match="too few to compare"):
        verify_student(table[:2], student, 5)
    with pytest.raises(ValueError, match="at least 5"):
        verify_student(table, student, 2)


def test_the_teacher_reads_what_the_student_is_unsure_of_and_a_sample(table: pd.DataFrame) -> None:
    other = table.assign(AU12=[0.9, 0.9, 0.52, 0.9, 0.9, 0.9]).assign(**{au: 0.95 for au in load(TEACHER).aus if au != "AU12"})
    found = cascade(other, TEACHER, unsure=1 / 6, sample=0.4)
    source = found.table[SOURCE]
    assert source.value_counts().to_dict() == {STUDENT: 3, SAMPLE: 2, UNSURE: 1}
    assert source[2] == UNSURE
    read = source != STUDENT
    assert np.allclose(found.table.loc[read, "AU12"], table.loc[read, "AU12"], atol=1e-4)
    assert (found.table.loc[~read, "AU12"] == 0.9).all()
    assert found.labels["weight"].sum() == len(table)
    assert set(found.labels.loc[:, "AU01":"AU43"].stack()) <= {0.0, 1.0}
    assert (other["AU12"] != found.table["AU12"]).sum() == 3, "the table that was given stays as it is"


def test_a_cascade_goes_on_where_it_was(table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade_module, "_BATCH", 2)
    options = {"unsure": 0.5, "sample": 1.0}
    whole = cascade(table, TEACHER, **options).table
    teacher, read = AUModel(TEACHER), AUModel.read
    calls = []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(AUModel, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cascade(table, teacher, save=tmp_path / "growing.csv", **options)
        calls[:] = [1] * 4
        pd.testing.assert_frame_equal(cascade(table, teacher, save=tmp_path / "growing.csv", **options).table, whole)
        assert len(calls) == 8, "two faces of the six were read before"
    with pytest.raises(InputError, match="other settings"):
        cascade(table, teacher, save=tmp_path / "growing.csv", unsure=0.0, sample=0.5)


def test_base_rates_of_a_cascade(table: pd.DataFrame) -> None:
    """The teacher's own, where the student has a bias and the sample is every face."""
    people = pd.concat([table.assign(input=f"{who}.mp4") for who in range(4)], ignore_index=True)
    labels = pd.concat(
        [cascade(table, TEACHER, unsure=0, sample=1.0).labels.assign(input=f"{who}.mp4") for who in range(4)], ignore_index=True
    )
    biased = people.assign(AU12=1 - people["AU12"])
    (row,) = prediction_powered(biased, labels, subject="input", aus=["AU12"]).to_dict("records")
    assert row["estimate"] == pytest.approx((table["AU12"] > 0.5).mean())
