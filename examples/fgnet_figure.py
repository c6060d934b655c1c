"""The figure of docs/how_fgnet_works.md: one face on its way through FG-Net.

    python examples/fgnet_figure.py [--out FILE] [--au-model MODEL]

The photo is scikit-image's astronaut (Eileen Collins, NASA, public domain).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from readme_picture import INK, draw_photo, draw_scores
from skimage import data
from torch import Tensor

from fgnet_plugin import load
from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.alignment import align_faces
from fgnet_plugin.faces import FaceFinder
from fgnet_plugin.network import normalize

SHOWN = ("AU12", "AU06", "AU25", "AU04")
"""AUs whose heatmaps are drawn, where the model knows them: three that are there, one that isn't."""


def colours_of(feature_map: Tensor) -> np.ndarray:
    """Turns a feature map [C, h, w] into a picture [h, w, 3]: where its channels are alike, so are the colours.

    Red, green and blue are its first three principal components, each from its 2nd to its 98th percentile.
    """
    values = feature_map.flatten(1).T.double()  # [h·w, C]
    values = values - values.mean(0)
    _, _, directions = torch.linalg.svd(values, full_matrices=False)
    parts = values @ directions[:3].T  # [h·w, 3]
    low, high = torch.quantile(parts, torch.tensor([0.02, 0.98], dtype=parts.dtype), dim=0)
    return ((parts - low) / (high - low)).clamp(0, 1).reshape(*feature_map.shape[1:], 3).numpy()


def show(axis: Axes, picture: np.ndarray, title: str, **options: object) -> None:
    """Draws a picture without ticks, its pixels as they are."""
    axis.imshow(picture, interpolation="nearest", **options)
    axis.set_title(title, fontsize=9, color=INK)
    axis.axis("off")


@torch.no_grad()
def main() -> None:
    """Runs the network box by box and draws what comes out of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/fgnet.png"), help="picture to write")
    parser.add_argument("--au-model", default="fgnet-rendered", help="a name from `fgnet weights list`, or a file")
    arguments = parser.parse_args()

    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)
    (found,) = FaceFinder().find([photo])
    net = load(arguments.au_model)
    aligned = align_faces([photo], [found.landmarks[:1]], size=net.config.image_size)
    faces = normalize(aligned.pictures())
    codes = net.encoder(faces, rows=net.config.n_layers)
    styles = net.generator.mapping(codes)
    maps = net.generator(styles, max_size=net.config.heatmap_size)
    prediction = net.predict(faces)
    scores = dict(zip(net.aus, prediction.scores[0].tolist(), strict=True))

    figure = Figure(figsize=(10, 7.6), facecolor="white", layout="constrained")
    rows = figure.subfigures(3, 1, height_ratios=(1.35, 1, 1))
    left, middle, gap, right = rows[0].subplots(1, 4, width_ratios=(1, 1, 0.12, 1.5))
    gap.axis("off")
    x, y, x1, y1 = found.boxes[0, :4].tolist()
    face = {"FaceRectX": x, "FaceRectY": y, "FaceRectWidth": x1 - x, "FaceRectHeight": y1 - y}
    face |= {
        f"{name}_{i}": value
        for i, point in enumerate(found.landmarks[0].tolist())
        for name, value in zip("xy", point, strict=True)
    }
    draw_photo(left, data.astronaut(), face)
    left.set_title("1  a photo", fontsize=9, color=INK)
    size = net.config.image_size
    show(middle, aligned.pictures()[0].permute(1, 2, 0).numpy(), f"2  the face, {size} px")
    draw_scores(right, scores)
    right.set_title("5  a score for each AU", fontsize=9, color=INK)
    for axis, feature_map in zip(rows[1].subplots(1, len(maps)), maps, strict=True):
        channels, height, width = feature_map.shape[1:]
        show(axis, colours_of(feature_map[0]), f"{height} × {width}, {channels} channels")
    rows[1].suptitle("3  the generator's feature maps, coarse to fine", fontsize=10, color=INK)
    shown = [au for au in SHOWN if au in net.aus]
    axes = rows[2].subplots(1, len(shown))
    for axis, au in zip(axes, shown, strict=True):
        heatmap = prediction.heatmaps[0, net.aus.index(au)].numpy()
        title = f"AU{au_number(au)} {NAMES[au_number(au)]}: {scores[au]:.2f}"
        show(axis, heatmap, title, cmap="RdBu_r", vmin=-1, vmax=1)
    bar = rows[2].colorbar(axes[0].images[0], ax=axes, shrink=0.9, ticks=(-1, 0, 1))
    bar.ax.set_yticklabels(["speaks\nagainst", "neither", "speaks\nfor"], fontsize=8)
    rows[2].suptitle("4  a heatmap for each AU", fontsize=10, color=INK)
    figure.savefig(arguments.out, dpi=110)
    with Image.open(arguments.out) as picture:  # a palette of 256 colours is a third of the size
        picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(arguments.out, optimize=True)
    print(arguments.out)


if __name__ == "__main__":
    main()
