"""Make faces in pictures unrecognisable."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fgnet_plugin.utils.arrays import Floats

_BLOCKS = 4, 6  # what is left of a face: too little to tell persons apart, enough to see that there is one
_WIDER, _HIGHER = 0.2, 0.3  # beyond the box, which ends at the brows and the chin with some detectors


def blur_faces(picture: npt.NDArray[np.uint8], boxes: Floats) -> npt.NDArray[np.uint8]:
    """Replace an ellipse around each face by a few blurred blocks.

    Args:
        picture: [H, W, 3] RGB.
        boxes: [faces, 4] left, top, width and height in pixels; those with NaN are passed over.

    Returns:
        [H, W, 3], a copy.
    """
    result = Image.fromarray(picture)
    width, height = result.size
    for left, top, w, h in boxes[np.isfinite(boxes).all(1)].tolist():
        x0, y0 = max(int(left - _WIDER * w), 0), max(int(top - _HIGHER * h), 0)
        x1, y1 = min(int(left + (1 + _WIDER) * w) + 1, width), min(int(top + (1 + _HIGHER) * h) + 1, height)
        if x1 <= x0 or y1 <= y0:
            continue
        part = result.crop((x0, y0, x1, y1))
        mask = Image.new("L", part.size)
        ImageDraw.Draw(mask).ellipse((0, 0, part.width - 1, part.height - 1), fill=255)
        result.paste(_blurred(part), (x0, y0), mask)
    return np.array(result)


def blur_all(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Blur a whole picture, [H, W, 3], in which a face may be that was not found, down to a fortieth of its width."""
    image = Image.fromarray(picture)
    few = max(image.width // max(image.width // 40, 1), 1), max(image.height // max(image.width // 40, 1), 1)
    return np.array(image.resize(few, Image.Resampling.BOX).resize(image.size, Image.Resampling.BILINEAR))


def _blurred(part: Image.Image) -> Image.Image:
    return part.resize(_BLOCKS, Image.Resampling.BOX).resize(part.size, Image.Resampling.BILINEAR)
