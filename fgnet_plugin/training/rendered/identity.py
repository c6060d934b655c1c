"""Who a rendered face is: shape and colours, drawn independently of the expression."""

from __future__ import annotations

from functools import cache

import numpy as np

from fgnet_plugin.training.rendered import mesh
from fgnet_plugin.training.rendered.mesh import Floats

# Proportions: anchor on the left half, direction (dx outwards), reach, standard deviation in units.
_PROPORTIONS: tuple[tuple[tuple[float, float], tuple[float, float, float], float, float], ...] = (
    ((70, -100), (1, 0, 0), 26, 5.0),  # width of the jaw
    ((30, -130), (1, -0.3, 0), 20, 3.5),  # width of the chin
    ((0, -136), (0, -1, 0), 28, 6.5),  # length of the chin
    ((0, -130), (0, 0, 1), 22, 5.0),  # how far the chin stands out
    ((78, -40), (1, 0, 0.3), 26, 3.5),  # cheekbones
    ((50, -60), (0.3, 0, 1), 20, 4.0),  # full cheeks
    ((70, 40), (1, 0, 0), 30, 4.0),  # width of the forehead
    ((0, 55), (0, 1, 0), 34, 6.0),  # height of the forehead
    ((30, 20), (0, 0, 1), 24, 3.0),  # brow ridge
    ((40, 22), (0, 1, 0), 24, 4.5),  # height of the brows
    ((16, 20), (0, 1, 0), 12, 2.2),  # slant of the brows
    ((66, 14), (0, 1, 0), 14, 2.4),
    ((18, 21), (1, 0, 0), 12, 1.6),  # distance between the brows
    ((0, -38), (0, 0, 1), 15, 5.0),  # how far the nose stands out
    ((0, -40), (0, 1, 0.4), 16, 3.5),  # tip of the nose up or down
    ((24, -48), (1, 0, 0), 9, 2.8),  # width of the nose
    ((7, -10), (1, 0, 0.6), 12, 2.2),  # width and height of the nose's bridge
    ((40, -5), (1, 0, 0), 22, 2.6),  # distance of the eyes
    ((42, 2), (0, 1, 0), 8, 1.2),  # height of the eyes' opening
    ((42, -12), (0, -1, 0), 7, 0.9),
    ((58, -7), (0, 1, 0), 9, 1.6),  # slant of the eyes
    ((42, -22), (0, 0, 1), 12, 1.8),  # bags under the eyes
    ((33, -87), (1, 0, 0), 13, 4.0),  # width of the mouth
    ((32, -87), (0, 1, 0), 9, 1.5),  # corners of the mouth at rest
    ((0, -86), (0, 1, 0), 24, 2.8),  # height of the mouth
    ((0, -86), (0, 0, 1), 16, 3.0),  # how far the mouth stands out
)


@cache
def _basis() -> Floats:
    """[26, 478, 3]: displacement of each proportion at one standard deviation."""
    v = mesh.neutral()
    found = []
    for anchor, direction, reach, deviation in _PROPORTIONS:
        field = np.zeros_like(v)
        for side in (-1, 1):
            weight = np.exp(-((v[:, 0] - side * anchor[0]) ** 2 + (v[:, 1] - anchor[1]) ** 2) / (2 * reach * reach))
            field += weight[:, None] * deviation * np.array([side * direction[0], direction[1], direction[2]])
        found.append(field / (2 if anchor[0] == 0 else 1))
    return np.stack(found).astype(np.float32)


def draw_shape(rng: np.random.Generator, spread: float = 1.0) -> Floats:
    """[478, 3]: a neutral face with its mouth closed; `spread` scales how far it is from the mean face."""
    mean = mesh.neutral()
    amounts = np.clip(rng.standard_normal(len(_PROPORTIONS)), -1.8, 1.8).astype(np.float32)
    v = mean + spread * np.tensordot(amounts, _basis(), 1)
    # Free-form: broad and finer bumps, mostly alike on both halves.
    for reach, height, count in ((35.0, 2.2, 5), (15.0, 0.8, 10)):
        centres = rng.uniform((0, -140), (85, 60), (count, 2))
        pulls = spread * height * rng.standard_normal((count, 2, 3))
        pulls[:, 1] = 0.75 * pulls[:, 0] + 0.35 * pulls[:, 1]
        for half, side in ((0, -1), (1, 1)):
            d2 = (mean[:, :1] - side * centres[:, 0]) ** 2 + (mean[:, 1:2] - centres[:, 1]) ** 2
            v += (np.exp(-d2 / (2 * reach * reach)) @ (pulls[:, half] * [side, 1, 1])).astype(np.float32)
    _lips(v, rng, spread)
    scale = 1 + spread * np.clip(rng.normal(0, (0.06, 0.06, 0.08)), -0.16, 0.16)
    v *= scale.astype(np.float32)
    upper, lower = list(mesh.LIPS_INNER_UPPER), list(mesh.LIPS_INNER_LOWER)
    v[upper] = v[lower] = (v[upper] + v[lower]) / 2
    for ring_upper, ring_lower in (
        (mesh.LID_UPPER_RIGHT, mesh.LID_LOWER_RIGHT),
        (mesh.LID_UPPER_LEFT, mesh.LID_LOWER_LEFT),
    ):
        top, bottom = list(ring_upper[1:-1]), list(ring_lower[1:-1])
        v[top, 1] = np.maximum(v[top, 1], v[bottom, 1] + 2.0)
    return v.astype(np.float32)


def _lips(v: Floats, rng: np.random.Generator, spread: float) -> None:
    """Thin or full lips: both outer rings move off or to the mouth's line."""
    full = np.exp(spread * np.clip(rng.normal(0, 0.22, 2), -0.4, 0.35))
    mean, below = mesh.neutral(), mesh.lower_lip()
    near = np.exp(-((mean[:, 0] / 26) ** 4)) * np.exp(-(((mean[:, 1] + 86) / 20) ** 4))
    rise = mean[:, 1] + 86
    v[:, 1] += (near * rise * (np.where(below, full[1], full[0]) - 1)).astype(np.float32)


def draw_skin_colour(rng: np.random.Generator, darkest: float = 0.0, lightest: float = 1.0) -> Floats:
    """[3] linear RGB in [0, 1]: skin between very dark (0) and very light (1), redder or yellower at random."""
    tones = np.array(
        [(52, 34, 28), (92, 60, 44), (141, 94, 66), (188, 138, 104), (222, 178, 145), (240, 205, 180), (250, 224, 206)], float
    )
    at = rng.uniform(darkest, lightest) * (len(tones) - 1)
    base = tones[int(at)] + (at - int(at)) * (tones[min(int(at) + 1, len(tones) - 1)] - tones[int(at)])
    colour = base / 255 + rng.normal(0, (0.02, 0.015, 0.02))
    return (np.clip(colour, 0.03, 0.99) ** 2.2).astype(np.float32)


def draw_hair_colour(rng: np.random.Generator) -> Floats:
    """[3] linear RGB: black, brown, blond, red, grey, and now and then dyed."""
    kinds = np.array(
        [
            (18, 15, 14),
            (45, 30, 22),
            (80, 54, 36),
            (120, 84, 52),
            (178, 140, 92),
            (140, 66, 36),
            (150, 148, 146),
            (215, 212, 208),
        ],
        float,
    )
    colour = kinds[rng.choice(8, p=(0.24, 0.22, 0.16, 0.1, 0.1, 0.05, 0.07, 0.06))] * rng.uniform(0.7, 1.25)
    if rng.random() < 0.04:
        colour = rng.uniform(20, 230, 3)
    return (np.clip(colour / 255, 0.02, 0.98) ** 2.2).astype(np.float32)
