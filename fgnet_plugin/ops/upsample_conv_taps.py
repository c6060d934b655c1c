"""A convolution of a map that was just upsampled twofold, on a GPU: a 1×1 convolution of the small map, then one kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.ops import dispatch, nvrtc
from fgnet_plugin.ops.relu_norm_add import relu_norm_add_reference

TAPS = 5
"""Side of the convolution's kernel."""
# As upsample_conv_taps.cu has them: a thread's rows (by bytes of an element), columns, and channels; a block's threads
_ROWS, _COLUMNS, _EACH, THREADS = {2: 4, 4: 2}, 2, 4, 384


def taps_of(weight: Tensor) -> Tensor:
    """Rearrange a weight [O, I, 5, 5] for the 1×1 convolution that applies all of its taps at once: [5·5·O, I, 1, 1].

    Its outputs are ordered by row and column of the kernel, then by channel.
    """
    out, inputs = weight.shape[:2]
    return weight.permute(2, 3, 0, 1).reshape(TAPS * TAPS * out, inputs, 1, 1).contiguous()


def taps_relu_norm_add_reference(
    products: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, feature_map: Tensor | None = None
) -> Tensor:
    """Compute ``relu(conv + bias) · scale + shift + feature_map``, conv being the 5×5 convolution of the twofold upsampled map.

    Upsampling and convolution are both linear: ``conv2d(upsampled(x), weight)`` is the sum of ``conv2d(x, taps_of(weight))``,
    tap by tap upsampled and shifted, with a quarter of the multiplications.

    Args:
        products: [B, 5·5·C, h, w], ``conv2d(x, taps_of(weight))`` of the small map x.
        bias, scale, shift: [C].
        feature_map: [B, C, 2h, 2w]; 0 where left out.

    Returns:
        [B, C, 2h, 2w]. Upsampled bilinearly with aligned corners; zeros around the upsampled map.
    """
    b, _, h, w = products.shape
    up = F.interpolate(products, scale_factor=2, mode="bilinear", align_corners=True)
    up = F.pad(up, (TAPS // 2,) * 4).view(b, TAPS, TAPS, -1, 2 * h + TAPS - 1, 2 * w + TAPS - 1)
    conv = sum(
        (up[:, row, column, :, row : row + 2 * h, column : column + 2 * w] for row in range(TAPS) for column in range(TAPS)),
        start=up.new_zeros(()),
    )
    return relu_norm_add_reference(conv, bias, scale, shift, feature_map)


def taps_relu_norm_add(
    products: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    feature_map: Tensor | None = None,
    *,
    kernels: bool = False,
) -> Tensor:
    """Compute `taps_relu_norm_add_reference` in the products' dtype, by one kernel where `kernels`."""
    feature_map = None if feature_map is None else feature_map.to(products.dtype)  # under autocast they can differ
    if kernels:
        return torch.ops.fgnet.taps_relu_norm_add(products, bias, scale, shift, feature_map)
    bias, scale, shift = (value.to(products.dtype) for value in (bias, scale, shift))
    return taps_relu_norm_add_reference(products, bias, scale, shift, feature_map)


def _taps_relu_norm_add(products: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, feature_map: Tensor | None) -> Tensor:
    wide = torch.promote_types(products.dtype, torch.float32)  # sums in float32, as in the kernel
    other = None if feature_map is None else feature_map.to(wide)
    result = taps_relu_norm_add_reference(products.to(wide), bias, scale, shift, other)
    return dispatch.channels_last(result.to(products.dtype))


def taps_relu_norm_add_cuda(products: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, feature_map: Tensor | None) -> Tensor:
    """Launch the kernel of `taps_relu_norm_add`."""
    products = dispatch.channels_last(products)
    b, c, h, w = _size(products)
    small = dispatch.operands(products.device, bias=(bias, c), scale=(scale, c), shift=(shift, c))
    if feature_map is not None:
        feature_map = dispatch.other_map("feature_map", feature_map, products, (b, c, 2 * h, 2 * w))
    out = _empty(products)
    name, each = nvrtc.variant("taps_relu_norm_add", products, c)
    block = nvrtc.threads(c, _EACH, THREADS) if each > 1 else nvrtc.threads(c, each)
    tiles = nvrtc.blocks(2 * h, _ROWS[products.element_size()]) * nvrtc.blocks(2 * w, _COLUMNS)
    nvrtc.launch(name, products, (nvrtc.blocks(tiles, block[1]), b), block, products, *small, feature_map, out, h, w, c)
    return out


def _size(products: Tensor) -> tuple[int, int, int, int]:
    """Return B, C, h, w; raise ValueError where the channels are not those of 25 taps."""
    b, channels, h, w = products.shape
    if channels % TAPS**2:
        raise ValueError(f"products must have {TAPS**2} times as many channels as the result, got {channels}")
    return b, channels // TAPS**2, h, w


def _empty(products: Tensor, *others: Tensor | None) -> Tensor:
    b, c, h, w = _size(products)
    return products.new_empty(b, 2 * h, 2 * w, c).permute(0, 3, 1, 2)


dispatch.register("taps_relu_norm_add", _taps_relu_norm_add, taps_relu_norm_add_cuda, _empty, taps_relu_norm_add_reference)
