"""BP4D and DISFA as distributed -> aligned faces, landmarks and labels in the layout of FG-Net's published label files."""

from fgnet_plugin.training.prepare.bp4d import read_bp4d
from fgnet_plugin.training.prepare.common import Prepared, prepare
from fgnet_plugin.training.prepare.disfa import read_disfa
from fgnet_plugin.training.prepare.landmarks import FinderLandmarks, LandmarkSource, StoredLandmarks
from fgnet_plugin.training.prepare.raw import Corpus, Frame

__all__ = [
    "Corpus",
    "FinderLandmarks",
    "Frame",
    "LandmarkSource",
    "Prepared",
    "StoredLandmarks",
    "prepare",
    "read_bp4d",
    "read_disfa",
]
