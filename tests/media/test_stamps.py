"""Time stamps that repeat, go back, jump or are missing: frames keep their order, times never go back, a warning says so."""

import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_video import B_FRAMES, VFR, decoded, different, drawing, overwrite, places, write

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.video import Video

av = pytest.importorskip("av", reason="PyAV makes the videos")

FRAMES = 50
LATE = {"x264-params": "keyint=20:bframes=0:scenecut=0"}
Change = Callable[[int, int], int]
"""A packet's number and its stamp in milliseconds, to the stamp that the file shall have."""


def restamp(path: Path, change: Change) -> Path:
    """Write other stamps into an FLV or Matroska file."""
    data, start = bytearray(path.read_bytes()), 0
    for i, (_, size, content) in enumerate(places(path)):
        at = data.index(content, start)
        start = at + size
        if path.suffix == ".flv":  # after the kind of the tag and its size
            tag = at - 12 if data[at - 12] == 9 else at - 16
            data[tag + 4 : tag + 7] = change(i, int.from_bytes(data[tag + 4 : tag + 7], "big")).to_bytes(3, "big")
        else:  # before a byte of flags
            data[at - 3 : at - 1] = struct.pack(">h", change(i, struct.unpack(">h", data[at - 3 : at - 1])[0]))
    path.write_bytes(data)
    return path


def opened(path: Path) -> tuple[Video, list[str]]:
    """Open a video; also what its warnings say about it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        video = Video(path)
    return video, [str(warning.message).removeprefix(f"{path}: ") for warning in told]


def milliseconds(video: Video) -> list[int]:
    return [round(1000 * video.time(i)) for i in range(len(video))]


EVEN = [40 * i for i in range(FRAMES)]
ASTRAY = "contradict those around them; times between their neighbours' are used"
KINDS: dict[str, tuple[Change, list[int], list[str]]] = {
    "as they should be": (lambda i, stamp: stamp, EVEN, []),
    "repeated": (
        lambda i, stamp: stamp - 40 * (i in (10, 20)),
        [stamp - 40 * (i in (10, 20)) for i, stamp in enumerate(EVEN)],
        ["frames 10, 20 have the time stamp of the frame before"],
    ),
    "one back": (lambda i, stamp: stamp - 200 * (i == 10), EVEN, [f"the time stamps of frame 10 {ASTRAY}"]),
    "three back": (lambda i, stamp: stamp - 400 * (10 <= i < 13), EVEN, [f"the time stamps of frames 10, 11, 12 {ASTRAY}"]),
    "one ahead": (lambda i, stamp: stamp + 5000 * (i == 10), EVEN, [f"the time stamps of frame 10 {ASTRAY}"]),
    "from there on back": (
        lambda i, stamp: stamp - 800 * (i >= 30),
        EVEN,
        [
            "the time stamps start again at frame 30, as where recordings were joined; frames are read in the order in which "
            "they are stored, and their times go on from 1.20 s"
        ],
    ),
    "all the same": (lambda i, stamp: 0, EVEN, ["its frames have no time stamps; times are computed for 25 frames per second"]),
}


# Matroska files have stamps of clusters, too, so that they are not all the same.
@pytest.mark.parametrize(
    ("kind", "suffix", "codec"),
    [*((kind, ".flv", "flv") for kind in KINDS), *((kind, ".mkv", "libx264") for kind in KINDS if kind != "all the same")],
)
def test_broken_stamps(tmp_path: Path, kind: str, suffix: str, codec: str) -> None:
    change, expected, said = KINDS[kind]
    path = write(tmp_path / f"a{suffix}", codec, options=LATE if codec == "libx264" else {})
    pictures = decoded(path)
    video, told = opened(restamp(path, change))
    assert told == said
    assert milliseconds(video) == expected
    assert different(video, range(0, FRAMES, 7), pictures) == []
    assert different(video, range(FRAMES - 1, 0, -11), pictures) == []


@pytest.mark.parametrize("kind", ["repeated", "one back", "one ahead", "from there on back"])
def test_broken_stamps_of_frames_that_are_stored_in_another_order(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.mkv", options=B_FRAMES)
    pictures = decoded(path)
    video, told = opened(restamp(path, KINDS[kind][0]))
    assert len(told) >= 1
    assert min(np.diff(milliseconds(video))) >= 0
    assert max(milliseconds(video)) < 2200
    assert different(video, range(FRAMES), pictures) == []


def test_many_seams_are_named_once(tmp_path: Path) -> None:
    part = write(tmp_path / "part.ts", options=LATE, frames=4).read_bytes()
    (tmp_path / "all.ts").write_bytes(6 * part)
    video, told = opened(tmp_path / "all.ts")
    assert len(video) == 24
    assert [text.split(", as where")[0] for text in told] == [
        f"the time stamps start again at frame {frame} (and at 2 frames more)" for frame in (4, 8, 12)
    ]
    assert milliseconds(video) == [round(1000 * video.time(0)) + 40 * i for i in range(24)]


@pytest.mark.parametrize(("width", "height"), [(200, 120), (120, 160)])
def test_a_seam_in_another_size(tmp_path: Path, width: int, height: int) -> None:
    """Also upright, as of a phone that is turned in mid-call."""
    sizes = (160, 120), (width, height)
    parts = [write(tmp_path / f"{i}.ts", options=LATE, frames=10, size=size).read_bytes() for i, size in enumerate(sizes)]
    (tmp_path / "all.ts").write_bytes(b"".join(parts))
    video, told = opened(tmp_path / "all.ts")
    assert [text.split(", as where")[0] for text in told] == ["the time stamps start again at frame 10"]
    assert [tuple(video[i].shape) for i in (0, 9, 10, 19)] == [(3, 120, 160)] * 2 + [(3, height, width)] * 2
    assert np.abs(video[13].permute(1, 2, 0).numpy().astype(float) - drawing(3, width, height)).mean() < 13


@pytest.mark.parametrize(("name", "codec"), [("a.asf", "wmv2"), ("a.wmv", "msmpeg4"), ("a.flv", "flv")])
def test_formats_that_store_no_durations(tmp_path: Path, name: str, codec: str) -> None:
    video, told = opened(write(tmp_path / name, codec))
    assert told == []
    assert video.fps == pytest.approx(25)
    assert milliseconds(video) == EVEN


def test_a_raw_stream_has_no_times(tmp_path: Path) -> None:
    video, told = opened(write(tmp_path / "a.h264", options=LATE))
    assert told == ["its frames have no time stamps; times are computed for 25 frames per second"]
    assert milliseconds(video) == EVEN


@pytest.mark.parametrize("stamps", [None, VFR, [40 * i + 500 * (i > 30) for i in range(FRAMES)]])
def test_whether_the_rate_varies(tmp_path: Path, stamps: list[int] | None) -> None:
    video, told = opened(write(tmp_path / "a.mkv", milliseconds=stamps))
    assert told == []
    assert video.varying_rate is (stamps is not None)
    if stamps is None:
        assert video.rate_note() == "25 frames per second"
    else:
        steps = np.diff(stamps) / 1000
        assert f"the next frame after {steps.min():.3g} to {steps.max():.3g} s; frame number ÷ rate" in video.rate_note()


def test_frames_that_are_missing_at_the_end(tmp_path: Path) -> None:
    """A file that is cut off is read up to there, and says so even where its last frame isn't asked for."""
    path = write(tmp_path / "a.mov", "mjpeg", kind="yuvj420p", file_options={"movflags": "faststart"})
    whole = path.stat().st_size
    _, told = opened(path)
    assert told == []
    os.truncate(path, whole // 3)
    video, told = opened(path)
    assert told == [
        f"its frames end at {video.time(len(video) - 1) + 0.04:.2f} s, but its header says 2.00 s: it is damaged or cut off"
    ]
    assert 10 < len(video) < 20


def test_damage_before_the_end_of_the_only_group_of_frames(tmp_path: Path) -> None:
    """Without another keyframe, what players show after it is smeared."""
    path = write(tmp_path / "a.mp4", options={"x264-params": "keyint=250:bframes=0:scenecut=0"})
    at, size, _ = places(path)[30]
    overwrite(path, [(at, at + size)])
    video, told = opened(path)
    assert told == []
    assert len(video) == FRAMES
    with pytest.raises(InputError, match=r"frame 45 of .* at frame 30; the frames before that can be used") as caught:
        video[45]
    assert caught.value.gap.endswith("they are left out (no keyframe follows, without which players show faces smeared)")
