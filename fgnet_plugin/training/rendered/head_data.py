"""MakeHuman's heads: mesh, shapes and facial actions, as ``weights/makehuman-heads.npz`` holds them.

Lengths are in mm; x points to the subject's left (to the right in the picture), y up, z to the camera, and the origin lies
between the eyeballs. The file is made by ``weights/make_heads.py``; MakeHuman's data are in the public domain (CC0).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from fgnet_plugin.training.rendered import mesh
from fgnet_plugin.training.rendered.mesh import Floats, Ints, smoothstep
from fgnet_plugin.utils.paths import data_folder

UNITS_PER_MM = 100
"""The file's numbers are in units of 0.01 mm."""


def _read() -> dict[str, NDArray[Any]]:
    with np.load(data_folder("weights") / "makehuman-heads.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


_file = _read()


def _mm(name: str) -> Floats:
    return _file[name].astype(np.float32) / np.float32(UNITS_PER_MM)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


TRIANGLES: Ints = _frozen(_file["triangles"].astype(np.int32))
"""[T, 3]."""
PART: NDArray[np.uint8] = _frozen(_file["part"])
"""[T]: what each triangle belongs to: BODY, EYES, UPPER_TEETH, LOWER_TEETH or TONGUE."""
BODY, EYES, UPPER_TEETH, LOWER_TEETH, TONGUE = range(5)
N = len(_file["template"])
OF_PART: tuple[NDArray[np.intp], ...] = tuple(_frozen(np.unique(TRIANGLES[part == PART])) for part in range(5))
"""Vertices of each part; parts share none."""


def _template() -> Floats:
    v = _mm("template")
    # MakeHuman's tongue fills an open mouth; a tongue at rest lies behind the lower teeth.
    tongue = OF_PART[TONGUE]
    lowest = v[tongue, 1].min()
    v[tongue, 1] = lowest + 0.65 * (v[tongue, 1] - lowest) - 1.0
    v[tongue, 2] -= 4.0
    return v


TEMPLATE: Floats = _frozen(_template())
"""[N, 3]: MakeHuman's base mesh, which macro targets make a person of."""
LIPS, CAVITY, EARS, LIDS = (
    _frozen(_file[name].astype(np.float32) / 255 * np.isin(np.arange(N), OF_PART[BODY]))
    for name in ("lips", "cavity", "ears", "lids")
)
"""[N] each, 0 … 1: how much a vertex of the body is the red of the lips, the mouth's inside, an ear, a lid."""
MACRO: Floats = _frozen(_mm("macro"))
MACRO_NAMES: tuple[str, ...] = tuple(_file["macro_names"].tolist())
"""[72, N, 3]: displacements, by gender, age, muscle and weight, or by ancestry, gender and age."""
_MACRO_WORDS = [name.split("-") for name in MACRO_NAMES]
LOCAL: Floats = _frozen(_mm("local"))
SCALES: tuple[str, ...] = tuple(_file["scales"].tolist())
SCALE_ENDS: NDArray[np.int16] = _frozen(_file["scale_ends"])
"""[L, N, 3] displacements of small regions; scales of shape, and which displacement stands at each scale's two ends ([K, 2],
-1: none)."""
ACTIONS: dict[str, Floats] = dict(zip(_file["action_names"].tolist(), _frozen(_mm("actions")), strict=True))
"""Facial actions by their name in ARKit, [N, 3] each. The eyeballs are still."""


def macro_weights(years: float, female: float, muscle: float, weight: float, ancestry: Floats) -> Floats:
    """How much of each macro target a person has, [72].

    Args:
        years: age, 10 to 90; female: 0 male to 1 female; muscle and weight: 0 least, 0.5 average, 1 most; ancestry [3]: shares
            of African, Asian and European ancestors, which add up to 1.
    """

    def between(value: float, at: tuple[float, ...], names: tuple[str, ...]) -> dict[str, float]:
        return {name: float(np.interp(value, at, np.eye(len(at))[i])) for i, name in enumerate(names)}

    share = {
        **between(years, (10, 25, 90), ("child", "young", "old")),
        **between(female, (0, 1), ("male", "female")),
        **between(muscle, (0, 0.5, 1), ("minmuscle", "averagemuscle", "maxmuscle")),
        **between(weight, (0, 0.5, 1), ("minweight", "averageweight", "maxweight")),
        **dict(zip(("african", "asian", "caucasian"), ancestry.tolist(), strict=True)),
    }
    return np.array([math.prod(share[word] for word in words) for words in _MACRO_WORDS], np.float32)


def _mean() -> Floats:
    weights = macro_weights(28, 0.5, 0.5, 0.5, np.full(3, 1 / 3, np.float32))
    return (TEMPLATE + np.einsum("m,mvc->vc", weights, MACRO)).astype(np.float32)


MEAN: Floats = _frozen(_mean())
"""[N, 3]: a grown-up of average shape, between the sexes and ancestries: where regions and pulls are laid out."""

LANDMARKS: NDArray[np.intp] = _frozen(np.array([
    2405, 1886, 1749, 1893, 1891, 915, 917, 1872, 1947, 4205, 3285, 3283, 4223, 4225, 4087, 4218, 4725,  # jaw
    255, 207, 206, 205, 208, 2649, 2646, 2647, 2648, 2690,  # brows
    136, 131, 201, 1705, 325, 313, 317, 2742, 2753,  # nose
    24, 2428, 54, 2430, 2438, 2442, 4750, 2504, 4748, 2474, 4762, 4758,  # eyes
    422, 2002, 450, 455, 2876, 4327, 2848, 2901, 2907, 492, 486, 480,  # lips outside
    1583, 472, 474, 2894, 3926, 2908, 493, 487,  # lips inside
], np.intp))  # fmt: skip
"""[68]: the vertices of dlib's landmarks."""

# More places that the mean head and `mesh`'s face have in common, on the left half: mm, and the mesh' units.
_COMMON = (
    ((0, 40), (0, 50)), ((0, 62), (0, 75)), ((24, 42), (33, 52)), ((45, 42), (64, 52)), ((60, 22), (90, 22)),
    ((45, -30), (65, -42)), ((30, -24), (42, -32)), ((28, -50), (37, -62)), ((0, -94), (0, -124)), ((20, -92), (30, -122)),
    ((42, -62), (64, -82)), ((17.2, -37), (24, -44)),
)  # fmt: skip


def _to_mesh() -> Floats:
    ours, theirs = MEAN[LANDMARKS, :2], mesh.neutral()[mesh.arrays()["dlib68"].astype(int), :2]
    extra = np.array([[(side * a[0], a[1]), (side * b[0], b[1])] for a, b in _COMMON for side in ((1, -1) if a[0] else (1,))])
    a, b = np.concatenate([ours, extra[:, 0]]), np.concatenate([theirs, extra[:, 1]])
    # Both halves alike, whatever the vertices at hand.
    mirrored = np.array([-1, 1])
    thin_plate = RBFInterpolator(
        np.concatenate([a, a * mirrored + 1e-3]), np.concatenate([b, b * mirrored]), kernel="thin_plate_spline", smoothing=3.0
    )
    return thin_plate(MEAN[:, :2].astype(float)).astype(np.float32)


TO_MESH: Floats = _frozen(_to_mesh())
"""[N, 2]: where each vertex lies on `mesh`'s face seen from the front, in its units: what is painted there is found by this."""

LEFT: Floats = _frozen(smoothstep(-12.0, 12.0, MEAN[:, 0]))
"""[N]: 0 on the subject's right half, 1 on the left one."""
EYE_VERTICES: tuple[NDArray[np.intp], ...] = tuple(
    _frozen(OF_PART[EYES][sign * TEMPLATE[OF_PART[EYES], 0] > 0]) for sign in (-1, 1)
)
"""Those of the right and of the left eyeball."""
