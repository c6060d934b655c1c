"""Strided 3×3 convolutions of many style heads at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# On the CPU a convolution per group beats one batched matrix product while there are at least so many output pixels.
_CPU_CONV_PIXELS = 64
# Output channels per convolution on the CPU: its library copies the weight each time, and small copies stay in cache.
_CPU_CHANNELS = 1536


def grouped_conv2d_reference(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Convolve (``conv2d``) with kernel 3×3, stride 2, padding 1 and `groups` groups."""
    return F.conv2d(x, weight, bias, stride=2, padding=1, groups=groups)


def grouped_conv2d(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Compute `grouped_conv2d_reference` without the slow grouped path of torch's backends.

    Args:
        x: [B, groups·I, H, W], H and W even.
        weight: [groups·O, I, 3, 3]; bias: [groups·O].

    Returns:
        [B, groups·O, H/2, W/2], channels last: equal to `grouped_conv2d_reference` up to rounding.
    """
    b, _, h, w = x.shape
    on_cpu = x.device.type == "cpu"
    if groups == 1:
        step = _CPU_CHANNELS if on_cpu else len(weight)
        parts = zip(torch.split(weight, step), torch.split(bias, step), strict=True)
        return torch.cat([F.conv2d(x, wg, bg, stride=2, padding=1) for wg, bg in parts], dim=1)
    if on_cpu and b * h * w // 4 >= _CPU_CONV_PIXELS:
        each = zip(x.chunk(groups, 1), weight.chunk(groups), bias.chunk(groups), strict=True)
        return torch.cat([F.conv2d(xg, wg, bg, stride=2, padding=1) for xg, wg, bg in each], dim=1)
    return _batched_product(x, weight, bias, groups)


def _batched_product(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Compute all groups as one batched matrix product over the 3×3 windows."""
    b, c, h, w = x.shape
    i, o = c // groups, weight.shape[0] // groups
    padded = F.pad(x.permute(0, 2, 3, 1).reshape(b, h, w, groups, i), (0, 0, 0, 0, 1, 1, 1, 1))
    windows = padded.unfold(1, 3, 2).unfold(2, 3, 2)  # [B, H/2, W/2, groups, I, 3, 3]
    rows = windows.permute(3, 0, 1, 2, 5, 6, 4).reshape(groups, b * h * w // 4, 9 * i)
    columns = weight.permute(0, 2, 3, 1).reshape(groups, o, 9 * i).transpose(1, 2)
    out = torch.baddbmm(bias.view(groups, 1, o), rows, columns)  # [groups, B·H/2·W/2, O]
    return out.view(groups, b, h // 2, w // 2, o).permute(1, 0, 4, 2, 3).reshape(b, groups * o, h // 2, w // 2)
