"""How often `verify` calls recordings unlike others: those of one study, and copies that were changed.

    python tests/benchmarks/looks_of_recordings.py FOLDER [VIDEO ...] [--frames 12] [--coloured]

FOLDER has recordings, each of another person, such as those of examples/rendered_recordings.py. Each is compared with all
others, as it is and changed; VIDEOs are compared with all of them. `--coloured` leaves out those in which most faces have no
colour. Takes three seconds of one core's time for 12 frames.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fgnet_plugin.faces import FaceFinder
from fgnet_plugin.inference.appearance import QUALITIES, Looks, describe, unlike
from fgnet_plugin.media.animation import open_video

Picture = NDArray[np.uint8]
Described = dict[str, NDArray[np.float64]]
_SATURATION = [quality.name for quality in QUALITIES].index("saturation")


def darker(factor: float) -> Callable[[Picture], Picture]:
    return lambda picture: (picture * factor).astype(np.uint8)


def grey(picture: Picture) -> Picture:
    return picture.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)


def blurred(picture: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[0] / 64), np.uint8)


def turned(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    by = cv2.getRotationMatrix2D((width / 2, height / 2), 25, 1)
    return np.asarray(cv2.warpAffine(picture, by, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "as it is": np.asarray,
    "grey": grey,
    "half as bright": darker(0.5),
    "a quarter as bright": darker(0.25),
    "blurred": blurred,
    "turned by 25 degrees": turned,
}


def described(path: Path, frames: int, finder: FaceFinder) -> Described:
    """Faces of a recording, as it is and changed; they are looked for again where it is turned."""
    found: dict[str, list[NDArray[np.float64]]] = {name: [np.empty((0, len(QUALITIES)))] for name in CHANGES}
    with open_video(str(path)) as video:
        for number in np.linspace(0, len(video) - 1, frames).astype(int):
            picture = video[int(number)]
            (faces,) = finder.find([picture])
            for name, change in CHANGES.items():
                changed = np.ascontiguousarray(change(picture.permute(1, 2, 0).numpy()))
                image = torch.from_numpy(changed).permute(2, 0, 1)
                there = finder.find([image])[0] if change is turned else faces
                found[name].append(describe(image, there.landmarks))
    return {name: np.concatenate(of_frames) for name, of_frames in found.items()}


def looks_of(study: list[Described]) -> Looks:
    return Looks.of([one["as it is"] for one in study], [str(i) for i in range(len(study))])


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("videos", type=Path, nargs="*")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--coloured", action="store_true")
    options = parser.parse_args()
    began, finder = time.process_time(), FaceFinder()
    study = [described(path, options.frames, finder) for path in sorted(options.folder.glob("*.mp4"))]
    if options.coloured:
        study = [one for one in study if np.median(one["as it is"][:, _SATURATION]) > 0.1]
    print(f"{len(study)} recordings, {time.process_time() - began:.0f} s of processor time")
    for name in CHANGES:
        alarms = [bool(unlike(one[name], looks_of(study[:i] + study[i + 1 :]))) for i, one in enumerate(study)]
        print(f"{name:22}{sum(alarms):4} of {len(alarms)} called unlike")
    for path in options.videos:
        for name, faces in described(path, options.frames, finder).items():
            print(f"{path.name}, {name}: {'; '.join(map(str, unlike(faces, looks_of(study)))) or 'like the others'}")


if __name__ == "__main__":
    main()
