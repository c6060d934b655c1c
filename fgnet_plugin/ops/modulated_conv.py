"""StyleGAN2's modulated convolution with one weight for the whole batch (Karras et al. 2020, section 2.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.ops.conv_transpose_blur import upsampling_conv2d, upsampling_conv2d_reference

DEMODULATION_EPS = 1e-8


def modulated_conv2d_reference(x: Tensor, weight: Tensor, style: Tensor, upsample: bool = False) -> Tensor:
    """The paper's definition: each sample is convolved with its own weight ``w·s``, scaled to unit norm per output channel.

    Args:
        x: [B, I, H, W]; weight: [O, I, 3, 3]; style: [B, I].
        upsample: transposed convolution with stride 2 instead, then blurred.

    Returns:
        [B, O, H, W], or [B, O, 2H, 2W] with `upsample`.
    """
    own = weight[None] * style[:, None, :, None, None]  # [B, O, I, 3, 3]
    own = own * (own.square().sum((2, 3, 4), keepdim=True) + DEMODULATION_EPS).rsqrt()
    if upsample:
        samples = [upsampling_conv2d_reference(xi[None], wi) for xi, wi in zip(x, own, strict=True)]
    else:
        samples = [F.conv2d(xi[None], wi, padding=1) for xi, wi in zip(x, own, strict=True)]
    return torch.cat(samples)


def normalized_style(style: Tensor, dtype: torch.dtype) -> Tensor:
    """The style [B, I] as a convolution in `dtype` needs it; demodulation undoes whatever factor this brings.

    For float16 it is divided by its largest entry, so that products stay in range (StyleGAN2-ADA's pre-normalisation).
    """
    if dtype != torch.float16:
        return style
    return style / style.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def demodulation(style: Tensor, weight: Tensor) -> Tensor:
    """Factors that bring each output channel to unit norm: style [B, I], weight [O, I, k, k] -> [B, O], of style's dtype."""
    # Tap by tap: a reduction over the two small dimensions is up to a hundred times slower, depending on the layout.
    energy = sum((tap.to(style.dtype).square() for tap in weight.flatten(2).unbind(2)), start=style.new_zeros(()))  # [O, I]
    return (style.square() @ energy.t() + DEMODULATION_EPS).rsqrt()


def scale_channels(x: Tensor, style: Tensor, overwrite: bool = False) -> Tensor:
    """A map [B, I, H, W] times its style [B, I], in the map's dtype; in place where `overwrite`."""
    scale = style.to(x.dtype)[:, :, None, None]
    return x.mul_(scale) if overwrite else x * scale


def modulated_conv2d(x: Tensor, weight: Tensor, style: Tensor, upsample: bool = False, overwrite: bool = False) -> Tensor:
    """The same but for the output's scaling, with the style on the input's channels, so that a batch shares the weight.

    ``modulated_conv2d(…) * demodulation(style, weight)[:, :, None, None]`` is the reference.

    Args:
        x: [B, I, H, W]; weight: [O, I, 3, 3] of x's dtype; style: [B, I], see `normalized_style`.
        upsample: double the size, see `upsampling_conv2d`.
        overwrite: x may be overwritten (detection only).

    Returns:
        [B, O, H, W], or [B, O, 2H, 2W] with `upsample`.
    """
    x = scale_channels(x, style, overwrite)
    return upsampling_conv2d(x, weight) if upsample else F.conv2d(x, weight, padding=1)
