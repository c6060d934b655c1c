"""Small networks whose every number counts, for tests that compare two ways to compute the same."""

import torch
from torch import Tensor, nn

from fgnet_plugin.network import FGNet, FGNetConfig


def share(found: Tensor, expected: Tensor) -> float:
    """The largest deviation, as a share of the expected range."""
    return float((found.cpu() - expected.cpu()).abs().max() / (expected.max() - expected.min()))


def learnt(config: FGNetConfig) -> FGNet:
    """A network with nothing left at the 0 or 1 that it is initialised with, in evaluation mode.

    Two faces differ by some hundredths of the heatmaps' range.
    """
    torch.manual_seed(0)
    net = FGNet(config).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    for layer in net.generator.layers:
        nn.init.normal_(layer.noise_strength, 0, 0.2)
        nn.init.normal_(layer.bias, 0, 0.2)
    nn.init.normal_(net.interpreter.readout.weight, 0, 0.2)
    return net
