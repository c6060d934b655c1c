"""StyleGAN2's modulated convolution with one weight for the whole batch (Karras et al. 2020, section 2.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DEMODULATION_EPS = 1e-8


def modulated_conv2d_reference(x: Tensor, weight: Tensor, style: Tensor, upsample: bool = False) -> Tensor:
    """The paper's definition: each sample is convolved with its own weight ``w·s``, scaled to unit norm per output channel.

    Args:
        x: [B, I, H, W]; weight: [O, I, 3, 3]; style: [B, I].
        upsample: transposed convolution with stride 2 instead (the blur is not part of it).

    Returns:
        [B, O, H, W], or [B, O, 2H+1, 2W+1] with `upsample`.
    """
    own = weight[None] * style[:, None, :, None, None]  # [B, O, I, 3, 3]
    own = own * (own.square().sum((2, 3, 4), keepdim=True) + DEMODULATION_EPS).rsqrt()
    if upsample:
        samples = [F.conv_transpose2d(xi[None], wi.transpose(0, 1), stride=2) for xi, wi in zip(x, own, strict=True)]
    else:
        samples = [F.conv2d(xi[None], wi, padding=1) for xi, wi in zip(x, own, strict=True)]
    return torch.cat(samples)


def weight_energy(weight: Tensor) -> Tensor:
    """Sum of squares of each kernel, float32: [O, I, k, k] -> [O, I]. All that demodulation needs to know of a weight."""
    return weight.float().square().sum((2, 3))


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    energy: Tensor,
    upsample: bool = False,
    stride: int = 1,
    overwrite: bool = False,
) -> tuple[Tensor, Tensor]:
    """The same with the scalings moved from the weight to the input's and the output's channels, so that a batch shares it.

    Args:
        x: [B, I, H, W].
        weight: [O, I, 3, 3], of x's dtype.
        style: [B, I] float32. For float16 it is first divided by its largest entry, which demodulation undoes, so that
            products stay within float16's range (StyleGAN2-ADA's pre-normalisation).
        energy: `weight_energy` of the weight.
        upsample: transposed convolution with stride 2.
        stride: 1 with padding 1, or a larger stride without padding, for patches laid side by side.
        overwrite: x may be overwritten (detection only).

    Returns:
        The convolution [B, O, H, W] (or [B, O, 2H+1, 2W+1]) and the demodulation [B, O] float32 that it is still to be
        multiplied by: their product equals `modulated_conv2d_reference`.
    """
    if x.dtype == torch.float16:
        style = style / style.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    demodulation = (style.square() @ energy.t() + DEMODULATION_EPS).rsqrt()
    scale = style.to(x.dtype)[:, :, None, None]
    x = x.mul_(scale) if overwrite else x * scale
    if upsample:
        return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), demodulation
    return F.conv2d(x, weight, stride=stride, padding=1 if stride == 1 else 0), demodulation
