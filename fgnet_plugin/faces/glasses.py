"""A score of how much a face looks as if it wore glasses, by the part around the eyes."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.faces.pretrained import load_bundled

HEIGHT, WIDTH = 40, 64
"""Pixels of the strip that the network sees: two distances between the eyes wide, from the brows to the middle of the nose."""


class GlassesNet(nn.Module):
    """Reads strips of `eye_strips`: [n, 40, 64] in grey levels of [0, 1] -> [n], the logit of glasses. 6,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 5, 2, 2), nn.Conv2d(8, 16, 3, 2, 1)
        self.conv3, self.readout = nn.Conv2d(16, 24, 3, 2, 1), nn.Linear(24 * 5 * 8, 1)

    def forward(self, strips: Tensor) -> Tensor:
        """Compute the logits; light and contrast of a strip do not count."""
        mean, spread = strips.mean((1, 2), keepdim=True), strips.std((1, 2), keepdim=True)
        found = ((strips - mean) / (spread + 0.02))[:, None]
        for conv in (self.conv1, self.conv2, self.conv3):
            found = F.relu(conv(found))
        logits: Tensor = self.readout(found.flatten(1))[:, 0]
        return logits


@torch.inference_mode()
def glasses(frame: Tensor, landmarks: Tensor) -> Tensor:
    """Score for each face of a frame how much it looks as if it wore glasses.

    Args:
        frame: uint8 [3, H, W].
        landmarks: [n, 68, 2] in its pixels, in dlib's order; only those of the eyes, 36 to 47, are looked at.

    Returns:
        [n] in [0, 1], on the CPU; NaN where the eyes are outside the frame, or closer together than 8 px. They are no
        probabilities: many real faces without glasses have more than 0.5.

    docs/measures.md has the figures.

    Example:
        >>> glasses(torch.zeros(3, 64, 64, dtype=torch.uint8), torch.full((1, 68, 2), float("nan")))
        tensor([nan])
    """
    if not len(landmarks):
        return torch.empty(0)
    strips = eye_strips(frame.cpu(), landmarks.cpu().float())
    return torch.where(strips.isnan().any((1, 2)), torch.nan, _network()(strips).sigmoid())


def eye_strips(frame: Tensor, landmarks: Tensor) -> Tensor:
    """Cut the strips [n, 40, 64] around the eyes of faces out of a frame, in grey levels of [0, 1]; see `glasses`."""
    strips = torch.full((len(landmarks), HEIGHT, WIDTH), torch.nan)
    for i, points in enumerate(strip_points(landmarks)):
        step = math.dist(points[0, 0].tolist(), points[0, -1].tolist()) / (WIDTH - 1)
        if not step >= 0.25:
            continue
        corners = points[[0, 0, -1, -1], [0, -1, 0, -1]]
        (low_x, low_y), (right, bottom) = corners.amin(0).tolist(), corners.amax(0).tolist()
        left, top = max(int(low_x - step), 0), max(int(low_y - step), 0)
        skip = max(1, int(step / 2))  # of large faces, each pixel of the strip is the mean of about two by two of theirs
        crop = frame[:, top : max(int(bottom + step) + 2, 0) : skip, left : max(int(right + step) + 2, 0) : skip]
        shrink = max(1, round(step / skip))
        if min(crop.shape[1:]) < 4 * shrink:
            continue
        grey = crop.float().mean(0, keepdim=True) / 255
        if shrink > 1:
            grey = F.avg_pool2d(grey, shrink)
        at = ((points - points.new_tensor([left, top])) / skip + 0.5) / shrink
        grid = 2 * at / at.new_tensor([grey.shape[2], grey.shape[1]]) - 1
        strips[i] = F.grid_sample(grey[None], grid[None], padding_mode="border", align_corners=False)[0, 0]
    return strips


def strip_points(landmarks: Tensor) -> Tensor:
    """Lay out the strips of faces with landmarks [n, 68, 2] in a picture: [n, 40, 64, 2], x and y of each pixel."""
    right, left = landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)
    across = (left - right) / 2
    down = torch.stack([-across[:, 1], across[:, 0]], 1)
    y, x = torch.linspace(-1.0, 1.5, HEIGHT), torch.linspace(-2.0, 2.0, WIDTH)
    columns, rows = x[None, None, :, None] * across[:, None, None], y[None, :, None, None] * down[:, None, None]
    return ((right + left) / 2)[:, None, None] + columns + rows


@cache
def _network() -> GlassesNet:
    return load_bundled(GlassesNet(), "glasses.safetensors", "cpu")
