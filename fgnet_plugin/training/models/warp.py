"""Resampling pictures by affine maps, antialiased, and differentiable as often as gradient penalties need it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
"""Lowpass of the orthogonal wavelet sym6 (Daubechies' least asymmetric one with six vanishing moments)."""
_MARGIN = len(SYM6) // 2
_SHIFT = 0.5 - (sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6) - (_MARGIN - 1))
"""How far the lowpass, which is not quite symmetric, moves a picture in doubled pixels; maps allow for it."""


def sample(images: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples of pictures that are mirrored at their borders.

    Like `grid_sample`, whose gradient earlier versions of torch can't differentiate; this one can be differentiated by `images`
    any number of times.

    Args:
        images: [B, C, H, W].
        grid: [B, h, w, 2], x and y in the units of `grid_sample`, ``align_corners=False``; it takes no gradient.

    Returns:
        [B, C, h, w].
    """
    return _Sample.apply(images, grid)


def _grid_sample(images: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


class _Sample(torch.autograd.Function):
    """Samples are linear in the picture: the gradient is the adjoint of the same map, and its gradient the map again."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = images.shape
        return _grid_sample(images, grid)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(gradient, *ctx.saved_tensors, ctx.size), None


class _Spread(torch.autograd.Function):
    """The adjoint of `_Sample`: samples [B, C, h, w] go back to the pixels that they were made of."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        with torch.enable_grad():
            blank = samples.new_zeros(size).requires_grad_(True)
            return torch.autograd.grad(_grid_sample(blank, grid), blank, samples)[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Sample.apply(gradient, *ctx.saved_tensors), None, None


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Pictures under affine maps: doubled by a wavelet's lowpass, sampled, halved by its adjoint (Karras et al. 2020).

    Beyond their borders pictures are mirrored, however far. The identity leaves a picture as it is, but for rounding and a few
    pixels along its border.

    Args:
        images: [B, C, S, S].
        maps: [B, 2, 3], from places in the result to places in the picture, in [-1, 1] from border to border.

    Returns:
        [B, C, S, S]; can be differentiated by `images` any number of times.
    """
    size = images.shape[-1]
    # What is halved needs samples beyond the border: the map goes on there.
    wide = torch.arange(-2 * _MARGIN, 2 * (size + _MARGIN), device=images.device, dtype=images.dtype)
    shift = _SHIFT / size
    places = (wide + 0.5) / size - 1 + shift
    y, x = torch.meshgrid(places, places, indexing="ij")
    grid = torch.einsum("bij,hwj->bhwi", maps.to(images.dtype), torch.stack([x, y, torch.ones_like(x)], 2)) - shift
    return _halve(sample(_double(images), grid))[:, :, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def mirrored(index: Tensor, size: int) -> Tensor:
    """Any whole numbers -> those in [0, size) that they are when the row is mirrored at its ends: -1 is 0, -2 is 1, …"""
    index = index % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def _filters(images: Tensor) -> tuple[Tensor, Tensor]:
    """The lowpass along x and along y, for each channel."""
    taps, channels = images.new_tensor(SYM6), images.shape[1]
    return taps.expand(channels, 1, 1, -1), taps[:, None].expand(channels, 1, -1, 1)


def _double(images: Tensor) -> Tensor:
    """[B, C, S, S] -> [B, C, 2S, 2S]; flat pictures keep their value."""
    (across, down), (_, channels, size, _) = _filters(images), images.shape
    index = mirrored(torch.arange(-_MARGIN, size + _MARGIN, device=images.device), size)
    x = images[:, :, index][..., index]
    x = F.conv_transpose2d(x, across, stride=(1, 2), groups=channels)
    x = F.conv_transpose2d(x, down, stride=(2, 1), groups=channels)
    first = 2 * _MARGIN + _MARGIN - 1  # a pixel's value is spread over 12 samples, from 5 before its own on
    return 2 * x[:, :, first : first + 2 * size, first : first + 2 * size]


def _halve(images: Tensor) -> Tensor:
    """[B, C, 2n, 2n] -> [B, C, n, n]; undoes `_double`, but for the border, beyond which it sees zeros."""
    across, down = _filters(images)
    x = F.conv2d(F.pad(images, [_MARGIN - 1] * 4), across, stride=(1, 2), groups=images.shape[1])
    return F.conv2d(x, down, stride=(2, 1), groups=images.shape[1]) / 2
