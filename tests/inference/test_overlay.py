"""Overlays: the frames of the table at their times, drawn where the faces are; blurred faces."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photos import feat_path
from PIL import Image

from fgnet_plugin import OfflineDetector, overlay
from fgnet_plugin.cli.app import main
from fgnet_plugin.errors import InputError
from fgnet_plugin.media.blur import blur_all, blur_faces
from fgnet_plugin.media.video import Video
from fgnet_plugin.media.video_writer import VideoWriter

CLIP, FACE = feat_path("single_face.mp4"), feat_path("single_face.jpg")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clip.csv, of every 12th frame, and face.csv."""
    folder, detector = tmp_path_factory.mktemp("tables"), OfflineDetector()
    detector.detect(CLIP, skip_frames=12, save=folder / "clip.csv", progress_bar=False)
    detector.detect(FACE, save=folder / "face.csv", progress_bar=False)
    return folder


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_frames_keep_their_times_and_colours(suffix: str, tmp_path: Path) -> None:
    times = 5 + np.cumsum([0.0, *[1 / 29.97] * 9, *[1 / 15] * 10])
    pictures = [np.full((101, 75, 3), (200 - 3 * i, 40 + 3 * i, 90), np.uint8) for i in range(20)]
    with VideoWriter(tmp_path / f"x{suffix}", 29.97) as writer:
        for picture, time in zip(pictures, times, strict=True):
            writer.add(picture, float(time))
    with Video(tmp_path / f"x{suffix}") as video:
        assert (len(video), video.height, video.width) == (20, 102, 76)
        np.testing.assert_allclose([video.time(i) for i in range(20)], times - 5, atol=6e-4)
        for i in (0, 19):
            assert np.abs(video[i].permute(1, 2, 0).numpy()[:101, :75].astype(int) - pictures[i]).max() <= 6


def test_a_video_has_the_frames_of_its_table(tables: Path, tmp_path: Path) -> None:
    fex = pd.read_csv(tables / "clip.csv")
    assert overlay(CLIP, tables / "clip.csv", tmp_path / "x.mp4", progress_bar=False) == 6
    with Video(CLIP) as clip, Video(tmp_path / "x.mp4") as drawn:
        assert (drawn.height, drawn.width) == (clip.height, clip.width)
        times = [clip.time(int(frame)) for frame in fex["frame"]]
        np.testing.assert_allclose([drawn.time(i) for i in range(6)], np.array(times) - times[0], atol=1e-4)
        changed = np.abs(drawn[5].numpy().astype(int) - clip[60].numpy()).max(0) > 90
    left, top = (int(fex[name].iloc[5]) for name in ("FaceRectX", "FaceRectY"))
    assert changed[top : top + 100, left : left + 2].any(1).mean() > 0.5  # the left edge of the box, 2 px wide
    assert changed[:, : left - 5].mean() < 0.01
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]


def test_heatmaps_colour_aus_that_are_present(tables: Path, tmp_path: Path) -> None:
    model, pictures = OfflineDetector().fgnet, {}
    for name, aus in (("smile", ["AU12"]), ("none", ["AU04"])):
        plain, coloured = tmp_path / f"{name}.png", tmp_path / f"{name}-heatmaps.png"
        overlay(FACE, tables / "face.csv", plain, aus=aus, style="text")
        overlay(FACE, tables / "face.csv", coloured, aus=aus, style="text", heatmaps=model)
        pictures[name] = np.abs(np.asarray(Image.open(plain)).astype(int) - np.asarray(Image.open(coloured)))
    fex = pd.read_csv(tables / "face.csv").iloc[0]
    assert fex["AU04"] < 0.5 < fex["AU12"]
    assert pictures["none"].max() == 0
    x, y = (int(fex[[f"{axis}_{i}" for i in range(48, 68)]].mean()) for axis in "xy")
    assert pictures["smile"][y, x].max() > 40


def test_blurred_faces_are_gone(tables: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    blurred = blur_faces(picture, np.array([[40.0, 30.0, 50.0, 50.0], [np.nan] * 4]))
    assert blurred[35:75, 45:85].std((0, 1)).max() < 25 < picture[35:75, 45:85].std((0, 1)).min()
    np.testing.assert_array_equal(blurred[:, 120:], picture[:, 120:])
    assert blur_all(picture).std((0, 1)).max() < 60
    table = pd.read_csv(tables / "clip.csv")
    table.loc[0, "FaceRectX"] = np.nan
    overlay(CLIP, table, tmp_path / "x.mp4", blur=True, progress_bar=False)
    with Video(CLIP) as clip, Video(tmp_path / "x.mp4") as drawn:
        sharp, veiled = (np.abs(np.diff(frames[0].numpy().astype(float), axis=2)).mean() for frames in (clip, drawn))
    assert veiled < sharp / 1.5


def test_errors_say_what_is_wrong(tables: Path, tmp_path: Path) -> None:
    table = pd.read_csv(tables / "clip.csv")
    for source, fex, out, options, says in (
        (CLIP, table, "x.png", {}, "is a video, which is written to .mp4"),
        (FACE, pd.read_csv(tables / "face.csv"), "x.mp4", {}, "is a photo, which is written to .png"),
        (CLIP, table, "x.mp4", {"aus": ["AU05"]}, "no values of AU05"),
        (CLIP, table.drop(columns="FaceRectX"), "x.mp4", {}, "no column 'FaceRectX'"),
        (CLIP, table.assign(frame=table["frame"] + 100), "x.mp4", {}, "has 72 frames, but the table has rows of frame 160"),
        (CLIP, table.assign(FrameWidth=999), "x.mp4", {}, "but the table was made of 999×360"),
        (CLIP, pd.concat([table.assign(input=n) for n in ("a.mp4", "b.mp4")]), "x.mp4", {}, "no rows of single_face.mp4"),
    ):
        with pytest.raises(InputError, match=says):
            overlay(source, fex, tmp_path / out, progress_bar=False, **options)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="style must be"):
        overlay(CLIP, table, tmp_path / "x.mp4", style="none")


def test_on_the_command_line(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for code in (0, 1):  # then it is there already
        arguments = ["fgnet", "overlay", str(FACE), "--fex", str(tables / "face.csv"), "--heatmaps", "--blur-faces"]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as done:
            main()
        assert (done.value.code or 0) == code
    assert Image.open("overlay.png").size == Image.open(FACE).size
