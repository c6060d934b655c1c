"""The part of a photo that one face needs, and faces sampled from such parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from fgnet_plugin.ops.antialias import lanczos, reduced, sampled, working
from fgnet_plugin.ops.ffhq_crop import TRUNCATION

_OVERSAMPLING = 2, 4  # samples per pixel of the result, along each side: of most faces, of large ones; FFHQ has 4 for all
_LARGE = 2.0  # a large face's square has more pixels a side, as a multiple of the result's: few samples would miss some

Padding = Literal["reflect", "constant"]
"""What a photo goes on with beyond its border: itself, mirrored, or black."""
PADDINGS: tuple[Padding, ...] = get_args(Padding)


@dataclass(frozen=True, eq=False)
class Region:
    """The part of a photo, perhaps shrunk, that one face needs."""

    picture: Tensor  # [3, h, w], as the photo or, where it was shrunk, float; where it is to be, the whole photo
    shrunk: tuple[int, int, slice, slice] | None  # where it is to be: to which height and width, rows and columns needed
    corners: Tensor  # [4, 2] float64, in pixels of the picture
    seen: Tensor  # [4, 2] float64, in pixels of the photo: where the sampled square lies
    side: float
    dtype: torch.dtype  # of the photo
    padding: tuple[int, int, int, int] | None  # left, top, right, bottom: what FFHQ adds to the picture, if it does
    beyond: Padding  # what it adds

    def factor(self, size: int) -> int:
        """Choose the samples for each pixel of the result, along each side."""
        return _OVERSAMPLING[self.side > _LARGE * size]

    def samples(self, pixels: int, size: int) -> int:
        """Count the samples for that many pixels of the result."""
        return pixels * self.factor(size)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width that the picture is filled up to, few different ones: a face then rounds alike in any batch."""
        height, width = self.picture.shape[1:]
        return 1 << (height - 1).bit_length(), 1 << (width - 1).bit_length()

    def positions(self, size: int, margin: int) -> Tensor:
        """Return centre, half x axis and half y axis of the square, with a margin in pixels of the aligned face: [3, 2]."""
        return half_axes(self.corners, 1 + 2 * margin / size)

    def ready(self, picture: Tensor) -> Region:
        """Make the region ready to be sampled, with its picture on the device where that happens."""
        if self.shrunk is None:
            return self if picture is self.picture else dataclasses.replace(self, picture=picture)
        height, width, rows, columns = self.shrunk
        small = reduced(
            picture,
            lanczos(picture.shape[1], height, rows.start, rows.stop),
            lanczos(picture.shape[2], width, columns.start, columns.stop),
        )
        limits = (0, 255) if picture.dtype == torch.uint8 else (value.to(small) for value in picture.aminmax())
        return dataclasses.replace(self, picture=small.clamp(*limits), shrunk=None)  # Lanczos's filter overshoots


def half_axes(corners: Tensor, wider: float = 1.0) -> Tensor:
    """Return centre, half x axis and half y axis of squares [..., 4, 2], made wider by that factor: [..., 3, 2]."""
    top_left, bottom_left, bottom_right, top_right = corners.unbind(-2)
    x, y = (top_right - top_left) * (wider / 2), (bottom_left - top_left) * (wider / 2)
    return torch.stack([(top_left + bottom_right) / 2, x, y], -2)


def find_regions(
    photos: Sequence[Tensor], photo_of: Sequence[int], corners: Tensor, size: int, beyond: Padding
) -> list[Region]:
    """Take FFHQ's steps before sampling for all faces: shrink, crop, decide on the padding.

    Args:
        photos: [3, H, W] each.
        photo_of: the photo of each face.
        corners: [F, 4, 2] float64 on the CPU, of the faces' squares.
        size: of the aligned faces, px.
        beyond: what the photos go on with beyond their borders.

    Returns:
        F regions; call `Region.ready` before they are sampled.
    """
    sides = (corners[:, 3] - corners[:, 0]).norm(dim=-1)
    shrinks = (sides / size / 2).long().clamp(min=1)
    sides, small = sides / shrinks, corners / shrinks[:, None, None]
    lows, highs = small.amin(1).floor().long().tolist(), small.amax(1).ceil().long().tolist()
    placed = []
    for photo, shrink, side, low, high in zip(photo_of, shrinks.tolist(), sides.tolist(), lows, highs, strict=True):
        height, width = photos[photo].shape[1:]
        if shrink > 1:
            height, width = max(round(height / shrink), 1), max(round(width / shrink), 1)
        border = max(round(side * 0.1), 3)
        x0, y0 = max(low[0] - border, 0), max(low[1] - border, 0)
        x1, y1 = min(high[0] + border, width), min(high[1] + border, height)
        lacking = (border - low[0] + x0, border - low[1] + y0, high[0] - x1 + border, high[1] - y1 + border)
        least = round(side * 0.3)
        left, top, right, bottom = (max(edge, least) for edge in lacking)
        padding = (left, top, right, bottom) if max(lacking) > border - 4 else None
        placed.append((height, width, slice(y0, y1), slice(x0, x1), padding))
    starts = [(columns.start, rows.start) for _, _, rows, columns, _ in placed]
    regions, cut = [], small - torch.tensor(starts, dtype=corners.dtype, device="cpu").view(-1, 1, 2)
    for photo, shrink, side, of_photo, of_small, local, (height, width, rows, columns, padding) in zip(
        (photos[i] for i in photo_of), shrinks.tolist(), sides.tolist(), corners, small, cut, placed, strict=True
    ):
        if shrink == 1:
            regions.append(Region(photo[:, rows, columns], None, local, of_photo, side, photo.dtype, padding, beyond))
            continue
        # FFHQ's square shrinks so many times, the picture a little more or less, and its pixels' centres move: half a pixel
        # of the photo, where it shrinks by 2.
        scale = of_small.new_tensor([photo.shape[2] / width, photo.shape[1] / height])
        seen = (of_small + 0.5) * scale - 0.5
        regions.append(Region(photo, (height, width, rows, columns), local, seen, side, photo.dtype, padding, beyond))
    return regions


def sampled_face(regions: Sequence[Region], size: int) -> Tensor:
    """Sample faces whose squares lie inside of their pictures: [F, 3, size, size], of the working dtype."""
    first = regions[0]
    # What lies beside a picture is not read: the squares keep a distance from the border, or would have been padded.
    pictures = torch.empty(len(regions), 3, *first.shape, dtype=working(first.dtype), device=first.picture.device)
    for picture, region in zip(pictures, regions, strict=True):
        picture[:, : region.picture.shape[1], : region.picture.shape[2]] = region.picture
    positions = half_axes(torch.stack([region.corners for region in regions]))
    return sampled(pictures, positions, first.samples(size, size), size)


def finish(faces: Tensor, regions: Sequence[Region], rounded: bool) -> Tensor:
    """Bring faces [F, 3, size, size] to their photos' dtype and range (Lanczos's filter overshoots)."""
    dtype = regions[0].dtype
    if dtype == torch.uint8:
        faces = (faces - TRUNCATION).clamp_(0, 255)
        return faces.round_().to(dtype) if rounded else faces
    low, high = torch.stack([torch.stack(region.picture.aminmax()) for region in regions]).to(faces).unbind(1)
    black = torch.tensor([bool(region.padding) and region.beyond == "constant" for region in regions], device=low.device)
    low, high = torch.where(black, low.clamp(max=0), low), torch.where(black, high.clamp(min=0), high)
    return faces.clamp(low.view(-1, 1, 1, 1), high.view(-1, 1, 1, 1)).to(dtype)
