"""Faces near the border of their photo, which is padded there: mirrored or black, blurred, fading to its median colour."""

from __future__ import annotations

import torch
from torch import Tensor

from fgnet_plugin.alignment.region import Region
from fgnet_plugin.ops.antialias import gaussian, grid, like, reduced, sampled, working

_BLUR = 0.02  # standard deviation beyond the border, as a share of the square's side


def padded_face(region: Region, size: int) -> Tensor:
    """Sample a face near the border, [1, 3, size, size]: FFHQ pads the picture; this pads the face, with a margin to blur it.

    The blur is as wide on every face, so only the position of each pixel in the padded picture is needed to fade it.
    """
    assert region.padding is not None
    left, top, right, bottom = region.padding
    height, width = region.picture.shape[1:]
    sigma = _BLUR * size
    margin = _reach(sigma)
    inner = size + 2 * margin
    positions = region.positions(size, margin)
    reach = positions[1:].abs().sum(0)
    first = (positions[0] - reach).floor().int().tolist()
    last = (positions[0] + reach).ceil().int().tolist()
    columns, rows = (
        torch.arange(start, stop + 1, device=region.picture.device) for start, stop in zip(first, last, strict=True)
    )
    picture = _continued(region, rows, columns)
    shifted = positions - positions.new_tensor([first, [0, 0], [0, 0]])
    face = sampled(picture, shifted[None], region.samples(inner, size), inner)
    x, y = grid(like(positions[None], picture), inner)[0].unbind(-1)
    outside = _outside(x + left, y + top, (height + top + bottom, width + left + right), region.padding)
    face = _blurred_outside(face, outside, sigma)
    median = _median(region)
    face = face + (median[:, None, None] - face) * outside.clamp(0, 1)
    return face[:, :, margin:-margin, margin:-margin]


def _outside(x: Tensor, y: Tensor, size: tuple[int, int], padding: tuple[int, int, int, int]) -> Tensor:
    """Measure how far a pixel of the padded picture lies outside: 1 at its border, 0 at the photo's, negative within it."""
    left, top, right, bottom = padding
    across = torch.minimum(x / left, (size[1] - 1 - x) / right)
    return 1 - torch.minimum(across, torch.minimum(y / top, (size[0] - 1 - y) / bottom))


def _blurred_outside(picture: Tensor, outside: Tensor, sigma: float) -> Tensor:
    rows, columns = gaussian(picture.shape[-2], sigma), gaussian(picture.shape[-1], sigma)
    return picture + (reduced(picture, rows, columns) - picture) * (3 * outside + 1).clamp(0, 1)


def _median(region: Region) -> Tensor:
    """Take the median colour [3] of the padded and blurred picture, from every few of its pixels: the blur evens them out."""
    assert region.padding is not None
    left, top, right, bottom = region.padding
    height, width = region.picture.shape[1:]
    sigma = _BLUR * region.side
    step = max(1, int(sigma / 3))
    device = region.picture.device
    rows = torch.arange(0, height + top + bottom, step, device=device)
    columns = torch.arange(0, width + left + right, step, device=device)
    picture = _continued(region, rows - top, columns - left)
    outside = _outside(columns[None, :], rows[:, None], (height + top + bottom, width + left + right), region.padding)
    return _blurred_outside(picture, outside, sigma / step).flatten(2).median(2).values[0]


def _continued(region: Region, rows: Tensor, columns: Tensor) -> Tensor:
    """Take rows [h] and columns [w] of a picture that goes on beyond its border: [1, 3, h, w] of the working dtype."""
    picture = region.picture
    height, width = picture.shape[1:]
    if region.beyond == "reflect":
        picture = picture[:, _mirrored(rows, height)][:, :, _mirrored(columns, width)]
    else:
        inside = (rows == rows.clamp(0, height - 1))[:, None] & (columns == columns.clamp(0, width - 1))
        picture = picture[:, rows.clamp(0, height - 1)][:, :, columns.clamp(0, width - 1)] * inside
    return picture[None].to(working(picture.dtype))


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Mirror indices beyond [0, size) at the outermost pixel's centre, as often as needed."""
    if size == 1:
        return torch.zeros_like(index)
    index = index.remainder(2 * size - 2)
    return torch.minimum(index, 2 * size - 2 - index)


def _reach(sigma: float) -> int:
    """Count the pixels that a Gaussian blur reads to each side."""
    return int(4 * sigma + 0.5)
