"""Videos: any order of frames, times, turns, colours, damage, and files that are not videos."""

import os
import pickle
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photos import feat_path
from torch.utils.data import DataLoader, Subset

from fgnet_plugin.errors import InputError
from fgnet_plugin.media import video as video_module
from fgnet_plugin.media.video import Video

av = pytest.importorskip("av", reason="PyAV makes the videos")

FRAMES = 50
VFR = np.cumsum([40 + i * 37 % 90 for i in range(FRAMES)]).tolist()
"""Milliseconds."""


def drawing(i: int, width: int, height: int) -> np.ndarray:
    """A moving pattern, another one for every i < 256: uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    planes = np.stack([2 * x + 5 * i, 3 * y + 7 * i, x + y + 11 * i], -1) % 256
    planes[height // 4 : height // 2, 4 * i % (width - 8) :][:, :8] = 255
    return planes.astype(np.uint8)


def write(
    path: Path,
    codec: str = "libx264",
    size: tuple[int, int] = (160, 120),
    kind: str = "yuv420p",
    options: dict[str, str] | None = None,
    milliseconds: Sequence[int] | None = None,
    rotation: int = 0,
    frames: int = FRAMES,
    file_options: dict[str, str] | None = None,
    b_frames: int | None = None,
    colours: tuple[int, int] | None = None,
) -> Path:
    unit = Fraction(1, 1000) if milliseconds else Fraction(1, 25)
    with av.open(str(path), "w", options=file_options or {}) as file:
        # x264's choices vary from run to run, even with one thread; at a low quantiser they don't show in the pixels.
        quality = {"qp": "2"} if codec == "libx264" else {}
        stream = file.add_stream(codec, rate=25, options=quality | (options or {}))
        stream.width, stream.height, stream.pix_fmt = *size, kind
        context = stream.codec_context
        context.thread_count, context.time_base = 1, unit
        if b_frames is not None:
            context.gop_size, context.max_b_frames = 20, b_frames
        if colours is not None:
            context.colorspace, context.color_range = colours
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(drawing(i, *size), "rgb24").reformat(format=kind)
            frame.pts, frame.time_base = milliseconds[i] if milliseconds else i, unit
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


B_FRAMES = {"x264-params": "keyint=20:bframes=5:b-adapt=0:b-pyramid=normal:scenecut=0"}
OPEN_GOP = {"x264-params": "open-gop=1:keyint=20:bframes=5:b-adapt=0:scenecut=0"}
HEVC = {"x265-params": "keyint=20:bframes=4:b-adapt=0:temporal-layers=3:log-level=none:pools=none"}

KINDS: dict[str, dict[str, Any]] = {
    "b.mp4": {"options": B_FRAMES},
    "open.mkv": {"options": OPEN_GOP},
    "fragments.mp4": {"options": B_FRAMES, "file_options": {"movflags": "frag_keyframe+empty_moov"}},
    "refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=20:scenecut=0:bframes=0"}},
    "hevc.mp4": {"codec": "libx265", "options": HEVC},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "20", "deadline": "realtime", "cpu-used": "8"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "g": "20", "svtav1-params": "lp=1"}},
    "intra.mov": {"codec": "mjpeg", "kind": "yuvj420p"},
    "intra.avi": {"codec": "mjpeg", "kind": "yuvj420p"},
    "vfr.mkv": {"milliseconds": VFR},
    "vfr.mp4": {"milliseconds": VFR, "options": B_FRAMES},
    "late.mp4": {"milliseconds": [3000 + 40 * i for i in range(FRAMES)]},
    "early.mov": {"milliseconds": [40 * i - 410 for i in range(FRAMES)], "options": B_FRAMES},
    "left.mp4": {"rotation": 90},
    "right.mp4": {"rotation": -90},
    "down.mp4": {"rotation": 180},
    "odd.mkv": {"codec": "ffv1", "size": (161, 121), "kind": "yuv444p"},
    "odd420.mkv": {"codec": "ffv1", "size": (161, 121)},
    "full709.mp4": {"size": (162, 122), "colours": (1, 2)},
    "limited709.mp4": {"colours": (1, 1)},
    "ten.mp4": {"kind": "yuv420p10le"},
    "Gesicht ü 1:2.mp4": {"options": B_FRAMES},
    "b.ts": {"options": OPEN_GOP},
    "b.avi": {"options": B_FRAMES},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
    "raw.h264": {"options": B_FRAMES},
}
FRAME_RATES = {"vfr.mkv": 11.8624, "vfr.mp4": 11.6360}
FIRST_DRAWINGS = {"early.mov": 11}
"""The drawing on frame 0: an edit list cuts off those before."""
QUARTER_TURNS = {"left.mp4": 1, "right.mp4": -1, "down.mp4": 2}
"""Counterclockwise."""
MEAN_COLOURS = {
    "odd.mkv": (121.9, 141.1, 151.1),
    "odd420.mkv": (121.7, 141.1, 151.0),
    "full709.mp4": (119.1, 136.5, 147.0),
    "limited709.mp4": (118.9, 138.5, 150.9),
    "ten.mp4": (120.1, 140.0, 149.8),
    "b.mp4": (121.0, 139.8, 150.2),
}
"""RGB, of the upper left quarter of frame 7."""
FEAT: dict[str, tuple[int, float, int, int, tuple[float, float, float]]] = {
    "single_face.mp4": (72, 30.0000, 360, 640, (158.5, 140.5, 122.3)),
    "WolfgangLanger_Pexels.mp4": (472, 23.9760, 360, 640, (69.8, 58.7, 54.3)),
    "face_noface.mov": (169, 26.3979, 540, 960, (157.3, 140.2, 122.1)),
    "noface_face.mov": (169, 26.4949, 540, 960, (59.7, 112.9, 142.3)),
    "no_face.mp4": (95, 23.6614, 540, 960, (64.7, 117.0, 140.9)),
}
"""Frames, frames per second, height, width, and the mean RGB of frame 7."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, how in KINDS.items():
        write(folder / name, **how)
    return folder


def decoded(path: Path) -> list[torch.Tensor]:
    """Every frame, by plain decoding."""
    with av.open(str(path)) as file:
        return [torch.from_numpy(frame.to_ndarray(format="rgb24").copy()).permute(2, 0, 1) for frame in file.decode(video=0)]


def different(video: Video, wanted: Sequence[int], expected: list[torch.Tensor]) -> list[int]:
    return [i for i in wanted if not torch.equal(video[i], expected[i])]


# Odd sizes, ten bits, full-range BT.709 and turns are left out, which the conversion of `decoded` treats otherwise.
@pytest.mark.parametrize("name", sorted({*KINDS} - {*QUARTER_TURNS, "odd.mkv", "odd420.mkv", "full709.mp4", "ten.mp4"}))
def test_frames_are_those_of_plain_decoding_in_any_order(made: Path, name: str) -> None:
    expected = decoded(made / name)
    count = len(expected)
    assert len(Video(made / name)) == count
    for step in (1, 2, 5, 12, 21):
        assert different(Video(made / name), range(0, count, step), expected) == []
    assert different(Video(made / name), range(count - 1, -1, -1), expected) == []
    chance = random.Random(0)
    firsts = [chance.randrange(count - 3) for _ in range(15)]
    assert different(Video(made / name), [i + k for i in firsts for k in (0, 0, 1, 3)], expected) == []


@pytest.mark.parametrize("name", ["single_face.mp4", "face_noface.mov"])
def test_frames_of_phone_and_web_videos(name: str) -> None:
    expected = decoded(feat_path(name))
    video = Video(feat_path(name))
    assert different(video, range(0, len(expected), 12), expected) == []
    assert different(video, range(len(expected) - 1, 0, -29), expected) == []


def test_times_size_and_rate(made: Path) -> None:
    def times(name: str) -> list[float]:
        video = Video(made / name)
        return [video.time(i) for i in range(len(video))]

    assert times("vfr.mkv") == pytest.approx([t / 1000 for t in VFR], abs=1e-6)
    assert times("late.mp4") == pytest.approx([3 + 0.04 * i for i in range(FRAMES)], abs=1e-6)
    assert times("early.mov") == pytest.approx([0.04 * i for i in range(FRAMES - 11)], abs=0.02)  # what an edit list cuts off
    video = Video(made / "b.mp4")
    assert (len(video), video.height, video.width) == (FRAMES, 120, 160)
    assert video.fps == pytest.approx(25)
    assert video.path == str(made / "b.mp4")


@pytest.mark.parametrize("name", QUARTER_TURNS)
def test_turned_videos_are_upright(made: Path, name: str) -> None:
    """Pixel by pixel; that the direction is right is seen in `test_each_frame_shows_the_drawing_of_its_number`."""
    video = Video(made / name)
    assert tuple(video[7].shape) == (3, video.height, video.width)
    assert torch.equal(video[7], torch.rot90(decoded(made / name)[7], QUARTER_TURNS[name], (1, 2)))


def mean_colour(frame: torch.Tensor) -> list[float]:
    return frame.double().mean((1, 2)).tolist()


@pytest.mark.parametrize("name", KINDS)
def test_each_frame_shows_the_drawing_of_its_number(made: Path, name: str) -> None:
    """Upright, in the right colours, and none is one frame off."""
    video, first, turns = Video(made / name), FIRST_DRAWINGS.get(name, 0), QUARTER_TURNS.get(name, 0)
    width, height = KINDS[name].get("size", (160, 120))
    assert len(video) == FRAMES - first
    assert video.fps == pytest.approx(FRAME_RATES.get(name, 25), rel=1e-4)
    assert (video.height, video.width) == ((width, height) if turns % 2 else (height, width))
    for i in (7, 23, 38):
        shown = np.rot90(video[i].permute(1, 2, 0).numpy(), -turns).astype(float)
        right, late = (np.abs(shown - drawing(i + first + shift, width, height)).mean() for shift in (0, 1))
        assert right < 13
        assert late > right + 7
    if name in MEAN_COLOURS:
        corner = video[7][:, : height // 2, : width // 2]
        assert mean_colour(corner) == pytest.approx(MEAN_COLOURS[name], abs=0.5)


@pytest.mark.parametrize("name", FEAT)
def test_py_feats_videos(name: str) -> None:
    video = Video(feat_path(name))
    frames, fps, height, width, colour = FEAT[name]
    assert (len(video), *video[7].shape) == (frames, 3, height, width)
    assert (video.height, video.width, video.fps) == (height, width, pytest.approx(fps, rel=1e-5))
    assert mean_colour(video[7]) == pytest.approx(colour, abs=0.1)


def overwrite(path: Path, ranges: Sequence[tuple[int, int]]) -> None:
    data = bytearray(path.read_bytes())
    for start, stop in ranges:
        data[start:stop] = b"\xff" * (stop - start)
    path.write_bytes(data)


def places(path: Path) -> list[tuple[int, int, bytes]]:
    """First byte, size and data of the packets, in the order in which they are stored."""
    with av.open(str(path)) as file:
        return [(packet.pos, packet.size, bytes(packet)) for packet in file.demux(video=0) if packet.size]


def test_frames_of_their_own_are_decoded_only_when_wanted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mov", "mjpeg", kind="yuvj420p")
    expected = decoded(path)
    overwrite(path, [(at, at + size) for i, (at, size, _) in enumerate(places(path)) if i % 12])
    assert different(Video(path), range(0, FRAMES, 12), expected) == []
    with pytest.raises(InputError, match=r"frame 5 of .*a\.mov .* at frame 5;"):
        Video(path)[5]


def test_frames_that_others_do_not_need_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", options={"x264-params": "keyint=250:bframes=3:b-adapt=0:b-pyramid=none:scenecut=0"})
    expected = decoded(path)
    # The first byte after the length says: kind 1, a slice; and nothing in the two bits before, no other refers to it.
    unneeded = [(at + 5, at + size) for at, size, data in places(path) if data[4] == 1]
    assert len(unneeded) > FRAMES // 2
    overwrite(path, unneeded)
    assert different(Video(path), range(0, FRAMES - 2, 4), expected) == []
    with pytest.raises(InputError, match=r"frame 2 of .*a\.mp4"):
        Video(path)[2]


def test_damage_in_the_middle(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.mp4"
    path.write_bytes((made / "b.mp4").read_bytes())
    expected = decoded(path)
    packets = places(path)
    overwrite(path, [(packets[23][0], packets[23][0] + packets[23][1])])  # in the second of three groups, frames 20 to 39
    video = Video(path)
    assert len(video) == FRAMES
    assert different(video, range(20), expected) == []
    with pytest.raises(InputError, match=r"frame 39 of .*b\.mp4 cannot be decoded.* frame 2\d; the frames before"):
        video[39]
    assert different(video, range(40, FRAMES), expected) == []


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mov", "mjpeg", kind="yuvj420p", file_options={"movflags": "faststart"})
    expected = decoded(path)
    at, size, _ = places(path)[30]
    os.truncate(path, at + size // 2)
    video = Video(path)
    assert len(video) == 31
    assert different(video, range(30), expected) == []
    with pytest.raises(InputError, match=r"frame 30 of .*a\.mov cannot be decoded: the file is damaged or cut off"):
        video[30]
    assert different(video, [29], expected) == []


def write_sound(path: Path, cover: bool) -> Path:
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        if cover:
            picture = file.add_stream("mjpeg", rate=25)
            picture.width, picture.height, picture.pix_fmt = 160, 120, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(drawing(0, 160, 120), "rgb24").reformat(format="yuvj420p")
            frame.pts = 0
            file.mux(picture.encode(frame))
        for i in range(20):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts = 16000, 1024 * i
            file.mux(stream.encode(sound))
        file.mux(stream.encode())
    return path


def test_files_that_are_no_videos(made: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mp4: no such file"):
        Video(tmp_path / "none.mp4")
    whole = (made / "b.mp4").read_bytes()
    fragments = (made / "fragments.mp4").read_bytes()
    for name, data, said in (
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"a,b\n1,2\n" * 200, "cannot be read as a video: it is damaged or another kind of file"),
        ("short.mp4", whole[: len(whole) // 2], "its index is missing"),
        ("none.mp4", fragments[: fragments.index(b"moof") - 4], "holds no frames"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=rf"{name} .*{said}"):
            Video(tmp_path / name)
    with pytest.raises(InputError, match="give the path of a video"):
        Video(tmp_path)
    for cover in (False, True):
        with pytest.raises(InputError, match=r"sound\.m4a holds no video"):
            Video(write_sound(tmp_path / "sound.m4a", cover))


def test_a_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", "png", kind="rgb24", frames=1)
    video = Video(path)
    assert len(video) == 1
    assert torch.equal(video[0], torch.from_numpy(drawing(0, 160, 120)).permute(2, 0, 1))


def test_numbers_outside(made: Path) -> None:
    video = Video(made / "b.mp4")
    for i in (-1, FRAMES):
        with pytest.raises(IndexError, match=f"frames 0 to {FRAMES - 1}, no frame {i}"):
            video[i]
        with pytest.raises(IndexError):
            video.time(i)
    assert len(list(video)) == FRAMES


def test_processes_and_reopening(made: Path) -> None:
    video = Video(made / "b.mp4")
    expected = [video[i] for i in range(FRAMES)]
    wanted = list(range(0, FRAMES, 3))
    loader = DataLoader(Subset(video, wanted), batch_size=4, num_workers=2, multiprocessing_context="fork")
    assert torch.equal(torch.cat(list(loader)), torch.stack([expected[i] for i in wanted]))
    assert torch.equal(video[30], expected[30])
    assert different(pickle.loads(pickle.dumps(video)), range(FRAMES), expected) == []
    with video as same:
        assert torch.equal(same[9], expected[9])
    video.close()
    assert torch.equal(video[9], expected[9])
    assert video[9].is_contiguous(memory_format=torch.contiguous_format) is False  # stored as rows of pixels
    video[9].fill_(0)
    assert torch.equal(video[9], expected[9])


def test_without_pyav_it_says_what_to_install(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "av", None)
    with pytest.raises(InputError, match=r"b\.mp4: videos are decoded by PyAV.*pip install av"):
        Video(made / "b.mp4")
