"""StyleGAN2's losses: non-saturating logistic, R1 on real images, path lengths (Karras et al. 2020, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic loss of logits of real and of generated images [B]: a scalar."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Non-saturating logistic loss of the logits of generated images [B]: a scalar."""
    return F.softplus(-fake).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Mean squared norm of the logits' gradient at real images (Mescheder et al. 2018, R1 without its γ/2).

    Args:
        discriminator: images [B, 3, S, S] -> logits [B].
        images: [B, 3, S, S].

    Returns:
        A scalar that can be differentiated by the discriminator's weights.
    """
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def path_lengths(images: Tensor, styles: Tensor, noise: Tensor | None = None) -> Tensor:
    """How far an image moves for a small step in style space, in a random direction of image space.

    Args:
        images: [B, 3, S, S], computed from `styles`.
        styles: [B, rows, style_dim], w.
        noise: the direction, [B, 3, S, S]; drawn from N(0, 1) where left out.

    Returns:
        [B]: ‖Jᵀ y‖ with y = noise / S, root mean square over the rows; can be differentiated.
    """
    y = torch.randn_like(images) if noise is None else noise
    (gradient,) = torch.autograd.grad((images * y).sum() / math.sqrt(images[0, 0].numel()), styles, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """Mean squared distance of path lengths from their running mean.

    Args:
        lengths: [B], see `path_lengths`.
        mean: the running mean so far, a scalar.
        decay: how far the mean moves to that of these lengths.

    Returns:
        The penalty, a scalar, and the new mean, without gradient.
    """
    moved = torch.lerp(mean, lengths.detach().mean(), decay)
    return (lengths - moved).square().mean(), moved
