"""Files as people reported them with other tools: each beside its right value, which ffmpeg 9.0 gave.

Colours are means of the left half of a frame, as ffmpeg shows it.
"""

import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgnet_plugin.media.animation import open_video
from fgnet_plugin.media.frames import Frames
from fgnet_plugin.media.images import read_picture
from fgnet_plugin.media.video import DamagedVideoError, Video

pytest.importorskip("av", reason="PyAV reads the videos")

FILES = Path(__file__).with_name("files")
EVERY_100_MS = [round(0.1 * i, 6) for i in range(24)]
EVERY_200_MS = [round(0.2 * i, 6) for i in range(12)]
Colour = tuple[float, float, float]


def left(frame: torch.Tensor) -> list[float]:
    return frame[:, :, : frame.shape[2] // 2].double().mean((1, 2)).tolist()


def quiet(path: Path) -> Frames:
    """Open a video that must bring no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return open_video(path)


def times(video: Frames) -> list[float]:
    return [round(video.time(i), 6) for i in range(len(video))]


@pytest.mark.parametrize(
    ("name", "size", "seconds", "colours"),
    [
        ("hflip.mp4", (270, 480), EVERY_100_MS, {3: (157.4, 142.6, 125.9), 12: (158.3, 143.9, 127.3)}),
        ("hdv43.mp4", (270, 480), EVERY_100_MS, {3: (158.8, 138.2, 118.3), 12: (155.8, 135.8, 115.9)}),
        ("a.wmv", (270, 480), EVERY_100_MS, {3: (159.4, 137.9, 118.5)}),
        ("anim.gif", (180, 320), EVERY_200_MS, {3: (158.4, 138.2, 118.1), 11: (155.0, 134.9, 114.8)}),
        ("anim.webp", (270, 480), EVERY_200_MS, {3: (159.4, 138.3, 118.9), 11: (156.1, 135.0, 115.9)}),
    ],
)
def test_frames_times_and_colours(name: str, size: tuple[int, int], seconds: list[float], colours: dict[int, Colour]) -> None:
    """Mirrored by a display matrix; pixels that are not square; no duration of the last frame; animations."""
    video = quiet(FILES / name)
    assert (video.height, video.width) == size
    assert times(video) == seconds
    assert not video.varying_rate
    for frame, colour in colours.items():
        assert left(video[frame]) == pytest.approx(colour, abs=2)


def test_the_mirrored_video_is_not_the_one_turned_by_half() -> None:
    """`base.mp4`, of which it was made, has (159.4, 137.9, 118.5) in the left half: a mirror exchanges the halves."""
    frame = quiet(FILES / "hflip.mp4")[3]
    assert left(frame.flip(2)) == pytest.approx((159.4, 137.9, 118.5), abs=0.5)


def test_a_webcam_with_varying_frame_rate() -> None:
    video = quiet(FILES / "vfr_webcam.mp4")
    assert len(video) == 24
    assert times(video)[:12] == [0, 0.033, 0.067, 0.1, 0.133, 0.167, 0.2, 0.233, 0.267, 0.767, 1.267, 1.767]
    assert [video.time(i) for i in (3, 6, 9)] == [0.1, 0.2, 0.767]  # as exact as float64 is
    assert left(video[9]) == pytest.approx((157.8, 136.3, 117.2), abs=0.5)
    assert video.varying_rate
    assert "the frame rate varies: 2.903 frames per second on average, the next frame after 0.033 to 0.5 s" in video.rate_note()


def test_damage_in_mid_video() -> None:
    video, lost, gaps = quiet(FILES / "dam1.mp4"), [], set()
    colours = {}
    for i in range(len(video)):
        try:
            colours[i] = left(video[i])
        except DamagedVideoError as error:
            lost.append(i)
            gaps.add(error.gap)
    assert len(video) == 48
    assert lost == list(range(12, 20))
    gap = "frames 12 to 19 (1.20 to 1.90 s) cannot be decoded: the file is damaged or cut off there; they are left out"
    assert gaps == {f"{video.path}: {gap}"}
    assert colours[3] == pytest.approx((159.4, 137.9, 118.5), abs=0.5)
    assert colours[32] == pytest.approx((157.8, 136.5, 117.3), abs=0.5)
    assert colours[47] == pytest.approx((157.5, 136.2, 117.0), abs=0.5)


@pytest.mark.parametrize(
    ("name", "frames", "fps", "first"),
    [
        ("P01.mp4", 4, 10, 0.0),
        ("P02.MTS", 4, 10, 1.6),
        ("P03.m2ts", 4, 10, 1.6),
        ("P04.VOB", 10, 25, 0.54),
        ("P05.ogv", 24, 10, 0.0),
        ("P06.asf", 4, 10, 0.0),
        ("P07.m2v", 10, 25, 0.54),
    ],
)
def test_kinds_of_video(name: str, frames: int, fps: float, first: float) -> None:
    video = quiet(FILES / "kinds" / name)
    assert (len(video), video.height, video.width) == (frames, 270, 480)
    assert (video.fps, video.time(0)) == (pytest.approx(fps), pytest.approx(first))
    assert left(video[0]) == pytest.approx((161.2, 139.8, 118.7), abs=0.5)


@pytest.mark.parametrize(
    ("name", "colour"), [("IMG_heic_named.jpg", (98.4, 91.8, 84.3)), ("kinds/P10.avif", (97.8, 92.3, 83.7))]
)
def test_heic_and_avif(tmp_path: Path, name: str, colour: Colour) -> None:
    """HEIC under the name of a JPEG, as phones send it, and under its own names."""
    if name.startswith("IMG"):
        pytest.importorskip("pillow_heif")
    data = (FILES / name).read_bytes()
    for other in (Path(name).name, "a.heic", "a.heif", "no suffix"):
        path = tmp_path / other
        path.write_bytes(data)
        picture = read_picture(path)
        assert tuple(picture.shape) == (3, 562, 572)
        assert left(picture) == pytest.approx(colour, abs=1)


def test_the_first_frame_of_an_animation_is_read_with_a_warning() -> None:
    for name, colour in (("anim.gif", (160.2, 139.8, 117.7)), ("anim.webp", (161.2, 139.8, 118.6))):
        with pytest.warns(UserWarning, match=rf"{name} is animated: of its 12 frames, only the first is read; as a video"):
            assert left(read_picture(FILES / name)) == pytest.approx(colour, abs=2)


def test_other_videos_of_the_same_kinds(tmp_path: Path) -> None:
    """`anamorphic.mpg` (DV of PAL, 16:11) and `stills.mkv` (photos of 3, 1 and 5 s): made here, values by arithmetic."""
    import av

    def write(path: Path, codec: str, size: tuple[int, int], stamps: list[int], aspect: tuple[int, int]) -> Path:
        with av.open(str(path), "w") as file:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 25)
            stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
            for i, stamp in enumerate(stamps):
                picture = np.full((size[1], size[0], 3), 40 * (i + 1), np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = stamp, Fraction(1, 25)
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        return path

    wide = quiet(write(tmp_path / "anamorphic.mpg", "mpeg2video", (720, 576), [0, 1, 2], (64, 45)))
    assert (wide.height, wide.width, len(wide)) == (576, 1024, 3)
    stills = Video(write(tmp_path / "stills.mkv", "ffv1", (64, 48), [0, 75, 100, 225], (1, 1)))
    assert times(stills) == [0, 3, 4, 9]
    assert stills.varying_rate
    for i in range(4):
        assert stills[i].double().mean() == pytest.approx(40 * (i + 1), abs=2)


def test_other_animations(tmp_path: Path) -> None:
    """`blink.png` (APNG) and `fast.gif` (0 and 10 ms, which browsers show for 100 ms)."""
    pictures = [Image.new("RGB", (64, 48), (0, 60 * i, 0)) for i in range(4)]
    for name, durations, seconds in (
        ("blink.png", 150, [0, 0.15, 0.3, 0.45]),
        ("fast.gif", [0, 10, 40, 40], [0, 0.1, 0.2, 0.24]),
    ):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=durations)
        video = quiet(tmp_path / name)
        assert times(video) == seconds
        for i in (3, 0, 2, 1):
            assert video[i][1].double().mean() == pytest.approx(60 * i, abs=3)
