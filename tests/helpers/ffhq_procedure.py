"""FFHQ's alignment procedure step by step with PIL and SciPy, as its dataset was made: what the alignment is measured beside.

Written from the procedure's description (Karras et al., CVPR 2019; the numbers in docs and `fgnet_plugin.alignment`). The
authors of FG-Net prepared BP4D and DISFA with padding "constant" and 4096 samples a side.
"""

import math

import numpy as np
from PIL import Image
from scipy import ndimage


def align(
    photo: Image.Image, landmarks: np.ndarray, size: int = 256, sampled: int = 1024, padding: str = "reflect"
) -> Image.Image:
    """One face of an RGB photo, from its 68 landmarks in pixels."""
    points = landmarks.astype(np.float64)
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    eyes, across = (left + right) / 2, right - left
    down = (points[48] + points[54]) / 2 - eyes
    x = across - np.array([-down[1], down[0]])
    x *= max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down)) / math.hypot(*x)
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    corners = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    side = 2 * math.hypot(*x)

    shrink = int(side / size / 2)
    if shrink > 1:
        photo = photo.resize((round(photo.width / shrink), round(photo.height / shrink)), Image.Resampling.LANCZOS)
        corners /= shrink
        side /= shrink

    border = max(round(side * 0.1), 3)
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    box = (
        max(low[0] - border, 0),
        max(low[1] - border, 0),
        min(high[0] + border, photo.width),
        min(high[1] + border, photo.height),
    )
    photo = photo.crop(tuple(int(edge) for edge in box))
    corners -= box[:2]

    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    lacking = np.array([-low[0], -low[1], high[0] - photo.width, high[1] - photo.height]) + border
    if lacking.max() > border - 4:
        pad = np.maximum(lacking.clip(0), round(side * 0.3))
        picture = np.pad(np.asarray(photo, np.float32), ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), padding)
        rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
        from_sides = np.minimum(columns / pad[0], (picture.shape[1] - 1 - columns) / pad[2])
        from_ends = np.minimum(rows / pad[1], (picture.shape[0] - 1 - rows) / pad[3])
        outside = (1 - np.minimum(from_sides, from_ends))[:, :, None].astype(np.float32)
        blurred = ndimage.gaussian_filter(picture, (0.02 * side, 0.02 * side, 0))
        picture += (blurred - picture) * (3 * outside + 1).clip(0, 1)
        picture += (np.median(picture, (0, 1)) - picture) * outside.clip(0, 1)
        photo = Image.fromarray(picture.round().clip(0, 255).astype(np.uint8))
        corners += pad[:2]

    quad = tuple((corners + 0.5).ravel().tolist())
    photo = photo.transform((sampled, sampled), Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)
    return photo if size == sampled else photo.resize((size, size), Image.Resampling.LANCZOS)
