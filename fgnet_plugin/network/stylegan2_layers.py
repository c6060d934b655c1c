"""Layers of StyleGAN2: mapping network, modulated convolution with noise, to-RGB."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.network.initial import standard_normal
from fgnet_plugin.ops.modulated_conv import DEMODULATION_EPS, demodulation, modulated_conv_act, normalized_style
from fgnet_plugin.ops.noise_bias_act import noise_act_styled

MAPPING_RATE = 0.01
"""Learning-rate multiplier of the mapping network: its stored weights and biases are used × this."""


class EqualizedLinear(nn.Module):
    """A linear layer whose weight is stored at unit variance and scaled by rate/√inputs when used."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(standard_normal(outputs, inputs, divisor=rate))
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        if self.scale == self.rate == 1:
            return F.linear(x, self.weight, self.bias)
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)

    def fuse(self, factor: float = 1.0) -> None:
        """Fuse the layer, see `FGNet.fuse`; from now on its result is `factor` times what it was."""
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
        self.upsample, self.kernels, self.scale = upsample, False, 1 / math.sqrt(inputs * 9)
        self.weight = nn.Parameter(standard_normal(outputs, inputs, 3, 3))
        self.modulation = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", standard_normal(1, 1, size, size))
        self.register_buffer("scaled_noise", None, persistent=False)
        self.register_buffer("energy", None, persistent=False)

    def forward(self, x: Tensor, demodulation: Tensor, post: Tensor | None = None, fresh_noise: bool = False) -> Tensor:
        """Run the layer on a map that was multiplied by its style; see `factors`.

        Args:
            x: [B, I, h, w], already times this layer's style.
            demodulation: [B, O].
            post: [B, O], the style of the layer that alone reads the result, which is multiplied by it.
            fresh_noise: draw another noise for each sample, as when the generator is trained, instead of the fixed one.

        Returns:
            [B, O, size, size].
        """
        if fresh_noise:
            noise = self.noise.new_empty(len(x), *self.noise.shape[1:]).normal_() * self.noise_strength
        else:
            noise = self.fixed_noise()
        return modulated_conv_act(
            x,
            self.weight,
            demodulation,
            noise,
            self.bias,
            post,
            upsample=self.upsample,
            overwrite=not torch.is_grad_enabled(),
            kernels=self.kernels and not fresh_noise,
        )

    def with_styled(self, x: Tensor, demodulation: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Run a layer that does not upsample, of a model fused with kernels, for two readers.

        Args:
            x, demodulation: see `forward`.
            style: [B, O], of the layer that is one of the readers.

        Returns:
            What `forward` returns, and that times the style, [B, O, size, size] each.
        """
        x = F.conv2d(x, self.weight, padding=1)
        return noise_act_styled(x, demodulation, self.fixed_noise(), self.bias, style, kernels=self.kernels)

    def factors(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the factors of the input's channels [B, I] and of the output's [B, O] from a style row [B, style_dim].

        The first are the style, the weight's scale 1/√fan_in included, the second the demodulation.
        """
        style = normalized_style(self.modulation(row), self.weight.dtype)
        style = style if self.scale == 1 else style * self.scale
        if self.energy is None:
            return style, demodulation(style, self.weight)
        return style, (style.square() @ self.energy.t() + DEMODULATION_EPS).rsqrt()

    def fixed_noise(self) -> Tensor:
        """Return the fixed noise [1, 1, size, size], its strength included."""
        return self.noise * self.noise_strength if self.scaled_noise is None else self.scaled_noise

    def fuse(self, kernels: bool) -> None:
        """Fuse the layer, see `FGNet.fuse`."""
        self.kernels = kernels
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
        self.weight = nn.Parameter(standard_normal(3, inputs, 1, 1))
        self.modulation = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(3))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, row: Tensor) -> Tensor:
        """[B, I, h, w] and a style row [B, style_dim] -> [B, 3, h, w]."""
        with torch.autocast(x.device.type, enabled=False):
            style = (self.modulation(row) * self.scale).to(x.dtype)
        return F.conv2d(x * style[:, :, None, None], self.weight.to(x.dtype), self.bias.to(x.dtype))
