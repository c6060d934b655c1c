"""Loss of the encoder stage: pixels, SSIM, the discriminator's feature maps; LPIPS and identity, with weights of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from fgnet_plugin.training.config.pretraining import Reconstruction
from fgnet_plugin.training.models.discriminator import Discriminator
from fgnet_plugin.training.models.face_recognition import FaceRecognition
from fgnet_plugin.training.models.lpips import Lpips

_SMALLEST = 16  # px: SSIM is taken down to this size


@dataclass(frozen=True)
class Judge:
    """Another frozen network that compares faces."""

    weight: float
    net: nn.Module
    difference: Callable[[Tensor, Tensor], Tensor]
    """Generated faces and faces [B, 3, S, S] in [-1, 1] -> [B]."""


def judges(settings: Reconstruction) -> list[Judge]:
    """The networks that compare by weights of the user's. Raises CheckpointError for files that are missing or don't fit."""
    found = []
    if settings.lpips:
        lpips = Lpips(settings.lpips_net, settings.lpips_backbone, settings.lpips_linear)
        found.append(Judge(settings.lpips, lpips, lpips.forward))
    if settings.identity:
        recognition = FaceRecognition(settings.identity_weights)
        found.append(Judge(settings.identity, recognition, recognition.difference))
    return found


def reconstruction_loss(
    generated: Tensor,
    faces: Tensor,
    weights: Reconstruction,
    discriminator: Discriminator | None = None,
    spreads: Sequence[float] = (),
    others: Sequence[Judge] = (),
    pixel_weights: Tensor | None = None,
) -> Tensor:
    """How far generated faces are from faces, by the terms of `Reconstruction`.

    Args:
        generated, faces: [B, 3, S, S], about [-1, 1].
        discriminator: whose maps are compared, where `weights.features` is not 0.
        spreads: standard deviation of each of these maps, see `map_spreads`.
        others: see `judges`.
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
    with torch.autocast(faces.device.type, enabled=False):
        for judge in others:
            total = total + judge.weight * judge.difference(generated.float(), faces.float())
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
