"""The StyleGAN2 generator, as a source of feature maps (Karras et al. 2020, config F; paper section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.last_map import LastMap, resized_pair
from fgnet_plugin.network.ops import blur_noise_act, kernels, modulated_conv2d, noise_bias_act, resize, upsample2
from fgnet_plugin.network.ops.modulated_conv import DEMODULATION_EPS, demodulation, normalized_style, scale_channels

MAPPING_RATE = 0.01
"""Learning-rate multiplier of the mapping network: its stored weights and biases are used × this."""


class EqualizedLinear(nn.Module):
    """A linear layer whose weight is stored at unit variance and scaled by rate/√inputs when used."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        if self.scale == self.rate == 1:
            return F.linear(x, self.weight, self.bias)
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)

    def fuse(self, factor: float = 1.0) -> None:
        """See `FGNet.fuse`; from now on the layer's result is `factor` times what it was."""
        self.weight.data *= self.scale * factor
        self.bias.data *= self.rate * factor
        self.scale = self.rate = 1.0


class Mapping(nn.Module):
    """The mapping network: z -> w, applied by FG-Net to each row of the encoder's code."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualizedLinear(dim, dim, MAPPING_RATE) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:
        """[..., dim] -> [..., dim]; z is first brought to unit mean square."""
        with torch.autocast(z.device.type, enabled=False):  # costs nothing, and styles are used everywhere
            x = z * torch.rsqrt(z.square().mean(-1, keepdim=True) + 1e-8)
            for layer in self.layers:
                x = F.leaky_relu(layer(x), 0.2) * math.sqrt(2.0)
            return x


class StyledConv(nn.Module):
    """One layer: modulated 3×3 convolution (upsampling ones double the size, then blur), noise, bias, leaky ReLU."""

    noise: Tensor  # [1, 1, size, size], fixed
    scaled_noise: Tensor | None  # of a fused model: the noise times its strength
    energy: Tensor | None  # of a fused model, [O, I]: what demodulation needs of the weight

    def __init__(self, inputs: int, outputs: int, size: int, style_dim: int, upsample: bool) -> None:
        super().__init__()
        self.upsample, self.scale = upsample, 1 / math.sqrt(inputs * 9)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.modulation = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.randn(1, 1, size, size))
        self.register_buffer("scaled_noise", None, persistent=False)
        self.register_buffer("energy", None, persistent=False)

    def forward(self, x: Tensor, row: Tensor, overwrite: bool = False, fresh_noise: bool = False) -> Tensor:
        """[B, I, h, w] and a style row [B, style_dim] -> [B, O, size, size]; x may be overwritten where `overwrite`.

        The noise is the fixed one, or, with `fresh_noise`, another for each sample, as when the generator is trained.
        """
        with torch.autocast(x.device.type, enabled=False):
            style, factors = self.factors(row)
        x = modulated_conv2d(x, self.weight, style, self.upsample, overwrite)
        if fresh_noise:
            noise = self.noise.new_empty(len(x), *self.noise.shape[1:]).normal_() * self.noise_strength
        else:
            noise = self.fixed_noise()
        return noise_bias_act(x, factors, noise, self.bias, overwrite=not torch.is_grad_enabled())

    def detect(self, x: Tensor, factors: Tensor, post: Tensor | None = None) -> Tensor:
        """`forward` through the fused operations, where `kernels.wanted`.

        Args:
            x: [B, I, h, w], already times this layer's style.
            factors: [B, O], its demodulation.
            post: [B, O], the style of the layer that alone reads the result, which is times that then.

        Returns:
            [B, O, size, size].
        """
        if self.upsample:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            return blur_noise_act(x, factors, self.fixed_noise(), self.bias, post)
        return noise_bias_act(F.conv2d(x, self.weight, padding=1), factors, self.fixed_noise(), self.bias, True, post)

    def factors(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Style row [B, style_dim] -> factors of the input's channels [B, I] and of the output's [B, O].

        The first are the style, the weight's scale 1/√fan_in included, the second are demodulation.
        """
        style = normalized_style(self.modulation(row), self.weight.dtype)
        style = style if self.scale == 1 else style * self.scale
        if self.energy is None:
            return style, demodulation(style, self.weight)
        return style, (style.square() @ self.energy.t() + DEMODULATION_EPS).rsqrt()

    def fixed_noise(self) -> Tensor:
        """[1, 1, size, size], its strength included."""
        return self.noise * self.noise_strength if self.scaled_noise is None else self.scaled_noise

    def fuse(self) -> None:
        """See `FGNet.fuse`."""
        if self.weight.dtype == torch.float16:  # the style is normalised before it is scaled
            self.modulation.fuse()
        else:
            self.modulation.fuse(self.scale)
            self.scale = 1.0
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        self.energy = self.weight.detach().to(dtype).square().sum((2, 3))
        self.scaled_noise = (self.noise * self.noise_strength).detach()


class ToRGB(nn.Module):
    """Feature map -> RGB: a modulated 1×1 convolution without demodulation."""

    def __init__(self, inputs: int, style_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.modulation = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(3))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, row: Tensor) -> Tensor:
        """[B, I, h, w] and a style row [B, style_dim] -> [B, 3, h, w]."""
        with torch.autocast(x.device.type, enabled=False):
            style = (self.modulation(row) * self.scale).to(x.dtype)
        return F.conv2d(x * style[:, :, None, None], self.weight.to(x.dtype), self.bias.to(x.dtype))


class Generator(nn.Module):
    """Style rows -> feature maps of 4, 8, … px; from these, where one asks for it, the RGB image."""

    def __init__(self, config: FGNetConfig) -> None:
        super().__init__()
        dim, channels = config.style_dim, config.generator_channels
        self.mapping = Mapping(dim, config.mapping_layers)
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        layers = [StyledConv(channels[0], channels[0], 4, dim, upsample=False)]
        for inputs, outputs, size in zip(channels, channels[1:], config.map_sizes[1:], strict=False):
            layers.append(StyledConv(inputs, outputs, size, dim, upsample=True))
            layers.append(StyledConv(outputs, outputs, size, dim, upsample=False))
        self.layers = nn.ModuleList(layers)
        self.to_rgb = nn.ModuleList(ToRGB(c, dim) for c in channels)
        self.channels_last = True
        self.last_map: LastMap | None = None  # of a fused model

    def forward(
        self, styles: Tensor, max_size: int | None = None, fresh_noise: bool = False, resized: bool = True
    ) -> list[Tensor]:
        """The feature maps that FG-Net reads: the last layer's output at each resolution.

        Args:
            styles: [B, rows, style_dim] float32 from `mapping`; layer j reads row j, so the last row may be left out.
            max_size: resize larger maps to this side, px (bilinear, corners aligned); of a last map over four times that
                size, only the pixels that the resize reads are computed.
            fresh_noise: draw each layer's noise anew for each sample (training the generator), not with `max_size`.
            resized: False leaves the maps that are computed as a whole at their size: the interpreter resizes them, where
                `kernels.wanted`.

        Returns:
            Maps [B, channels[i], 4·2^i, 4·2^i], larger ones at `max_size`.
        """
        fused = kernels.wanted(styles) and not fresh_noise
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        first, *rest = cast(Iterable[StyledConv], self.layers)
        x = self.constant.to(first.weight.dtype).expand(len(styles), -1, -1, -1).contiguous(memory_format=layout)
        if fused:
            with torch.autocast(x.device.type, enabled=False):
                style, factors = first.factors(styles[:, 0])
            x = first.detect(scale_channels(x, style), factors)
        else:
            x = first(x, styles[:, 0], fresh_noise=fresh_noise)
        maps = [x]
        detecting = not torch.is_grad_enabled()
        for j, (up, conv) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
            rows = styles[:, 2 * j + 1 : 2 * j + 3]
            spent = detecting and maps[-1] is not x  # x was resized for the interpreter and has no other reader than `up`
            # Each point of a resize needs 4×4 pixels of `up`: a saving only where these are fewer than all.
            if conv is rest[-1] and max_size is not None and conv.noise.shape[-1] > 4 * max_size:
                maps.append(resized_pair(up, conv, x, rows, max_size, overwrite=spent, last_map=self.last_map))
                break
            if fused:
                with torch.autocast(x.device.type, enabled=False):
                    (style, factors), (post, post_factors) = up.factors(rows[:, 0]), conv.factors(rows[:, 1])
                x = up.detect(scale_channels(x, style, overwrite=spent), factors, post)
                x = conv.detect(x, post_factors)
            else:
                x = up(x, rows[:, 0], overwrite=spent, fresh_noise=fresh_noise)
                x = conv(x, rows[:, 1], overwrite=detecting, fresh_noise=fresh_noise)
            maps.append(resize(x, max_size) if resized and max_size is not None and x.shape[-1] > max_size else x)
        return maps

    def fuse(self, max_size: int) -> None:
        """See `FGNet.fuse`; the last map is prepared for that `max_size`."""
        self.to_rgb = nn.ModuleList()
        for module in self.modules():
            if isinstance(module, StyledConv):
                module.fuse()
        for layer in cast(Iterable[EqualizedLinear], self.mapping.layers):
            layer.fuse()
        up, conv = cast(Iterable[StyledConv], self.layers[-2:])
        if conv.noise.shape[-1] > 4 * max_size:
            self.last_map = LastMap(up, conv, max_size)

    def image(self, maps: list[Tensor], styles: Tensor) -> Tensor:
        """The RGB image of full-size feature maps (no `max_size`) and all their style rows.

        Returns:
            [B, 3, generator_size, generator_size], about [-1, 1].

        Raises:
            ValueError: the model was fused.
        """
        if not self.to_rgb:
            raise ValueError("the model was fused for detection and paints no image; load it again, without fuse")
        layers = [to_rgb(maps[i], styles[:, 2 * i + 1]) for i, to_rgb in enumerate(self.to_rgb)]
        with torch.autocast(styles.device.type, enabled=False):  # bfloat16 has fewer steps near ±1 than 8 bits have
            image = layers[0].to(styles.dtype)
            for layer in layers[1:]:
                image = upsample2(image) + layer
            return image
