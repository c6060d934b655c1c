"""Search photos of any size for faces with BlazeFace, at several scales.

BlazeFace sees faces of 14 to 80 px best. A photo is therefore read as an image pyramid: each level is twice as large as the one
before, up to the scale at which the smallest wanted face has 14 px. The first level is a small picture in a wide black frame,
for faces that fill the photo. Large levels are read in overlapping tiles, so that memory stays small.

Convention: boxes and points are in pixels of the photo, and (0, 0) is the centre of its first pixel; inside BlazeFace's
pictures (0, 0) is the top left corner of the first pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.faces.blazeface import INPUT_SIZE, SIDE_MULTIPLE, BlazeFace

SMALLEST_FACE = 24.0
"""Pixels from cheek to cheek of the smallest faces that are looked for by default."""
_FACE_SEEN = 14.0  # pixels of the smallest faces that BlazeFace sees well
_FRAMED = 80  # pixels of the longer side of a photo in a frame, in which faces may fill the photo
_FRAME = 32  # pixels on each side of it
_TILE, _OVERLAP = 960, 128  # of large levels; the overlap exceeds a face
_SAME_FACE = 0.3  # intersection over union


class Detections(NamedTuple):
    """Faces of a photo, in order of falling scores."""

    boxes: Tensor
    """[n, 4]: x1, y1, x2, y2."""
    points: Tensor
    """[n, 6, 2]: `blazeface.KEY_POINTS`."""
    scores: Tensor
    """[n] in [0, 1]."""


def detect(network: BlazeFace, photos: Tensor, threshold: float, smallest_face: float = SMALLEST_FACE) -> list[Detections]:
    """Find upright faces, and those that lean by up to 45°, in photos of one size.

    Args:
        network: on any device.
        photos: uint8 [B, 3, H, W] RGB.
        threshold: score in [0, 1].
        smallest_face: pixels from cheek to cheek of the smallest faces.

    Returns:
        For each photo its `Detections`, each face once, on the CPU.
    """
    rows: list[list[Tensor]] = [[torch.empty(0, 17)] for _ in photos]
    for level, scale, frame in _levels(photos, smallest_face):
        for tile, left, top in _tiles(level, frame):
            for i, found in enumerate(_read(network, tile, threshold)):
                found[:, :14] += found.new_tensor([left, top]).repeat(7)
                found[:, :16] /= scale.repeat(8)
                found[:, :14] -= 0.5
                rows[i].append(found)
    return [_merged(torch.cat(found)) for found in rows]


def detect_best(network: BlazeFace, crops: Tensor) -> Detections:
    """The surest detection, be it weak, in each of B crops [B, 3, H, W] in [-1, 1], sides multiples of 32.

    Coordinates are BlazeFace's.
    """
    rows = torch.stack([found[found[:, -1].argmax()] for found in _read(network, crops * 127.5 + 127.5, 0.0)])
    return _as_detections(rows)


def _read(network: BlazeFace, pictures: Tensor, threshold: float) -> list[Tensor]:
    """Read pictures in [0, 255]: for each, rows [n, 17] of centre and six points, size, and score, on the CPU."""
    weights = next(network.parameters())
    logits, boxes = network(pictures.to(weights.device, weights.dtype, memory_format=torch.channels_last) / 127.5 - 1)
    found = []
    for values, one in zip(logits.sigmoid(), boxes, strict=True):
        chosen = values > threshold
        one = one[chosen]
        points = torch.cat([one[:, :1], one[:, 2:]], 1).flatten(1)
        found.append(torch.cat([points, one[:, 1], values[chosen, None]], 1).cpu())
    return found


def _levels(photos: Tensor, smallest_face: float) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Resized photos, their scale [x, y], and the width of the black frame that they want."""
    height, width = photos.shape[2:]
    longer = max(height, width)
    finest = min(_FACE_SEEN / smallest_face, 1.0)
    scales, scale = [(_FRAMED / longer, _FRAME)], INPUT_SIZE / longer
    scales.append((scale, 0))
    while scale < finest:
        scale = min(2 * scale, finest)
        scales.append((scale, 0))
    for scale, frame in scales:
        size = [max(1, round(side * scale)) for side in (height, width)]
        level = F.interpolate(photos, size, mode="bilinear", antialias=True, align_corners=False)
        yield level, torch.tensor([size[1] / width, size[0] / height]), frame


def _tiles(level: Tensor, frame: int) -> Iterator[tuple[Tensor, int, int]]:
    """Parts of a level with black added up to BlazeFace's multiple, and where their left and top edges lie in the level."""
    height, width = level.shape[2:]
    for top in _starts(height):
        for left in _starts(width):
            tile = level[:, :, top : top + _TILE, left : left + _TILE]
            down, right = (-(side + 2 * frame) % SIDE_MULTIPLE for side in tile.shape[2:])
            yield F.pad(tile, (frame, frame + right, frame, frame + down)), left - frame, top - frame


def _starts(side: int) -> Sequence[int]:
    return range(0, max(1, side - _OVERLAP), _TILE - _OVERLAP)


def _merged(rows: Tensor) -> Detections:
    """Weighted non-maximum suppression of rows of 14 coordinates, 2 sizes and a score."""
    rows = rows[rows[:, -1].argsort(descending=True, stable=True)]
    boxes = _as_detections(rows).boxes
    left = (rows[:, 14:16] > 0).all(1)
    faces = [torch.empty(0, 17)]
    while left.any():
        first = int(left.int().argmax())
        same = left & (_overlap(boxes[first], boxes) > _SAME_FACE)
        weights = rows[same, -1:] / rows[same, -1:].sum()
        faces.append(torch.cat([(rows[same, :-1] * weights).sum(0), rows[first, -1:]])[None])
        left &= ~same
    return _as_detections(torch.cat(faces))


def _as_detections(rows: Tensor) -> Detections:
    """Rows of 14 coordinates, 2 sizes and a score as `Detections`."""
    centre, half = rows[:, :2], rows[:, 14:16] / 2
    return Detections(torch.cat([centre - half, centre + half], 1), rows[:, 2:14].view(-1, 6, 2), rows[:, 16])


def _overlap(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union of a box [4] with others [n, 4]: [n]."""
    edges = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(min=0)
    shared = edges.prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - shared)
