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
    scale = norm.weight.double() * torch.rsqrt(variance + norm.eps)
    shift = norm.bias.double() - mean * scale
    dtype = torch.promote_types(norm.weight.dtype, torch.float32)
    return scale.to(dtype), shift.to(dtype)


@torch.no_grad()
def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Make ``conv(x)`` what ``norm(conv(x))`` was in evaluation mode, up to rounding; norm is to be dropped.

    Computed in float64 and rounded once; the weight keeps its memory layout.
    """
    bias = None if conv.bias is None else conv.bias.double()
    scale, shift = norm.weight.double(), norm.bias.double()
    weight, folded = fuse_conv_bn_weights(conv.weight.double(), bias, *_statistics(norm), norm.eps, scale, shift)
    conv.weight.data = weight.data.to(conv.weight.dtype)
    conv.bias = nn.Parameter(folded.data.to(conv.weight.dtype), requires_grad=False)


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return mean and variance that a BatchNorm has learnt, float64."""
    assert norm.running_mean is not None  # there are BatchNorms without; torch's type allows for both
    assert norm.running_var is not None
    return norm.running_mean.double(), norm.running_var.double()
