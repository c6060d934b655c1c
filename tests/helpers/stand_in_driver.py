"""A stand-in for NVIDIA's driver, for a process of its own: kernels are loaded and launched as on a GPU, and run on the CPU.

Everything above the driver is the real thing: NVRTC, the cache, cuda-core, how arguments are packed. What it can't show: the
device's memory model and its own address space, threads that run at the same time, launches that return before the kernel ran,
streams that overlap, CUDA graphs, what ptxas makes of the code.
"""

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

STREAM = 0x5EED
"""Handle of the current stream."""


class Launch(ctypes.Structure):
    _fields_ = [
        ("kernel", ctypes.c_char * 64),
        ("grid", ctypes.c_int * 3),
        ("block", ctypes.c_int * 3),
        ("shared_bytes", ctypes.c_int),
        ("stream", ctypes.c_uint64),
    ]


def build(folder: Path) -> Path:
    """Compile the library."""
    library = folder / "libcuda.so.1"
    command = [sys.executable, "-m", "ziglang", "cc", "-O1", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([*command, "-o", str(library), str(Path(__file__).with_suffix(".c"))], check=True)
    return library


class StandInDriver:
    """The library in this process, before anything else loads a driver; torch takes the CPU for its device."""

    def __init__(self, library: Path, programs: Sequence[Path]) -> None:
        import torch

        self._library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self._programs = [ctypes.CDLL(str(program)) for program in programs]
        for program in self._programs:
            self._library.stand_in_program(ctypes.c_void_p(program._handle))
        stream = SimpleNamespace(cuda_stream=STREAM, synchronize=lambda: None)
        torch.cuda.get_device_capability = lambda device=None: (9, 0)
        torch.cuda.device = lambda device: contextlib.nullcontext()
        torch.cuda.current_stream = lambda device=None: stream
        torch.cuda.current_device = lambda: 0
        torch.cuda.is_current_stream_capturing = lambda: False

    def fail(self, function: str, result: int, times: int = -1) -> None:
        """Make a function of the driver return that error so many times; by default from now on."""
        self._library.stand_in_fail(function.encode(), result, times)

    def driver_version(self, version: int) -> None:
        self._library.stand_in_driver_version(version)

    def launches(self) -> list[Launch]:
        first = ctypes.POINTER(Launch)()
        count = self._library.stand_in_launches(ctypes.byref(first))
        return first[:count]
