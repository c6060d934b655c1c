"""FG-Net on one aligned face: the AU table, the evidence for each AU as a heatmap, and the time it took.

    python examples/aligned_face.py [CHECKPOINT] [FACE.png]

CHECKPOINT is a name from `fgnet weights list` or a file; by default the first published one that is on this machine. Without
any, the network runs with random weights, which shows how it runs but says nothing about the face. FACE is a 256 px picture
aligned as FFHQ is; by default the portrait of the astronaut Eileen Collins (NASA, public domain).
"""

import sys
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

import fgnet_plugin
from fgnet_plugin.action_units import CORPUS_AUS, NAMES, au_number
from fgnet_plugin.network import FGNet, FGNetConfig, Prediction
from fgnet_plugin.weights import manifest

mpl.use("Agg")
import matplotlib.pyplot as plt

OUTPUT = Path("outputs/aligned_face.png")


def get_model(name: str | None) -> tuple[FGNet, str]:
    """The model, and what to call its weights."""
    here = [entry.name for entry in manifest().values() if entry.kind == "published" and entry.path.is_file()]
    if name is not None or here:
        name = name or here[0]
        return fgnet_plugin.load(name), str(name)
    torch.manual_seed(0)
    return FGNet(FGNetConfig(aus=CORPUS_AUS["BP4D"])).prepare(), "random weights"


def draw(face: np.ndarray, prediction: Prediction, title: str) -> None:
    """The face, and over it the heatmap of each AU: red where it speaks for the AU, blue where against."""
    columns = 5
    rows = -(-(len(prediction.aus) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.1 * columns, 2.5 * rows), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    axes.flat[0].imshow(face)
    axes.flat[0].set_title("aligned face", fontsize=9)
    for axis, au, heatmap, score in zip(
        list(axes.flat)[1:], prediction.aus, prediction.heatmaps[0], prediction.scores[0], strict=False
    ):
        axis.imshow(face.mean(2), cmap="gray", extent=(0, 1, 1, 0))
        shown = axis.imshow(heatmap, cmap="RdBu_r", vmin=-1, vmax=1, alpha=0.5, extent=(0, 1, 1, 0), interpolation="bilinear")
        axis.set_title(f"{au} {NAMES[au_number(au)]}\n{score:.2f}", fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.5, label="heatmap: + present, − absent")
    figure.suptitle(title, fontsize=11, color="red" if "random" in title else "black")
    OUTPUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUTPUT, dpi=110)


def main() -> None:
    """Runs the example."""
    name, picture = (sys.argv[1:] + [None] * 2)[:2]
    face = plt.imread(picture or Path(__file__).with_name("astronaut_aligned.png"))
    if face.dtype != np.uint8:  # matplotlib reads PNG as [0, 1]
        face = (face * 255).round().astype(np.uint8)
    face = face[..., :3]
    net, weights = get_model(name)
    faces = torch.from_numpy(face).permute(2, 0, 1)[None]
    net.predict(faces)  # the first call sets things up
    start = time.perf_counter()
    prediction = net.predict(faces)
    seconds = time.perf_counter() - start

    print(f"\n{'AU':6}{'':24}{'activation':>10}{'score':>8}")
    for au, activation, score in zip(prediction.aus, prediction.activations[0], prediction.scores[0], strict=True):
        print(f"{au:6}{NAMES[au_number(au)]:24}{activation:10.3f}{score:8.2f}")
    print(f"\n{seconds:.2f} s a face on {torch.get_num_threads()} CPU threads, weights: {weights}")
    title = f"FG-Net, {weights}"
    if weights == "random weights":
        title += ": this is no detection"
        print("These numbers mean nothing: no trained weights are on this machine. To get the authors':")
        print("  .venv/bin/fgnet weights download fgnet-bp4d      (2.5 GB; then run this again)")
    draw(face, prediction, title)
    print(f"picture: {OUTPUT.resolve()}")


if __name__ == "__main__":
    main()
