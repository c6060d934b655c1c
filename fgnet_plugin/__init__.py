"""FG-Net facial action unit detection for py-feat.

Heavy parts (torch, py-feat) load when they are first used.
"""

from typing import TYPE_CHECKING

from fgnet_plugin.utils.lazy import lazy_names
from fgnet_plugin.version import __version__

if TYPE_CHECKING:
    from fgnet_plugin.checkpoints.convert import convert_published
    from fgnet_plugin.checkpoints.fgnet import load, save, verify
    from fgnet_plugin.comparison.agreement import compare
    from fgnet_plugin.errors import CheckpointError, DownloadError, InputError
    from fgnet_plugin.inference.offline import OfflineDetector
    from fgnet_plugin.inference.overlay import overlay
    from fgnet_plugin.network import FGNet, FGNetConfig, Prediction
    from fgnet_plugin.pyfeat.annotate import annotate
    from fgnet_plugin.pyfeat.detector import Detector
    from fgnet_plugin.pyfeat.heatmaps import heatmaps, plot_heatmaps
    from fgnet_plugin.pyfeat.plots import plot_faces, plot_time_course
    from fgnet_plugin.pyfeat.registration import register, unregister
    from fgnet_plugin.scale.reading import provenance

__all__ = [
    "__version__",
    "CheckpointError",
    "Detector",
    "DownloadError",
    "FGNet",
    "FGNetConfig",
    "InputError",
    "OfflineDetector",
    "Prediction",
    "annotate",
    "compare",
    "convert_published",
    "heatmaps",
    "load",
    "overlay",
    "plot_faces",
    "plot_heatmaps",
    "plot_time_course",
    "provenance",
    "register",
    "save",
    "unregister",
    "verify",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CheckpointError": "fgnet_plugin.errors",
        "Detector": "fgnet_plugin.pyfeat.detector",
        "DownloadError": "fgnet_plugin.errors",
        "FGNet": "fgnet_plugin.network",
        "FGNetConfig": "fgnet_plugin.network",
        "InputError": "fgnet_plugin.errors",
        "OfflineDetector": "fgnet_plugin.inference.offline",
        "Prediction": "fgnet_plugin.network",
        "annotate": "fgnet_plugin.pyfeat.annotate",
        "compare": "fgnet_plugin.comparison.agreement",
        "convert_published": "fgnet_plugin.checkpoints.convert",
        "heatmaps": "fgnet_plugin.pyfeat.heatmaps",
        "load": "fgnet_plugin.checkpoints.fgnet",
        "overlay": "fgnet_plugin.inference.overlay",
        "plot_faces": "fgnet_plugin.pyfeat.plots",
        "plot_heatmaps": "fgnet_plugin.pyfeat.heatmaps",
        "plot_time_course": "fgnet_plugin.pyfeat.plots",
        "provenance": "fgnet_plugin.scale.reading",
        "register": "fgnet_plugin.pyfeat.registration",
        "save": "fgnet_plugin.checkpoints.fgnet",
        "unregister": "fgnet_plugin.pyfeat.registration",
        "verify": "fgnet_plugin.checkpoints.fgnet",
    },
)
