"""Ask NVIDIA's driver about itself and its GPUs, without torch: what it says of a driver that is too old is often nothing."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

_ERRORS = {
    100: "it finds no GPU that it can use",
    803: "its libraries and its kernel module are of different versions; restart the machine",
    804: "it does not support this GPU in this way",
    999: "an unknown error; restart the machine",
}
_NVIDIA, _DISPLAYS = "0x10de", "0x03"


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver as it is on this machine."""

    version: tuple[int, int]
    """The newest CUDA that it knows: (12, 8)."""
    devices: int
    """Number of GPUs."""
    error: str = ""
    """Why it does not start; empty where it does."""


def read_driver() -> Driver | None:
    """Ask the driver; None where there is none.

    Example:
        >>> driver = read_driver()
        >>> driver is None or driver.version > (0, 0)
        True
    """
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    failed = library.cuDriverGetVersion(ctypes.byref(number))
    version = (0, 0) if failed else divmod(number.value, 1000)
    failed = library.cuInit(0)
    if failed:
        return Driver((version[0], version[1] // 10), 0, f"error {failed}: {_ERRORS.get(failed, 'restart the machine')}")
    library.cuDeviceGetCount(ctypes.byref(number))
    return Driver((version[0], version[1] // 10), number.value)


def has_nvidia_card(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Tell whether Linux lists an NVIDIA graphics card, with or without a driver; False where it can't be known."""
    try:
        return any(
            (card / "vendor").read_text().strip() == _NVIDIA and (card / "class").read_text().startswith(_DISPLAYS)
            for card in devices.iterdir()
        )
    except OSError:
        return False
