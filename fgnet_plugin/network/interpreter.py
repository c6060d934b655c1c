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
from fgnet_plugin.ops import dispatch
from fgnet_plugin.ops.conv_of_upsampled import upsampled_conv2d
from fgnet_plugin.ops.relu_norm_add import relu_norm_add
from fgnet_plugin.ops.upsample_conv_taps import TAPS, taps_of, taps_relu_norm_add

TAPS_FROM = 256
"""Channels from which, on a GPU, a convolution's taps meet the map before it is upsampled.

Counted, not measured: with C channels in and out it saves 150·C² operations for each pixel of the small map, and moves 68·C
bytes more (100·C of 16-bit products, written and read, less 32·C of the upsampled map and the convolution's result). At 300
operations in the time of a byte, an H100's peak rates, that gains from 136 channels on; the kernel that sums the products stays
below the peak, so this is about twice as many. The published sizes have 512.
"""
_MOST_PRODUCTS = 2**29
"""Elements of the products that are made at once: it bounds the memory, and cuDNN's indices may have 32 bits."""


class Block(nn.Module):
    """Twofold upsampling where asked for, convolution, ReLU, dropout, BatchNorm; then the sum with the next feature map."""

    conv_bias: Tensor | None  # these three [C], of a fused model: see `_constants`
    scale: Tensor | None
    shift: Tensor | None
    taps: Tensor | None  # of a fused model: see `taps_of`

    def __init__(self, inputs: int, outputs: int, kernel: int, upsample: bool, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(outputs)
        self.upsample, self.dropout = upsample, dropout
        for name in ("conv_bias", "scale", "shift", "taps"):
            self.register_buffer(name, None, persistent=False)

    def forward(self, x: Tensor, feature_map: Tensor | None = None) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h, w], or 2h × 2w where it upsamples; plus the feature map, of that size.

        Where `kernels.wanted`, the feature map may be larger, but not where it upsamples: it is resized then.
        """
        if not self.training and dispatch.wanted(x):
            return self._detect(x, feature_map)
        if self.upsample:
            assert self.conv.bias is not None
            x = upsampled_conv2d(x, self.conv.weight, self.conv.bias)
        else:
            x = self.conv(x)
        x = self.norm(F.dropout(F.relu(x, inplace=True), self.dropout, self.training))
        if feature_map is None:
            return x
        return x + feature_map if torch.is_grad_enabled() else x.add_(feature_map)

    def _detect(self, x: Tensor, feature_map: Tensor | None) -> Tensor:
        if self._by_taps():
            return self._detect_by_taps(x, feature_map)
        if self.upsample:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        x = F.conv2d(x, self.conv.weight, padding=self.conv.padding)
        return relu_norm_add(x, *self._constants(), _like(feature_map, x))

    def _detect_by_taps(self, x: Tensor, feature_map: Tensor | None) -> Tensor:
        taps = taps_of(self.conv.weight) if self.taps is None else self.taps
        count, _, height, width = x.shape
        most = max(_MOST_PRODUCTS // (len(taps) * height * width), 1)
        if isinstance(count, int) and count > most:  # where it is traced for any batch, it isn't
            maps = [None] * -(-count // most) if feature_map is None else torch.split(feature_map, most)
            return torch.cat([self._detect_by_taps(*part) for part in zip(torch.split(x, most), maps, strict=True)])
        x = F.conv2d(x, taps)
        return taps_relu_norm_add(x, *self._constants(), _like(feature_map, x))

    def _by_taps(self) -> bool:
        return self.upsample and self.conv.kernel_size == (TAPS, TAPS) and self.conv.in_channels >= TAPS_FROM

    def _constants(self) -> tuple[Tensor, Tensor, Tensor]:
        """The convolution's bias, and BatchNorm as scale and shift: [C] float32 each (float64 where the layer is)."""
        if self.conv_bias is not None and self.scale is not None and self.shift is not None:
            return self.conv_bias, self.scale, self.shift
        assert self.conv.bias is not None
        scale, shift = affine(self.norm)
        return self.conv.bias.to(scale.dtype), scale, shift

    def fuse(self) -> None:
        """See `FGNet.fuse`. ReLU stands between convolution and BatchNorm, which therefore stays."""
        self.conv_bias, self.scale, self.shift = self._constants()
        if self._by_taps():
            self.taps = taps_of(self.conv.weight.detach())


def _like(feature_map: Tensor | None, x: Tensor) -> Tensor | None:
    """In x's dtype: under autocast they can differ."""
    return None if feature_map is None else feature_map.to(x.dtype)


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
        """Feature maps of `Generator.forward` -> heatmaps [B, A, H, H], unclamped.

        The maps are at most `heatmap_size` large; larger ones are resized where `kernels.wanted`, and don't fit elsewhere.
        """
        h = maps[0]
        for block, feature_map in zip(self.blocks, maps[1:], strict=False):  # the last block has no map to add
            h = block(h, feature_map)
        return self.readout(self.blocks[-1](h))

    def fuse(self) -> None:
        """See `FGNet.fuse`."""
        for block in cast(Iterable[Block], self.blocks):
            block.fuse()
