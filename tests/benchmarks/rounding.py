"""The figures of docs/numerics.md: how rounding grows in the network with weights by formula.

    .venv/bin/python tests/benchmarks/rounding.py [SEED …]

Needs a checkout of ihp-lab/FG-Net in baseline/FG-Net, and five minutes a seed on two cores.
"""

import sys
import tempfile
from pathlib import Path

sys.path.extend(str(Path(__file__).parents[1] / name) for name in (".", "helpers"))

import torch
from conftest import crops, golden_faces, write_published
from published_code import PublishedNetwork
from torch import Tensor

from fgnet_plugin import convert_published, load
from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.network import FGNet, FGNetConfig, normalize
from fgnet_plugin.network.encoder import Encoder
from fgnet_plugin.training.rendered import RenderedCorpus


def deviation(found: Tensor, expected: Tensor) -> list[float]:
    """Largest difference of each picture, as a share of its heatmaps' range."""
    return [float(f"{(f - e).abs().max() / (e.max() - e.min()):.1e}") for f, e in zip(found, expected.to(found), strict=True)]


def relative(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def units(encoder: torch.nn.Module, faces: Tensor) -> list[Tensor]:
    """The outputs of the published trunk's 24 units."""
    found: list[Tensor] = []
    hooks = [unit.register_forward_hook(lambda *call: found.append(call[2])) for unit in encoder.body]
    encoder(faces)
    for hook in hooks:
        hook.remove()
    return found


def decisions(name: str, net: FGNet, faces: Tensor, activations: Tensor, codes: Tensor) -> None:
    found = net.predict(faces).activations
    clear = activations.abs() > 0.02
    same = ((found > 0) == (activations > 0))[clear]
    change = (found - activations).abs().max()
    off = relative(net.encoder(normalize(faces)), codes)
    print(f"{name:34}{int(same.sum())} of {len(same)} decisions, activation ± {change:.1e}, latent codes off by {off:.1e}")


@torch.no_grad()
def main() -> None:
    trained()
    faces = golden_faces.__wrapped__()
    more = crops.__wrapped__(faces)
    more = torch.cat([more, more.flip(2), more.roll(64, 3)])
    for seed in map(int, sys.argv[1:] or ["1"]):
        with tempfile.TemporaryDirectory() as folder:
            files = write_published(Path(folder), FGNetConfig(aus=corpus_aus("BP4D")), seed)
            checkpoint = convert_published(*files, "BP4D", Path(folder) / "fgnet.safetensors")
            print(f"seed {seed}, share of the heatmaps' range, for each of the two pictures")
            theirs, net = PublishedNetwork(*files), load(checkpoint)
            inputs = normalize(faces).contiguous()
            together = theirs(inputs)
            print("ours against the published code ", deviation(net(inputs), together))
            alone = torch.cat([theirs(face[None]) for face in inputs])
            single = units(theirs.encoder, inputs)
            theirs.double()
            exact = theirs(inputs.double())
            print("published code against its float64: together", deviation(together, exact), "alone", deviation(alone, exact))
            growth = [relative(a[1], b[1]) for a, b in zip(single, units(theirs.encoder, inputs.double()), strict=True)]
            print("relative error after the trunk's units:", " ".join(f"{error:.0e}" for error in growth))
            del theirs
            activations, codes = net.predict(more).activations, net.encoder(normalize(more))
            decisions("channels last", load(checkpoint, channels_last=True), more, activations, codes)
            net = load(checkpoint, precision="bfloat16").fuse(kernels=True)
            decisions("bfloat16, fused as on a GPU", net, more, activations, codes)
            net = load(checkpoint, precision="bfloat16")
            decisions("bfloat16", net, more, activations, codes)
            with_tf32(net.encoder)
            decisions("bfloat16, the trunk in TF32", net, more, activations, codes)
            net = load(checkpoint)
            with_tf32(net.encoder)
            decisions("float32, the trunk in TF32", net, more, activations, codes)
            net = load(checkpoint, precision="bfloat16")
            decisions("bfloat16, also the trunk's units", in_bfloat16(net), more, activations, codes)


def trained() -> None:
    """The bundled weights, whose training has made the trunk well-behaved, on faces of a kind that it did not see."""
    net = load("weights/fgnet-rendered.safetensors")
    corpus = RenderedCorpus(("film",), net.config.image_size, 77_000_000, 600)
    faces = torch.stack([corpus[at]["image"] for at in range(len(corpus))])
    activations, codes = net.predict(faces, 64).activations, net.encoder(normalize(faces))
    print(f"fgnet-rendered, {len(faces)} faces of film")
    half = load("weights/fgnet-rendered.safetensors", precision="bfloat16")
    decisions("bfloat16", half, faces, activations, codes)
    with_tf32(half.encoder)
    decisions("bfloat16, the trunk in TF32", half, faces, activations, codes)
    half = load("weights/fgnet-rendered.safetensors", precision="bfloat16")
    decisions("bfloat16, also the trunk's units", in_bfloat16(half), faces, activations, codes)


def in_bfloat16(net: FGNet) -> FGNet:
    """The network with the trunk's units in bfloat16, too."""
    net.encoder.groups.bfloat16()
    net.encoder.stem.append(ToBfloat16())
    return net


def with_tf32(encoder: Encoder) -> None:
    """Makes the trunk's convolutions round as in TF32: operands of 10 bits of mantissa (`tf32`), sums in float32."""
    for part in (encoder.stem, encoder.groups):
        for conv in part.modules():
            if isinstance(conv, torch.nn.Conv2d):
                conv.weight.data = tf32(conv.weight.data)
                conv.register_forward_pre_hook(lambda _, inputs: tuple(map(tf32, inputs)))


def tf32(x: Tensor) -> Tensor:
    """Rounded to 10 bits of mantissa, ties away from zero, as PTX's ``cvt.rna.tf32.f32``; cuDNN may cut off instead."""
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


class ToBfloat16(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.bfloat16()


if __name__ == "__main__":
    main()
