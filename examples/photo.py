"""Action units of the faces in a photo, without a download: table, and the evidence for each AU over the photo.

    python examples/photo.py [PHOTO] [--checkpoint NAME or FILE] [--out FOLDER]

PHOTO is by default the portrait of the astronaut Eileen Collins that scikit-image carries (NASA, public domain).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from skimage import data

import fgnet_plugin
from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.alignment import AlignedFaces, align_faces
from fgnet_plugin.faces import FaceFinder, FoundFaces, read_photo
from fgnet_plugin.network import Prediction

mpl.use("Agg")
import matplotlib.pyplot as plt


def draw(photo: torch.Tensor, found: FoundFaces, aligned: AlignedFaces, prediction: Prediction, path: Path) -> None:
    """The photo with its faces; for the surest face, the heatmap of each AU: red where it speaks for the AU, blue against."""
    picture = photo.permute(1, 2, 0).numpy()
    columns = 6
    rows = -(-(len(prediction.aus) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.2 * columns, 2.5 * rows), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    axes.flat[0].imshow(picture)
    for box, points in zip(found.boxes, found.landmarks, strict=True):
        x1, y1, x2, y2, _ = box.tolist()
        axes.flat[0].add_patch(plt.Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color="yellow"))
        axes.flat[0].plot(points[:, 0], points[:, 1], ".", ms=1.5, color="cyan")
    axes.flat[0].set_title(f"{len(found)} face{'s' if len(found) > 1 else ''}", fontsize=9)
    maps = aligned.heatmaps_to_photo(prediction.heatmaps)[0].numpy()
    x1, y1, x2, y2, _ = found.boxes[0].tolist()
    margin = 0.3 * (x2 - x1)
    grey = picture.mean(2)
    shown = None
    for axis, au, heatmap, score in zip(list(axes.flat)[1:], prediction.aus, maps, prediction.scores[0], strict=False):
        axis.imshow(grey, cmap="gray")
        shown = axis.imshow(heatmap, cmap="RdBu_r", vmin=-1, vmax=1, alpha=0.5)
        axis.set(xlim=(x1 - margin, x2 + margin), ylim=(y2 + margin, y1 - margin))
        weight = "bold" if score > 0.5 else "normal"
        axis.set_title(f"{au} {NAMES[au_number(au)]}\n{score:.2f}", fontsize=9, fontweight=weight)
    figure.colorbar(shown, ax=axes, shrink=0.5, label="heatmap: + present, − absent")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", help="a picture file")
    parser.add_argument("--checkpoint", default="fgnet-rendered", help="a name from `fgnet weights list`, or a file")
    parser.add_argument("--out", type=Path, default=Path("outputs"))
    options = parser.parse_args()
    net, finder = fgnet_plugin.load(options.checkpoint), FaceFinder()
    photo = read_photo(options.photo or np.asarray(data.astronaut()))
    start = time.perf_counter()
    (found,) = finder.find([photo])
    if not len(found):
        raise SystemExit(f"{options.photo}: no face found")
    middle = time.perf_counter()
    aligned = align_faces([photo], [found.landmarks], net.config.image_size)
    prediction = net.predict(aligned.faces)
    seconds = time.perf_counter() - middle

    print(f"\n{'AU':6}{'':24}{'score of each face':>8}")
    for i, au in enumerate(prediction.aus):
        print(f"{au:6}{NAMES[au_number(au)]:24}" + "".join(f"{score:8.2f}" for score in prediction.scores[:, i].tolist()))
    count = f"{len(found)} face{'s' if len(found) > 1 else ''}"
    print(f"\n{count} found in {middle - start:.2f} s; aligned and read in {seconds:.2f} s; weights: {options.checkpoint}")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(photo, found, aligned, prediction, options.out / "photo.png")
    print(f"picture: {(options.out / 'photo.png').resolve()}")


if __name__ == "__main__":
    main()
