"""Mirroring faces with their landmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from fgnet_plugin.faces.crops import MIRRORED


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
