"""The convolution of a map that was just upsampled twofold: most of the interpreter's arithmetic."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

# Below this side the convolution itself is so small that the rearrangement costs more than it saves.
_LOW_RESOLUTION_FROM = 16
_BAND = 16  # output rows that are interpolated by one matrix product


def conv_of_upsampled_reference(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Upsample x twofold, bilinearly with aligned corners, then convolve it (``conv2d``, odd kernel, same size).

    Args:
        x: [B, I, h, w]; weight: [O, I, k, k]; bias: [O].

    Returns:
        [B, O, 2h, 2w].
    """
    up = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    return F.conv2d(up, weight, bias, padding=weight.shape[-1] // 2)


def conv_of_upsampled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute `conv_of_upsampled_reference` up to rounding, with a third of its multiplications.

    Convolution and interpolation are both linear: each tap of the kernel is applied to the small map (a quarter of the
    pixels), and products with banded matrices then interpolate, shift and sum the taps, first along the rows, then down the
    columns. In float32 on the CPU, without gradients; elsewhere, and for small maps, this is the reference.
    """
    b, _, h, w = x.shape
    o, i, k, _ = weight.shape
    cheaper = x.device.type == "cpu" and x.dtype == torch.float32 and min(h, w) >= _LOW_RESOLUTION_FROM
    if not cheaper or torch.is_grad_enabled():
        return conv_of_upsampled_reference(x, weight, bias)
    x = x.contiguous(memory_format=torch.channels_last)
    wide = x.new_empty(b, h, k, 2 * w, o)
    for row, taps in enumerate(weight.permute(2, 3, 0, 1).contiguous()):  # a row of the kernel at a time: [k, O, I]
        z = F.conv2d(x, taps.reshape(k * o, i, 1, 1))  # [B, k·O, h, w]
        z = z.permute(0, 2, 3, 1).reshape(b, h, w * k, o)
        for out, source, matrix in _bands(w, k):
            wide[:, :, row, out] = torch.matmul(matrix, z[:, :, source])
    wide = wide.view(b, h * k, 2 * w * o)
    result = x.new_empty(b, 2 * h, 2 * w * o)
    for sample in range(b):
        for out, source, matrix in _bands(h, k):
            torch.mm(matrix, wide[sample, source], out=result[sample, out])
    return result.view(b, 2 * h, 2 * w, o).add_(bias).permute(0, 3, 1, 2)


@functools.cache
def _bands(size: int, taps: int) -> list[tuple[slice, slice, Tensor]]:
    """Interpolate `taps` shifted maps twofold, in bands of output rows: (their slice, the slice that they read, matrix).

    What is read has rows (position, tap): tap t of output row y interpolates at upsampled row y + t - taps//2, and the rows
    outside the image are the convolution's zeros.
    """
    with torch.inference_mode(False):
        columns = torch.eye(size, dtype=torch.float32, device="cpu")[None, :, :, None]  # column i as an image with one lit row
        upsampled = F.interpolate(columns, size=(2 * size, 1), mode="bilinear", align_corners=True)[0, :, :, 0].t()
        padded = F.pad(upsampled, (0, 0, taps // 2, taps // 2))
        matrix = torch.stack([padded[tap : tap + 2 * size] for tap in range(taps)], dim=2)  # [2·size, size, taps]
        bands = []
        for start in range(0, 2 * size, _BAND):
            band = matrix[start : start + _BAND]
            read = band.abs().sum((0, 2)).nonzero()
            low, high = int(read[0]), int(read[-1]) + 1
            source = slice(low * taps, high * taps)
            bands.append((slice(start, start + _BAND), source, band[:, low:high].flatten(1).contiguous()))
        return bands
