"""Students: which faces are chosen, what is kept of the teacher, training that goes on where it was, report and card."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from in_process import without_ray
from networks import learnt
from numpy.typing import NDArray
from skimage import data
from skimage.transform import resize
from toy_training import run_fgnet

from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, read_info, save, verify
from fgnet_plugin.comparison.agreement import intraclass_correlation
from fgnet_plugin.errors import CheckpointError, InputError
from fgnet_plugin.faces import FaceFinder, FoundFaces
from fgnet_plugin.inference.appearance import Looks
from fgnet_plugin.media.video_writer import VideoWriter
from fgnet_plugin.network import decode, small_config
from fgnet_plugin.scale.students import fill_with
from fgnet_plugin.training.students import StudentSettings, sampling, train_student
from fgnet_plugin.training.students import labels as labels_module
from fgnet_plugin.training.students import stage as stage_module
from fgnet_plugin.training.students.agreement import Answers, agreement_table
from fgnet_plugin.training.students.labels import decode_maps, encode, resized
from fgnet_plugin.training.students.looks import mirror_heatmaps, other_looks
from fgnet_plugin.training.students.recordings import divide, list_paths
from fgnet_plugin.training.students.report import advice
from fgnet_plugin.training.students.sampling import Faces, choose, spread_frames
from fgnet_plugin.training.students.settings import student_config
from fgnet_plugin.training.students.stage import face_weights, new_student

AUS = ("AU01", "AU06", "AU12")
FRAMES = 16
SETTINGS = StudentSettings(faces=40, steps=6, batch_size=8, curve=(0.5,), threads=1)


def face_picture(size: int = 160) -> NDArray[np.uint8]:
    """A photo with one face, [size, size, 3]."""
    return (resize(data.astronaut()[20:240, 110:330], (size, size), anti_aliasing=True) * 255).astype(np.uint8)


def write_recordings(folder: Path, people: int = 4) -> Path:
    """Short videos of one face that moves and changes its light, ``P0.mp4`` and so on."""
    folder.mkdir()
    picture = face_picture()
    for who in range(people):
        with VideoWriter(folder / f"P{who}.mp4", 25) as writer:
            for i in range(FRAMES):
                moved = np.roll(picture, (i - 5, who), (0, 1)).astype(float) * (0.6 + 0.03 * i + 0.05 * who)
                writer.add(moved.clip(0, 255).astype(np.uint8), i / 25)
    return folder


class StandInFinder:
    """Finds the face of `face_picture` where it was before it moved, and none in an even picture: in no time."""

    found: FoundFaces | None = None

    def __init__(self, device: object) -> None:
        if StandInFinder.found is None:
            (StandInFinder.found,) = FaceFinder().find([face_picture()])

    def find(self, pictures: list[torch.Tensor]) -> list[FoundFaces]:
        assert self.found is not None
        return [self.found if picture.float().std() > 5 else FoundFaces.none() for picture in pictures]


@pytest.fixture(scope="module", autouse=True)
def quick_finder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "FaceFinder", StandInFinder)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, recordings, and a student of them, whose work folder is there, too."""
    folder = tmp_path_factory.mktemp("students")
    net = learnt(small_config(AUS, 64, 32))
    save(net, folder / "teacher.safetensors", CheckpointInfo(net.config, "TEST", licence="a licence"))
    write_recordings(folder / "recordings")
    said: list[str] = []
    teach(folder, folder / "student.safetensors", say=said.append)
    (folder / "said.txt").write_text("\n".join(said))
    return folder


def teach(folder: Path, out: Path, **options: Any) -> Path:
    """Make a student of the folder's teacher on its recordings."""
    options = {"settings": SETTINGS, "progress": False, "say": lambda text: None} | options
    return train_student(folder / "teacher.safetensors", folder / "recordings", out, **options)


def assert_same_student(one: Path, other: Path) -> None:
    """Weights and card are the same, bit for bit."""
    assert verify(one) == verify(other)
    assert one.with_suffix(".csv").read_text() == other.with_suffix(".csv").read_text()


def test_a_student_is_a_checkpoint_whose_card_tells_how_it_was_made(study: Path) -> None:
    info, teacher = verify(study / "student.safetensors"), read_info(study / "teacher.safetensors")
    card = info.training
    assert info.config == student_config("small", AUS)
    assert info.corpus == "TEST"
    assert "a licence" in info.licence
    assert card["teacher"] == {"name": "teacher.safetensors", "digest": teacher.digest}
    assert (len(card["recordings"]), len(card["held_out_recordings"])) == (2, 2)
    assert card["faces"]["learned"] + card["faces"]["held_out"] == 40
    assert card["people"] == {"learned": 2, "held_out": 2}
    assert set(card["agreement"]) == set(AUS)
    assert [point["faces"] for point in card["curve"]] == [16, 32]
    assert "P0" not in str(card)
    looks = Looks.from_json(card["looks"])
    assert looks is not None
    assert (looks.people, len(looks.values)) == (4, 4)


def test_the_report_is_one_page_and_a_table(study: Path) -> None:
    page, table = (study / "student.html").read_text(), pd.read_csv(study / "student.csv")
    assert table["AU"].tolist() == list(AUS)
    assert {"r", "icc_low", "kappa", "f1_high", "base_rate_teacher", "base_rate_student", "bias", "limit_low"} <= set(table)
    assert "http" not in page.replace("http-equiv", "")
    assert "P0" not in page
    for au in AUS:
        assert au in page


def test_the_size_of_the_cache_is_said_before_it_is_made(study: Path) -> None:
    said = (study / "said.txt").read_text()
    assert "the teacher's heatmaps of 40 faces take" in said
    files = sum(path.stat().st_size for path in (study / "student-work" / "labels").iterdir())
    views = 32 * 2 + 8
    assert files == pytest.approx(views * (3 * 64**2 + len(AUS) * (32**2 + 12)), rel=0.1)


class Killed(BaseException):
    """Ends a training as SIGKILL would: nothing in between handles it."""


def after(calls: int, step: Callable[..., Any]) -> Callable[..., Any]:
    """The function, until it has been called so often: then `Killed`."""
    left = [calls]

    def limited(*arguments: Any, **options: Any) -> Any:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return step(*arguments, **options)

    return limited


@pytest.mark.parametrize(
    ("place", "calls"),
    [
        pytest.param("fgnet_plugin.training.students.sampling._save", 2, marks=pytest.mark.slow),
        pytest.param("fgnet_plugin.training.students.labels.write", 1, marks=pytest.mark.slow),
        ("fgnet_plugin.scale.students.LabelWorker.label", 1),
        ("fgnet_plugin.training.engine.log.Log.add_step", 8),
        pytest.param("fgnet_plugin.training.students.report.write", 0, marks=pytest.mark.slow),
    ],
)
def test_a_training_that_was_killed_goes_on_to_the_same_student(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, calls: int
) -> None:
    module, name = place.rsplit(".", 1)
    owner = getattr(pytest.importorskip(module.rsplit(".", 1)[0]), module.rsplit(".", 1)[1])
    done = {"sampling": [], "labels": ["faces"], "LabelWorker": ["faces"]}.get(place.split(".")[-2], ["faces", "labels"])
    options = {"fill": fill_with(2)} if "scale" in place else {}
    for part in done:  # what comes before is tested by the others
        shutil.copytree(study / "student-work" / part, tmp_path / "student-work" / part)
    monkeypatch.setattr(stage_module, "CHECKPOINT_EVERY", 1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, after(calls, getattr(owner, name)))
        with pytest.raises(Killed), without_ray():
            teach(study, tmp_path / "student.safetensors", **options)
    assert_same_student(teach(study, tmp_path / "student.safetensors"), study / "student.safetensors")


@pytest.mark.slow
def test_processes_that_share_the_labelling_make_the_same_student(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    shutil.copytree(study / "student-work" / "faces", tmp_path / "student-work" / "faces")
    made = teach(study, tmp_path / "student.safetensors", fill=fill_with(2))
    assert_same_student(made, study / "student.safetensors")


def test_a_work_folder_is_for_one_student(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"least_agreement was 0\.6, now 0\.7"):
        teach(study, study / "student.safetensors", settings=dataclasses.replace(SETTINGS, least_agreement=0.7))
    (tmp_path / "there.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is there already"):
        teach(study, tmp_path / "there.safetensors")


def test_bad_input_is_said_before_anything_is_computed(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "student.safetensors"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures or videos in this folder"):
        train_student(study / "teacher.safetensors", tmp_path / "empty", out, settings=SETTINGS)
    with pytest.raises(InputError, match=r"only one recording: nobody is left to measure .* parts of the recording"):
        train_student(study / "teacher.safetensors", study / "recordings" / "P0.mp4", out, settings=SETTINGS)
    with pytest.raises(InputError, match="4 recordings of one person"):
        teach(study, out, subject=r"(?P<subject>P)\d")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        train_student(tmp_path / "none.safetensors", study / "recordings", out, settings=SETTINGS)
    with pytest.raises(ValueError, match="a budget of 12 faces is too small"):
        StudentSettings(faces=12)
    with pytest.raises(InputError, match="too few to learn from"):
        teach(study, out, settings=StudentSettings(minutes=1e-6), work=tmp_path / "minutes")
    shutil.copytree(study / "student-work" / "faces", tmp_path / "student-work" / "faces")
    monkeypatch.setattr(labels_module.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 10**5))
    with pytest.raises(InputError, match=r"heatmaps of 40 faces take 1 MB .* only 0 MB are free"):
        teach(study, out)
    assert not list((tmp_path / "student-work" / "labels").iterdir())
    assert not out.exists()


def test_recordings_without_a_face(tmp_path: Path, study: Path) -> None:
    (tmp_path / "views").mkdir()
    for who in range(2):
        with VideoWriter(tmp_path / "views" / f"{who}.mp4", 25) as writer:
            writer.add(np.full((64, 64, 3), 60 + 60 * who, np.uint8), 0)
    with pytest.raises(InputError, match="no face was found in the 1 recording to learn from"), pytest.warns(match="no face"):
        train_student(study / "teacher.safetensors", tmp_path / "views", tmp_path / "s.safetensors", settings=SETTINGS)


def test_recordings_are_set_aside_by_person(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    for who in range(4):
        (folder / f"s{who}").mkdir(parents=True)
        for part in "ab":
            (folder / f"s{who}" / f"{part}.mp4").write_bytes(b"%d" % who + part.encode())
    (folder / "copy.mp4").write_bytes(b"0a")
    paths = [path for path in list_paths(folder) if "copy" not in path]
    divided = divide(paths, r"/(?P<subject>s\d)/", 0.2, seed=0)
    assert len({one.subject for one in divided if one.held_out}) == 2
    assert not {one.subject for one in divided if one.held_out} & {one.subject for one in divided if not one.held_out}
    with pytest.warns(match="is the same file as"):
        assert len(divide(list_paths(folder), None, 0.2, seed=0)) == 8


def test_chosen_faces_are_spread_over_time_and_unlike_one_another() -> None:
    features = np.zeros((100, 2))
    features[:, 0] = np.linspace(0, 0.1, 100)
    features[[13, 57]] = (5.0, 5.0), (-5.0, 3.0)
    looks = np.zeros((0, 10))
    chosen = choose(Faces(np.arange(100), np.zeros((100, 68, 2)), features, looks), 10)
    assert len(set(chosen)) == 10
    assert {13, 57} <= set(chosen)
    assert np.diff(chosen).max() < 30
    alike = choose(Faces(np.arange(100), np.zeros((100, 68, 2)), np.zeros((100, 2)), looks), 40)
    assert len(set(alike)) == 40
    frames = spread_frames(1000, 20, np.random.default_rng(0))
    assert len(frames) == 20
    assert (frames // 50 == np.arange(20)).all()
    assert spread_frames(5, 20, np.random.default_rng(0)).tolist() == list(range(5))


def test_eight_bits_hold_heatmaps_to_half_a_step() -> None:
    maps = torch.randn(3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    coded = encode(maps)
    assert ((decode_maps(coded) - maps).abs() <= coded.step[..., None, None] / 2 + 1e-6).all()
    assert torch.allclose(decode(decode_maps(coded)), decode(maps), atol=1e-3)
    assert torch.equal(decode_maps(encode(torch.full((1, 4, 4), 0.3))), torch.full((1, 4, 4), 0.3))


def test_smaller_heatmaps_are_of_the_same_places() -> None:
    ramp = torch.arange(128.0).expand(1, 1, 128, 128)
    small = resized(ramp, 32)
    assert torch.allclose(small[0, 0, 5, 1:31], 4 * torch.arange(1.0, 31))  # pixel j of 32 is pixel 4j of 128


def test_mirrored_heatmaps_are_those_of_mirrored_faces() -> None:
    """A map whose pixel j tells the place j·S/w: mirrored, it tells S − 1 − j·S/w."""
    size, width = 128, 32
    places = torch.arange(width) * (size / width)
    mirrored = mirror_heatmaps(places.expand(1, 1, width, width), size)
    assert torch.allclose(mirrored[0, 0, 3, 1:], (size - 1 - places)[1:])


def test_other_looks_leave_everything_where_it_is() -> None:
    torch.manual_seed(0)
    face = torch.from_numpy(face_picture(64)).permute(2, 0, 1)
    looks = other_looks(face.expand(16, 3, 64, 64))
    assert looks.shape == (16, 3, 64, 64)
    assert looks.abs().max() <= 1
    flat = looks.mean(1).flatten(1)
    original = face.float().mean(0).flatten()
    for one in flat:
        assert np.corrcoef(one.numpy(), original.numpy())[0, 1] > 0.95
    assert (looks[0] - looks[1]).abs().max() > 0.05


def test_rare_aus_count_more() -> None:
    activations = torch.tensor([[0.2, -0.2]] * 9 + [[-0.2, 0.2]] + [[-0.2, -0.2]] * 10)
    weights = face_weights(activations)
    assert weights.mean() == pytest.approx(1)
    assert weights[9, 1] > 2 * weights[0, 1]  # the only face with the second AU, beside one without it
    assert weights[9, 1] > weights[0, 0]


def test_students_start_from_weights_that_fit() -> None:
    from fgnet_plugin import load

    start, net = load("fgnet-rendered"), new_student(student_config("small", ("AU12", "AU17")), "fgnet-rendered", 0)
    assert torch.equal(net.generator.constant, start.generator.constant)
    twelve = start.aus.index("AU12")
    assert torch.equal(net.interpreter.readout.weight[0], start.interpreter.readout.weight[twelve])
    medium = new_student(student_config("medium", start.aus), "fgnet-rendered", 0).eval()
    faces = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(medium(faces), start(faces), atol=1e-5)


def test_agreement_is_that_of_known_measures() -> None:
    rng = np.random.default_rng(0)
    teacher = rng.random((200, 1))
    student = np.clip(teacher + rng.normal(0.05, 0.1, (200, 1)), 0, 1)
    person = np.repeat(np.array(list("abcdefghij"), object), 20)
    row = agreement_table(Answers(("AU12",), student, teacher, person), 0.6).iloc[0]
    assert row["r"] == pytest.approx(np.corrcoef(student[:, 0], teacher[:, 0])[0, 1])
    assert row["icc"] == pytest.approx(intraclass_correlation(np.concatenate([student, teacher], 1)))
    from sklearn.metrics import cohen_kappa_score, f1_score

    assert row["kappa"] == pytest.approx(cohen_kappa_score(teacher[:, 0] > 0.5, student[:, 0] > 0.5))
    assert row["f1"] == pytest.approx(f1_score(teacher[:, 0] > 0.5, student[:, 0] > 0.5))
    assert row["bias"] == pytest.approx((student - teacher).mean())
    assert row["limit_high"] == pytest.approx(row["bias"] + 1.96 * (student - teacher).std(ddof=1))
    assert row["icc_low"] < row["icc"] < row["icc_high"]
    assert not row["weak"]


def test_agreement_of_an_au_that_nobody_shows() -> None:
    zeros = np.zeros((10, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = agreement_table(Answers(("AU12",), zeros, zeros, np.array(["a"] * 10, object)), 0.6).iloc[0]
    assert row[["r", "icc", "kappa", "f1", "icc_low"]].isna().all()
    assert row["bias"] == 0
    assert row["weak"]


def test_advice_on_more_faces() -> None:
    points = [{"faces": 500, "icc": 0.7}, {"faces": 1000, "icc": 0.71}]
    assert "unlikely to help" in advice(points)
    assert "not known" in advice(points[:1])


@pytest.mark.slow  # the renderer is compiled first
def test_a_medium_student_that_learns_from_rendered_faces_too(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "student-work" / "faces", tmp_path / "student-work" / "faces")
    settings = dataclasses.replace(SETTINGS, size="medium", rendered=8, curve=(), steps=1)
    info = read_info(teach(study, tmp_path / "student.safetensors", settings=settings))
    card = info.training
    assert info.config.geometry == "mesh468"
    assert card["curve"][0]["faces"] == 32 + 8
    assert card["faces"]["learned"] == 32, "of the recordings"


def test_the_command_makes_a_student(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "student.safetensors"
    shutil.copytree(study / "student-work", tmp_path / "student-work")
    arguments = ["--teacher", str(study / "teacher.safetensors"), "--on", str(study / "recordings"), "--out", str(out)]
    options = ["--faces", "40", "--steps", "6", "--batch-size", "8", "--curve", "0.5", "--threads", "1"]
    done = run_fgnet("train", "student", *arguments, *options)
    assert done.returncode == 0, done.stderr
    assert_same_student(out, study / "student.safetensors")
    assert run_fgnet("train", "student", *arguments, "--faces", "3").returncode == 1
