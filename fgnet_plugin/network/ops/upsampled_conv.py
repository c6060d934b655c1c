"""A convolution of a map that was just upsampled twofold, which is what most of the interpreter's arithmetic is."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

# Below this side the convolution itself is so small that the rearrangement costs more than it saves.
_LOW_RESOLUTION_FROM = 16


def upsampled_conv2d_reference(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``conv2d`` (odd kernel, same size) of x upsampled twofold, bilinearly with aligned corners.

    Args:
        x: [B, I, h, w]; weight: [O, I, k, k]; bias: [O].

    Returns:
        [B, O, 2h, 2w].
    """
    up = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    return F.conv2d(up, weight, bias, padding=weight.shape[-1] // 2)


@functools.cache
def _shifted_interpolation(size: int, taps: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[2·size, taps·size]: row y holds, for each tap, the interpolation weights of upsampled row y + tap - taps//2."""
    with torch.inference_mode(False):
        columns = torch.eye(size)[None, :, :, None]  # column i as an image with one lit row
        matrix = F.interpolate(columns, size=(2 * size, 1), mode="bilinear", align_corners=True)[0, :, :, 0].t()
        padded = F.pad(matrix, (0, 0, taps // 2, taps // 2))  # rows outside the image are the convolution's zeros
        return torch.cat([padded[tap : tap + 2 * size] for tap in range(taps)], dim=1).to(device, dtype)


def upsampled_conv2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same, up to rounding, with a third of the multiplications: the kernel's taps meet the map before it is upsampled.

    Convolution and interpolation are both linear: each tap is applied to the small map (a quarter of the pixels), and
    one product per direction then interpolates, shifts and sums the taps. On the CPU only: elsewhere, and for small
    maps, this is the reference.
    """
    b, _, h, w = x.shape
    o, i, k, _ = weight.shape
    if x.device.type != "cpu" or x.dtype != torch.float32 or min(h, w) < _LOW_RESOLUTION_FROM:
        return upsampled_conv2d_reference(x, weight, bias)
    vertical = _shifted_interpolation(h, k, x.device, x.dtype)  # [2h, k·h]
    horizontal = _shifted_interpolation(w, k, x.device, x.dtype)
    columns = []
    for taps in weight.permute(3, 2, 0, 1).contiguous():  # one column of the kernel at a time: [k, O, I]
        z = F.conv2d(x, taps.reshape(k * o, i, 1, 1))  # [B, k·O, h, w]
        z = z.permute(0, 2, 3, 1).reshape(b, h, w, k, o).permute(0, 3, 1, 2, 4).reshape(b, k * h, w * o)
        columns.append(torch.matmul(vertical, z))  # [B, 2h, w·O]
    rows = torch.stack(columns, dim=2).view(b * 2 * h, k * w, o)
    out = torch.matmul(horizontal, rows).add_(bias)  # [B·2h, 2w, O]
    return out.view(b, 2 * h, 2 * w, o).permute(0, 3, 1, 2)
