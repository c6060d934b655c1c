"""Animations as videos: the same interface, and the same frames in any order and process."""

import os
import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.animation import Animation, open_video
from fgnet_plugin.media.video import Video

COUNT = 6
KINDS = ["a.gif", "a.webp", "a.png", "a.avif"]


def colour(i: int) -> int:
    return 40 * i + 20


def write(path: Path, size: tuple[int, int] = (48, 32)) -> Path:
    """A square that moves over another grey in each frame, 1 to 6 times 50 ms."""
    pictures = [Image.new("RGB", size, (colour(i),) * 3) for i in range(COUNT)]
    for i, picture in enumerate(pictures):
        picture.paste((255, 0, 0), (4 * i, 0, 4 * i + 8, 8))
    durations = [50 * (i + 1) for i in range(COUNT)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, quality=90)
    return path


@pytest.mark.parametrize("name", KINDS)
def test_frames_times_and_order(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    with open_video(path) as frames:
        assert isinstance(frames, Animation)
        assert (len(frames), frames.height, frames.width, frames.path) == (COUNT, 32, 48, str(path))
        assert [frames.time(i) for i in range(COUNT)] == [0, 0.05, 0.15, 0.3, 0.5, 0.75]
        assert frames.fps == pytest.approx(COUNT / 1.05)
        assert frames.varying_rate
        first = [frames[i] for i in range(COUNT)]
        for i, frame in enumerate(first):
            assert frame[:, 16:].double().mean() == pytest.approx(colour(i), abs=4)
            red = np.argwhere((frame[0].int() - frame[1].int()).numpy() > 60)
            assert red.min(0) == pytest.approx([0, 4 * i], abs=1)
        for i in (5, 0, 3, 3, 1, 4, 2):
            assert torch.equal(frames[i], first[i])
        for i in (-1, COUNT):
            with pytest.raises(IndexError, match=f"frames 0 to {COUNT - 1}, no frame {i}"):
                frames[i]
    assert torch.equal(frames[2], first[2])  # opens again
    assert torch.equal(pickle.loads(pickle.dumps(frames))[4], first[4])
    batches = list(DataLoader(frames, batch_size=2, num_workers=2, multiprocessing_context="fork"))
    assert torch.equal(torch.cat(batches), torch.stack(first))


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_cut_off_has_the_frames_up_to_there(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    os.truncate(path, int(path.stat().st_size * 0.7))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if name in ("a.webp", "a.avif"):  # whole or nothing
            with pytest.raises(InputError, match=name):
                open_video(path)
            return
        frames = open_video(path)
    assert re.fullmatch(
        rf".*{name} is damaged or cut off \(.*\): its first {len(frames)} frames are read", str(told[0].message)
    )
    assert 2 <= len(frames) < COUNT
    for i in range(len(frames)):
        assert frames[i][:, 16:].double().mean() == pytest.approx(colour(i), abs=4)


def test_transparency_becomes_white(tmp_path: Path) -> None:
    pictures = [Image.new("RGBA", (16, 16), (0, 0, 0, 0)) for _ in range(2)]
    pictures[1].paste((255, 0, 0, 255), (0, 0, 8, 16))
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100, disposal=2)
    frames = open_video(tmp_path / "a.gif")
    assert (frames[0] == 255).all()
    assert frames[1][:, 0, 0].tolist() == [255, 0, 0]
    assert frames[1][:, 0, 15].tolist() == [255, 255, 255]


def test_pictures_and_videos(tmp_path: Path) -> None:
    pytest.importorskip("av")
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.jpg")
    still = open_video(tmp_path / "a.jpg")
    assert (len(still), still.time(0), tuple(still[0].shape)) == (1, 0, (3, 10, 20))
    assert not still.varying_rate
    assert isinstance(open_video(Path(__file__).with_name("files") / "concat.ts"), Video)


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.gif: no such file"):
        open_video(tmp_path / "none.gif")
    with pytest.raises(InputError, match="is a folder, not a video"):
        open_video(tmp_path)
    (tmp_path / "a.gif").write_bytes(b"GIF89a" + bytes(20))
    with pytest.raises(InputError, match=r"a\.gif"):
        open_video(tmp_path / "a.gif")
    frames = open_video(write(tmp_path / "b.gif"))
    Image.new("RGB", (48, 32)).save(tmp_path / "b.gif")
    with pytest.raises(InputError, match=r"frame 3 of .*b\.gif cannot be decoded"):
        frames[3]
