"""Lips: where they meet, whether they touch, and how far they are apart. Lengths are in mm."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered.head_aus import below_lips
from fgnet_plugin.training.rendered.head_data import BODY, MEAN, OF_PART, N
from fgnet_plugin.training.rendered.mesh import Floats

# Where the lips meet, on the right half from the mouth's corner to the middle.
_UPPER_RIM, _LOWER_RIM = (433, 418, 419, 516, 2011, 515, 514, 522, 521, 520), (444, 437, 475, 519, 518, 517, 523)


@cache
def _rims() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Vertices where the upper and the lower lip meet, from the right to the left corner."""
    body = OF_PART[BODY]
    found = []
    for rim in (_UPPER_RIM, _LOWER_RIM):
        left = [body[np.argmin(((MEAN[body] - MEAN[i] * [-1, 1, 1]) ** 2).sum(1))] for i in rim[-2::-1]]
        found.append(np.array([*rim, *left], np.intp))
    return found[0], found[1]


@cache
def _lip_weights() -> tuple[NDArray[np.intp], Floats, Floats]:
    """Vertices near the mouth's line, and how far each goes along with the upper and the lower lip's rim."""
    upper, lower = _rims()
    x = MEAN[:, 0]
    found = []
    for rim, below in ((upper, False), (lower, True)):
        away = np.abs(MEAN[:, 1] - np.interp(x, MEAN[rim, 0], MEAN[rim, 1]))
        side = (below_lips() == below) & np.isin(np.arange(N), OF_PART[BODY])
        found.append(np.where(side & (MEAN[:, 2] > 5) & (np.abs(x) < 26), np.exp(-((away / 7.0) ** 2)), 0))
    near = np.flatnonzero(np.maximum(*found) > 0.01)
    return near, found[0][near].astype(np.float32), found[1][near].astype(np.float32)


def _gaps(v: Floats) -> tuple[Floats, Floats]:
    """X and height of the gap between the lips from the right to the left corner, mm; below 0 where they overlap."""
    upper, lower = _rims()
    x = np.linspace(v[lower[0], 0], v[lower[-1], 0], 17)
    gap = np.interp(x, v[upper, 0], v[upper, 1]) - np.interp(x, v[lower, 0], v[lower, 1])
    return x.astype(np.float32), gap.astype(np.float32)


_OVERLAP = 0.3
"""mm: lips that touch are pressed flat by so much."""


def close_lips(v: Floats, reach: float) -> Floats:
    """Lips that overlap touch, and a gap is closed by up to `reach` mm."""
    for _ in range(2):
        x, gap = _gaps(v)
        near, upper, lower = _lip_weights()
        # The corners hold both lips.
        places, shifts = [x[0] - 3, *x, x[-1] + 3], [0, *(np.minimum(gap + _OVERLAP, reach) / 2), 0]
        v[near, 1] += (np.interp(v[near, 0], places, shifts) * (lower - upper)).astype(np.float32)
    return v


def lips_parted(vertices: Floats) -> float:
    """How far the lips are apart, mm, at the middle half of the mouth; 0 where they touch."""
    _, gap = _gaps(vertices)
    middle = len(gap) // 4
    return float(max(gap[middle:-middle].max(), 0.0))
