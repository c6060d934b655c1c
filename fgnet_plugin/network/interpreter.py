"""The pyramid interpreter: feature maps -> AU heatmaps (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.fold_batchnorm import affine
from fgnet_plugin.ops.conv_of_upsampled import conv_of_upsampled
from fgnet_plugin.ops.relu_norm_add import relu_norm_add
from fgnet_plugin.ops.upsample_conv_taps import TAPS, taps_of, taps_relu_norm_add

TAPS_FROM = 256
"""Channels from which, with kernels, a convolution's taps are applied to the map before it is upsampled.

Counted, not measured: with C channels in and out it saves 150·C² operations for each pixel of the small map, and moves 68·C
bytes more (100·C of 16-bit products, written and read, less 32·C of the upsampled map and the convolution's result). At 300
operations in the time of a byte, an H100's peak rates, that gains from 136 channels on; the kernel that sums the products stays
below the peak, so this is about twice as many. The published sizes have 512.
"""
MOST_PRODUCTS = 2**30
"""Elements of the products that are made at once: it bounds the memory, and cuDNN's indices may have 32 bits.

The published sizes have 0.78 · 2^30 of them in a batch of 32.
"""


class Block(nn.Module):
    """Twofold upsampling where asked for, convolution, ReLU, dropout, BatchNorm; then the sum with the next feature map."""

    def __init__(self, inputs: int, outputs: int, kernel: int, upsample: bool, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(outputs)
        self.upsample, self.dropout = upsample, dropout

    def forward(self, x: Tensor, feature_map: Tensor | None = None) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h, w], or 2h × 2w where it upsamples; plus the feature map, of that size."""
        if self.upsample:
            assert self.conv.bias is not None
            x = conv_of_upsampled(x, self.conv.weight, self.conv.bias)
        else:
            x = self.conv(x)
        x = self.norm(F.dropout(F.relu(x, inplace=True), self.dropout, self.training))
        if feature_map is None:
            return x
        return x + feature_map if torch.is_grad_enabled() else x.add_(feature_map)


class FusedBlock(nn.Module):
    """A `Block` for detection by the kernels: what follows the convolution is one of them.

    ReLU stands between convolution and BatchNorm, which therefore stays, as scale and shift.
    """

    weight: Tensor  # of the convolution, or, where it comes before the upsampling, of all its taps: see `taps_of`
    conv_bias: Tensor  # these three [C], float32 (float64 where the layer is)
    scale: Tensor
    shift: Tensor

    def __init__(self, block: Block) -> None:
        super().__init__()
        conv = block.conv
        assert conv.bias is not None
        self.upsample, self.padding = block.upsample, conv.padding
        self.by_taps = self.upsample and conv.kernel_size == (TAPS, TAPS) and conv.in_channels >= TAPS_FROM
        scale, shift = affine(block.norm)
        weight = conv.weight.detach()
        self.register_buffer("weight", taps_of(weight) if self.by_taps else weight)
        self.register_buffer("conv_bias", conv.bias.detach().to(scale.dtype))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor, feature_map: Tensor | None = None) -> Tensor:
        """Compute what the block did in evaluation mode; a larger feature map is resized, but not where the block upsamples."""
        if self.by_taps:
            return self._taps_first(x, feature_map)
        if self.upsample:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        x = F.conv2d(x, self.weight, padding=self.padding)
        return relu_norm_add(x, self.conv_bias, self.scale, self.shift, feature_map, kernels=True)

    def _taps_first(self, x: Tensor, feature_map: Tensor | None) -> Tensor:
        count, _, height, width = x.shape
        most = max(MOST_PRODUCTS // (len(self.weight) * height * width), 1)
        if isinstance(count, int) and count > most:  # where it is traced for any batch, it isn't
            maps = [None] * -(-count // most) if feature_map is None else torch.split(feature_map, most)
            return torch.cat([self._taps_first(*part) for part in zip(torch.split(x, most), maps, strict=True)])
        products = F.conv2d(x, self.weight)
        return taps_relu_norm_add(products, self.conv_bias, self.scale, self.shift, feature_map, kernels=True)


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
        if not self.readout.weight.is_meta:  # see `standard_normal`
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as published: convolutions N(0, 0.02), BatchNorm scales N(1, 0.02), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Feature maps of `Generator.forward` -> heatmaps [B, A, H, H], unclamped.

        The maps are at most `heatmap_size` large; only an interpreter that was fused with kernels resizes larger ones.
        """
        h = maps[0]
        for block, feature_map in zip(self.blocks, maps[1:], strict=False):  # the last block has no map to add
            h = block(h, feature_map)
        return self.readout(self.blocks[-1](h))

    def fuse(self, kernels: bool) -> None:
        """Fuse the blocks, see `FGNet.fuse`: without kernels there is nothing to gain."""
        if kernels:
            self.blocks = nn.ModuleList(FusedBlock(block) for block in cast(Iterable[Block], self.blocks))
