"""The kernels of ``cuda/`` on the CPU: their own text, compiled by Zig's C++ compiler (a wheel), launched as on a GPU.

`launch` takes the place of ``nvrtc.launch``. Every tensor goes in as a copy between margins of NaN: what is read beyond an end
shows in the result, and what is written there is an error.
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fgnet_plugin.ops import nvrtc

_MARGIN = 4096  # bytes; a multiple of any alignment
_BLOCK = 512


@functools.cache
def _build_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fgnet-kernels-")


@functools.cache
def program(name: str) -> ctypes.CDLL:
    """A program of ``cuda/`` as a shared library."""
    folder = Path(_build_folder().name)
    entries = [
        f'extern "C" void on_cpu_{kernel}(const int *grid, const int *block, void **arguments, int descending) '
        f"{{ on_cpu::start({kernel}, grid, block, arguments, descending); }}"
        for kernel in nvrtc.kernel_names(name)
    ]
    header = (Path(__file__).parent / "cuda_on_cpu.h").read_text()
    (folder / f"{name}.cpp").write_text("\n".join([header.replace("#pragma once\n", ""), nvrtc.source(name), *entries]))
    out = folder / f"{name}.so"
    # Zig traps undefined behaviour by default: an overflow or a misaligned access ends the run.
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "c++",
        "-std=c++17",
        "-O1",
        "-shared",
        "-fPIC",
        "-nostdlib++",
        "-Wno-unknown-pragmas",
    ]
    subprocess.run([*command, "-o", str(out), str(folder / f"{name}.cpp")], check=True)
    return ctypes.CDLL(str(out))


def _program_of(kernel: str) -> str:
    return next(name for name in nvrtc.KERNELS if kernel in nvrtc.kernel_names(name))


class _Guarded:
    """A copy of a tensor's memory between two margins."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.bytes = tensor, tensor.untyped_storage().nbytes() - tensor.storage_offset() * tensor.element_size()
        self.bytes = min(self.bytes, _extent(tensor))
        self.buffer = _margins(2 * _MARGIN + self.bytes + 64)
        self.start = _MARGIN + (-(self.buffer.data_ptr() + _MARGIN)) % 64
        ctypes.memmove(self.buffer.data_ptr() + self.start, tensor.data_ptr(), self.bytes)
        self.before = self.buffer.clone()

    @property
    def pointer(self) -> int:
        return self.buffer.data_ptr() + self.start

    def finish(self, kernel: str) -> bool:
        """Copies back what was written; returns whether anything was."""
        end = self.start + self.bytes
        kept = torch.equal(self.buffer[: self.start], self.before[: self.start])
        kept = kept and torch.equal(self.buffer[end:], self.before[end:])
        assert kept, f"{kernel} wrote beyond an argument of shape {list(self.tensor.shape)}"
        changed = not torch.equal(self.buffer, self.before)
        if changed:
            ctypes.memmove(self.tensor.data_ptr(), self.pointer, self.bytes)
        return changed


_generator = torch.Generator().manual_seed(0)


def _margins(count: int) -> Tensor:
    """Bytes that are NaN in all three types, no two alike: a NaN that a kernel moves there shows."""
    pairs = torch.randint(0x7FC1, 0x8000, (count // 2 + 1,), generator=_generator)
    return pairs.to(torch.int16).view(torch.uint8)[:count].clone()


def _extent(tensor: Tensor) -> int:
    """Bytes from the first to the last element."""
    if not tensor.numel():
        return 0
    return (1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))) * tensor.element_size()


def launch(
    name: str,
    like: Tensor,
    grid: Sequence[int],
    block: Sequence[int],
    *arguments: Tensor | int | float | None,
    descending: bool = False,
) -> None:
    """As ``nvrtc.launch``; `descending`: the threads of a block take turns from the last to the first."""
    dims = [(ctypes.c_int * 3)(*(*size, 1, 1)[:3]) for size in (grid, block)]
    assert block[0] * (block[1] if len(block) > 1 else 1) <= _BLOCK
    assert all(0 < n <= most for n, most in zip(grid, (2**31 - 1, 65535, 65535), strict=False)), grid
    guarded = [_Guarded(value) if isinstance(value, Tensor) else None for value in arguments]
    values = [
        ctypes.c_uint64(guard.pointer) if guard is not None else nvrtc.argument(value)  # type: ignore[arg-type]
        for guard, value in zip(guarded, arguments, strict=True)
    ]
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))  # type: ignore[arg-type]
    entry: Callable[..., None] = getattr(program(_program_of(name)), f"on_cpu_{name}")
    entry(*dims, pointers, int(descending))
    written = [guard.finish(name) for guard in guarded if guard is not None]
    launches.append((name, tuple(grid), tuple(block), tuple(written)))


launches: list[tuple[str, tuple[int, ...], tuple[int, ...], tuple[bool, ...]]] = []
"""What was started: kernel, grid, block, which of the tensors were written."""
