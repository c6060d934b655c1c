"""What FG-Net's heatmaps should look like, from landmarks and labels, and how far they are from it.

Yin et al., WACV 2024, section 3.3; centres and clipping as in the published code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fgnet_plugin.action_units import NOT_CODABLE, au_centres

SIGMA, SIGMA_SIZE = 20.0, 128
"""Standard deviation of the Gaussians, in pixels of a map of 128 px."""
_SMALLEST = 0.01  # values of a Gaussian below are 0
_CACHED = 1 << 16  # values of maps that a processor's cache holds several times
_INNER_CORNERS = 39, 42


class Targets(NamedTuple):
    """Targets of B faces and A AUs."""

    heatmaps: Tensor
    """[B, A, size, size] in [-1, 1]: positive where the AU is present, negative where it is absent, 0 where unknown."""
    known: Tensor
    """[B, A] bool: whether the AU is labelled on this face."""


def au_positions(landmarks: Tensor, aus: Sequence[str]) -> Tensor:
    """The two centres of each AU: landmarks [..., 68, 2] -> [..., A, 2, 2], in the landmarks' coordinates.

    Raises ValueError for another shape, and for an AU that has no centres.
    """
    if landmarks.shape[-2:] != (68, 2):
        raise ValueError(f"landmarks must have shape [..., 68, 2], got {list(landmarks.shape)}")
    centres = [centre for name in aus for centre in au_centres(name)]
    right, left = _INNER_CORNERS
    between = (landmarks[..., left, :] - landmarks[..., right, :]).norm(dim=-1)
    down = landmarks.new_tensor([[0.0, centre.down] for centre in centres]).view(-1, 2)
    # No matrix product: autocast and TF32 would round the points.
    places = [landmarks[..., list(centre.points), :].mean(-2) for centre in centres]
    means = torch.stack(places, -2) if places else landmarks[..., :0, :]
    return (means + between[..., None, None] * down).unflatten(-2, (len(aus), 2))


@torch.no_grad()
def heatmap_targets(
    landmarks: Tensor,
    labels: Tensor,
    aus: Sequence[str],
    size: int = 128,
    sigma: float | None = None,
    image_size: int = 256,
) -> Targets:
    """The heatmaps that FG-Net is to learn.

    Each AU has two Gaussians, cut off below 0.01 and added: + where the AU is present, - where absent, clipped to [-1, 1].
    Pixel j of a map lies at pixel ``j · image_size / size`` of the face (the published code halves the landmarks).

    Args:
        landmarks: [B, 68, 2] floating point, in pixels of the aligned face.
        labels: [B, A] 1 or True where present, 0 where absent, NaN or 9 where unknown. On the landmarks' device.
        aus: names of the A AUs, in the labels' order.
        size: pixels a side of the maps.
        sigma: standard deviation in pixels of the maps. Default: as published, 20 px of 128, whatever the size.
        image_size: pixels a side of the aligned face.

    Returns:
        `Targets`, on the landmarks' device and in their floating-point type.

    Raises:
        ValueError: wrong shapes; other labels; an AU without centres; landmarks that are not finite where
            a labelled AU needs them.

    Example:
        >>> face = torch.full((1, 68, 2), 128.0)
        >>> labels = torch.tensor([[1.0, 0.0, float("nan")]])
        >>> targets = heatmap_targets(face, labels, ("AU01", "AU12", "AU25"))
        >>> targets.heatmaps[0, :, 64, 64].tolist(), targets.known.tolist()
        ([1.0, -1.0, 0.0], [[True, True, False]])
    """
    if landmarks.ndim != 3:
        raise ValueError(f"landmarks must have shape [B, 68, 2], got {list(landmarks.shape)}")
    if labels.shape != (len(landmarks), len(aus)):
        raise ValueError(f"labels must have shape [{len(landmarks)}, {len(aus)}], got {list(labels.shape)}")
    sigma = SIGMA * size / SIGMA_SIZE if sigma is None else sigma
    labels = labels.to(landmarks)
    known = (labels == 0) | (labels == 1)
    if not (known | labels.isnan() | (labels == NOT_CODABLE)).all():
        raise ValueError(f"labels must be 0, 1, or NaN or 9 for unknown; got {sorted(set(labels[~known].tolist()))}")
    sign = torch.where(known, labels * 2 - 1, 0.0)
    centres = au_positions(landmarks, aus) * (size / image_size)
    if not centres[known].isfinite().all():
        raise ValueError("landmarks of a labelled face are not finite; leave the face out, or its labels NaN")
    centres = centres.nan_to_num(0.0, 0.0, 0.0)
    at = torch.arange(size, dtype=landmarks.dtype, device=landmarks.device)
    # exp(-(dx² + dy²) / 2σ²) is a product of a row and a column: [B, A, 2 centres, 2 axes, size]
    waves = torch.exp(((at - centres[..., None]) * (1 / (sigma * math.sqrt(2)))).square().neg())
    heatmaps = landmarks.new_empty(*labels.shape, size, size)
    together = _CACHED if landmarks.device.type == "cpu" else heatmaps.numel()
    step = max(1, together // max(len(aus) * size**2, 1))
    for start in range(0, len(labels), step):
        part = slice(start, start + step)
        first, second = (waves[part, :, i, 1, :, None] * waves[part, :, i, 0, None, :] for i in (0, 1))
        total = torch.threshold_(first, _SMALLEST, 0.0).add_(torch.threshold_(second, _SMALLEST, 0.0))
        torch.mul(total.clamp_(max=1.0), sign[part, :, None, None], out=heatmaps[part])
    return Targets(heatmaps, known)


def heatmap_loss(heatmaps: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Mean squared error over the maps of labelled AUs.

    Args:
        heatmaps: [B, A, h, w], unclamped; targets: the same shape; known: [B, A] bool.

    Returns:
        A scalar in the heatmaps' dtype: 0, with gradients of 0, where nothing is labelled.

    Raises:
        ValueError: shapes that do not fit.
    """
    if heatmaps.shape != targets.shape or known.shape != heatmaps.shape[:2]:
        raise ValueError(
            f"heatmaps {list(heatmaps.shape)}, targets {list(targets.shape)} and known {list(known.shape)} do not fit: "
            "[B, A, h, w] twice and [B, A]"
        )
    errors = (heatmaps - targets).square().mean((2, 3))  # [B, A]
    return torch.where(known, errors, 0.0).sum() / known.sum().clamp(min=1)
