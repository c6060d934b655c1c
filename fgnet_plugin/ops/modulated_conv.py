"""StyleGAN2's modulated convolution with one weight for the whole batch (Karras et al. 2020, section 2.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.ops.conv_transpose_blur import conv_transpose_blur, conv_transpose_blur_reference
from fgnet_plugin.ops.noise_bias_act import blur_noise_act, noise_bias_act

DEMODULATION_EPS = 1e-8


def modulated_conv2d_reference(x: Tensor, weight: Tensor, style: Tensor, upsample: bool = False) -> Tensor:
    """Convolve by the paper's definition: each sample with its own weight ``w·s``, scaled to unit norm per output channel.

    Args:
        x: [B, I, H, W]; weight: [O, I, 3, 3]; style: [B, I].
        upsample: transposed convolution with stride 2 instead, then blurred.

    Returns:
        [B, O, H, W], or [B, O, 2H, 2W] with `upsample`.
    """
    weights = weight[None] * style[:, None, :, None, None]  # [B, O, I, 3, 3]
    weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + DEMODULATION_EPS).rsqrt()
    if upsample:
        samples = [conv_transpose_blur_reference(xi[None], wi) for xi, wi in zip(x, weights, strict=True)]
    else:
        samples = [F.conv2d(xi[None], wi, padding=1) for xi, wi in zip(x, weights, strict=True)]
    return torch.cat(samples)


def normalized_style(style: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the style [B, I] as a convolution in `dtype` needs it; demodulation undoes whatever factor this brings.

    For float16 it is divided by its largest entry, so that products stay in range (StyleGAN2-ADA's pre-normalisation).
    """
    if dtype != torch.float16:
        return style
    return style / style.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def demodulation(style: Tensor, weight: Tensor) -> Tensor:
    """Compute what brings each output channel to unit norm: style [B, I], weight [O, I, k, k] -> [B, O], of style's dtype."""
    # Tap by tap: a reduction over the two small dimensions is up to a hundred times slower, depending on the layout.
    energy = sum((tap.to(style.dtype).square() for tap in weight.flatten(2).unbind(2)), start=style.new_zeros(()))  # [O, I]
    return (style.square() @ energy.t() + DEMODULATION_EPS).rsqrt()


def scale_channels(x: Tensor, style: Tensor, overwrite: bool = False) -> Tensor:
    """Multiply a map [B, I, H, W] by its style [B, I], in the map's dtype; in place where `overwrite`."""
    scale = style.to(x.dtype)[:, :, None, None]
    return x.mul_(scale) if overwrite else x * scale


def modulated_conv_act(
    x: Tensor,
    weight: Tensor,
    demodulation: Tensor,
    noise: Tensor,
    bias: Tensor,
    post: Tensor | None = None,
    *,
    upsample: bool = False,
    overwrite: bool = False,
    kernels: bool = False,
) -> Tensor:
    """Compute a whole layer: `modulated_conv2d_reference`, then `noise_bias_act_reference`, with one weight for the batch.

    The style is on the input's channels (`scale_channels`) and on the output's (`demodulation`), so that a batch shares the
    weight.

    Args:
        x: [B, I, H, W], already times this layer's style; weight: [O, I, 3, 3] of x's dtype.
        demodulation, noise, bias, post: see `noise_bias_act`.
        upsample: double the size, see `conv_transpose_blur`.
        overwrite: the convolution's result may be overwritten (detection only).
        kernels: see `dispatch.choose`.

    Returns:
        [B, O, H, W], or [B, O, 2H, 2W] with `upsample`.
    """
    if upsample and kernels:  # the kernel blurs, too
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        return blur_noise_act(x, demodulation, noise, bias, post, kernels=True)
    x = conv_transpose_blur(x, weight) if upsample else F.conv2d(x, weight, padding=1)
    return noise_bias_act(x, demodulation, noise, bias, post, overwrite=overwrite, kernels=kernels)
