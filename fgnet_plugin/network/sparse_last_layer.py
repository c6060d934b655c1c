"""The generator's last two layers, computed only where the resize of their output reads.

FG-Net reads the 1024 px map at 128 × 128 points, without antialiasing: each point interpolates 2×2 pixels of the last
layer's output, which a 3×3 convolution computes from 4×4 pixels of the layer before, which an upsampling convolution
computes from 4 or 5 pixels a side of the 512 px map. So a point is a small patch, and a patch is a pixel with many channels:
three small convolutions give what two at 1024 px would.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.ops.noise_bias_act import noise_bias_act
from fgnet_plugin.ops.resample import BLUR, sample_points

if TYPE_CHECKING:
    from fgnet_plugin.network.stylegan2_layers import StyledConv


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
    """List the even and the odd points of a resize from `size` to `target` px, if any, and the order that sorts both."""
    with torch.inference_mode(False):
        first, weight = sample_points(size, target)
        blur = torch.tensor(BLUR, dtype=torch.float32, device="cpu") / 4  # one direction's share of a kernel with sum 4
        parities = []
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
            parities.append(side)
        order = torch.cat([side.points for side in parities]).argsort()
        return parities, order


@dataclass(frozen=True)
class Patch:
    """What the patches of n × m points, of one parity along each side, are computed with. It does not depend on the faces."""

    first: Tensor  # [16·M, I, taps, taps'] kernel of the upsampling layer: 4×4 pixels of its output, each as M channels
    first_noise: Tensor  # [n, m·16] their noise, its strength included; a point's pixels are neighbours
    inside: Tensor  # [n, m·16] whether they are on the map, 1 and 0
    second: Tensor  # [4·O, 16·M, 1, 1] kernel of the last layer: the 2×2 pixels in their middle
    second_noise: Tensor  # [n, m·4]
    weights: Tensor  # [n, m·4] bilinear weights of these
    rows: Tensor  # [n·taps] rows of the small map that the patches are made of, see `Side.source`
    rows_outside: Tensor  # see `Side.outside`
    columns: Tensor  # [m·taps'] and columns
    columns_outside: Tensor


Pair = tuple[Tensor, Tensor]
"""Of the upsampling layer and the last one."""


def patches(up: StyledConv, conv: StyledConv, target: int, dtype: torch.dtype, working: torch.dtype) -> list[Patch]:
    """Put together what the points of each parity of rows and, within it, of columns are computed with.

    Args:
        up, conv: the upsampling layer and the one after it.
        target: side of the resized map, px.
        dtype: of the feature maps.
        working: dtype in which the kernel is put together.
    """
    device = up.weight.device
    both, _ = sides(conv.noise.shape[-1], target, device)
    middle, outputs = up.weight.shape[0], conv.weight.shape[0]
    made = []
    for v in both:
        for h in both:
            weight = up.weight.to(working)
            kernel = torch.einsum("kta,luc,oiac->klotiu", v.spread.to(working), h.spread.to(working), weight)
            kernel = kernel.permute(0, 1, 2, 4, 3, 5).reshape(16 * middle, -1, v.taps, h.taps).to(dtype)
            second = torch.cat([F.pad(conv.weight, (b, 1 - b, a, 1 - a)) for a in (0, 1) for b in (0, 1)])  # [4·O, M, 4, 4]
            at = v.rows.t()[:, None, :, None], h.rows.t()[None, :, None, :]
            inner = v.rows.t()[1:3, None, :, None], h.rows.t()[None, 1:3, None, :]
            inside = v.inside.t()[:, None, :, None] & h.inside.t()[None, :, None, :]  # [4, 4, n, m]
            weights = v.weight.t()[:, None, :, None] * h.weight.t()[None, :, None, :]  # [2, 2, n, m]
            patch = Patch(
                first=kernel.contiguous(memory_format=torch.channels_last),
                first_noise=_neighbours(up.fixed_noise()[0, 0][at]),
                inside=_neighbours(inside).to(working),
                second=second.permute(0, 2, 3, 1).reshape(4 * outputs, 16 * middle, 1, 1),
                second_noise=_neighbours(conv.fixed_noise()[0, 0][inner]),
                weights=_neighbours(weights).to(dtype),
                rows=v.source,
                rows_outside=v.outside,
                columns=h.source,
                columns_outside=h.outside,
            )
            made.append(patch)
    return made


class LastMap(nn.Module):
    """The `patches` of a model that no longer learns, put together once; they move with the model."""

    def __init__(self, up: StyledConv, conv: StyledConv, target: int) -> None:
        super().__init__()
        self.target = target
        working = torch.promote_types(up.weight.dtype, torch.float32)
        with torch.no_grad():
            made = patches(up, conv, target, up.weight.dtype, working)
        self.count = len(made)
        for i, patch in enumerate(made):
            for name, value in vars(patch).items():
                self.register_buffer(f"{name}_{i}", value, persistent=False)
        self.register_buffer("order", sides(conv.noise.shape[-1], target, up.weight.device)[1], persistent=False)

    def patches(self) -> tuple[list[Patch], Tensor]:
        """Return the patches, and the order of both parities' points."""
        names = Patch.__dataclass_fields__
        made = [Patch(**{name: self.get_buffer(f"{name}_{i}") for name in names}) for i in range(self.count)]
        return made, self.get_buffer("order")


def resized_pair(
    up: StyledConv,
    conv: StyledConv,
    x: Tensor,
    demodulations: Pair,
    post: Tensor,
    target: int,
    last_map: LastMap | None = None,
) -> Tensor:
    """Compute ``resize(conv(up(x, demodulations[0], post), demodulations[1]), target)``.

    Args:
        up, conv: the upsampling layer and the one after it.
        x: [B, I, size/2, size/2], already times the style of `up`.
        demodulations: [B, M] and [B, O].
        post: [B, M], the style of `conv`.
        target: side of the result, px, smaller than size.
        last_map: what a fused model has put together already, for that target.

    Returns:
        [B, O, target, target].
    """
    if last_map is not None and last_map.target == target:
        made, order = last_map.patches()
    else:
        made = patches(up, conv, target, x.dtype, demodulations[0].dtype)
        order = sides(conv.noise.shape[-1], target, x.device)[1]
    biases, out = (up.bias, conv.bias), []
    for across in _rows_of(made):
        strip = _gather(x, 1, across[0].rows, across[0].rows_outside)
        gathered = [(patch, _gather(strip, 2, patch.columns, patch.columns_outside)) for patch in across]
        parts = [_points(part, patch, post, demodulations, biases, up.kernels) for patch, part in gathered]
        out.append(torch.cat(parts, dim=3).index_select(3, order))
    return torch.cat(out, dim=2).index_select(2, order)


def _rows_of(made: Sequence[Patch]) -> list[Sequence[Patch]]:
    """Group the patches that share their rows."""
    side = math.isqrt(len(made))
    return [made[start : start + side] for start in range(0, len(made), side)]


def _points(x: Tensor, patch: Patch, post: Tensor, demodulations: Pair, biases: Pair, kernels: bool) -> Tensor:
    """Compute the points of two sides from their patches laid side by side: [B, I, n·taps, m·taps'] -> [B, O, n, m].

    A point's pixels, neighbours in memory, count as a row of a wide map.
    """
    overwrite = not torch.is_grad_enabled()
    y = F.conv2d(x, patch.first, stride=patch.first.shape[2:])  # [B, 16·M, n, m]
    wide = noise_bias_act(
        _pixels(y, 16), demodulations[0], patch.first_noise, biases[0], post, patch.inside, overwrite=overwrite, kernels=kernels
    )
    y = F.conv2d(_channels(wide, 16), patch.second)  # [B, 4·O, n, m]
    wide = noise_bias_act(_pixels(y, 4), demodulations[1], patch.second_noise, biases[1], overwrite=overwrite, kernels=kernels)
    wide = wide * patch.weights.to(wide.dtype)  # [B, O, n, m·4]
    return wide.view(*wide.shape[:3], -1, 4).sum(4)


def _pixels(y: Tensor, count: int) -> Tensor:
    """Turn a point's channels into its pixels: [B, count·C, n, m] -> [B, C, n, m·count]; no copy of a channels-last map."""
    b, channels, n, m = y.shape
    return y.permute(0, 2, 3, 1).reshape(b, n, m * count, channels // count).permute(0, 3, 1, 2)


def _channels(wide: Tensor, count: int) -> Tensor:
    """Invert `_pixels`."""
    b, channels, n, m = wide.shape
    return wide.permute(0, 2, 3, 1).reshape(b, n, m // count, channels * count).permute(0, 3, 1, 2)


def _neighbours(value: Tensor) -> Tensor:
    """Lay the k·l pixels of each point next to each other: [k, l, n, m] -> [n, m·k·l]."""
    return value.permute(2, 3, 0, 1).flatten(1)


def _gather(x: Tensor, dim: int, source: Tensor, outside: Tensor) -> Tensor:
    """Gather the rows (dim 1) or columns (dim 2) that patches are made of, 0 where they lie outside; channels last."""
    gathered = x.permute(0, 2, 3, 1).index_select(dim, source)
    fill = gathered.index_fill if torch.is_grad_enabled() else gathered.index_fill_
    return fill(dim, outside, 0.0).permute(0, 3, 1, 2)
