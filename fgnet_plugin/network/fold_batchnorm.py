"""Fold the BatchNorm of a network that no longer learns into scale and shift, or into the convolution before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Compute what a BatchNorm does in evaluation mode: ``norm(x) == x * scale + shift``.

    Returns:
        scale and shift [C], computed in float64 and rounded once, to float32 (float64 where the layer is).
    """
    mean, variance = _statistics(norm)
    scale = exact(norm.weight) * torch.rsqrt(variance + norm.eps)
    shift = exact(norm.bias) - mean * scale
    like = norm.weight.to(torch.promote_types(norm.weight.dtype, torch.float32))
    return scale.to(like), shift.to(like)


@torch.no_grad()
def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Make ``conv(x)`` what ``norm(conv(x))`` was in evaluation mode, up to rounding; norm is to be dropped.

    Computed in float64 and rounded once; the weight keeps its memory layout.
    """
    bias = None if conv.bias is None else exact(conv.bias)
    scale, shift = exact(norm.weight), exact(norm.bias)
    weight, folded = fuse_conv_bn_weights(exact(conv.weight), bias, *_statistics(norm), norm.eps, scale, shift)
    conv.weight.data = weight.data.to(conv.weight)
    conv.bias = nn.Parameter(folded.data.to(conv.weight), requires_grad=False)


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return mean and variance that a BatchNorm has learnt, float64."""
    assert norm.running_mean is not None  # there are BatchNorms without; torch's type allows for both
    assert norm.running_var is not None
    return exact(norm.running_mean), exact(norm.running_var)


def exact(value: Tensor) -> Tensor:
    """Bring a tensor to float64; one of an Apple GPU, which has none, on the CPU."""
    return value.to("cpu" if value.device.type == "mps" else value.device, torch.float64)
