"""The StyleGAN2 generator, as a source of feature maps (Karras et al. 2020, config F; paper section 3.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.ops import blur_upsample, modulated_conv2d, noise_bias_act, resize, sample_points, upsample2
from fgnet_plugin.network.ops.modulated_conv import weight_energy

MAPPING_RATE = 0.01
"""Learning-rate multiplier of the mapping network: its stored weights and biases are used × this."""


class EqualizedLinear(nn.Module):
    """A linear layer whose weight is stored at unit variance and scaled by rate/√inputs when used."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:  # [..., inputs] -> [..., outputs]
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class Mapping(nn.Module):
    """The mapping network: z -> w, applied by FG-Net to each row of the encoder's code."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualizedLinear(dim, dim, MAPPING_RATE) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:  # [..., dim] -> [..., dim]
        x = z * torch.rsqrt(z.square().mean(-1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2) * math.sqrt(2.0)
        return x


class StyledConv(nn.Module):
    """One layer: modulated 3×3 convolution (upsampling ones double the size, then blur), noise, bias, leaky ReLU."""

    noise: Tensor  # [1, 1, size, size], fixed

    def __init__(self, inputs: int, outputs: int, size: int, style_dim: int, upsample: bool) -> None:
        super().__init__()
        self.upsample, self.scale = upsample, 1 / math.sqrt(inputs * 9)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.modulation = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.randn(1, 1, size, size))
        self._energy: tuple[tuple[object, ...], Tensor] | None = None

    def forward(self, x: Tensor, row: Tensor, overwrite: bool = False) -> Tensor:
        """[B, I, h, w] and a style row [B, style_dim] -> [B, O, size, size]; x may be overwritten where `overwrite`."""
        x, demodulation = self.convolve(x, row, overwrite)
        return noise_bias_act(x, demodulation, self.noise * self.noise_strength, self.bias)

    def convolve(self, x: Tensor, row: Tensor, overwrite: bool = False) -> tuple[Tensor, Tensor]:
        """The convolution, blurred where it upsamples, and the demodulation [B, O] that it is to be multiplied by."""
        style = self.modulation(row) * self.scale
        x, demodulation = modulated_conv2d(x, self.weight, style, self.energy(), self.upsample, overwrite=overwrite)
        return (blur_upsample(x) if self.upsample else x), demodulation

    def energy(self) -> Tensor:
        """`weight_energy` of the weight, kept between calls while the weight stays the same and no gradient is wanted."""
        weight = self.weight
        if torch.is_grad_enabled() or weight.is_inference():
            return weight_energy(weight)
        key = (weight.data_ptr(), weight._version, weight.dtype, weight.device)
        if self._energy is None or self._energy[0] != key:
            self._energy = key, weight_energy(weight)
        return self._energy[1]


class ToRGB(nn.Module):
    """Feature map -> RGB: a modulated 1×1 convolution without demodulation."""

    def __init__(self, inputs: int, style_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.modulation = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(3))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, row: Tensor) -> Tensor:  # [B, I, h, w], [B, style_dim] -> [B, 3, h, w]
        style = (self.modulation(row) * self.scale).to(x.dtype)
        return F.conv2d(x * style[:, :, None, None], self.weight.to(x.dtype), self.bias.to(x.dtype))


class Generator(nn.Module):
    """Style rows -> feature maps of 4, 8, … px; from these, where one asks for it, the RGB image."""

    def __init__(self, config: FGNetConfig) -> None:
        super().__init__()
        dim, channels = config.style_dim, config.generator_channels
        self.mapping = Mapping(dim, config.mapping_layers)
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.layers = nn.ModuleList([StyledConv(channels[0], channels[0], 4, dim, upsample=False)])
        for inputs, outputs, size in zip(channels, channels[1:], config.map_sizes[1:], strict=False):
            self.layers.append(StyledConv(inputs, outputs, size, dim, upsample=True))
            self.layers.append(StyledConv(outputs, outputs, size, dim, upsample=False))
        self.to_rgb = nn.ModuleList(ToRGB(c, dim) for c in channels)
        self.channels_last = True

    def forward(self, styles: Tensor, max_size: int | None = None) -> list[Tensor]:
        """The feature maps that FG-Net reads: the last layer's output at each resolution.

        Args:
            styles: [B, rows, style_dim] float32 from `mapping`; layer j reads row j, so the last row may be left out.
            max_size: resize larger maps to this side, px (bilinear, corners aligned), and of the largest one compute only
                the pixels that the resize reads.

        Returns:
            Maps [B, channels[i], 4·2^i, 4·2^i], larger ones at `max_size`.
        """
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        x = self.constant.to(self.layers[0].weight.dtype).expand(len(styles), -1, -1, -1).contiguous(memory_format=layout)
        x = self.layers[0](x, styles[:, 0])
        maps = [x]
        final = len(self.layers) - 2
        for j in range(1, len(self.layers), 2):
            up, conv = self.layers[j], self.layers[j + 1]
            # A map that was resized for the interpreter has no other reader than this layer.
            spent = not torch.is_grad_enabled() and maps[-1] is not x
            if j == final and max_size is not None and conv.noise.shape[-1] > max_size:
                maps.append(_pair_at_points(up, conv, x, styles[:, j], styles[:, j + 1], max_size, spent))
                break
            x = up(x, styles[:, j], overwrite=spent)
            x = conv(x, styles[:, j + 1], overwrite=not torch.is_grad_enabled())
            maps.append(resize(x, max_size) if max_size is not None and x.shape[-1] > max_size else x)
        return maps

    def image(self, maps: list[Tensor], styles: Tensor) -> Tensor:
        """The RGB image of full-size feature maps (no `max_size`) and all their style rows.

        Returns:
            [B, 3, generator_size, generator_size], about [-1, 1].
        """
        image = self.to_rgb[0](maps[0], styles[:, 1])
        for i, to_rgb in enumerate(list(self.to_rgb)[1:], start=1):
            image = upsample2(image) + to_rgb(maps[i], styles[:, 2 * i + 1])
        return image


def _pair_at_points(
    up: StyledConv, conv: StyledConv, x: Tensor, up_row: Tensor, conv_row: Tensor, size: int, overwrite: bool
) -> Tensor:
    """``resize(conv(up(x)), size)``, computing of both outputs only what the resize reads.

    Each output pixel interpolates 2×2 pixels of conv's output, which read 4×4 pixels of up's. These patches are laid
    side by side; a 4×4 kernel with stride 4 that holds conv's 3×3 kernel in one of its four corners then gives one of
    the 2×2 pixels for all patches.
    """
    source, outputs = conv.noise.shape[-1], conv.weight.shape[0]
    first, weight = sample_points(source, size, x.device)  # [size] each
    wanted = (first[:, None] + torch.arange(-1, 3, device=x.device)).flatten()  # [4·size], rows and columns alike
    index = wanted.clamp(0, source - 1)

    y, demodulation = up.convolve(x, up_row, overwrite)
    y = noise_bias_act(_select(y, index), demodulation, _select(up.noise * up.noise_strength, index), up.bias)
    inside = (wanted == index).to(y.dtype)  # 0 where conv reads its padding

    style = conv.modulation(conv_row) * conv.scale
    kernel = torch.cat([F.pad(conv.weight, (b, 1 - b, a, 1 - a)) for a in (0, 1) for b in (0, 1)])  # [4·O, I, 4, 4]
    y, demodulation = modulated_conv2d(y * inside * inside[:, None], kernel, style, conv.energy(), stride=4)
    noise = conv.noise * conv.noise_strength
    noise = torch.cat([_select(noise, first + a, first + b) for a in (0, 1) for b in (0, 1)], dim=1)  # [1, 4, size, size]
    noise = noise.repeat_interleave(outputs, dim=1)
    y = noise_bias_act(y, demodulation.repeat(1, 4), noise, conv.bias.repeat(4))

    sides = torch.stack([1 - weight, weight])  # [2, size]
    weights = sides[:, None, :, None] * sides[None, :, None, :]  # [2, 2, size, size]: rows a, columns b
    y = y.unflatten(1, (4, outputs)) * weights.to(y.dtype).flatten(0, 1)[:, None]
    return y.sum(1)


def _select(x: Tensor, rows: Tensor, columns: Tensor | None = None) -> Tensor:
    """Rows and columns of a map by index, [B, C, H, W] -> [B, C, len(rows), len(columns)], channels last."""
    x = x.permute(0, 2, 3, 1).index_select(1, rows).index_select(2, rows if columns is None else columns)
    return x.permute(0, 3, 1, 2)
