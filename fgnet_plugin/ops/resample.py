"""Resampling of feature maps: StyleGAN2's blur, and bilinear resizing with aligned corners."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR = (1.0, 3.0, 3.0, 1.0)


@functools.cache
def blur_kernel(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Make the [1, 3, 3, 1] blur as a 4×4 kernel with sum 4: the gain that an upsampling by 2 in both directions needs."""
    with torch.inference_mode(False):
        taps = torch.tensor(BLUR, dtype=torch.float32, device="cpu")
        return (torch.outer(taps, taps) * (4 / taps.sum() ** 2)).to(device, dtype)


def blur_upsample(x: Tensor) -> Tensor:
    """Blur the result of a stride-2 transposed convolution: [B, C, 2h+1, 2w+1] -> [B, C, 2h, 2w], padding 1."""
    kernel = blur_kernel(x.device, x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def upsample2(x: Tensor) -> Tensor:
    """Upsample RGB images by 2 with zero insertion and the same blur: [B, C, h, w] -> [B, C, 2h, 2w]."""
    kernel = blur_kernel(x.device, x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def resize(x: Tensor, size: int) -> Tensor:
    """Resize bilinearly to [B, C, size, size], corners aligned, no antialiasing; return x itself where it has that size."""
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=True)


def sample_points(source: int, target: int) -> tuple[Tensor, Tensor]:
    """Find where `resize` from `source` to `target` px reads: first index [target] int64 and weight [target] of its successor.

    Output i is ``(1 - weight) · x[first] + weight · x[first + 1]``. Positions are rounded as torch rounds them.
    """
    positions = torch.arange(target, dtype=torch.float32, device="cpu") * ((source - 1) / (target - 1))
    first = positions.long().clamp(max=source - 2)
    return first, positions - first
