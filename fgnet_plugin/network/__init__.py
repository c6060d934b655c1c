"""The FG-Net network. Needs torch and nothing else."""

from fgnet_plugin.network.config import FGNetConfig, small_config
from fgnet_plugin.network.fgnet import FGNet, normalize
from fgnet_plugin.network.prediction import Prediction, scores
from fgnet_plugin.ops.decode_heatmaps import decode

__all__ = ["FGNet", "FGNetConfig", "Prediction", "decode", "normalize", "scores", "small_config"]
