"""Preparing corpora, on made-up folders in the layouts that BP4D and DISFA are distributed in."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from toy_training import run_fgnet

from fgnet_plugin.action_units import CORPUS_AUS
from fgnet_plugin.alignment import align_faces
from fgnet_plugin.training.prepare import StoredLandmarks, prepare, read_bp4d, read_disfa

FACE = data.astronaut()[0:256, 96:352]
BP4D, DISFA = ([int(au[2:]) for au in CORPUS_AUS[name]] for name in ("BP4D", "DISFA"))


def photo(seed: int, faces: int = 1) -> np.ndarray:
    """A photo with faces beside each other, a little brighter or darker for each seed: uint8 [H, W, 3]."""
    shifted = np.roll(FACE, seed % 5, 1)
    lit = (shifted * (0.9 + 0.02 * (seed % 10))).clip(0, 255).astype(np.uint8)
    return np.concatenate([lit] * faces, 1)


def codes(path: Path, rows: dict[int, list[int]]) -> None:
    """An occurrence file: its first row says 0, 1, …, 99, as BP4D's do; AUs that are not in `rows` are 9."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = [list(range(100))]
    for frame, labels in rows.items():
        of_au = dict(zip(BP4D, labels, strict=True))
        table.append([frame, *(of_au.get(au, 9) for au in range(1, 100))])
    csv.writer(path.open("w", newline="")).writerows(table)


def labels_of(seed: int) -> list[int]:
    return [(seed >> bit) & 1 for bit in range(12)]


def points_of(seed: int) -> np.ndarray:
    """Made-up landmarks that an aligned face can be cut out by: float32 [68, 2]."""
    angle = np.linspace(0, 2 * np.pi, 68)
    points = np.stack([128 + 40 * np.cos(angle), 110 + 40 * np.sin(angle)], 1)
    points[36:42], points[42:48], points[48], points[54] = (105 + seed % 3, 95), (150, 95), (110, 140), (145, 141)
    return points.astype(np.float32)


@pytest.fixture
def bp4d(tmp_path: Path) -> Path:
    """Three subjects, with landmarks in files: quick."""
    raw = tmp_path / "raw"
    for subject, (folder, digits) in {"F001": ("Sequences(2D+3D)", 4), "F003": ("2D+3D", 3), "F004": ("part/x", 5)}.items():
        place, numbers = raw / folder / subject / "T1", range(98, 104)
        place.mkdir(parents=True)
        (tmp_path / "points" / subject / "T1").mkdir(parents=True)
        for number in numbers:
            Image.fromarray(photo(number)).save(place / f"{number:0{digits}d}.jpg")
            np.save(tmp_path / "points" / subject / "T1" / f"{number:04d}.npy", points_of(number))
        codes(raw / "AUCoding/AU_OCC" / f"{subject}_T1.csv", {number: labels_of(number * 7) for number in numbers})
    return raw


def stored(raw: Path) -> StoredLandmarks:
    return StoredLandmarks(raw.parent / "points")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(newline="")))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs ``fgnet train prepare``."""
    return run_fgnet("train", "prepare", *arguments)


def command_in_process(before: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs ``fgnet train prepare`` in a process of its own, after some other code."""
    code = f"{before}\nif __name__ == '__main__':\n    from fgnet_plugin.cli import main\n    main()\n"
    return subprocess.run([sys.executable, "-c", code, "train", "prepare", *arguments], capture_output=True, text=True)


def test_bp4d_with_our_finder(tmp_path: Path) -> None:
    """Everything that can be the matter with a frame, through the command line."""
    raw, out = tmp_path / "raw", tmp_path / "raw" / "prepared"  # results inside of the corpus are not taken for photos
    place = raw / "Sequences(2D+3D)/F001/T1"
    place.mkdir(parents=True)
    Image.fromarray(photo(1)).save(place / "2440.jpg")
    Image.fromarray(np.full((256, 256, 3), 90, np.uint8)).save(place / "2441.jpg")
    Image.fromarray(photo(3, faces=2)).save(place / "2442.jpg")
    (place / "2443.jpg").write_bytes((place / "2440.jpg").read_bytes()[:3000])
    Image.fromarray(photo(9)).save(place / "2445.jpg")  # not coded
    frames = {2440: labels_of(0b101), 2441: labels_of(1), 2442: [9, *labels_of(6)[1:]], 2443: labels_of(2)}
    codes(raw / "AUCoding/AU_OCC/F001_T1.csv", frames | {2444: labels_of(3), 2446: [9] * 12})
    codes(raw / "openface/F001_T1.csv", {})  # of that name, but elsewhere
    (raw / "2D+3D/F002/T3").mkdir(parents=True)
    Image.fromarray(photo(1)).save(raw / "2D+3D/F002/T3/001.jpg")
    for _ in range(2):  # the second time, all is there
        done = command("bp4d", str(raw), str(out), "--workers", "0")
        assert done.returncode == 0, done.stderr
    assert "going on, 2 of 4 faces are there" in done.stdout
    assert "2 of 5 coded frames prepared" in done.stdout
    assert "1 frame is left out: 9 for all of the AUs" in done.stdout
    assert "no codes for 1 folder of photos: F002/T3" in done.stdout
    assert f"data.csv.image_root={out}" in done.stdout
    rows = rows_of(out / "BP4D/labels.csv")
    assert list(rows[0]) == ["image_path", *(f"au{au}" for au in BP4D), "padding", "target_landmarks"]
    assert [row["image_path"] for row in rows] == [f"BP4D/aligned_images/F001/T1/0{n}.jpg" for n in (2440, 2442)]
    assert [int(value) for value in list(rows[0].values())[1:-2]] == labels_of(0b101)
    assert list(rows[0].values())[-2:] == ["reflect", "moved"]
    assert rows[1]["au1"] == "9"
    report = {row["frame"]: row for row in rows_of(out / "BP4D/report.csv")}
    reasons = {frame: (row["prepared"], row["reason"].partition(":")[0]) for frame, row in report.items()}
    assert reasons == {
        "F001/T1/02441": ("no", "no face"),
        "F001/T1/02442": ("yes", "several faces"),
        "F001/T1/02443": ("no", "unreadable"),
        "F001/T1/02444": ("no", "no photo or video"),
    }
    assert report["F001/T1/02443"]["file"] == "Sequences(2D+3D)/F001/T1/2443.jpg"
    assert not list(out.rglob("*.part"))
    # The face is FFHQ's, and its landmarks lie where they are on a known face.
    from fgnet_plugin.faces.finder import FaceFinder

    face = Image.open(out / rows[0]["image_path"])
    points = np.load(out / "BP4D/aligned_landmarks/F001/T1/02440.npy")
    assert (face.size, points.shape, points.dtype) == ((256, 256), (68, 2), np.float32)
    found = FaceFinder(smallest_face=32).find([np.asarray(Image.open(place / "2440.jpg"))])[0].landmarks[:1]
    aligned = align_faces([torch.from_numpy(np.array(Image.open(place / "2440.jpg"))).permute(2, 0, 1)], [found])
    np.testing.assert_allclose(points, aligned.points_to_face(found)[0].numpy(), atol=0.01)
    difference = np.asarray(face).astype(float) - aligned.faces[0].permute(1, 2, 0).numpy()
    assert np.abs(difference).mean() < 3  # JPEG
    eyes = points[36:48].mean(0)
    assert abs(eyes[0] - 128) < 8
    assert 90 < eyes[1] < 140


KILLER = """
import os, signal
from fgnet_plugin.training.prepare import pipeline, progress
pipeline.FRAMES_AT_A_TIME = 1
add, calls = progress.Progress.add, []
def adding(self, faces):
    add(self, faces)
    calls.append(0)
    if len(calls) == 5:
        {then}
progress.Progress.add = adding
"""


def test_killed_and_resumed_is_never_killed(bp4d: Path, tmp_path: Path) -> None:
    whole = prepare(read_bp4d(bp4d), tmp_path / "whole", stored(bp4d), size=64, progress=False)
    assert (whole.written, whole.reasons) == (18, {})
    out = tmp_path / "out"
    options = ["bp4d", str(bp4d), str(out), "--landmarks", str(tmp_path / "points"), "--size", "64"]
    killed = command_in_process(KILLER.format(then="os.kill(os.getpid(), signal.SIGKILL)"), *options, "--workers", "2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / "BP4D/labels.csv").exists()
    # What a killed process may leave: parts, a line cut off; and what a broken disk may: damaged files.
    images = out / "BP4D/aligned_images/F001/T1"
    (images / ".00103.jpg.77.part").write_bytes(b"abc")
    with (out / "BP4D/prepared.jsonl").open("a") as file:
        file.write('["F004/T')
    damaged = images / "00099.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    (out / "BP4D/aligned_landmarks/F001/T1/00100.npy").write_bytes(b"")
    (images / "00101.jpg").unlink()
    kept = images / "00098.jpg"
    before = kept.stat().st_mtime_ns
    resumed = command(*options, "--workers", "2")
    assert resumed.returncode == 0, resumed.stderr
    assert "going on, 5 of 18 faces are there" in resumed.stdout
    assert tree(out) == tree(tmp_path / "whole")
    assert kept.stat().st_mtime_ns == before
    assert Image.open(damaged).size == (64, 64)


def test_an_interrupted_run_says_how_to_go_on(bp4d: Path, tmp_path: Path) -> None:
    options = ["bp4d", str(bp4d), str(tmp_path / "out"), "--landmarks", str(tmp_path / "points"), "--size", "64"]
    stopped = command_in_process(KILLER.format(then="raise KeyboardInterrupt"), *options, "--workers", "0")
    assert stopped.returncode != 0
    assert "interrupted: 5 of 18 faces are there; the same command goes on" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    resumed = command(*options, "--workers", "0")
    assert "18 of 18 coded frames prepared" in resumed.stdout
    # Faces of another kind are not mixed in.
    other = command(*options[:-1], "32")
    assert other.returncode == 1
    assert "out/BP4D was begun otherwise (size was 64, now 32): repeat that, or choose another folder" in other.stderr


def test_a_full_disk_is_named(bp4d: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = np.save
    written: list[object] = []

    def saving(file: object, array: np.ndarray) -> None:
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(file)
        save(file, array)

    monkeypatch.setattr(np, "save", saving)
    with pytest.raises(
        OSError, match=r"F001/T1/00102: can't be written .*No space left.*4 faces are there, and the same command"
    ):
        prepare(read_bp4d(bp4d), tmp_path / "out", stored(bp4d), size=64, progress=False)
    assert not list((tmp_path / "out").rglob("*.part"))
    monkeypatch.undo()
    assert prepare(read_bp4d(bp4d), tmp_path / "out", stored(bp4d), size=64, progress=False).written == 18


def test_what_is_prepared_can_be_trained_on(bp4d: Path, tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import Csv
    from fgnet_plugin.training.data import csv_corpus

    prepared = prepare(read_bp4d(bp4d), tmp_path / "out", stored(bp4d), size=64, suffix="png", progress=False)
    config = Csv(str(prepared.labels), image_root=str(tmp_path / "out"), folds="bp4d", fold=1, val_fraction=0.4)
    aus = csv_corpus.au_columns(prepared.labels)
    assert aus == CORPUS_AUS["BP4D"]
    train, val = csv_corpus.csv_corpora(config, aus, 64, seed=0)
    test = csv_corpus.test_corpus(config, aus, 64)
    assert {*train.subjects, *val.subjects} == {"F001", "F004"}
    assert set(train.subjects) != set(val.subjects)
    assert set(test.subjects) == {"F003"}
    assert test.labels.int().tolist() == [labels_of(number * 7) for number in range(98, 104)]
    # Lossless: the pixels of the photo of that number, by the landmarks of that number.
    original = torch.from_numpy(np.array(Image.open(bp4d / "2D+3D/F003/T1/099.jpg"))).permute(2, 0, 1)
    points = torch.from_numpy(points_of(99))[None]
    aligned = align_faces([original], [points], 64)
    assert torch.equal(test[1]["image"], aligned.faces[0])
    torch.testing.assert_close(test[1]["landmarks"], aligned.points_to_face(points)[0])


def change(path: Path, line: int, edit: Callable[[list[str]], list[str]]) -> None:
    rows = list(csv.reader(path.open(newline="")))
    rows[line - 1] = edit(rows[line - 1])
    csv.writer(path.open("w", newline="")).writerows(rows)


def test_bad_codes_come_together(bp4d: Path) -> None:
    folder = bp4d / "AUCoding/AU_OCC"
    change(folder / "F001_T1.csv", 2, lambda row: row[:-1])
    change(folder / "F001_T1.csv", 3, lambda row: ["x", *row[1:]])
    change(folder / "F001_T1.csv", 4, lambda row: [row[0], "2", *row[2:]])
    change(folder / "F001_T1.csv", 6, lambda row: ["101", *row[1:]])
    change(folder / "F003_T1.csv", 1, lambda row: ["0", *row[2:], "100"])
    (folder / "F004_T1.csv").write_bytes(b"\xff\xfe\x00")
    (bp4d / "2D+3D/F003/T1/0099.jpg").write_bytes(b"")
    (bp4d / "thumbs/F001/T1").mkdir(parents=True)
    (bp4d / "thumbs/F001/T1/1.png").write_bytes(b"")
    with pytest.raises(ValueError, match="5 bad rows") as caught:
        read_bp4d(bp4d)
    for problem in (
        f"{folder}/F001_T1.csv:2: 99 cells, the first row has 100",
        f"{folder}/F001_T1.csv:3: the frame's number is 'x'",
        f"{folder}/F001_T1.csv:4: codes are 0, 1 or 9, found '2'",
        f"{folder}/F001_T1.csv:6: frame 101 is there twice",
        f"{folder}/F003_T1.csv:1: the first row must have AU numbers after its first cell",
        f"{folder}/F004_T1.csv: can't be read as text",
        "0099.jpg and 099.jpg are both frame 99; leave one",
        "F001/T1's folder of photos is there several times",
    ):
        assert problem in str(caught.value)


def test_folders_that_are_no_corpus(tmp_path: Path) -> None:
    for read, says in ((read_bp4d, r"no AU codes found.*F001_T1\.csv"), (read_disfa, r"no labels found.*SN001_au1\.txt")):
        with pytest.raises(ValueError, match=says):
            read(tmp_path)
        with pytest.raises(ValueError, match="no such folder"):
            read(tmp_path / "none")
    with pytest.raises(ValueError, match="no landmarks such as"):
        StoredLandmarks(tmp_path)


def test_results_and_links_in_a_circle_are_not_taken_for_photos(bp4d: Path) -> None:
    (bp4d / "part/x/again").symlink_to(bp4d)
    (bp4d / "part/y").symlink_to(bp4d / "part/x")
    first = prepare(read_bp4d(bp4d, out=bp4d), bp4d, stored(bp4d), size=64, progress=False)
    again = prepare(read_bp4d(bp4d, out=bp4d), bp4d, stored(bp4d), size=64, progress=False)
    assert first == again
    assert first.written == 18


def test_other_aus(bp4d: Path) -> None:
    corpus = read_bp4d(bp4d, ["AU12", "AU01"])
    assert corpus.columns == ("au12", "au1")
    assert corpus.frames[0].labels == (str(labels_of(98 * 7)[6]), str(labels_of(98 * 7)[0]))
    for aus in (["AU12", "AU12"], []):
        with pytest.raises(ValueError, match="aus must be different AUs"):
            read_bp4d(bp4d, aus)
    assert len(read_bp4d(bp4d, ["AU05", "AU12"]).frames) == 18
    with pytest.raises(ValueError, match="not an action unit's name"):
        read_bp4d(bp4d, ["12"])


@pytest.fixture
def disfa(tmp_path: Path) -> Path:
    """One subject, seen by two cameras: videos of 6 frames, labels of 7."""
    av = pytest.importorskip("av")
    raw = tmp_path / "DISFA"
    for side, folder in (("Left", "Videos_LeftCamera"), ("Right", "Video_RightCamera")):
        (raw / folder).mkdir(parents=True)
        with av.open(str(raw / folder / f"{side}VideoSN001_{'comp' if side == 'Left' else 'Comp'}.avi"), "w") as file:
            stream = file.add_stream("mpeg4", rate=20)
            stream.width = stream.height = 256
            stream.pix_fmt = "yuv420p"
            for i in range(6):
                picture = photo(i) if side == "Left" else photo(i)[:, ::-1].copy()
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture // (i % 2 + 1))))
            file.mux(stream.encode())
    labels = raw / "ActionUnit_Labels/SN001"
    labels.mkdir(parents=True)
    for au in (*DISFA, 5, 20):
        (labels / f"SN001_au{au}.txt").write_text("".join(f"{frame},{(frame + au) % 6}\r\n" for frame in range(1, 8)))
    return raw


@pytest.mark.parametrize("camera", ["left", "right"])
def test_disfa(camera: str, disfa: Path, tmp_path: Path) -> None:
    from fgnet_plugin.media.video import Video
    from fgnet_plugin.training.config.detector import Csv
    from fgnet_plugin.training.data.csv_corpus import au_columns, read_csv

    def source(photo: torch.Tensor, frame: object) -> list[np.ndarray]:
        return [points_of(frame.number), points_of(0)] if frame.number == 2 else [points_of(frame.number)]

    corpus = read_disfa(disfa, camera=camera)
    prepared = prepare(corpus, tmp_path / "out", source, size=64, suffix="png", progress=False)
    assert (prepared.coded, prepared.written) == (7, 6)
    assert prepared.reasons == {"no photo or video": 1, "several faces (prepared)": 1}
    assert rows_of(prepared.report)[-1]["reason"] == "no photo or video: the video has 6 frames"
    rows = rows_of(prepared.labels)
    names = [f"au{au}" for au in DISFA]
    made = "padding", "target_landmarks"
    assert list(rows[0]) == ["image_path", *names, *(f"{name}_intensity" for name in names), *made]
    assert rows[0]["image_path"] == "DISFA/aligned_images/SN001/00001.png"
    for frame, row in enumerate(rows, start=1):
        for au in DISFA:
            assert row[f"au{au}_intensity"] == str((frame + au) % 6)
            assert row[f"au{au}"] == str(int((frame + au) % 6 >= 2))
    # Labels count from 1: frame 3 is the video's third picture.
    (video,) = disfa.rglob(f"{camera.capitalize()}Video*.avi")
    aligned = align_faces([Video(video)[2]], [torch.from_numpy(points_of(3))[None]], 64)
    written = torch.from_numpy(np.array(Image.open(tmp_path / "out" / rows[2]["image_path"]))).permute(2, 0, 1)
    assert torch.equal(written, aligned.faces[0])
    # The reader takes the 0/1 columns, and leaves the intensities alone.
    assert au_columns(prepared.labels) == CORPUS_AUS["DISFA"]
    config = Csv(str(prepared.labels), image_root=str(tmp_path / "out"))
    assert read_csv(prepared.labels, ("AU12",), 64, config).labels[:, 0].tolist() == [(f + 12) % 6 >= 2 for f in range(1, 7)]


def test_bad_disfa_labels_come_together(disfa: Path) -> None:
    folder = disfa / "ActionUnit_Labels/SN001"
    (folder / "SN001_au1.txt").write_text("1,0\n2,6\nframe,1\n0,1\n1,2\n3\n")
    (folder / "SN001_au2.txt").write_text("".join(f"{frame},0\n" for frame in (1, 2, 3, 5)))
    (folder / "SN001_au4.txt").write_text("")
    (disfa / "copy").mkdir()
    shutil.copy(folder / "SN001_au6.txt", disfa / "copy")
    (disfa / "ActionUnit_Labels/SN002").mkdir()
    (disfa / "ActionUnit_Labels/SN002/SN002_au1.txt").write_text("1,0\n")
    with pytest.raises(ValueError, match="5 bad rows") as caught:
        read_disfa(disfa)
    for problem in (
        f"{folder}/SN001_au1.txt:2: intensities are 0 to 5, got 6",
        f"{folder}/SN001_au1.txt:3: must be frame,intensity, got 'frame,1'",
        f"{folder}/SN001_au1.txt:4: frames count from 1, got 0",
        f"{folder}/SN001_au1.txt:5: frame 1 is there twice",
        f"{folder}/SN001_au1.txt:6: must be frame,intensity, got '3'",
        f"{folder}/SN001_au2.txt: lacks 3 frames that other AUs of SN001 have: 4, 6, 7",
        f"{folder}/SN001_au4.txt: is empty",
        "SN001_au6.txt is there several times",
        "SN002 has no file for the AUs 2, 4, 6, 9, 12, 25, 26",
    ):
        assert problem in str(caught.value)
    with pytest.raises(ValueError, match="camera must be left or right"):
        read_disfa(disfa, camera="top")


def openface(path: Path, rows: dict[int, int], first: int) -> None:
    """A table as OpenFace's FeatureExtraction writes it: {frame: success}."""
    header = ["frame", "face_id", "timestamp", "confidence", "success", "gaze_0_x"]
    header += [f"{axis}_{i}" for axis in "xy" for i in range(68)] + ["AU01_r"]
    lines = [", ".join(header)]
    for frame, success in rows.items():
        points = points_of(first + frame - 1)
        values = [frame, 0, 0.0, 0.98, success, 0.1, *points[:, 0], *points[:, 1], 0.5]
        lines.append(", ".join(map(str, values)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_openface_tables(bp4d: Path, tmp_path: Path) -> None:
    """They count a folder's photos from 1, whatever their numbers."""
    openface(tmp_path / "openface/F001_T1.csv", {i: int(i != 3) for i in range(1, 7)}, first=98)
    openface(tmp_path / "openface/F003/T1.csv", {i: 1 for i in range(1, 5)}, first=98)  # noqa: C420
    prepared = prepare(read_bp4d(bp4d), tmp_path / "out", StoredLandmarks(tmp_path / "openface"), size=64, progress=False)
    assert prepared.written == 9
    reasons = {row["frame"]: row["reason"].partition(":")[0] for row in rows_of(prepared.report)}
    assert reasons["F001/T1/00100"] == "no face"
    assert reasons["F003/T1/00103"] == reasons["F004/T1/00098"] == "no landmarks"
    expected = prepare(read_bp4d(bp4d), tmp_path / "npy", stored(bp4d), size=64, progress=False)
    for row in rows_of(prepared.labels):
        points = row["image_path"].replace("aligned_images", "aligned_landmarks").replace(".jpg", ".npy")
        np.testing.assert_allclose(np.load(tmp_path / "out" / points), np.load(tmp_path / "npy" / points), atol=1e-3)
    assert expected.written == 18


def test_stored_landmarks_that_are_refused(bp4d: Path, tmp_path: Path) -> None:
    folder = tmp_path / "points"
    (folder / "F001_T1.csv").write_text("frame,success,x_0\n")
    with pytest.raises(ValueError, match="leave one") as caught:
        StoredLandmarks(folder)
    assert f"F001/T1 has landmarks in {folder}/F001/T1 and {folder}/F001_T1.csv" in str(caught.value)
    assert "F001_T1.csv: no table of OpenFace's FeatureExtraction: lacks the columns x_1, x_2, x_3" in str(caught.value)
    (folder / "F001_T1.csv").unlink()
    np.save(folder / "F001/T1/0098.npy", np.zeros((51, 2)))
    np.save(folder / "F001/T1/0099.npy", np.full((68, 2), np.nan))
    np.save(folder / "F001/T1/0100.npy", np.zeros((68, 2)))
    (folder / "F001/T1/0101.npy").write_bytes(b"abc")
    (folder / "F001/T1/0102.npy").unlink()
    report = rows_of(prepare(read_bp4d(bp4d), tmp_path / "out", stored(bp4d), size=64, progress=False).report)
    reasons = [row["reason"] for row in report]
    assert len(reasons) == 5
    assert reasons[0] == "unusable landmarks: shape [51, 2], wanted is [n, 68, 2]"
    assert reasons[1] == "unusable landmarks: not all are finite numbers"
    assert reasons[2].startswith("unusable landmarks: ")
    assert "0101.npy can't be read" in reasons[3]
    assert reasons[4].startswith("no landmarks: ")


def test_nothing_could_be_prepared(bp4d: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"not one of 18 coded frames could be prepared; .*report\.csv says why: {'no face': 18}"
    ):
        prepare(read_bp4d(bp4d), tmp_path / "out", lambda photo, frame: [], size=64, progress=False)
    assert not os.path.lexists(tmp_path / "out/BP4D/labels.csv")


def test_the_commands_that_users_see(tmp_path: Path) -> None:
    shown = command("disfa", "--help")
    assert "--camera" in shown.stdout
    failed = command("bp4d", str(tmp_path / "none"), str(tmp_path / "out"))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: ")
    assert "no such folder" in failed.stderr
