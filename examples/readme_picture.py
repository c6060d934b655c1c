"""The picture at the top of the README, one photo with the scores of its AUs, and the one of its heatmaps.

    python examples/readme_picture.py [--out FILE] [--heatmaps FILE]

It shows `Detector.offline()`: the face finder and ``fgnet-rendered``, the small FG-Net that comes with
the package and was trained on rendered faces alone. The photo is scikit-image's astronaut (Eileen Collins, NASA,
public domain).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from skimage import data

from fgnet_plugin import Detector, plot_heatmaps
from fgnet_plugin.action_units import NAMES, au_number

INK, GREY, PRESENT, ABSENT = "#22303c", "#7c8a96", "#d1495b", "#b9c6d1"


def draw_photo(axis: Axes, photo: np.ndarray, face: dict[str, float]) -> None:
    """Draws the part of a photo [H, W, 3] around a face, with the face's box and its 68 landmarks."""
    left, top, width, height = (face[f"FaceRect{side}"] for side in ("X", "Y", "Width", "Height"))
    axis.imshow(photo, interpolation="lanczos")
    axis.add_patch(
        FancyBboxPatch((left, top), width, height, boxstyle="round,pad=0,rounding_size=4", fill=False, lw=1.8, ec="white")
    )
    x, y = (np.array([face[f"{axis_name}_{i}"] for i in range(68)]) for axis_name in "xy")
    axis.scatter(x, y, s=9, color="#35d0ba", edgecolors="white", linewidths=0.3)
    # A square about the face, within the photo.
    side = min(1.8 * width, *photo.shape[:2])
    x0 = np.clip(left + width / 2 - side / 2, 0, photo.shape[1] - side)
    y0 = np.clip(top + height / 2 - 0.55 * side, 0, photo.shape[0] - side)
    axis.set(xlim=(x0, x0 + side), ylim=(y0 + side, y0))
    axis.axis("off")


def draw_scores(axis: Axes, scores: dict[str, float]) -> None:
    """Draws a bar for each AU; those over 0.5, the published decision, are red."""
    values, rows = list(scores.values()), range(len(scores))
    axis.barh(rows, [1] * len(values), height=0.62, color="#eef2f5")
    axis.barh(rows, values, height=0.62, color=[PRESENT if value > 0.5 else ABSENT for value in values])
    axis.axvline(0.5, color=GREY, lw=0.8, ls=(0, (2, 2)))
    for row, (au, value) in enumerate(scores.items()):
        weight = "bold" if value > 0.5 else "normal"
        for x, text in ((-0.96, f"AU{au_number(au)}"), (-0.74, NAMES[au_number(au)]), (1.03, f"{value:.2f}")):
            axis.text(x, row, text, va="center", fontsize=9, color=INK, weight=weight)
    axis.set(xlim=(0, 1), ylim=(len(values) - 0.4, -0.6), yticks=[], xticks=[0, 0.5, 1])
    axis.tick_params(labelsize=8, colors=GREY, length=0)
    axis.spines[:].set_visible(False)


def main() -> None:
    """Detects the face, draws the picture and prints where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/detection.png"), help="picture to write")
    parser.add_argument("--heatmaps", type=Path, default=Path("docs/heatmaps.jpg"), help="the other picture to write")
    arguments = parser.parse_args()
    out = arguments.out

    detector = Detector.offline()
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "astronaut.png"
        Image.fromarray(data.astronaut()).save(photo)
        fex = detector.detect(photo, progress_bar=False)
        (heatmaps,) = plot_heatmaps(fex)
    heatmaps.savefig(arguments.heatmaps, dpi=80, pil_kwargs={"quality": 85})
    face = fex.iloc[0].to_dict()

    figure = Figure(figsize=(8.6, 4.1), facecolor="white")
    draw_photo(figure.add_axes((0.012, 0.03, 0.448, 0.94)), data.astronaut(), face)
    draw_scores(figure.add_axes((0.715, 0.085, 0.225, 0.895)), {au: face[au] for au in detector.au_names})
    figure.savefig(out, dpi=125)
    with Image.open(out) as picture:  # a palette of 256 colours is a third of the size
        picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(out, optimize=True)
    print(out, arguments.heatmaps)


if __name__ == "__main__":
    main()
