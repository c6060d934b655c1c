"""Which form the operations of detection take: our CUDA kernels, or plain torch.

Where `wanted` says so, the network calls the fused operations of this package: registered with torch (``torch.ops.fgnet``),
a CUDA kernel of the folder ``cuda/`` on an NVIDIA GPU, and their references in plain torch on the CPU, which define them.
Elsewhere it goes through torch's own operations, one after the other.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.ops.nvrtc import KernelError

_forced: bool | None = None
_failed: dict[int, str] = {}
"""CUDA devices whose kernels could not be made -> why."""


def wanted(x: Tensor) -> bool:
    """Whether detection on x's device goes through the fused operations.

    Never where gradients are on, or in float64 on a GPU: the kernels have neither. Else as `using` or the environment
    variable ``FGNET_KERNELS`` (0 or 1) say; else on NVIDIA GPUs whose kernels can be made, which is tried at the first call
    for a device (some seconds, later from a cache on disk). Where they can't, one warning says why.
    """
    if torch.is_grad_enabled():
        return False
    forced = forced_choice()
    if x.device.type == "cuda" and x.dtype == torch.float64:
        return False
    if forced is False or (x.device.type != "cuda" and not forced):
        return False
    return x.device.type != "cuda" or _made(x.device)


def forced_choice() -> bool | None:
    """What `using` or else ``FGNET_KERNELS`` ask for, None where nothing does. Raises ValueError for a value but 0 and 1."""
    if _forced is not None:
        return _forced
    value = os.environ.get("FGNET_KERNELS", "")
    if value not in ("", "0", "1"):
        raise ValueError(f"FGNET_KERNELS must be 0 or 1, got {value!r}")
    return None if not value else value == "1"


@contextmanager
def using(kernels: bool | None) -> Iterator[None]:
    """Inside, the fused operations are used (True), not used (False), or used where they can be (None).

    On the CPU, True runs their references through the same path. Not for several threads that differ.
    """
    global _forced
    before, _forced = _forced, kernels
    try:
        yield
    finally:
        _forced = before


def _made(device: torch.device) -> bool:
    index = torch.cuda.current_device() if device.index is None else device.index
    if index in _failed:
        return False
    if torch.compiler.is_compiling():  # made before, or else by the first call that is not traced
        return True
    from fgnet_plugin.ops import nvrtc

    try:
        nvrtc.make_all(index)
    except KernelError as error:
        _failed[index] = str(error)
        what = "plain torch is (slower, the same up to rounding; FGNET_KERNELS=0 silences this)"
        warnings.warn(f"FG-Net's CUDA kernels are not used, {what}: {error}", stacklevel=3)
        return False
    return True


def refuse_gradients(op: Any, reference: Callable[..., Any]) -> None:
    """Make a backward pass through an operation, which ``torch.library.custom_op`` returned, say what to do instead."""
    name = reference.__name__.removesuffix("_reference")
    differentiable = f"{reference.__module__}.{reference.__name__}"

    def backward(ctx: object, *gradients: object) -> None:
        raise RuntimeError(f"{name} is for detection only and has no gradient: call {differentiable} for one")

    op.register_autograd(backward)


def channels_last(x: Tensor) -> Tensor:
    """The tensor [B, C, H, W] with its channels next to each other in memory, as the kernels read it; itself where it is so."""
    return x.contiguous(memory_format=torch.channels_last)


def operand(x: Tensor) -> Tensor:
    """A small operand as the kernels read it: float32, contiguous, at a multiple of 16 bytes."""
    return aligned(x.to(torch.float32).contiguous())


def operands(device: torch.device, **given: tuple[Tensor | None, int]) -> list[Tensor | None]:
    """Several of them, each given with the number of values that it must have: the kernels read by shape alone, and anything
    else would be read beyond its end. Raises ValueError for another number of values, or for one on another device.
    """
    for name, (value, count) in given.items():
        if value is not None and (value.numel() != count or value.device != device):
            raise ValueError(f"{name} must have {count} values on {device}, got {list(value.shape)} on {value.device}")
    return [None if value is None else operand(value) for value, _ in given.values()]


def aligned(x: Tensor) -> Tensor:
    """The tensor, or a copy of it where it does not begin at a multiple of the 16 bytes that the kernels read at once."""
    return x.clone() if x.data_ptr() % 16 else x
