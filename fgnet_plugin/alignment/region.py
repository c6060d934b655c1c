"""The part of a photo that one face needs, and faces sampled from such parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fgnet_plugin.ops.antialias import lanczos, reduced, sampled, working
from fgnet_plugin.ops.ffhq_crop import TRUNCATION

_OVERSAMPLING = 2, 4  # samples per pixel of the result, along each side: of most faces, of large ones; FFHQ has 4 for all
_LARGE = 2.0  # a large face's square has more pixels a side, as a multiple of the result's: few samples would miss some


@dataclass(frozen=True, eq=False)
class Region:
    """The part of a photo, perhaps shrunk, that one face needs."""

    picture: Tensor  # [3, h, w], as the photo or, where it was shrunk, float
    corners: Tensor  # [4, 2] float64, in pixels of the picture
    seen: Tensor  # [4, 2] float64, in pixels of the photo: where the sampled square lies
    side: float
    dtype: torch.dtype  # of the photo
    padding: tuple[int, int, int, int] | None  # left, top, right, bottom: what FFHQ adds to the picture, if it does

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
        top_left, bottom_left, bottom_right, top_right = self.corners
        wider = (1 + 2 * margin / size) / 2
        return torch.stack([(top_left + bottom_right) / 2, (top_right - top_left) * wider, (bottom_left - top_left) * wider])

    @staticmethod
    def of(photo: Tensor, corners: Tensor, size: int) -> Region:
        """Take FFHQ's steps before sampling: shrink, crop, decide on the padding."""
        side = float((corners[3] - corners[0]).norm())
        height, width = photo.shape[1:]
        seen = corners
        shrink = int(side / size / 2)
        if shrink > 1:
            height, width = max(round(height / shrink), 1), max(round(width / shrink), 1)
            corners, side = corners / shrink, side / shrink  # FFHQ's; the picture shrinks by a little more or less, and
            scale = corners.new_tensor([photo.shape[2] / width, photo.shape[1] / height])
            seen = (corners + 0.5) * scale - 0.5  # its pixels' centres move: half a pixel of the photo, with shrink = 2
        border = max(round(side * 0.1), 3)
        low, high = corners.amin(0).floor().int().tolist(), corners.amax(0).ceil().int().tolist()
        x0, y0 = max(low[0] - border, 0), max(low[1] - border, 0)
        x1, y1 = min(high[0] + border, width), min(high[1] + border, height)
        if shrink > 1:
            rows = lanczos(photo.shape[1], height, y0, y1)
            columns = lanczos(photo.shape[2], width, x0, x1)
            picture = reduced(photo, rows, columns)
            limits = (0, 255) if photo.dtype == torch.uint8 else (value.to(picture) for value in photo.aminmax())
            picture = picture.clamp(*limits)  # Lanczos's filter overshoots
        else:
            picture = photo[:, y0:y1, x0:x1]
        lacking = (border - low[0] + x0, border - low[1] + y0, high[0] - x1 + border, high[1] - y1 + border)
        lacking = tuple(max(edge, 0) for edge in lacking)
        least = round(side * 0.3)
        padding = tuple(max(edge, least) for edge in lacking) if max(lacking) > border - 4 else None
        return Region(picture, corners - corners.new_tensor([x0, y0]), seen, side, photo.dtype, padding)


def sampled_face(regions: Sequence[Region], size: int) -> Tensor:
    """Sample faces whose squares lie inside of their pictures: [F, 3, size, size], of the working dtype."""
    first = regions[0]
    # What lies beside a picture is not read: the squares keep a distance from the border, or would have been padded.
    pictures = torch.empty(len(regions), 3, *first.shape, dtype=working(first.dtype), device=first.picture.device)
    for picture, region in zip(pictures, regions, strict=True):
        picture[:, : region.picture.shape[1], : region.picture.shape[2]] = region.picture
    positions = torch.stack([region.positions(size, 0) for region in regions])
    return sampled(pictures, positions, first.samples(size, size), size)


def finish(faces: Tensor, regions: Sequence[Region], rounded: bool) -> Tensor:
    """Bring faces [F, 3, size, size] to their photos' dtype and range (Lanczos's filter overshoots)."""
    dtype = regions[0].dtype
    if dtype == torch.uint8:
        faces = (faces - TRUNCATION).clamp_(0, 255)
        return faces.round_().to(dtype) if rounded else faces
    low, high = torch.stack([torch.stack(region.picture.aminmax()) for region in regions]).to(faces).unbind(1)
    return faces.clamp(low.view(-1, 1, 1, 1), high.view(-1, 1, 1, 1)).to(dtype)
