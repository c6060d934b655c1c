"""What the landmarks of a face say about its expression, for codes that are to carry it; and which pixels matter for it."""

from __future__ import annotations

import torch
from torch import Tensor

BROWS, NOSE, EYES, MOUTH = range(17, 27), range(27, 36), range(36, 48), range(48, 68)
_RIGHT_EYE, _LEFT_EYE = range(36, 42), range(42, 48)
_PARTS = range(17, 22), range(22, 27), NOSE, _RIGHT_EYE, _LEFT_EYE, MOUTH
N_SHAPES = 2 * (68 + sum(map(len, _PARTS)))
"""Numbers that `landmark_shapes` returns for a face."""
_REACH = 1 / 24  # of a face's side: how far around a landmark pixels belong to it


def landmark_shapes(landmarks: Tensor) -> Tensor:
    """Describe faces by their landmarks, wherever they are in the picture, however large, and turned in its plane.

    Args:
        landmarks: [B, 68, 2], in any unit.

    Returns:
        [B, N_SHAPES]: all landmarks, with the eyes' centres at (-½, 0) and (½, 0); then those of either brow, the nose, either
        eye and the mouth, each part about its own centre.

    Example:
        >>> face = torch.rand(1, 68, 2)
        >>> torch.allclose(landmark_shapes(face), landmark_shapes(3 * face + 7), atol=1e-3)
        True
    """
    right, left = landmarks[:, list(_RIGHT_EYE)].mean(1), landmarks[:, list(_LEFT_EYE)].mean(1)
    x = left - right
    y = torch.stack([-x[:, 1], x[:, 0]], 1)
    centred = landmarks - ((right + left) / 2)[:, None]
    axes = torch.stack([x, y], 1) / x.square().sum(1).clamp(min=1e-12)[:, None, None]
    aligned = (centred[:, :, None] * axes[:, None]).sum(3)  # no matrix product: autocast would round the points
    parts = [aligned[:, list(part)] for part in _PARTS]
    return torch.cat([aligned, *(part - part.mean(1, keepdim=True) for part in parts)], 1).flatten(1)


def region_weights(landmarks: Tensor, size: int, regions: float) -> Tensor:
    """Return how much each pixel counts, [B, 1, size, size] of mean 1: most at brows, eyes and mouth.

    Args:
        landmarks: [B, 68, 2] in pixels.
        size: side of the face, px.
        regions: how many times more pixels there count than those afar.
    """
    at = torch.arange(size, device=landmarks.device, dtype=landmarks.dtype)
    points = landmarks[:, [*BROWS, *EYES, *MOUTH]]
    squares = (points[..., None] - at).square()  # [B, points, 2, size]
    nearest = (squares[:, :, 1, :, None] + squares[:, :, 0, None, :]).amin(1, keepdim=True)
    weights = 1 + regions * torch.exp(-nearest / (2 * (_REACH * size) ** 2))
    return weights / weights.mean((2, 3), keepdim=True)
