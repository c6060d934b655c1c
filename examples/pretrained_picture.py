"""The picture of weights/pretrained-rendered.md: faces that the generator draws, and faces with their reconstructions.

python examples/pretrained_picture.py [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fgnet_plugin.checkpoints.pretrained import load_pretrained
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.network import FGNet, normalize
from fgnet_plugin.training.rendered import RenderedCorpus

COLUMNS, ROWS = 8, 8


def picture(images: Tensor) -> np.ndarray:
    """Lays out images [COLUMNS · n, 3, s, s] in [-1, 1] in rows, as a picture [n · s, COLUMNS · s, 3]."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte()
    rows = pixels.unflatten(0, (-1, COLUMNS))  # [n, COLUMNS, 3, s, s]
    return rows.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1).numpy()


@torch.no_grad()
def main() -> None:
    """Draws faces of random codes, and faces that the networks have not seen with what they make of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pretraining.jpg"), help="picture to write")
    arguments = parser.parse_args()

    pretrained = load_pretrained(resolve("pretrained-rendered"))
    net = FGNet(pretrained.config()).eval()
    net.generator.load_state_dict(pretrained.parts["generator"])
    net.encoder.load_state_dict(pretrained.parts["encoder"])

    def draw(codes: Tensor) -> Tensor:
        styles = net.generator.mapping(codes)
        return net.generator.image(net.generator(styles, fresh_noise=True), styles)

    random = torch.randn(COLUMNS * ROWS, 1, net.config.style_dim, generator=torch.Generator().manual_seed(0))
    corpus = RenderedCorpus(("studio", "webcam", "street"), size=net.config.image_size, seed=1)
    seen = normalize(torch.stack([corpus[i]["image"] for i in range(COLUMNS * ROWS // 2)]))
    codes = net.encoder(seen)  # [N, layers, style_dim]
    again = draw(codes)
    pairs = torch.stack([seen.unflatten(0, (-1, COLUMNS)), again.unflatten(0, (-1, COLUMNS))], 1).flatten(0, 2)

    figure = Figure(figsize=(9.4, 5), facecolor="white", layout="constrained")
    shown = {
        "drawn from random codes": draw(random.expand(-1, codes.shape[1], -1)),
        "faces, and below each its reconstruction": pairs,
    }
    for axis, (title, images) in zip(figure.subplots(1, 2), shown.items(), strict=True):
        axis.imshow(picture(images), interpolation="lanczos")
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    figure.savefig(arguments.out, dpi=110, pil_kwargs={"quality": 88})
    print(arguments.out)


if __name__ == "__main__":
    main()
