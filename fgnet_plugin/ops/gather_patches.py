"""Gathering of the rows and columns that the generator's last two layers read, times their style."""

from __future__ import annotations

import torch
from torch import Tensor

from fgnet_plugin.ops import dispatch, nvrtc

_ITEMS = 4  # pixels of a thread, as gather_patches.cu has it


def gather_patches_reference(x: Tensor, rows: Tensor, columns: Tensor, style: Tensor) -> Tensor:
    """Gather rows and columns of a map and multiply them by its style.

    Args:
        x: [B, C, H, W].
        rows, columns: [n] and [m] int32, of x's; -1 stands for zeros.
        style: [B, C].

    Returns:
        [B, C, n, m].
    """
    gathered = x.index_select(2, rows.clamp(min=0)).index_select(3, columns.clamp(min=0))
    inside = (rows >= 0)[:, None] & (columns >= 0)
    return torch.where(inside, gathered * style[:, :, None, None], gathered.new_zeros(()))


def gather_patches(x: Tensor, rows: Tensor, columns: Tensor, style: Tensor, *, kernels: bool = False) -> Tensor:
    """Compute `gather_patches_reference` in x's dtype, channels-last, by one kernel where `kernels`.

    The kernel trusts the numbers in `rows` and `columns`, because looking at them would wait for the device.
    """
    if kernels:
        return torch.ops.fgnet.gather_patches(x, rows, columns, style)
    return dispatch.channels_last(gather_patches_reference(x, rows, columns, style.to(x.dtype)))


def _gather_patches(x: Tensor, rows: Tensor, columns: Tensor, style: Tensor) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)  # products in float32, as in the kernel
    return dispatch.channels_last(gather_patches_reference(x.to(wide), rows, columns, style).to(x.dtype))


def gather_patches_cuda(x: Tensor, rows: Tensor, columns: Tensor, style: Tensor) -> Tensor:
    """Launch the kernel of `gather_patches`."""
    x = dispatch.channels_last(x)
    b, c, h, w = x.shape
    for name, index in (("rows", rows), ("columns", columns)):
        if index.dtype != torch.int32 or index.ndim != 1 or index.device != x.device:
            raise ValueError(f"{name} must be int32 [n] on {x.device}, got {index.dtype} {list(index.shape)} on {index.device}")
    small = dispatch.operands(x.device, style=(style, b * c))
    n, m = len(rows), len(columns)
    out = x.new_empty(b, n, m, c).permute(0, 3, 1, 2)
    name, each = nvrtc.variant("gather_patches", x, c)
    block = nvrtc.threads(c, each)
    grid = (nvrtc.blocks(n * m, block[1] * _ITEMS), b)
    nvrtc.launch(name, x, grid, block, x, rows.contiguous(), columns.contiguous(), *small, out, h, w, n, m, c)
    return out


def _fake_gather_patches(x: Tensor, rows: Tensor, columns: Tensor, style: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], rows.shape[0], columns.shape[0], x.shape[1]).permute(0, 3, 1, 2)


dispatch.register("gather_patches", _gather_patches, gather_patches_cuda, _fake_gather_patches, gather_patches_reference)
