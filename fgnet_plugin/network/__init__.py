"""The FG-Net network. Needs torch and nothing else."""

from fgnet_plugin.network.config import FGNetConfig, small_config
from fgnet_plugin.network.fgnet import FGNet, Prediction, decode, normalize, scores

__all__ = ["FGNet", "FGNetConfig", "Prediction", "decode", "normalize", "scores", "small_config"]
