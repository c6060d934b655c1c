"""Square crops of faces and their coordinates, for the networks that read them.

Convention:
    - Photo coordinates are indices, as in `fgnet_plugin.alignment`: (0, 0) is the centre of the first pixel, x comes first.
    - Crop coordinates are in [-1, 1] across the square, from edge to edge: pixel j of a crop of n px has its centre at
      (2·j + 1)/n - 1 (``align_corners=False``). They do not depend on the crop's size.
    - Angles are in radians, from the photo's x axis towards its y axis, which points down.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def _mirrored() -> tuple[int, ...]:
    order = list(range(68))
    sides = [
        *((i, 16 - i) for i in range(8)),  # jaw
        *((17 + i, 26 - i) for i in range(5)),  # brows
        (31, 35), (32, 34),  # nostrils
        (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),  # eyes
        (48, 54), (49, 53), (50, 52), (55, 59), (56, 58),  # outer lips
        (60, 64), (61, 63), (65, 67),  # inner lips
    ]  # fmt: skip
    for one, other in sides:
        order[one], order[other] = other, one
    return tuple(order)


MIRRORED = _mirrored()
"""Landmark i of a mirrored face is landmark ``MIRRORED[i]`` of the face, its x reflected."""


class Square(NamedTuple):
    """Turned squares in a photo, one for each face; all in pixels of the photo."""

    centre: Tensor
    """[..., 2]: x and y."""
    side: Tensor
    """[...]: > 0."""
    angle: Tensor
    """[...]: radians from the photo's x axis to the square's; positive where the face leans clockwise as one sees it."""


def from_crop(points: Tensor, square: Square) -> Tensor:
    """Crop units [..., P, 2] -> photo pixels [..., P, 2]; the square has the leading shape."""
    centre, side, angle = square
    return _turned(points, angle[..., None]) * (side / 2)[..., None, None] + centre[..., None, :]


def cut_crops(photo: Tensor, square: Square, size: int) -> Tensor:
    """Cut crops of one size out of a photo; beyond the photo's border its outermost pixels go on.

    A square that is at least twice as large as the crop is averaged over whole pixels first, so nothing aliases.

    Args:
        photo: [3, H, W] RGB, uint8 in [0, 255] or floating point in [-1, 1].
        square: of F faces.
        size: pixels a side.

    Returns:
        [F, 3, size, size] in [-1, 1]: float32, or the photo's own floating-point type.
    """
    as_float = torch.float32 if photo.dtype == torch.uint8 else photo.dtype
    working = torch.promote_types(as_float, torch.float32)  # half precision can't tell the pixels of a large photo apart
    if not len(square.side):
        return torch.empty(0, 3, size, size, dtype=as_float, device=photo.device)
    height, width = photo.shape[1:]
    crops = []
    for (x, y), side, angle in zip(*(value.tolist() for value in square), strict=True):
        cos, sin = math.cos(angle) * side / 2, math.sin(angle) * side / 2
        reach = (abs(cos) + abs(sin)) * (1 - 1 / size)  # of the outermost pixels' centres from the square's
        left, top, right, bottom = math.floor(x - reach), math.floor(y - reach), math.ceil(x + reach), math.ceil(y + reach)
        shrink = max(1, min(int(side / size), width, height))
        # What is read of the photo, with a margin of averaged pixels, and at least one pixel of it.
        x0, y0 = min(max(left - shrink, 0), width - shrink), min(max(top - shrink, 0), height - shrink)
        x1 = max(min(right + shrink, width - 1), x0 + shrink - 1)
        y1 = max(min(bottom + shrink, height - 1), y0 + shrink - 1)
        part = photo[None, :, y0 : y1 + 1, x0 : x1 + 1].to(working)
        if shrink > 1:
            part = F.avg_pool2d(part, shrink, ceil_mode=True)
        # From the crop's units to grid_sample's: -1 and 1 are the outer edges of the part's outermost pixels.
        across, down = 2 / (part.shape[3] * shrink), 2 / (part.shape[2] * shrink)
        turned = [
            [cos * across, -sin * across, (x - x0 + 0.5) * across - 1],
            [sin * down, cos * down, (y - y0 + 0.5) * down - 1],
        ]
        points = F.affine_grid(part.new_tensor([turned]), [1, 3, size, size], align_corners=False)
        crops.append(F.grid_sample(part, points, padding_mode="border", align_corners=False))
    found = torch.cat(crops)
    return found / 127.5 - 1 if photo.dtype == torch.uint8 else found.to(as_float)


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """Points [..., 2] turned by an angle [...] from x towards y."""
    cos, sin = angle.cos(), angle.sin()
    x, y = points.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
