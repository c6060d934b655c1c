"""What follows each of the generator's convolutions: demodulation, noise, bias, leaky ReLU, gain."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

SLOPE, GAIN = 0.2, math.sqrt(2.0)


def noise_bias_act_reference(x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor) -> Tensor:
    """``leaky_relu(x · demodulation + noise + bias, 0.2) · √2``.

    Args:
        x: [..., B, C, H, W]; demodulation: [B, C]; bias: [C].
        noise: [..., 1, 1, H, W], its strength included.
    """
    x = x * demodulation[:, :, None, None] + noise + bias[:, None, None]
    return F.leaky_relu(x, SLOPE) * GAIN


def noise_bias_act(x: Tensor, demodulation: Tensor, noise: Tensor, bias: Tensor, overwrite: bool = False) -> Tensor:
    """`noise_bias_act_reference` in x's dtype; in place where `overwrite` (detection only).

    Leaky ReLU commutes with positive factors, so the gain goes into the three small operands.
    """
    scale = (demodulation * GAIN).to(x.dtype)[:, :, None, None]
    noise = (noise * GAIN).to(x.dtype)
    bias = (bias * GAIN).to(x.dtype)[:, None, None]
    if overwrite:
        return F.leaky_relu_(x.mul_(scale).add_(noise).add_(bias), SLOPE)
    return F.leaky_relu(x * scale + noise + bias, SLOPE)
