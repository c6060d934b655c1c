"""Loss of the encoder stage: pixels, SSIM and the discriminator's feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from fgnet_plugin.training.config.pretraining import Reconstruction
from fgnet_plugin.training.models.discriminator import Discriminator

_SMALLEST = 16  # px: SSIM is taken down to this size


def reconstruction_loss(
    generated: Tensor,
    faces: Tensor,
    weights: Reconstruction,
    discriminator: Discriminator | None = None,
    spreads: Sequence[float] = (),
    pixel_weights: Tensor | None = None,
) -> Tensor:
    """How far generated faces are from faces, by the terms of `Reconstruction`.

    Args:
        generated, faces: [B, 3, S, S], about [-1, 1].
        discriminator: whose maps are compared, where `weights.features` is not 0.
        spreads: standard deviation of each of these maps, see `map_spreads`.
        pixel_weights: [B, 1, S, S] of mean 1, by which the pixels' errors count; none: all alike.

    Returns:
        [B].
    """
    errors = (generated - faces).float().square()
    total = weights.pixels * (errors if pixel_weights is None else errors * pixel_weights).mean((1, 2, 3))
    if weights.structure:
        with torch.autocast(faces.device.type, enabled=False):  # SSIM takes differences of nearly equal numbers
            total = total + weights.structure * _unlikeness(generated.float(), faces.float())
    if discriminator is not None and weights.features:
        with torch.no_grad():
            wanted = discriminator.features(faces)
        found = discriminator.features(generated)
        apart = [(f - w).abs().float().mean((1, 2, 3)) / s for f, w, s in zip(found, wanted, spreads, strict=True)]
        total = total + weights.features * torch.stack(apart).mean(0)
    return total


def _unlikeness(one: Tensor, other: Tensor) -> Tensor:
    """[B]: 1 - SSIM, its mean over sizes halved until 16 px."""
    scales = []
    while one.shape[-1] >= _SMALLEST:
        likeness = structural_similarity_index_measure(one, other, data_range=2.0, reduction="none")
        scales.append(1 - torch.as_tensor(likeness[0] if isinstance(likeness, tuple) else likeness))
        one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
    return torch.stack(scales).mean(0)


@torch.no_grad()
def map_spreads(discriminator: Discriminator, faces: Tensor) -> list[float]:
    """Standard deviations of a discriminator's maps of faces [B, 3, S, S] in [-1, 1]: the units that they are compared in."""
    return [float(found.float().std()) for found in discriminator.features(faces)]
