"""BP4D and DISFA as distributed -> aligned faces, landmarks and labels in the layout of FG-Net's published label files."""

from fgnet_plugin.training.prepare.bp4d import read_bp4d
from fgnet_plugin.training.prepare.disfa import read_disfa
from fgnet_plugin.training.prepare.frames import CodedFrame, RawCorpus
from fgnet_plugin.training.prepare.landmark_sources import FinderLandmarks, LandmarkSource, StoredLandmarks
from fgnet_plugin.training.prepare.lists import only_listed
from fgnet_plugin.training.prepare.pipeline import Prepared, prepare

__all__ = [
    "RawCorpus",
    "FinderLandmarks",
    "CodedFrame",
    "LandmarkSource",
    "Prepared",
    "StoredLandmarks",
    "only_listed",
    "prepare",
    "read_bp4d",
    "read_disfa",
]
