"""The generator's last two layers, computed only where the resize of their output reads.

FG-Net reads the 1024 px map at 128 × 128 points, without antialiasing: each point interpolates 2×2 pixels of the last
layer's output, which a 3×3 convolution computes from 4×4 pixels of the layer before, which an upsampling convolution
computes from 4 or 5 pixels a side of the 512 px map. So a point is a small patch, and a patch is a pixel with many channels:
three small convolutions give what two at 1024 px would.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.network.ops.epilogue import noise_bias_act
from fgnet_plugin.network.ops.modulated_conv import demodulation, scale_channels
from fgnet_plugin.network.ops.resample import BLUR, sample_points

if TYPE_CHECKING:
    from fgnet_plugin.network.generator import StyledConv


@dataclass(frozen=True)
class Side:
    """Along one side of the map, the n points whose 4-pixel patch begins at a row of one parity."""

    points: Tensor  # [n] which points of the resize
    rows: Tensor  # [n, 4] rows of the upsampled map: first - 1 … first + 2, clamped to the map
    inside: Tensor  # [n, 4] whether these are on the map; outside, the last layer's convolution reads 0
    source: Tensor  # [n·taps] rows of the small map that these 4 are made of, clamped
    outside: Tensor  # positions in `source` that are not on the small map, where the upsampling reads 0
    taps: int  # 4 for even patches, 5 for odd ones
    spread: Tensor  # [4, taps, 3]: for each of the 4 rows, how the kernel's 3 rows, blurred, spread over the taps
    weight: Tensor  # [n, 2] bilinear weights of the 2 middle rows


@functools.cache
def sides(size: int, target: int, device: torch.device) -> tuple[list[Side], Tensor]:
    """The even and the odd points of a resize from `size` to `target` px, if any, and the order that sorts both together."""
    with torch.inference_mode(False):
        first, weight = sample_points(size, target)
        blur = torch.tensor(BLUR, dtype=torch.float32, device="cpu") / 4  # one direction's share of a kernel with sum 4
        found = []
        for parity in (0, 1):
            points = ((first - 1) % 2 == parity).nonzero().flatten()
            if not len(points):
                continue
            start, taps = first[points] - 1, 4 + parity
            rows = start[:, None] + torch.arange(4, device="cpu")
            source = (start.div(2, rounding_mode="floor") - 1)[:, None] + torch.arange(taps, device="cpu")
            # Row r of the upsampled map is the sum over s, a, b with 2s + a = r + b - 1 of kernel[a] · blur[b] · x[s].
            k, tap, a = torch.meshgrid(*(torch.arange(n, device="cpu") for n in (4, taps, 3)), indexing="ij")
            b = a - (parity + k + 1 - 2 * tap)
            spread = torch.where((b >= 0) & (b < 4), blur[b.clamp(0, 3)], 0.0)
            side = Side(
                points=points.to(device),
                rows=rows.clamp(0, size - 1).to(device),
                inside=((rows >= 0) & (rows < size)).to(device),
                source=source.clamp(0, size // 2 - 1).flatten().to(device),
                outside=((source < 0) | (source >= size // 2)).flatten().nonzero().flatten().to(device),
                taps=taps,
                spread=spread.to(device),
                weight=torch.stack([1 - weight[points], weight[points]], dim=1).to(device),
            )
            found.append(side)
        order = torch.cat([side.points for side in found]).argsort()
        return found, order


def resized_pair(up: StyledConv, conv: StyledConv, x: Tensor, rows: Tensor, target: int, overwrite: bool) -> Tensor:
    """``resize(conv(up(x, rows[:, 0]), rows[:, 1]), target)``.

    Args:
        up, conv: the upsampling layer and the one after it.
        x: [B, I, size/2, size/2]; may be overwritten where `overwrite`.
        rows: [B, 2, style_dim] their style rows.
        target: side of the result, px, smaller than size.

    Returns:
        [B, O, target, target].
    """
    both, order = sides(conv.noise.shape[-1], target, x.device)
    styles = up.style(rows[:, 0]), conv.style(rows[:, 1])
    demodulations = demodulation(styles[0], up.weight), demodulation(styles[1], conv.weight)
    x = scale_channels(x, styles[0], overwrite)
    out = []
    for vertical in both:
        strip = _gather(x, 1, vertical)
        parts = [_patches(up, conv, _gather(strip, 2, side), vertical, side, styles[1], demodulations) for side in both]
        out.append(torch.cat(parts, dim=3).index_select(3, order))
    return torch.cat(out, dim=2).index_select(2, order)


def _patches(
    up: StyledConv, conv: StyledConv, x: Tensor, v: Side, h: Side, style: Tensor, demodulations: tuple[Tensor, Tensor]
) -> Tensor:
    """The points of two sides, from their patches laid side by side: [B, I, n·taps, m·taps] -> [B, O, n, m]."""
    middle, outputs, detecting = up.weight.shape[0], conv.weight.shape[0], not torch.is_grad_enabled()

    # 4×4 pixels of up's output, each point's as channels (row, column, channel).
    weight = up.weight.to(demodulations[0].dtype)
    vertical, horizontal = v.spread.to(weight.dtype), h.spread.to(weight.dtype)
    kernel = torch.einsum("kta,luc,oiac->klotiu", vertical, horizontal, weight).permute(0, 1, 2, 4, 3, 5)
    kernel = kernel.reshape(16 * middle, -1, v.taps, h.taps).to(x.dtype)
    y = F.conv2d(x, kernel.contiguous(memory_format=torch.channels_last), stride=(v.taps, h.taps))  # [B, 16·M, n, m]
    pixels = y.view(len(y), 16, middle, *y.shape[2:]).transpose(0, 1)  # [16, B, M, n, m]
    noise = (up.noise * up.noise_strength)[0, 0][v.rows.t()[:, None, :, None], h.rows.t()[None, :, None, :]]  # [4, 4, n, m]
    pixels = noise_bias_act(pixels, demodulations[0], noise.flatten(0, 1)[:, None, None], up.bias, detecting)
    inside = (v.inside.t()[:, None, :, None] & h.inside.t()[None, :, None, :]).flatten(0, 1)[:, None, None]
    if detecting:  # in place, and so in y
        scale_channels(pixels.mul_(inside), style, overwrite=True)
    else:
        y = scale_channels(pixels * inside, style).transpose(0, 1).flatten(1, 2)

    # The 2×2 pixels in their middle of conv's output.
    kernel = torch.cat([F.pad(conv.weight, (b, 1 - b, a, 1 - a)) for a in (0, 1) for b in (0, 1)])  # [4·O, M, 4, 4]
    y = F.conv2d(y, kernel.permute(0, 2, 3, 1).reshape(4 * outputs, 16 * middle, 1, 1))  # [B, 4·O, n, m]
    pixels = y.view(len(y), 4, outputs, *y.shape[2:]).transpose(0, 1)  # [4, B, O, n, m]
    noise = (conv.noise * conv.noise_strength)[0, 0][v.rows.t()[1:3, None, :, None], h.rows.t()[None, 1:3, None, :]]
    pixels = noise_bias_act(pixels, demodulations[1], noise.flatten(0, 1)[:, None, None], conv.bias, detecting)

    weights = v.weight.t()[:, None, :, None] * h.weight.t()[None, :, None, :]  # [2, 2, n, m]
    return (pixels * weights.to(y.dtype).flatten(0, 1)[:, None, None]).sum(0)


def _gather(x: Tensor, dim: int, side: Side) -> Tensor:
    """Rows (dim 1) or columns (dim 2) of a map that a side's patches are made of, 0 where they lie outside; channels last."""
    gathered = x.permute(0, 2, 3, 1).index_select(dim, side.source)
    fill = gathered.index_fill if torch.is_grad_enabled() else gathered.index_fill_
    return fill(dim, side.outside, 0.0).permute(0, 3, 1, 2)
