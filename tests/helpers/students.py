"""A student without a training, and videos of a face for it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage import data
from skimage.transform import resize

from fgnet_plugin.checkpoints.fgnet import load, read_info, save
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.faces import FaceFinder
from fgnet_plugin.inference.appearance import Looks, describe
from fgnet_plugin.media.video_writer import VideoWriter

TEACHER = "fgnet-rendered"
WEAK = "AU15"
Picture = NDArray[np.uint8]


def face_video(path: Path, change: Callable[[Picture], Picture] = np.asarray, frames: int = 6) -> Path:
    """Write frames of a face that moves, each changed before."""
    picture = (resize(data.astronaut()[20:240, 110:330], (160, 160), anti_aliasing=True) * 255).astype(np.uint8)
    with VideoWriter(path, 25) as writer:
        for i in range(frames):
            writer.add(change(np.roll(picture, i, 1)), i / 25)
    return path


def grey(picture: Picture) -> Picture:
    """The picture without colours."""
    return picture.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)


def looks_like(video: Path, people: int = 20) -> Looks:
    """How the recordings of a study look whose people are filmed as in a video of one face, but for small differences."""
    from fgnet_plugin.media.animation import open_video

    with open_video(video) as frames:
        pictures = [frames[i] for i in range(len(frames))]
    found = FaceFinder().find(pictures)
    faces = np.concatenate([describe(picture, one.landmarks) for picture, one in zip(pictures, found, strict=True)])
    rng = np.random.default_rng(0)
    return Looks.of([faces * rng.uniform(0.95, 1.05, faces.shape[1]) for _ in range(people)], [str(i) for i in range(people)])


def own_student(path: Path, looks: Looks | None) -> Path:
    """The bundled network as a student of itself, of which AU 15 is weak."""
    info = read_info(resolve(TEACHER))
    card = {
        "teacher": {"name": TEACHER, "digest": info.digest},
        "agreement": {au: {"rms": 0.05, "rms_bound": 0.1} for au in info.config.aus},
        "weak_aus": [WEAK],
    }
    card |= {} if looks is None else {"looks": looks.to_json()}
    return save(load(TEACHER), path, dataclasses.replace(info, training=card))
