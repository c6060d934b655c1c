"""BP4D and DISFA as distributed, and one's own corpora -> aligned faces, landmarks and labels, as FG-Net's published files."""

from fgnet_plugin.training.prepare.bp4d import read_bp4d
from fgnet_plugin.training.prepare.disfa import read_disfa
from fgnet_plugin.training.prepare.frames import CodedFrame, RawCorpus
from fgnet_plugin.training.prepare.landmark_sources import FinderLandmarks, LandmarkSource, StoredLandmarks
from fgnet_plugin.training.prepare.lists import only_listed
from fgnet_plugin.training.prepare.own import read_own
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
    "read_own",
]
