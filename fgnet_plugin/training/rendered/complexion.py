"""Skin of the rendered heads: measured tones, colour zones, age, brows, beard and make-up, and the furrows of each AU."""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered import mesh, skin
from fgnet_plugin.training.rendered.furrows import FOLD, FURROWS
from fgnet_plugin.training.rendered.mesh import UV_HEIGHT, UV_WIDTH, Floats

LIGHTNESS = ((40.0, 7.0), (59.0, 5.5), (63.5, 4.5))
"""Mean and deviation of skin's L* in African, Asian and European faces: chosen so that rendered skin looks like skin, and so
wide that they overlap, as they do in people. They are no measurements."""


@dataclass(frozen=True)
class Complexion:
    """What a person's skin and hair look like whatever the face does; linear RGB."""

    skin: Floats  # [3]
    ita: float  # individual typology angle, degrees: over 55 very light, under -30 dark
    lips: Floats  # [4]: colour and cover
    hair: Floats  # [3]
    brows: Floats  # [3]
    years: float
    beard: float  # 0 … 1, how much of the skin it hides
    moustache: float
    make_up: bool
    seed: int  # of all that is painted


def linear_rgb(lab: Floats) -> Floats:
    """CIELAB (D65) [3] -> linear sRGB [3], clipped to [0.003, 1]."""
    y = (lab[0] + 16) / 116
    f = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9505, 1.0, 1.089]
    matrix = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.204, 1.057]])
    return np.clip(matrix @ xyz, 0.003, 1).astype(np.float32)


def draw_complexion(rng: np.random.Generator, ancestry: Floats, female: float, years: float) -> Complexion:
    """A skin and hair that go with an ancestry [3] (African, Asian, European shares), gender (1 is female) and age."""
    share = np.asarray(ancestry, float) / float(np.sum(ancestry))
    mean, deviation = share @ np.array(LIGHTNESS)
    lightness = float(np.clip(rng.normal(mean, deviation), 24, 74))
    a = rng.normal(11.3, 1.5) - 2.0 * (lightness < 32) + (0.8 if years > 60 else 0)
    b = np.interp(lightness, (25, 40, 53, 62, 72), (9.5, 14.5, 18.0, 16.5, 13.0)) + rng.normal(0, 1.5)
    tone = linear_rgb(np.array([lightness, a, b], np.float32))
    hair = _hair_colour(rng, share, years)
    made_up = rng.random() < (0.35 if female > 0.5 and years > 15 else 0.02)
    if made_up and rng.random() < 0.65:
        lips = [*linear_rgb(np.array(rng.uniform((28, 25, 2), (50, 55, 28)), np.float32)), rng.uniform(0.55, 0.95)]
    else:
        lips = [
            *linear_rgb(np.array([lightness - rng.uniform(6, 18), a + rng.uniform(3, 13), b - rng.uniform(-1, 5)], np.float32)),
            rng.uniform(0.5, 0.95),
        ]
    beard = moustache = 0.0
    if female < 0.5 and years > 17:
        kind = rng.choice(5, p=(0.42, 0.24, 0.16, 0.08, 0.10))  # shaved, stubble, beard, moustache, moustache and chin
        beard = (0.0, rng.uniform(0.08, 0.4), rng.uniform(0.55, 0.95), 0.0, rng.uniform(0.0, 0.25))[int(kind)]
        moustache = (0.0, beard * rng.uniform(0.6, 1.2), rng.uniform(0.4, 0.95), rng.uniform(0.5, 0.95), rng.uniform(0.5, 0.9))[
            int(kind)
        ]
    # Brows are darker than fair hair, and grey later.
    dark = linear_rgb(np.array([rng.uniform(12, 26), rng.uniform(2, 7), rng.uniform(3, 9)], np.float32))
    brows = np.minimum(0.6 * hair, 0.14) * 0.6 + 0.4 * np.minimum(dark, hair + 0.02)
    if made_up:
        brows = 0.5 * brows + 0.5 * np.minimum(brows, dark)
    ita = float(np.degrees(np.arctan2(lightness - 50, b)))
    return Complexion(
        tone, ita, np.array(lips, np.float32), hair, brows.astype(np.float32), years, float(beard), float(min(moustache, 0.95)),
        bool(made_up), int(rng.integers(1 << 31)),
    )  # fmt: skip


def _hair_colour(rng: np.random.Generator, share: np.ndarray, years: float) -> Floats:
    """Black, browns, blonds, red by ancestry, greyer with age."""
    kinds = np.array([(9, 1, 1), (15, 3, 4), (24, 6, 9), (36, 8, 15), (50, 8, 21), (62, 7, 24), (32, 18, 20)], float)
    dark = np.array((0.72, 0.22, 0.05, 0.005, 0.0, 0.0, 0.005))
    fair = np.array((0.10, 0.22, 0.28, 0.17, 0.11, 0.07, 0.05))
    chances = (share[0] + share[1]) * dark + share[2] * fair
    lab = kinds[rng.choice(7, p=chances / chances.sum())] + rng.normal(0, (2.0, 1.0, 1.5))
    grey = np.clip((years - 42) / 35 + rng.normal(0, 0.3), 0, 1) if years > 30 else 0.0
    white = np.array([rng.uniform(55, 80), 0.5, rng.uniform(1, 4)])
    lab = lab + grey * (white - lab)
    return linear_rgb(np.clip(lab, (5, -2, -2), (85, 25, 30)).astype(np.float32))


Layer = tuple[Floats, tuple[float, float, float] | Floats, bool]
"""Weight of each texel, a colour, and whether the layer covers with that colour (else it takes that share of light away)."""


def paint(person: Complexion, intensities: Floats, aus: tuple[int, ...], strength: float) -> tuple[Floats, Floats]:
    """The face's texture.

    Args:
        intensities: [len(aus), 2], right and left half.
        strength: how deep this corpus' furrows are; 1 is the standard.

    Returns:
        Linear RGB and gloss [UV_HEIGHT, UV_WIDTH, 4], and relief [UV_HEIGHT, UV_WIDTH] in units of `mesh`.
    """
    rng = np.random.default_rng(person.seed)
    relief, dark = _furrows(rng, person.years, intensities, aus, strength)
    m = skin.masks()
    uneven = rng.uniform(0.3, 1.0) * (1.5 if person.years > 50 else 1.0)
    fine, middle, broad = skin.noise(rng, 0), skin.noise(rng, 1), skin.noise(rng, 3)
    # Zones: cheeks, nose and chin redder; round the eyes darker; what is shaved bluish.
    red = rng.uniform(0.05, 0.5) * m["blush"] + rng.uniform(0.1, 0.5) * m["nose"] + 0.10 * uneven * skin.noise(rng, 2)
    hollow = rng.uniform(0.10, 0.40) * m["shadow"] + rng.uniform(0.05, 0.38) * m["bags"] + rng.uniform(0.05, 0.3) * m["hollows"]
    line = rng.uniform(0.15, 0.7) * m["upper_lid"] + rng.uniform(0.0, 0.3) * m["lower_lid"]
    if person.make_up:
        line = np.clip(1.5 * line + 0.3 * m["upper_lid"], 0, 0.95)
    layers: list[Layer] = [
        (-uneven * (0.035 * middle + 0.035 * broad + 0.02 * fine), (1, 1, 1), False),
        (red, (-0.10, 0.26, 0.22), False),
        (np.minimum(hollow, 0.6), (0.75, 1.0, 0.9), False),
        (_moles(rng, person), (0.75, 1.0, 1.0), False),
        *_freckles(rng, person, fine),
        *(_make_up(rng) if person.make_up else ()),
        (_beard(rng, person), 0.6 * person.hair + np.float32(0.003), True),
        (np.minimum(rng.uniform(0.10, 0.26) * dark, 0.5), (0.8, 1.0, 1.0), False),
        (rng.uniform(0.5, 0.85) * m["nostrils"], (1, 1, 1), False),
        (line, np.minimum(person.brows, 0.03), True),
        (_brows(rng, person), person.brows, True),
    ]
    out = np.empty((UV_HEIGHT, UV_WIDTH, 4), np.float32)
    weights = np.stack([layer[0] for layer in layers]).astype(np.float32)
    tones = np.array([layer[1] for layer in layers], np.float32)
    _lay(out, person.skin, weights, tones, np.array([layer[2] for layer in layers]))
    out[..., 3] = np.clip(_oily() * (1 + 0.12 * fine), 0, 2)
    return out, relief


@numba.njit(cache=True, error_model="numpy")
def _lay(out: Floats, base: Floats, weights: Floats, tones: Floats, covers: NDArray[np.bool_]) -> None:
    """Lays layers [n, H, W] over a colour, into out[..., :3]."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            r, g, b = base[0], base[1], base[2]
            for k in range(len(weights)):
                w = weights[k, y, x]
                if w == 0:
                    continue
                if covers[k]:
                    r, g, b = r + w * (tones[k, 0] - r), g + w * (tones[k, 1] - g), b + w * (tones[k, 2] - b)
                else:
                    r, g, b = r * (1 - w * tones[k, 0]), g * (1 - w * tones[k, 1]), b * (1 - w * tones[k, 2])
            out[y, x, 0] = min(max(r, np.float32(0.002)), np.float32(1))
            out[y, x, 1] = min(max(g, np.float32(0.002)), np.float32(1))
            out[y, x, 2] = min(max(b, np.float32(0.002)), np.float32(1))


@cache
def _oily() -> Floats:
    """Where skin shines most: nose and forehead."""
    return (0.6 + 0.7 * skin.masks()["nose"] + 0.5 * np.exp(-(((mesh.uv_grid()[1] - 42) / 22) ** 2))).astype(np.float32)


def _furrows(
    rng: np.random.Generator, years: float, intensities: Floats, aus: tuple[int, ...], strength: float
) -> tuple[Floats, Floats]:
    relief, dark = np.zeros((2, UV_HEIGHT, UV_WIDTH), np.float32)
    row = {au: i for i, au in enumerate(aus)}
    old = float(np.clip((years - 22) / 50, 0, 1.2))
    depth = strength * rng.uniform(0.25, 0.8) * (0.6 + 0.7 * old)
    for furrow, halves in zip(FURROWS, skin.furrows(), strict=True):
        chance = rng.uniform(0, 1.3)
        rest = furrow.age * old * chance
        if furrow.age == FOLD:
            rest = max(0.0, rng.normal(0.7, 0.6))
        variant, whim = rng.integers(skin.VARIANTS), np.exp(rng.normal(0, 0.35))
        for half in (0, 1):
            on = sum(share * intensities[row[au], half] for au, share in furrow.aus.items())
            if furrow.aus.get(12, 0) > 1:  # the heads' cheeks fold beside a smile by their shape already
                on *= 0.65
            amount = depth * (rest + float(on) * whim)
            if amount < 0.04:
                continue
            top, left, lines, darkness = halves[half][variant]
            box = np.s_[top : top + lines.shape[0], left : left + lines.shape[1]]
            relief[box] += min(amount, 1.4) * lines
            dark[box] += min(amount, 1.3) * darkness
    soft = rng.uniform(0.5, 1.7) * (1.2 - 0.5 * min(old, 1.0))  # young skin bends, old skin creases
    relief, dark = cv2.GaussianBlur(relief, (0, 0), soft), cv2.GaussianBlur(dark, (0, 0), soft)
    fine, medium = skin.noise(rng, 0), skin.noise(rng, 1)
    dimples = np.minimum(fine + 0.3 * medium, 0.5) * skin.masks()["chin"]
    chin = float(intensities[row[17]].mean())
    relief += 0.9 * depth * min(chin, 1.3) * dimples
    relief += rng.uniform(0.015, 0.05) * (1 + old) * fine + rng.uniform(0.0, 0.15) * old * medium  # pores; slack skin
    return relief, dark


def _moles(rng: np.random.Generator, person: Complexion) -> Floats:
    x, y = mesh.uv_grid()
    found = np.zeros_like(x)
    for _ in range(rng.poisson(1.5 if person.years < 50 else 3)):
        at, size, deep = rng.uniform((-75, -130), (75, 55)), rng.uniform(0.5, 1.8), rng.uniform(0.15, 0.65)
        row, column = int((66 - at[1]) * mesh.UV_SCALE), int((at[0] + 102) * mesh.UV_SCALE)
        box = np.s_[max(row - 5, 0) : row + 6, max(column - 5, 0) : column + 6]
        found[box] = np.maximum(found[box], deep * np.exp(-((x[box] - at[0]) ** 2 + (y[box] - at[1]) ** 2) / size**2))
    return found


def _freckles(rng: np.random.Generator, person: Complexion, fine: Floats) -> list[Layer]:
    freckled, amount = rng.random() < (0.22 if person.ita > 35 else 0.05), rng.uniform(0.1, 0.3)
    if not freckled:
        return []
    m = skin.masks()
    where = np.clip(fine - 0.8, 0, 1.2) * np.clip(m["blush"] + m["nose"] + 0.25, 0, 1)
    return [(np.minimum(amount * where, 0.5), (0.6, 0.95, 1.0), False)]


def _make_up(rng: np.random.Generator) -> list[Layer]:
    m = skin.masks()
    shadow = linear_rgb(np.array(rng.uniform((20, -3, -10), (55, 22, 18)), np.float32))
    return [
        (rng.uniform(0.1, 0.55) * m["shadow"], shadow, True),
        (rng.uniform(0, 0.9) * m["blush"], (-0.06, 0.22, 0.16), False),
    ]


def _beard(rng: np.random.Generator, person: Complexion) -> Floats:
    bristles = 1 + 0.16 * rng.standard_normal((UV_HEIGHT, UV_WIDTH), np.float32) + 0.12 * skin.noise(rng, 7)
    trim = rng.uniform(0.5, 1.0)
    if person.beard == 0 and person.moustache == 0:
        return np.zeros_like(bristles)
    m = skin.masks()
    cover = np.maximum(person.beard * m["beard"] ** np.float32(trim), person.moustache * m["moustache"])
    if person.beard < 0.3 < person.moustache:
        middle = np.exp(-((mesh.uv_grid()[0] / 30) ** 4)).astype(np.float32)  # a goatee
        cover = np.maximum(cover, person.moustache * middle * m["beard"])
    return np.clip(cover * bristles, 0, 0.96)


def _brows(rng: np.random.Generator, person: Complexion) -> Floats:
    along, across = skin.brow_coordinates()
    thick = rng.uniform(2.4, 6.0) if person.make_up else rng.uniform(3.0, 7.0)
    start, end = rng.uniform(-0.02, 0.07), rng.uniform(0.86, 1.0)
    bow, shift, sharp = rng.normal(0, 1.2), rng.normal(0, 0.8), rng.uniform(0.7, 1.5)
    hairs = 1 + 0.28 * skin.noise(rng, int(rng.integers(4, 7)))
    ragged = skin.noise(rng, 5)
    density = rng.uniform(0.6, 1.1) * (0.75 if person.years > 65 else 1)
    rows = np.flatnonzero((np.abs(across) < 14).any(1))
    box = np.s_[rows[0] : rows[-1] + 1]
    a, c = along[box], across[box]
    width = thick * (1 - 0.66 * np.clip((a - 0.4) / 0.6, 0, 1)) + 0.4
    edge = (np.abs(c - bow * np.sin(np.pi * a) - shift) - width) * sharp + 0.8 * ragged[box]
    ends = np.clip((a - start) * 9, 0, 1) * np.clip((end - a) * 8, 0, 1)
    found = np.zeros_like(along)
    found[box] = np.clip(ends * density * hairs[box] / (1 + np.exp(np.clip(edge, -20, 20))), 0, 0.97)
    return found
