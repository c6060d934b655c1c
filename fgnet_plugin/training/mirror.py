"""Mirroring faces with their landmarks."""

from __future__ import annotations

import torch
from torch import Tensor


def _pairs() -> tuple[int, ...]:
    """For each of dlib's 68 landmarks, the one that takes its place in a mirrored face."""
    order = list(range(68))
    sides = [
        *((i, 16 - i) for i in range(8)),  # jaw
        *((17 + i, 26 - i) for i in range(5)),  # brows
        (31, 35), (32, 34),  # nostrils
        (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),  # eyes
        (48, 54), (49, 53), (50, 52), (55, 59), (56, 58),  # outer lips
        (60, 64), (61, 63), (65, 67),  # inner lips
    ]  # fmt: skip
    for left, right in sides:
        order[left], order[right] = right, left
    return tuple(order)


MIRRORED = _pairs()
"""Landmark i of a mirrored face is landmark ``MIRRORED[i]`` of the face, its x reflected."""


def mirror(images: Tensor, landmarks: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Mirrors some faces left to right. AU labels stay as they are: they don't tell sides apart.

    Args:
        images: [B, 3, S, S].
        landmarks: [B, 68, 2] in pixels of the images (indices: 0 is the centre of the first pixel).
        which: [B] bool.

    Returns:
        Images and landmarks of the same shapes; the arguments are left alone.
    """
    reflected = landmarks[:, list(MIRRORED)]
    reflected = torch.stack([images.shape[-1] - 1 - reflected[..., 0], reflected[..., 1]], dim=-1)
    images = torch.where(which[:, None, None, None], images.flip(3), images)
    return images, torch.where(which[:, None, None], reflected, landmarks)
