"""Change how faces look without changing what a teacher would say of them: sides, light, colour, sharpness, compression."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

_QUALITIES = 25, 75  # of JPEG
_BLURRED, _GREY, _COMPRESSED = 0.25, 0.1, 0.25  # shares of the faces


def mirror_heatmaps(heatmaps: Tensor, image_size: int) -> Tensor:
    """Mirror heatmaps left to right as the faces that they are of.

    Pixel j of a map of w px lies at pixel j·S/w of the face, as in the published targets, so that a mirrored map is not its
    pixels in reverse, but those moved by 1 − w/S of a pixel.

    Args:
        heatmaps: [..., h, w].
        image_size: S, side in pixels of the face that the maps were computed of.
    """
    reverse = heatmaps.flip(-1)
    shift = 1 - heatmaps.shape[-1] / image_size
    before = torch.cat([reverse[..., :1], reverse[..., :-1]], -1)
    return reverse.lerp(before, shift)


def mirror(images: Tensor, heatmaps: Tensor, which: Tensor, teacher_size: int) -> tuple[Tensor, Tensor]:
    """Mirror some faces [B, 3, S, S], `which` [B] bool, with the heatmaps [B, A, h, h] of a teacher of `teacher_size` px.

    Activations stay as they are: an AU does not tell sides.
    """
    some = which[:, None, None, None]
    return (
        torch.where(some, images.flip(-1), images),
        torch.where(some, mirror_heatmaps(heatmaps, teacher_size), heatmaps),
    )


def other_looks(images: Tensor) -> Tensor:
    """Change light, colour, sharpness and compression of faces at random; where everything is stays as it is.

    Args:
        images: uint8 [B, 3, S, S].

    Returns:
        float32 [B, 3, S, S] in [-1, 1]. Random numbers are torch's.
    """
    compressed = torch.rand(len(images)) < _COMPRESSED
    qualities = torch.randint(*_QUALITIES, (len(images),)).tolist()
    x = torch.stack([_jpeg(x, q) if c else x for x, q, c in zip(images.cpu(), qualities, compressed.tolist(), strict=True)])
    x = x.to(images.device).float() / 255

    def drawn(channels: int = 1) -> Tensor:
        return (2 * torch.rand(len(images), channels, 1, 1) - 1).to(images.device)

    x = x.clamp(min=1e-4).pow(torch.exp(0.3 * drawn())) * torch.exp(0.12 * drawn(3))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * torch.exp(0.25 * drawn()) + middle
    x = torch.where(drawn() < 2 * _GREY - 1, x.mean(1, keepdim=True).expand_as(x), x)
    size = x.shape[-1]
    blurred = F.interpolate(F.avg_pool2d(x, 2), size=(size, size), mode="bilinear", align_corners=False)
    x = torch.where(drawn() < 2 * _BLURRED - 1, blurred, x)
    return x.clamp(0, 1) * 2 - 1


def _jpeg(image: Tensor, quality: int) -> Tensor:
    """Compress a face uint8 [3, S, S] and read it again."""
    file = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    file.seek(0)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
