"""The generator's upsampling convolution: transposed, with stride 2, then blurred."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.ops.resample import blur_upsample

# From this side on, whole maps fall out of the CPU's caches between the two steps; bands of so many rows don't.
_BANDS_FROM, _BAND = 128, 32


def conv_transpose_blur_reference(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (3×3, transposed, stride 2), then blur with [1, 3, 3, 1].

    Args:
        x: [B, I, h, w]; weight: [O, I, 3, 3].

    Returns:
        [B, O, 2h, 2w].
    """
    return blur_upsample(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))


def conv_transpose_blur(x: Tensor, weight: Tensor) -> Tensor:
    """Compute `conv_transpose_blur_reference`; large maps on the CPU, without gradients, in bands of rows."""
    b, _, h, w = x.shape
    if x.device.type != "cpu" or torch.is_grad_enabled() or h < _BANDS_FROM:
        return conv_transpose_blur_reference(x, weight)
    out = x.new_empty(b, 2 * h, 2 * w, weight.shape[0]).permute(0, 3, 1, 2)
    for sample, result in zip(torch.split(x, 1), torch.split(out, 1), strict=True):
        for top in range(0, h, _BAND):
            bottom, above = (
                min(top + _BAND, h),
                max(top - 1, 0),
            )  # an output row reads the row at its place, one above, one below
            band = conv_transpose_blur_reference(sample[:, :, above : bottom + 1], weight)
            result[:, :, 2 * top : 2 * bottom] = band[:, :, 2 * (top - above) : 2 * (bottom - above)]
    return out
