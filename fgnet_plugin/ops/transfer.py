"""Copies from the CPU to a device that don't wait for it."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device; to a CUDA device in the order of the current stream, without waiting for it.

    Only a copy from pinned memory lets the CPU go on, and torch keeps that memory until the copy is done. What is on the
    device already, and any tensor for another kind of device, goes as ``tensor.to(device)``.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    # Not tensor.pin_memory(), which keeps the gaps of a slice: torch would first close them in memory that isn't pinned.
    pinned = tensor if tensor.is_pinned() else pinned_like(tensor).copy_(tensor)
    return pinned.to(device, non_blocking=True)


def pinned_like(tensor: Tensor) -> Tensor:
    """Allocate CPU memory that a GPU can read and write by itself, for a tensor, in its layout but for gaps."""
    return torch.empty_like(tensor, device="cpu", pin_memory=True)
