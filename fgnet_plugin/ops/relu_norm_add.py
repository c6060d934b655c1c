"""The pointwise work after the interpreter's convolutions: bias, ReLU, BatchNorm as scale and shift, sum with the next map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.ops import dispatch, nvrtc

_ITEMS = 2  # pixels of a thread, as relu_norm_add.cu has it


def relu_norm_add_reference(x: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, feature_map: Tensor | None = None) -> Tensor:
    """Compute ``relu(x + bias) · scale + shift + resize(feature_map)``.

    Args:
        x: [B, C, H, W]; bias, scale, shift: [C].
        feature_map: [B, C, h, w], resized to H × W bilinearly with aligned corners, without antialiasing; 0 where left out.
    """
    x = F.relu(x + bias[:, None, None]) * scale[:, None, None] + shift[:, None, None]
    if feature_map is None:
        return x
    if feature_map.shape[2:] != x.shape[2:]:
        feature_map = F.interpolate(feature_map, size=x.shape[2:], mode="bilinear", align_corners=True)
    return x + feature_map


def relu_norm_add(
    x: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, feature_map: Tensor | None = None, *, kernels: bool = False
) -> Tensor:
    """Compute `relu_norm_add_reference` in x's dtype, by one kernel where `kernels`."""
    feature_map = None if feature_map is None else feature_map.to(x.dtype)  # under autocast they can differ
    if kernels:
        return torch.ops.fgnet.relu_norm_add(x, bias, scale, shift, feature_map)
    bias, scale, shift = (value.to(x.dtype) for value in (bias, scale, shift))
    return relu_norm_add_reference(x, bias, scale, shift, feature_map)


def _relu_norm_add(x: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, feature_map: Tensor | None) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)  # sums in float32, as in the kernel
    result = relu_norm_add_reference(x.to(wide), bias, scale, shift, None if feature_map is None else feature_map.to(wide))
    return dispatch.channels_last(result.to(x.dtype))


def relu_norm_add_cuda(x: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, feature_map: Tensor | None) -> Tensor:
    """Launch the kernel of `relu_norm_add`."""
    x = dispatch.channels_last(x)
    b, c, h, w = x.shape
    small = dispatch.operands(x.device, bias=(bias, c), scale=(scale, c), shift=(shift, c))
    other, size = None, (h, w)
    if feature_map is not None:
        other = dispatch.other_map("feature_map", feature_map, x, (b, c, "h", "w"))
        size = other.shape[2], other.shape[3]
    out = torch.empty_like(x)
    name, each = nvrtc.variant("relu_norm_add", x, c)
    block = nvrtc.threads(c, each)
    nvrtc.launch(name, x, (nvrtc.blocks(h * w, block[1] * _ITEMS), b), block, x, *small, other, out, h, w, *size, c)
    return out


def _fake_relu_norm_add(x: Tensor, *others: Tensor | None) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


dispatch.register("relu_norm_add", _relu_norm_add, relu_norm_add_cuda, _fake_relu_norm_add, relu_norm_add_reference)
