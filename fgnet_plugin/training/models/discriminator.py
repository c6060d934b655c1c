"""StyleGAN2's discriminator: a residual network that tells faces from generated ones (Karras et al. 2020, figure 7)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.stylegan2_layers import EqualizedLinear
from fgnet_plugin.ops.resample import blur_kernel

GROUP = 4
"""Samples whose spread one value of the minibatch standard deviation tells."""


class EqualizedConv(nn.Module):
    """A convolution whose weight is stored at unit variance and scaled by 1/√fan_in; with `down`, after a blur, in steps of 2.

    ``act``: leaky ReLU × √2 after it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, down: bool = False, act: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if act else None
        self.scale, self.down = 1 / math.sqrt(inputs * kernel**2), down

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h, w], or h/2 × w/2 with `down`."""
        kernel = self.weight.shape[-1]
        if self.down:
            x = blur(x, 2 if kernel == 3 else 1)
        padding = 0 if self.down else kernel // 2
        x = F.conv2d(x, self.weight * self.scale, self.bias, stride=2 if self.down else 1, padding=padding)
        return x if self.bias is None else F.leaky_relu(x, 0.2) * math.sqrt(2)


class DownBlock(nn.Module):
    """Two convolutions, the second one halving the size, beside a 1×1 one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = EqualizedConv(inputs, inputs, 3)
        self.conv2 = EqualizedConv(inputs, outputs, 3, down=True)
        self.shortcut = EqualizedConv(inputs, outputs, 1, down=True, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h/2, w/2]."""
        return (self.conv2(self.conv1(x)) + self.shortcut(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """Images -> logits of being real. Its channels at each resolution are the generator's."""

    def __init__(self, config: FGNetConfig) -> None:
        super().__init__()
        channels = config.generator_channels[::-1]  # from the full size down to 4 px
        self.from_rgb = EqualizedConv(3, channels[0], 1)
        self.blocks = nn.ModuleList(DownBlock(a, b) for a, b in pairwise(channels))
        last = channels[-1]
        self.conv = EqualizedConv(last + 1, last, 3)
        self.hidden, self.logit = EqualizedLinear(last * 16, last), EqualizedLinear(last, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] -> [B]."""
        x = self.features(images)[-1]
        x = self.conv(torch.cat([x, minibatch_deviation(x)], 1))
        x = F.leaky_relu(self.hidden(x.flatten(1)), 0.2) * math.sqrt(2)
        return self.logit(x)[:, 0]

    def features(self, images: Tensor) -> list[Tensor]:
        """What each block makes of images [B, 3, S, S] in [-1, 1]: maps of S/2, …, 4 px."""
        x, maps = self.from_rgb(images), []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps


def minibatch_deviation(x: Tensor) -> Tensor:
    """How much samples of a group differ, [B, C, h, w] -> [B, 1, h, w]: a batch of one picture again and again is not real.

    Groups have `GROUP` samples, or as many as divide the batch evenly.
    """
    batch, channels, h, w = x.shape
    group = math.gcd(batch, GROUP)
    grouped = x.to(torch.promote_types(x.dtype, torch.float32)).view(group, batch // group, channels, h, w)
    deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))  # [B / group]
    return deviation.to(x.dtype).repeat(group)[:, None, None, None].expand(batch, 1, h, w)


def blur(x: Tensor, padding: int) -> Tensor:
    """The [1, 3, 3, 1] blur at gain 1: [B, C, h, w] -> [B, C, h + 2·padding - 3, w + 2·padding - 3]."""
    kernel = (blur_kernel(x.device, x.dtype) / 4).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])
