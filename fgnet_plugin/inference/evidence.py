"""Show where in a face an AU was seen: FG-Net's heatmaps as colours of one scale with the scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgnet_plugin.utils.arrays import Floats

_STEPS = ((255, 247, 188), (254, 196, 79), (236, 112, 20), (153, 52, 4), (90, 20, 5))
_OPAQUE = 0.8
CLEAR = 0.25
"""Difference from the margin of a map by which a place is taken to show the AU; where an AU is trained to be seen, it is 1."""

_anchors = np.linspace(0, 255, len(_STEPS))
PRESENCE_COLOURS: npt.NDArray[np.uint8] = np.stack(
    [np.interp(np.arange(256), _anchors, channel) for channel in zip(*_STEPS, strict=True)], 1
).astype(np.uint8)
"""[256, 3] RGB of strengths from 0 to 1: from light to dark, so that the colour-blind and grey prints show the order, too."""


def presence(maps: Tensor, scores: Tensor, shown: Tensor | None = None) -> Tensor:
    """Turn heatmaps into the strength with which each AU was seen at each place, on the scale of its score.

    What speaks against an AU is left out: absence does not look like activity. So is a map's level at its margin, beyond the
    face, by which decisions may have been shifted. The place that stands out most from it has the AU's score, and others a
    part of it: colours can be compared between AUs, between faces, and with the scores. Where no place stands out by
    `CLEAR`, all stay fainter than the score: the AU was not seen at a particular place.

    Args:
        maps: [..., A, h, w], of the network: positive where the face shows the AU, negative where not.
        scores: [..., A] in [0, 1].
        shown: [..., A, H, W], the same maps on other pixels, such as the photo's, for which strengths are wanted.

    Returns:
        [..., A, H, W] float32 in [0, score].

    Example:
        >>> maps = torch.zeros(1, 3, 3)
        >>> maps[0, 1] = torch.tensor([0.0, 0.8, -0.9])
        >>> presence(maps, torch.tensor([0.5]))[0, 1].tolist()
        [0.0, 0.5, 0.0]
    """
    maps, scores = maps.float(), scores.float().to(maps.device)
    margin = torch.cat([maps[..., 0, :], maps[..., -1, :], maps[..., 1:-1, 0], maps[..., 1:-1, -1]], -1)
    level = margin.median(-1).values.clamp(min=0)
    most = (maps.amax((-2, -1)) - level).clamp(min=CLEAR)
    standing_out = (maps if shown is None else shown.float()) - level[..., None, None]
    return (standing_out / most[..., None, None]).clamp(0, 1) * scores[..., None, None]


def opacity(strength: Floats) -> Floats:
    """Choose how opaque a strength in [0, 1] lies over the face: not at all at 0."""
    return _OPAQUE * np.clip(strength, 0, 1) ** 0.75


def tinted(picture: npt.NDArray[np.uint8], strength: Floats) -> npt.NDArray[np.uint8]:
    """Lay colours over a picture.

    Args:
        picture: [H, W, 3].
        strength: [H, W] in [0, 1].

    Returns:
        [H, W, 3]
    """
    alpha = opacity(strength)[..., None]
    colours = PRESENCE_COLOURS[np.round(np.clip(strength, 0, 1) * 255).astype(np.intp)]
    return np.round(picture * (1 - alpha) + colours * alpha).astype(np.uint8)


def face_region(to_photo: Tensor, size: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Compute the upright box around an aligned square, within the frame: x0, y0, x1, y1, the latter two exclusive.

    Args:
        to_photo: [2, 3], from pixels of the aligned face to those of the frame; see `AlignedFaces`.
        size: side of the aligned face in pixels.
        height, width: of the frame.
    """
    corners = torch.tensor([[x, y, 1.0] for x in (-0.5, size - 0.5) for y in (-0.5, size - 0.5)]) @ to_photo.float().T
    low, high = corners.amin(0).floor().int().tolist(), corners.amax(0).ceil().int().tolist()
    x0, y0 = min(max(low[0], 0), width - 1), min(max(low[1], 0), height - 1)
    return x0, y0, max(min(high[0], width), x0 + 1), max(min(high[1], height), y0 + 1)
