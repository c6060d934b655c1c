"""The choice between our CUDA kernels and plain torch, and what the kernels ask of their operands.

The choice is made once, by `FGNet.fuse`, which asks `choose`; from there on it is an argument of the operations (``kernels``).
With it, they call the fused operations of this package, registered with torch (``torch.ops.fgnet``): a CUDA kernel of the
folder ``cuda/`` on an NVIDIA GPU, the definition in plain torch anywhere else. Without it, they go through torch's own
operations, one after the other.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.ops import nvrtc

_failed: dict[int, str] = {}
"""CUDA devices whose kernels could not be made or started -> why."""
on_cuda_devices: dict[str, Callable[..., Any]] = {}
"""What each operation runs on a CUDA device."""
_refused: set[str] = set()
"""Operations that were given an operand which their kernel does not take."""


def choose(device: torch.device, dtype: torch.dtype) -> bool:
    """Decide whether a model detects by the fused operations.

    The environment variable ``FGNET_KERNELS`` decides where it is 0 or 1 (1 also on a CPU, by the references). Without it, they
    are used on NVIDIA GPUs whose kernels can be made, which takes some seconds the first time and is read from a cache on disk
    later. Where they can't be made, one warning says why. There are none for float64 on a GPU, nor for devices of other kinds.

    Args:
        device: where the model is.
        dtype: of its feature maps.

    Raises:
        ValueError: ``FGNET_KERNELS`` is neither 0 nor 1.

    Example:
        >>> choose(torch.device("cpu"), torch.float32)
        False
    """
    value = os.environ.get("FGNET_KERNELS", "")
    if value not in ("", "0", "1"):
        raise ValueError(f"FGNET_KERNELS must be 0 or 1, got {value!r}")
    if device.type == "cuda":
        return value != "0" and dtype != torch.float64 and _made(device)
    return value == "1" and device.type == "cpu"


def _made(device: torch.device) -> bool:
    index = torch.cuda.current_device() if device.index is None else device.index
    if index in _failed:
        return False
    try:
        nvrtc.make_all(index)
    except nvrtc.KernelError as error:
        _give_up(index, error)
        return False
    return True


def _give_up(index: int, error: nvrtc.KernelError) -> None:
    if not isinstance(error, nvrtc.CapturingError):  # that passes
        _failed[index] = str(error)
    what = "plain torch is (slower, the same up to rounding; FGNET_KERNELS=0 silences this)"
    warnings.warn(f"FG-Net's CUDA kernels are not used, {what}: {error}", stacklevel=5)


def register(
    name: str,
    definition: Callable[..., Any],
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    reference: Callable[..., Any],
    schema: str | None = None,
) -> None:
    """Register ``torch.ops.fgnet.<name>``.

    On a CUDA device the definition takes over, with one warning, where a kernel can't be started or does not take an operand.

    Args:
        name: of the operation.
        definition: computes it in plain torch, on any device.
        kernel: launches it on a CUDA device; raises KernelError where it can't.
        fake: makes results without values, for torch's tracers.
        reference: what a user calls to get a gradient; the operation has none.
        schema: in torch's language; by default from the definition's annotations.
    """

    def on_cuda(*operands: Any) -> Any:
        first = operands[0] if isinstance(operands[0], Tensor) else operands[0][0]
        index = first.device.index
        if index not in _failed:
            try:
                return kernel(*operands)
            except (nvrtc.UnsupportedOperand, nvrtc.CapturingError) as error:
                if name not in _refused:
                    _refused.add(name)
                    warnings.warn(f"{name}: plain torch computes it (slower, the same up to rounding): {error}", stacklevel=2)
            except nvrtc.KernelError as error:
                _give_up(index, error)
        return definition(*operands)

    def backward(ctx: object, *gradients: object) -> None:
        differentiable = f"{reference.__module__}.{reference.__name__}"
        raise RuntimeError(f"{name} is for detection only and has no gradient: call {differentiable} for one")

    on_cuda_devices[name] = on_cuda
    op = torch.library.custom_op(f"fgnet::{name}", definition, mutates_args=(), schema=schema)
    op.register_kernel("cuda")(on_cuda)
    op.register_fake(fake)
    op.register_autograd(backward)


def channels_last(x: Tensor) -> Tensor:
    """Bring a map [B, C, H, W] to the layout that the kernels read, its channels next to each other; itself where it is so."""
    return x.contiguous(memory_format=torch.channels_last)


def operand(x: Tensor) -> Tensor:
    """Bring a small operand to what the kernels read: float32, contiguous, at a multiple of 16 bytes."""
    return aligned(x.to(torch.float32).contiguous())


def operands(device: torch.device, **given: tuple[Tensor | None, int]) -> list[Tensor | None]:
    """Check several small operands and bring them to what the kernels read.

    Args:
        device: where they must be.
        given: each with the number of values that it must have: the kernels read by shape alone, and would read beyond the end
            of anything shorter.

    Raises:
        ValueError: another number of values, or another device.
    """
    for name, (value, count) in given.items():
        if value is not None and (value.numel() != count or value.device != device):
            raise ValueError(f"{name} must have {count} values on {device}, got {list(value.shape)} on {value.device}")
    return [None if value is None else operand(value) for value, _ in given.values()]


def other_map(name: str, x: Tensor, like: Tensor, shape: tuple[int | str, ...]) -> Tensor:
    """Check a second map [B, C, H, W] of an operation and bring it to what the kernels read.

    Args:
        name: of the operand.
        x: the map.
        like: the first map, whose dtype and device it must have.
        shape: that it must have; a letter stands for any size.

    Raises:
        ValueError: another shape, dtype or device.
    """
    fits = x.ndim == len(shape) and all(isinstance(n, str) or n == size for n, size in zip(shape, x.shape, strict=True))
    if not fits or x.dtype != like.dtype or x.device != like.device:
        raise ValueError(
            f"{name} must be [{', '.join(map(str, shape))}] of {like.dtype} on {like.device}, "
            f"got {list(x.shape)} of {x.dtype} on {x.device}"
        )
    return aligned(channels_last(x))


def aligned(x: Tensor) -> Tensor:
    """Copy a tensor that does not begin at a multiple of the 16 bytes that the kernels read at once; return any other one."""
    return x.clone() if x.data_ptr() % 16 else x
