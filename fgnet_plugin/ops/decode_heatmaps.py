"""The network's last step: heatmaps in float32, and from each the activation of its action unit."""

from __future__ import annotations

import torch
from torch import Tensor

from fgnet_plugin.ops import dispatch, nvrtc

MOST_MAPS = 44
"""More maps than that don't fit the kernel's tile, as decode_heatmaps.cu has it."""
_PIXELS = 256  # of a block, as decode_heatmaps.cu has it


def decode(heatmaps: Tensor) -> Tensor:
    """Decode heatmaps [B, A, H, H] to activations [B, A]: the mean of each map clamped to [-1, 1] (published: ``heatmap2au``).

    float32, or float64 where the heatmaps are.

    Example:
        >>> heatmaps = torch.zeros(1, 1, 4, 4)
        >>> heatmaps[0, 0, 1:3, 1:3] = 1.0  # a quarter of the map speaks for the AU
        >>> decode(heatmaps)
        tensor([[0.2500]])
    """
    wide = torch.promote_types(heatmaps.dtype, torch.float32)
    return heatmaps.to(wide).clamp(-1.0, 1.0).mean((2, 3))


def decode_heatmaps_reference(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return heatmaps [B, A, H, W] of any dtype in float32 (float64 stays), contiguous; and `decode` of them, [B, A]."""
    heatmaps = x.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
    return heatmaps, decode(heatmaps)


def decode_heatmaps(x: Tensor, *, kernels: bool = False) -> tuple[Tensor, Tensor]:
    """Compute `decode_heatmaps_reference`, of up to `MOST_MAPS` maps by one kernel where `kernels`."""
    if kernels and x.shape[1] <= MOST_MAPS:
        heatmaps, sums = torch.ops.fgnet.decode_heatmaps(x)
        return heatmaps, sums.sum(1) / (x.shape[2] * x.shape[3])
    return decode_heatmaps_reference(x)


def _decode_heatmaps(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return heatmaps in float32, and sums [B, blocks, A] of the clamped values of each 256 pixels."""
    heatmaps = x.to(torch.promote_types(x.dtype, torch.float32), copy=True, memory_format=torch.contiguous_format)
    clamped = heatmaps.clamp(-1.0, 1.0).flatten(2)
    padded = torch.nn.functional.pad(clamped, (0, -clamped.shape[2] % _PIXELS))
    return heatmaps, padded.view(*padded.shape[:2], -1, _PIXELS).sum(3).transpose(1, 2).contiguous()


def decode_heatmaps_cuda(x: Tensor) -> tuple[Tensor, Tensor]:
    """Launch the kernel of `decode_heatmaps`."""
    name = f"decode_heatmaps_{nvrtc.type_name('decode_heatmaps', x.dtype)}"
    x = dispatch.channels_last(x)
    b, a, h, w = x.shape
    count = nvrtc.blocks(h * w, _PIXELS)
    heatmaps = x.new_empty(b, a, h, w, dtype=torch.float32)
    sums = x.new_empty(b, count, a, dtype=torch.float32)
    nvrtc.launch(name, x, (count, b), (_PIXELS,), x, heatmaps, sums, h * w, a)
    return heatmaps, sums


def _fake_decode_heatmaps(x: Tensor) -> tuple[Tensor, Tensor]:
    b, a, h, w = x.shape
    dtype = torch.promote_types(x.dtype, torch.float32)
    return x.new_empty(b, a, h, w, dtype=dtype), x.new_empty(b, -(-h * w // _PIXELS), a, dtype=dtype)


dispatch.register("decode_heatmaps", _decode_heatmaps, decode_heatmaps_cuda, _fake_decode_heatmaps, decode_heatmaps_reference)
