"""Building blocks that BlazeFace and FaceMesh share (Bazarevsky et al., CVPR Workshops 2019). Needs torch and nothing else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SamePaddedConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does: with stride 2 an even side is padded at its end only."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out_channels, kernel, stride, (kernel - 1) // 2 if stride == 1 else 0, groups=groups)
        total = kernel - stride
        self.before, self.after = (0, 0) if stride == 1 else (total // 2, total - total // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, out_channels, h/stride, w/stride]; h and w are multiples of the stride."""
        if self.after:
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        return super().forward(x)


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
        super().__init__(SamePaddedConv(channels, channels, 3, stride, channels), PointwiseConv(channels, out_channels))


def shortcut(x: Tensor, channels: int, stride: int) -> Tensor:
    """Pool [B, C, h, w] where the block beside it has stride 2 and pad it with channels of zeros: [B, channels, h', w']."""
    if stride == 2:  # the maximum of 2×2 pixels; max_pool2d also looks for their indices, which takes longer
        x = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
        x = torch.maximum(x[..., ::2], x[..., 1::2])
    missing = channels - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
