"""Where in a photo a face may be, with the face cascade that scikit-image carries.

The cascade (Liao et al.: Learning Multi-scale Block Local Binary Patterns for Face Recognition, ICB 2007) looks at windows of
24 px of the photo at many scales. It finds upright faces, many windows for each, and a few windows of anything else.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.faces.crops import Square

SMALLEST_FACE = 30.0
"""Pixels from cheek to cheek of the smallest faces that are looked for, unless the photo is large."""
LARGEST_RATIO = 24.0
"""In a large photo, they are this part of its longer side: the search takes no longer than one of 720 px."""
TILTS = -22.0, 22.0
"""Degrees that the photo is turned by to find tilted faces; upright, the cascade finds most of those up to 15°."""

_WINDOW = 24
_WINDOW_PER_FACE = 1.1  # the window's side, as a multiple of a face's width from cheek to cheek
_LENIENCE = 0.1  # lets through more windows than the cascade as trained: a face in shade, or with glasses, gets some
_FINE = 1.1, 1.5  # factor between scales, step in window pixels
_COARSE = 1.2, 1.5
_FINE_RATIO = 12.0  # faces of this part of the photo's longer side or more are searched finely: cheap at their scale
_ALIKE = 0.4  # windows with this intersection over union show one face
_LEAST_SUPPORT = 2
_CROP_SIDE, _CROP_BELOW = 1.22, 0.17  # the landmark network's crop: side and place of its middle, from a window's; measured


class Candidates(NamedTuple):
    """What may be faces, the surest first."""

    square: Square
    """The crop in which the landmark network is to look, as `crop_square` would have it, roughly."""
    support: Tensor
    """[n] int64: how many windows show it. True faces have 3 to 90, most others 1 or 2."""


def find_candidates(photo: Tensor, smallest_face: float | None = None, tilts: Sequence[float] = (0.0,)) -> Candidates:
    """Looks for faces.

    Args:
        photo: uint8 [3, H, W], RGB.
        smallest_face: pixels from cheek to cheek. Default: `SMALLEST_FACE`, or more in a large photo (`LARGEST_RATIO`).
        tilts: degrees, clockwise as one sees it; of each face, what all tilts say is put together.

    Returns:
        `Candidates`, possibly none, on the CPU.
    """
    return merged(find_windows(photo, smallest_face, tilts))


def find_windows(photo: Tensor, smallest_face: float | None = None, tilts: Sequence[float] = (0.0,)) -> npt.NDArray[np.float64]:
    """All windows that look like a face, for `merged`: [n, 4], middle x, y and side in pixels of the photo, degrees."""
    longer = max(photo.shape[1:])
    smallest = max(SMALLEST_FACE, longer / LARGEST_RATIO) if smallest_face is None else smallest_face
    weights = torch.tensor([0.299, 0.587, 0.114])
    grey = (photo.cpu().float() * weights[:, None, None]).sum(0)
    found = [torch.empty(0, 4, dtype=torch.float64)]
    for face, steps in ((smallest, _COARSE), (max(smallest, longer / _FINE_RATIO), _FINE)):
        small = _resized(grey, _WINDOW / (face * _WINDOW_PER_FACE))
        scale = torch.tensor([grey.shape[1] / small.shape[1], grey.shape[0] / small.shape[0]], dtype=torch.float64)
        for tilt in tilts:
            windows = _windows(_turned(small, tilt), *steps)  # middle x, y and side
            middle = _back(windows[:, :2], tilt, small.shape)
            # Continuous coordinates scale; pixel indices are half a pixel less.
            middle = middle * scale - 0.5
            degrees = torch.full((len(windows), 1), tilt, dtype=torch.float64)
            found.append(torch.cat([middle, windows[:, 2:] * scale.mean(), degrees], 1))
    return torch.cat(found).numpy()


def _resized(grey: Tensor, factor: float) -> Tensor:
    """uint8 [h, w], antialiased."""
    if factor != 1:
        size = [max(1, round(side * factor)) for side in grey.shape]
        grey = F.interpolate(grey[None, None], size, mode="bilinear", antialias=True, align_corners=False)[0, 0]
    return grey.round().to(torch.uint8)


def _turned(picture: Tensor, degrees: float) -> Tensor:
    """The whole picture [h, w] turned so that faces tilted by so many degrees stand upright; its border goes on outwards."""
    if not degrees:
        return picture
    h, w = picture.shape
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    height, width = round(abs(h * cos) + abs(w * sin)), round(abs(w * cos) + abs(h * sin))
    matrix = torch.tensor([[[cos * width / w, -sin * height / w, 0], [sin * width / h, cos * height / h, 0]]])
    grid = F.affine_grid(matrix, [1, 1, height, width], align_corners=False)
    turned = F.grid_sample(picture[None, None].float(), grid, padding_mode="border", align_corners=False)
    return turned[0, 0].round().to(torch.uint8)


def _back(points: Tensor, degrees: float, shape: Sequence[int]) -> Tensor:
    """Continuous coordinates [n, 2] in the turned picture -> in the picture of that shape."""
    if not degrees:
        return points
    h, w = shape
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    height, width = round(abs(h * cos) + abs(w * sin)), round(abs(w * cos) + abs(h * sin))
    x, y = (points - points.new_tensor([width / 2, height / 2])).unbind(1)
    return torch.stack([cos * x - sin * y + w / 2, sin * x + cos * y + h / 2], 1)


@functools.cache
def _cascade() -> Any:
    filename = import_module("skimage.data").lbp_frontal_face_cascade_filename
    return import_module("skimage.feature").Cascade(filename(), eps=_LENIENCE)


def _windows(picture: Tensor, scale_factor: float, step: float) -> Tensor:
    """All windows that look like a face to the cascade: [n, 3] float64, middle x, y and side."""
    shorter = min(picture.shape)
    if shorter < _WINDOW:
        return torch.empty(0, 3, dtype=torch.float64)
    found = _cascade().detect_multi_scale(
        picture.numpy(),
        scale_factor=scale_factor,
        step_ratio=step,
        min_size=(_WINDOW, _WINDOW),
        max_size=(shorter, shorter),
        min_neighbor_number=0,
        intersection_score_threshold=2.0,  # more than any: scikit-image merges nothing, `merged` does
    )
    # Sorted: scikit-image's threads find them in any order, and the last digits of means depend on it.
    rows = sorted((hit["c"] + hit["width"] / 2, hit["r"] + hit["height"] / 2, hit["width"]) for hit in found)
    return torch.tensor(rows, dtype=torch.float64).view(-1, 3)


def merged(windows: npt.NDArray[np.float64]) -> Candidates:
    """`find_windows`, those that show the same face, averaged: the one with most alike goes first."""
    overlap, within = _overlaps(windows)
    alike = overlap > _ALIKE
    left = np.ones(len(windows), dtype=bool)
    faces, supports = [], []
    while left.any():
        counts = (alike[:, left].sum(1)) * left
        first = int(counts.argmax())
        if counts[first] < _LEAST_SUPPORT:
            break
        members = alike[first] & left
        left &= ~members
        faces.append(windows[members].mean(0))
        supports.append(int(members.sum()))
    middles = np.array(faces).reshape(-1, 4)
    _, within = _overlaps(middles)
    # Eyes or a mouth alone look like small faces at times: what lies within a face that is much surer goes.
    kept = [i for i in range(len(faces)) if not any(within[i, j] > 0.6 and supports[j] > 1.6 * supports[i] for j in range(i))]
    chosen = torch.from_numpy(middles[kept])
    x, y, side, degrees = chosen.unbind(1)
    angle = degrees.deg2rad()
    below = _CROP_BELOW * side
    centre = torch.stack([x - angle.sin() * below, y + angle.cos() * below], 1)
    square = Square(centre.float(), (_CROP_SIDE * side).float(), angle.float())
    return Candidates(square, torch.tensor([supports[i] for i in kept], dtype=torch.int64))


def _overlaps(windows: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of upright squares: intersection over union [n, n], and the part [i, j] of square i that lies in square j."""
    middle, half = windows[:, :2], windows[:, 2:3] / 2
    low, high = middle - half, middle + half
    edges = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).clip(0)
    shared, area = edges[..., 0] * edges[..., 1], windows[:, 2] ** 2
    return shared / (area[:, None] + area - shared), shared / area[:, None]
