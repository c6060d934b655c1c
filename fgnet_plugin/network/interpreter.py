"""The pyramid interpreter: feature maps -> AU heatmaps (paper section 3.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.ops import upsampled_conv2d


class Block(nn.Module):
    """Twofold upsampling where asked for, convolution, ReLU, dropout, BatchNorm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, upsample: bool, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(outputs)
        self.upsample, self.dropout = upsample, dropout

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h, w], or 2h × 2w where it upsamples."""
        if self.upsample:
            assert self.conv.bias is not None
            x = upsampled_conv2d(x, self.conv.weight, self.conv.bias)
        else:
            x = self.conv(x)
        return self.norm(F.dropout(F.relu(x, inplace=True), self.dropout, self.training))


class Interpreter(nn.Module):
    """Merges the maps from the coarsest to the finest: ``h = block_i(h) + map_{i+1}``; the last block reads off heatmaps."""

    def __init__(self, config: FGNetConfig) -> None:
        super().__init__()
        channels, size, dropout = config.generator_channels, config.heatmap_size, config.dropout
        self.blocks = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise(channels)):
            upsample = config.map_sizes[i] < size
            self.blocks.append(Block(inputs, outputs, 3 if i == 0 else 5, upsample, dropout))
        self.blocks.append(Block(channels[-1], channels[-1], 5, False, dropout))
        self.readout = nn.Conv2d(channels[-1], len(config.aus), 5, padding=2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The published initialisation: convolutions N(0, 0.02), BatchNorm scales N(1, 0.02), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Feature maps of `Generator.forward` at most `heatmap_size` large -> heatmaps [B, A, H, H], unclamped."""
        h = maps[0]
        for block, feature_map in zip(self.blocks, maps[1:], strict=False):  # the last block has no map to add
            h = block(h)
            h = h + feature_map if torch.is_grad_enabled() else h.add_(feature_map)
        return self.readout(self.blocks[-1](h))
