"""The pointwise work between the convolutions of the encoder's trunk, and the BatchNorm that reads its result.

A unit's result has two readers: the next unit's shortcut, and the BatchNorm before the next unit's first convolution. Both
operations return what each of them needs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.ops import dispatch, nvrtc

_ITEMS, _CHANNELS = 2, 4  # pixels and, at most, channels of a thread, as gate_add_norm.cu has them


def gate_add_norm_reference(x: Tensor, gate: Tensor, shortcut: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Compute ``x · gate + shortcut``, and that times `scale` plus `shift`.

    Args:
        x, shortcut: [B, C, H, W].
        gate: [B, C], of squeeze and excitation.
        scale, shift: [C], the next unit's BatchNorm.

    Returns:
        Sum and normalised sum, [B, C, H, W] each.
    """
    total = torch.addcmul(shortcut, x, gate[:, :, None, None])
    return total, total * scale[:, None, None] + shift[:, None, None]


def gate_add_norm(
    x: Tensor, gate: Tensor, shortcut: Tensor, scale: Tensor, shift: Tensor, *, kernels: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute `gate_add_norm_reference` in x's dtype, by one kernel where `kernels`."""
    shortcut = shortcut.to(x.dtype)  # under autocast they can differ
    if kernels:
        return torch.ops.fgnet.gate_add_norm(x, gate, shortcut, scale, shift)
    gate, scale, shift = (value.to(x.dtype) for value in (gate, scale, shift))
    return gate_add_norm_reference(x, gate, shortcut, scale, shift)


def prelu_norm_reference(x: Tensor, slope: Tensor, scale: Tensor, shift: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Compute PReLU, and that times `scale` plus `shift`.

    Args:
        x: [B, C, H, W].
        slope: [C], of PReLU below 0.
        scale, shift: [C], the next unit's BatchNorm.
        stride: of the next unit, whose shortcut reads every so many-th row and column.

    Returns:
        ``prelu(x)[:, :, ::stride, ::stride]``, and the whole normalised map [B, C, H, W].
    """
    x = F.prelu(x, slope)
    return x[:, :, ::stride, ::stride], x * scale[:, None, None] + shift[:, None, None]


def prelu_norm(
    x: Tensor, slope: Tensor, scale: Tensor, shift: Tensor, stride: int, *, kernels: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute `prelu_norm_reference` in x's dtype, by one kernel where `kernels`."""
    if kernels:
        return torch.ops.fgnet.prelu_norm(x, slope, scale, shift, stride)
    slope, scale, shift = (value.to(x.dtype) for value in (slope, scale, shift))
    return prelu_norm_reference(x, slope, scale, shift, stride)


def _gate_add_norm(x: Tensor, gate: Tensor, shortcut: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(x.dtype, torch.float32)  # sums in float32, as in the kernel
    total, normalised = gate_add_norm_reference(x.to(wide), gate.to(wide), shortcut.to(wide), scale, shift)
    return dispatch.channels_last(total.to(x.dtype)), dispatch.channels_last(normalised.to(x.dtype))


def gate_add_norm_cuda(x: Tensor, gate: Tensor, shortcut: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Launch the kernel of `gate_add_norm`."""
    x = dispatch.channels_last(x)
    b, c, h, w = x.shape
    gate_, scale_, shift_ = dispatch.operands(x.device, gate=(gate, b * c), scale=(scale, c), shift=(shift, c))
    shortcut = dispatch.other_map("shortcut", shortcut, x, (b, c, h, w))
    total, normalised = torch.empty_like(x), torch.empty_like(x)
    name, each = nvrtc.variant("gate_add_norm", x, c)
    block = nvrtc.threads(c, min(each, _CHANNELS))
    grid = (nvrtc.blocks(h * w, block[1] * _ITEMS), b)
    nvrtc.launch(name, x, grid, block, x, gate_, shortcut, scale_, shift_, total, normalised, h * w, c)
    return total, normalised


def _fake_gate_add_norm(x: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.channels_last), torch.empty_like(x, memory_format=torch.channels_last)


def _prelu_norm(x: Tensor, slope: Tensor, scale: Tensor, shift: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(x.dtype, torch.float32)
    kept, normalised = prelu_norm_reference(x.to(wide), slope.to(wide), scale, shift, stride)
    kept = kept.to(x.dtype, copy=True, memory_format=torch.channels_last)  # no view, not even at stride 1
    return kept, dispatch.channels_last(normalised.to(x.dtype))


def prelu_norm_cuda(x: Tensor, slope: Tensor, scale: Tensor, shift: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Launch the kernel of `prelu_norm`."""
    x = dispatch.channels_last(x)
    b, c, h, w = x.shape
    small = dispatch.operands(x.device, slope=(slope, c), scale=(scale, c), shift=(shift, c))
    kept, normalised = _fake_prelu_norm(x, slope, scale, shift, stride)
    name, each = nvrtc.variant("prelu_norm", x, c)
    block = nvrtc.threads(c, min(each, _CHANNELS))
    grid = (nvrtc.blocks(h * w, block[1] * _ITEMS), b)
    nvrtc.launch(name, x, grid, block, x, *small, kept, normalised, h, w, stride, c)
    return kept, normalised


def _fake_prelu_norm(x: Tensor, slope: Tensor, scale: Tensor, shift: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    b, c, h, w = x.shape
    kept = x.new_empty(b, -(-h // stride), -(-w // stride), c).permute(0, 3, 1, 2)
    return kept, torch.empty_like(x, memory_format=torch.channels_last)


dispatch.register("gate_add_norm", _gate_add_norm, gate_add_norm_cuda, _fake_gate_add_norm, gate_add_norm_reference)
dispatch.register("prelu_norm", _prelu_norm, prelu_norm_cuda, _fake_prelu_norm, prelu_norm_reference)
