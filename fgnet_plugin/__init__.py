"""FG-Net facial action unit detection for py-feat.

Heavy parts (torch, py-feat) load when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "CheckpointError": "errors",
    "Detector": "pyfeat.detector",
    "DownloadError": "errors",
    "FGNet": "network",
    "FGNetConfig": "network",
    "InputError": "errors",
    "Prediction": "network",
    "annotate": "pyfeat.annotation",
    "compare": "comparison",
    "convert_published": "checkpoints",
    "heatmaps": "pyfeat.heatmaps",
    "load": "checkpoints",
    "plot_heatmaps": "pyfeat.heatmaps",
    "register": "pyfeat.registration",
    "save": "checkpoints",
    "unregister": "pyfeat.registration",
    "verify": "checkpoints",
}

if TYPE_CHECKING:
    from fgnet_plugin.checkpoints import convert_published, load, save, verify
    from fgnet_plugin.comparison import compare
    from fgnet_plugin.errors import CheckpointError, DownloadError, InputError
    from fgnet_plugin.network import FGNet, FGNetConfig, Prediction
    from fgnet_plugin.pyfeat.annotation import annotate
    from fgnet_plugin.pyfeat.detector import Detector
    from fgnet_plugin.pyfeat.heatmaps import heatmaps, plot_heatmaps
    from fgnet_plugin.pyfeat.registration import register, unregister

__all__ = [
    "CheckpointError",
    "Detector",
    "DownloadError",
    "FGNet",
    "FGNetConfig",
    "InputError",
    "Prediction",
    "annotate",
    "compare",
    "convert_published",
    "heatmaps",
    "load",
    "plot_heatmaps",
    "register",
    "save",
    "unregister",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
