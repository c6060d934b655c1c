"""Building blocks that BlazeFace and FaceMesh share (Bazarevsky et al., CVPR Workshops 2019). Needs torch and nothing else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SamePaddedConv(nn.Conv2d):
    """A 3×3 convolution that pads as TensorFlow's SAME does: with stride 2 an even side is padded at its end only."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out_channels, 3, stride, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, out_channels, h/stride, w/stride]; h and w are multiples of the stride."""
        if self.stride[0] == 1:
            return super().forward(x)
        # The kernel with zeros before it, rather than the map with zeros after it: that saves a copy of the map.
        return F.conv2d(x, F.pad(self.weight, (1, 0, 1, 0)), self.bias, self.stride, 1, groups=self.groups)


class PointwiseConv(nn.Conv2d):
    """A 1×1 convolution as a matrix product, which is quicker for few pictures in channels_last memory."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, out_channels, h, w]."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias).permute(0, 3, 1, 2)


class DepthwiseSeparable(nn.Sequential):
    """A depthwise 3×3 convolution and a pointwise one, without activation between them."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(SamePaddedConv(channels, channels, stride, channels), PointwiseConv(channels, out_channels))


def add_shortcut(y: Tensor, x: Tensor, stride: int) -> Tensor:
    """Add x [B, C, h, w] to the first C channels of y [B, channels, h/stride, w/stride], in place; stride 2 pools it."""
    if stride == 2:  # the maximum of 2×2 pixels; max_pool2d also looks for their indices, which takes longer
        x = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
        x = torch.maximum(x[..., ::2], x[..., 1::2])
    y[:, : x.shape[1]].add_(x)
    return y
