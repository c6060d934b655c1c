"""The pointwise work after the generator's convolutions: demodulation, noise, bias, leaky ReLU; also behind the blur.

A layer whose result is a feature map has two readers, the interpreter and, times its style, the next layer: `noise_act_styled`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.ops import dispatch, nvrtc
from fgnet_plugin.ops.resample import blur_upsample

SLOPE, GAIN = 0.2, math.sqrt(2.0)
_ITEMS = 4  # pixels of a thread, as noise_bias_act.cu has it
_ROWS, _COLUMNS, _BLUR_CHANNELS = 15, 2, 4  # of a thread that blurs, as noise_bias_act.cu has it


def noise_bias_act_reference(
    x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, post: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Compute ``leaky_relu(x · demodulation + noise + bias, 0.2) · √2 · mask · post``.

    Args:
        x: [..., B, C, H, W]; demodulation: [B, C]; bias: [C].
        noise: [..., 1, 1, H, W], its strength included.
        post: [B, C], the next convolution's style; 1 where left out.
        mask: [H, W]; 1 where left out.
    """
    x = x * demodulation[:, :, None, None] + noise + bias[:, None, None]
    x = F.leaky_relu(x, SLOPE) * GAIN
    x = x if mask is None else x * mask
    return x if post is None else x * post[:, :, None, None]


def noise_act_styled_reference(
    x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, style: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `noise_bias_act_reference` for two readers: without the next convolution's style [B, C], and times it."""
    x = noise_bias_act_reference(x, demodulation, noise, bias)
    return x, x * style[:, :, None, None]


def blur_noise_act_reference(
    x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, post: Tensor | None = None
) -> Tensor:
    """Compute `blur_upsample`, then `noise_bias_act_reference`: [B, C, 2h+1, 2w+1] -> [B, C, 2h, 2w]."""
    return noise_bias_act_reference(blur_upsample(x), demodulation, noise, bias, post)


def noise_bias_act(
    x: Tensor,
    demodulation: Tensor,
    noise: Tensor,
    bias: Tensor,
    post: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    overwrite: bool = False,
    kernels: bool = False,
) -> Tensor:
    """Compute `noise_bias_act_reference` in x's dtype.

    Args:
        x, demodulation, noise, bias, post, mask: as there; with `kernels`, the same noise for all samples.
        overwrite: x may be overwritten (detection only).
        kernels: by one kernel, see `dispatch.choose`; x is [B, C, H, W] then.
    """
    if kernels:
        return torch.ops.fgnet.noise_bias_act(x, demodulation, noise, bias, post, mask)
    # Leaky ReLU commutes with positive factors, so the gain goes into the three small operands.
    scale = (demodulation * GAIN).to(x.dtype)[:, :, None, None]
    noise = (noise * GAIN).to(x.dtype)
    bias = (bias * GAIN).to(x.dtype)[:, None, None]
    more = [value.to(x.dtype) for value in (mask, None if post is None else post[:, :, None, None]) if value is not None]
    if overwrite:
        x = F.leaky_relu_(x.mul_(scale).add_(noise).add_(bias), SLOPE)
    else:
        x = F.leaky_relu(x * scale + noise + bias, SLOPE)
    for factor in more:
        x = x.mul_(factor) if overwrite else x * factor
    return x


def noise_act_styled(
    x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, style: Tensor, *, kernels: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute `noise_act_styled_reference` in x's dtype, by one kernel where `kernels`."""
    if kernels:
        return torch.ops.fgnet.noise_act_styled(x, demodulation, noise, bias, style)
    x = noise_bias_act(x, demodulation, noise, bias)
    return x, x * style.to(x.dtype)[:, :, None, None]


def blur_noise_act(
    x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, post: Tensor | None = None, *, kernels: bool = False
) -> Tensor:
    """Compute `blur_noise_act_reference` in x's dtype, by one kernel where `kernels`."""
    if kernels:
        return torch.ops.fgnet.blur_noise_act(x, demodulation, noise, bias, post)
    overwrite = not torch.is_grad_enabled()
    return noise_bias_act(blur_upsample(x), demodulation, noise, bias, post, overwrite=overwrite)


def _noise_bias_act(
    x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, post: Tensor | None, mask: Tensor | None
) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)  # sums in float32, as in the kernel
    result = noise_bias_act_reference(x.to(wide), demodulation, noise, bias, post, mask)
    return dispatch.channels_last(result.to(x.dtype))


def noise_bias_act_cuda(
    x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, post: Tensor | None, mask: Tensor | None
) -> Tensor:
    """Launch the kernel of `noise_bias_act`."""
    x = dispatch.channels_last(x)
    b, c, h, w = x.shape
    out = torch.empty_like(x)
    small = dispatch.operands(
        x.device,
        demodulation=(demodulation, b * c),
        noise=(noise, h * w),
        bias=(bias, c),
        post=(post, b * c),
        mask=(mask, h * w),
    )
    name, each = nvrtc.variant("noise_bias_act", x, c)
    block = nvrtc.threads(c, each)
    nvrtc.launch(name, x, (nvrtc.blocks(h * w, block[1] * _ITEMS), b), block, x, *small, out, h * w, c)
    return out


def _fake_noise_bias_act(x: Tensor, *small: Tensor | None) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _noise_act_styled(x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(x.dtype, torch.float32)
    plain, styled = noise_act_styled_reference(x.to(wide), demodulation, noise, bias, style)
    return dispatch.channels_last(plain.to(x.dtype)), dispatch.channels_last(styled.to(x.dtype))


def noise_act_styled_cuda(x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    """Launch the kernel of `noise_act_styled`."""
    x = dispatch.channels_last(x)
    b, c, h, w = x.shape
    plain, styled = torch.empty_like(x), torch.empty_like(x)
    small = dispatch.operands(
        x.device, demodulation=(demodulation, b * c), noise=(noise, h * w), bias=(bias, c), style=(style, b * c)
    )
    name, each = nvrtc.variant("noise_act_styled", x, c)
    block = nvrtc.threads(c, each)
    nvrtc.launch(name, x, (nvrtc.blocks(h * w, block[1] * _ITEMS), b), block, x, *small, plain, styled, h * w, c)
    return plain, styled


def _fake_noise_act_styled(x: Tensor, *small: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.channels_last), torch.empty_like(x, memory_format=torch.channels_last)


def _blur_noise_act(x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, post: Tensor | None) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    return dispatch.channels_last(blur_noise_act_reference(x.to(wide), demodulation, noise, bias, post).to(x.dtype))


def blur_noise_act_cuda(x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, post: Tensor | None) -> Tensor:
    """Launch the kernel of `blur_noise_act`."""
    x = dispatch.channels_last(x)
    b, c, h, w = x.shape[0], x.shape[1], x.shape[2] - 1, x.shape[3] - 1
    out = x.new_empty(b, h, w, c).permute(0, 3, 1, 2)
    small = dispatch.operands(
        x.device, demodulation=(demodulation, b * c), noise=(noise, h * w), bias=(bias, c), post=(post, b * c)
    )
    name, each = nvrtc.variant("blur_noise_act", x, c)
    block = nvrtc.threads(c, min(each, _BLUR_CHANNELS))
    grid = (nvrtc.blocks(w, block[1] * _COLUMNS), nvrtc.blocks(h, _ROWS), b)
    nvrtc.launch(name, x, grid, block, x, *small, out, h, w, c)
    return out


def _fake_blur_noise_act(x: Tensor, *small: Tensor | None) -> Tensor:
    b, c, h, w = x.shape
    return x.new_empty(b, h - 1, w - 1, c).permute(0, 3, 1, 2)


dispatch.register("noise_bias_act", _noise_bias_act, noise_bias_act_cuda, _fake_noise_bias_act, noise_bias_act_reference)
dispatch.register(
    "noise_act_styled", _noise_act_styled, noise_act_styled_cuda, _fake_noise_act_styled, noise_act_styled_reference
)
dispatch.register("blur_noise_act", _blur_noise_act, blur_noise_act_cuda, _fake_blur_noise_act, blur_noise_act_reference)
