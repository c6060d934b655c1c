"""FG-Net facial action unit detection for py-feat.

Heavy parts (torch) load when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "CheckpointError": "errors",
    "DownloadError": "errors",
    "FGNet": "network",
    "FGNetConfig": "network",
    "Prediction": "network",
    "convert_published": "checkpoints",
    "load": "checkpoints",
    "save": "checkpoints",
    "verify": "checkpoints",
}

if TYPE_CHECKING:
    from fgnet_plugin.checkpoints import convert_published, load, save, verify
    from fgnet_plugin.errors import CheckpointError, DownloadError
    from fgnet_plugin.network import FGNet, FGNetConfig, Prediction

__all__ = [
    "CheckpointError",
    "DownloadError",
    "FGNet",
    "FGNetConfig",
    "Prediction",
    "convert_published",
    "load",
    "save",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
