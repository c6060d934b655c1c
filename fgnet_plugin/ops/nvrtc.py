"""Compile the kernels of ``cuda/`` at run time and launch them, through NVIDIA's cuda-core: no toolkit, no C++ compiler.

NVRTC, which torch's CUDA packages bring, compiles for the very GPU; the result is kept on disk (``$FGNET_HOME``, or this
platform's cache folder) and compiled anew where a source, the compiler or the GPU is another one.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import io
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.utils.paths import cache_folder, data_folder

KERNELS = {
    "noise_bias_act": ("noise_bias_act", "noise_act_styled", "blur_noise_act"),
    "relu_norm_add": ("relu_norm_add",),
    "upsample_conv_taps": ("taps_relu_norm_add",),
    "decode_heatmaps": ("decode_heatmaps",),
    "ffhq_crop": ("ffhq_crop2", "ffhq_crop4"),
    "gather_patches": ("gather_patches",),
    "gate_add_norm": ("gate_add_norm", "prelu_norm"),
}
"""The kernels of each file of ``cuda/``, which is a program."""
_WITHOUT_WIDE = ("decode_heatmaps", "ffhq_crop")

HEADER = "fgnet.cuh"
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
"""What the sources are known to compile for: compute capability 7.5 (Turing) to 12.0 (Blackwell)."""
_LEAST = (7, 5)
_STANDARD = "c++17"
_CHECKSUM = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Compiled:
    """A program for one architecture."""

    cubin: bytes
    log: str
    """What ptxas says of registers and spills; empty where the program came from the cache."""


def folder() -> Path:
    """Return the folder of the sources."""
    return data_folder("cuda")


def source(name: str) -> str:
    """Read a program's text, its header included, so that NVRTC opens no file. Raises KernelError where it is missing."""
    try:
        header, text = ((folder() / file).read_text(encoding="utf-8") for file in (HEADER, f"{name}.cu"))
    except OSError as error:
        raise KernelError(f"{error.filename} is missing; install this package again") from error
    return header.replace("#pragma once\n", "") + text


def compile_program(
    name: str, architecture: str, cache: Path | None = None, *, report: bool = False, again: bool = False
) -> Compiled:
    """Compile a program of `KERNELS`. Needs no GPU.

    Args:
        name: of the program.
        architecture: one of `ARCHITECTURES`, or another from sm_75 on.
        cache: folder where compiled programs are kept. What is damaged in it is compiled anew; what can't be written to it, as
            on a full disk, is compiled by each process.
        report: have ptxas say what it used; leaves the cache alone.
        again: compile it, whatever the cache has.

    Raises:
        KernelError: cuda-core or NVRTC are missing, or the compiler refuses; the message holds what it says.
    """
    try:
        from cuda.bindings.nvrtc import nvrtcVersion
        from cuda.core import Program, ProgramOptions
    except ImportError as error:
        major = (torch.version.cuda or "13").split(".")[0]
        command = f"python -m pip install 'cuda-core[cu{major}]>=1.2'"
        raise KernelError(f"NVIDIA's cuda-core is needed ({error}): {command}") from error
    text, log = source(name), io.StringIO()
    try:
        described = repr((text, architecture, _STANDARD, nvrtcVersion()))
        kept = None if cache is None or report else cache / f"{name}-{hashlib.sha256(described.encode()).hexdigest()}.cubin"
        cubin = None if kept is None or again else _read(kept)
        if cubin is None:
            ptxas = ["-v"] if report else None
            options = ProgramOptions(name=name, arch=architecture, std=_STANDARD, ptxas_options=ptxas)
            cubin = bytes(Program(text, "c++", options=options).compile("cubin", logs=log).code)
            if kept is not None:
                _write(kept, cubin)
    except Exception as error:  # cuda-core's, cuda-bindings' or the system's
        raise KernelError(f"{name}.cu does not compile for {architecture}: {error} {log.getvalue()}".strip()) from error
    return Compiled(cubin, log.getvalue())


def _read(kept: Path) -> bytes | None:
    """Read a compiled program, which follows its checksum; None where the file is missing or damaged."""
    try:
        content = kept.read_bytes()
    except OSError:
        return None
    checksum, cubin = content[:_CHECKSUM], content[_CHECKSUM:]
    return cubin if hashlib.sha256(cubin).digest() == checksum else None


def _write(kept: Path, cubin: bytes) -> None:
    """Keep a compiled program, in one move, because several processes may do so at once; or don't, where that fails."""
    part = kept.with_name(f".{kept.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(hashlib.sha256(cubin).digest() + cubin)
        part.replace(kept)
    except OSError:
        with suppress(OSError):
            part.unlink()


def cache_of_programs() -> Path | None:
    """Find where compiled programs are kept; None where that folder can't be made or written: each process compiles then."""
    path = cache_folder() / "kernels"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None


@functools.cache
def make_all(device: int) -> dict[str, Any]:
    """Compile and load all programs for one CUDA device: name -> cuda-core's kernel. Raises KernelError."""
    capability = torch.cuda.get_device_capability(device)
    if capability < _LEAST:
        raise KernelError(f"the GPU has compute capability {capability[0]}.{capability[1]}, the kernels need 7.5")
    architecture = f"sm_{capability[0]}{capability[1]}"
    cache, kernels = cache_of_programs(), dict[str, Any]()
    with torch.cuda.device(device):
        if torch.cuda.is_current_stream_capturing():  # loading them would spoil the graph
            raise CapturingError("a CUDA graph is being recorded; call the model once before that")
        torch.cuda.current_stream().synchronize()  # torch's context is there, and stays the current one
        for name in KERNELS:
            try:
                kernels |= _load(name, compile_program(name, architecture, cache).cubin, device)
            except LoadError:  # the cache's, perhaps
                kernels |= _load(name, compile_program(name, architecture, cache, again=True).cubin, device)
    return kernels


def _load(name: str, cubin: bytes, device: int) -> dict[str, Any]:
    """Load a compiled program: name -> cuda-core's kernel. Raises LoadError."""
    from cuda.core import Device, ObjectCode

    try:
        Device(device).set_current()
        code = ObjectCode.from_cubin(cubin, name=name)
        return {kernel: code.get_kernel(kernel) for kernel in kernel_names(name)}
    except Exception as error:
        raise LoadError(f"{name}.cu was compiled but can't be loaded: {error}") from error


def kernel_names(program: str) -> tuple[str, ...]:
    """List a program's entry points: its kernels for each type and, of most, for channels that come in whole 16 bytes."""
    suffixes = ("",) if program in _WITHOUT_WIDE else ("", "_wide")
    return tuple(f"{kernel}_{name}{suffix}" for kernel in KERNELS[program] for suffix in suffixes for name in TYPES.values())


_thread = threading.local()


def launch(name: str, like: Tensor, grid: Sequence[int], block: Sequence[int], *arguments: Tensor | int | float | None) -> None:
    """Start a kernel on torch's current stream of the tensor's device, without waiting for it.

    Args:
        name: of the kernel.
        like: a tensor on the device.
        grid, block: blocks, and threads of each, up to three numbers.
        arguments: a tensor or None goes in as a pointer, an int as C's int, a float as C's float.

    Raises:
        KernelError: the launch fails.
    """
    from cuda.core import Device, LaunchConfig, Stream
    from cuda.core import launch as start

    if 0 in grid:
        return
    kernel = make_all(like.device.index)[name]
    given = [argument(value) for value in arguments]
    try:
        with torch.cuda.device(like.device):
            if not getattr(_thread, "ready", False):  # a thread that has not used CUDA yet has no context of its own
                Device(like.device.index).set_current()
                _thread.ready = True
            stream = Stream.from_handle(torch.cuda.current_stream(like.device).cuda_stream)
            start(stream, LaunchConfig(grid=tuple(grid), block=tuple(block)), kernel, *given)
    except Exception as error:
        raise KernelError(f"the CUDA kernel {name} could not be started (grid {grid}, block {block}): {error}") from error


def argument(value: Tensor | int | float | None) -> ctypes._SimpleCData[Any]:
    """Turn an argument into what cuda-core takes; it knows no ``c_void_p``."""
    if value is None or isinstance(value, Tensor):
        return ctypes.c_uint64(0 if value is None else value.data_ptr())
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int(value)


TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
_WIDE_BYTES = 16
_THREADS = 256


def variant(kernel: str, x: Tensor, channels: int) -> tuple[str, int]:
    """Choose the kernel for x's dtype and that many channels: its name, and how many channels a thread takes.

    Raises UnsupportedOperand for another dtype than float32, bfloat16, float16.
    """
    wide = _WIDE_BYTES // x.element_size()
    aligned = channels % wide == 0 and x.data_ptr() % _WIDE_BYTES == 0
    return f"{kernel}_{type_name(kernel, x.dtype)}{'_wide' if aligned else ''}", wide if aligned else 1


def type_name(kernel: str, dtype: torch.dtype) -> str:
    """Name a dtype as the kernels do. Raises UnsupportedOperand for another one than float32, bfloat16, float16."""
    if dtype not in TYPES:
        raise UnsupportedOperand(f"{kernel} takes {', '.join(TYPES.values())}, got {dtype}")
    return TYPES[dtype]


def threads(channels: int, each: int, most: int = 512) -> tuple[int, int]:
    """Lay out a block's threads: (for a pixel's channels, for so many pixels).

    Raises UnsupportedOperand for channels of over `most` threads.
    """
    across = channels // each
    if across > most:
        raise UnsupportedOperand(f"the kernels take up to {most * each} channels of this dtype, got {channels}")
    return across, max(_THREADS // across, 1)


def blocks(items: int, each: int) -> int:
    """Count the blocks that cover `items`."""
    return -(-items // each)


class KernelError(RuntimeError):
    """A CUDA kernel that can't be compiled, loaded or started."""


class LoadError(KernelError):
    """A compiled program that the driver refuses."""


class CapturingError(KernelError):
    """Kernels that can't be loaded now, because a CUDA graph is being recorded."""


class UnsupportedOperand(KernelError):  # noqa: N818 (it is no failure)
    """An operand that a kernel does not take, though the operation does."""
