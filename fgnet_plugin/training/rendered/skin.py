"""The skin's texture: colour and relief on the face seen from the front, wrinkles by AU.

Relief is what tells AU 6 from 7, 23 from 24 and 10 from 9: every AU has the furrows and bulges that FACS describes. The same
furrows are drawn at random, faintly, on faces whose AU is off (age), and left out on some whose AU is on (youth).
"""

from __future__ import annotations

import itertools
from functools import cache

import cv2
import numpy as np

from fgnet_plugin.training.rendered import mesh
from fgnet_plugin.training.rendered.furrows import FOLD, FURROWS
from fgnet_plugin.training.rendered.mesh import UV_HEIGHT, UV_WIDTH, Floats

VARIANTS = 4
"""Hands that draw each furrow: its course differs from face to face."""


def _distance(path: np.ndarray) -> tuple[Floats, Floats]:
    """Signed distance of every texel to a path (left of its course > 0), and how far along it the nearest point is, 0 … 1."""
    x, y = mesh.uv_grid()
    best = np.full(x.shape, 1e9, np.float32)
    signed, along = np.zeros_like(best), np.zeros_like(best)
    n = len(path) - 1
    for i, (a, b) in enumerate(itertools.pairwise(path)):
        d = b - a
        t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1]) / (d @ d), 0, 1)
        ex, ey = x - a[0] - t * d[0], y - a[1] - t * d[1]
        d2 = ex * ex + ey * ey
        nearer = d2 < best
        best = np.where(nearer, d2, best)
        signed = np.where(nearer, np.sign(d[0] * ey - d[1] * ex) * np.sqrt(d2), signed)
        along = np.where(nearer, (i + t) / n, along)
    return signed.astype(np.float32), along.astype(np.float32)


def _smooth(path: np.ndarray, points: int = 12) -> np.ndarray:
    """A Catmull-Rom curve through the points of a path."""
    if len(path) < 3:
        return path
    p = np.concatenate([[2 * path[0] - path[1]], path, [2 * path[-1] - path[-2]]])
    t = np.linspace(0, 1, points, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*parts, path[-1:]])


Patch = tuple[int, int, Floats, Floats]
"""Row and column of a patch of the texture, its relief and its darkness."""


@cache
def furrows() -> list[list[list[Patch]]]:
    """[furrow][half: right, left][variant]: cut-outs of the texture."""
    rng = np.random.default_rng(20240101)
    found: list[list[list[Patch]]] = []
    for furrow in FURROWS:
        halves: list[list[Patch]] = [[], []]
        for _ in range(VARIANTS):
            for half, side in ((0, -1), (1, 1)):
                path = np.array(furrow.path, float) + rng.normal(0, 0.9, (len(furrow.path), 2))
                path = _smooth(path) * [side, 1]
                signed, along = _distance(path)
                signed = signed * side
                taper = np.clip(np.minimum(along, 1 - along) * 5 + 0.25, 0, 1)
                taper = np.where(along * (1 - along) > 0, taper, 0.25 * np.exp(-((signed / furrow.width) ** 2)))
                groove = np.exp(-((signed / furrow.width) ** 2)) * taper * furrow.depth
                to_bulge = signed * np.sign(furrow.bulge) - 2.4 * furrow.width
                swell = np.exp(-((to_bulge / (2.2 * furrow.width)) ** 2)) * taper * abs(furrow.bulge)
                relief, dark = swell * furrow.width * 0.9 - groove * furrow.width, groove
                rows, columns = np.nonzero(np.abs(relief) + dark > 0.02)
                box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                halves[half].append(
                    (int(rows.min()), int(columns.min()), relief[box].astype(np.float32), dark[box].astype(np.float32))
                )
        found.append(halves)
    return found


def _blob(x: float, y: float, rx: float, ry: float) -> Floats:
    gx, gy = mesh.uv_grid()
    return np.exp(-(((np.abs(gx) - x) / rx) ** 2) - ((gy - y) / ry) ** 2).astype(np.float32)


def _polygon(points: np.ndarray, blur: float) -> Floats:
    scale = 8
    mask = np.zeros((UV_HEIGHT * scale, UV_WIDTH * scale), np.float32)
    cv2.fillPoly(mask, [np.round(points * scale + scale / 2).astype(np.int32)], 1.0)
    mask = cv2.resize(mask, (UV_WIDTH, UV_HEIGHT), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(mask, (0, 0), blur)


@cache
def masks() -> dict[str, Floats]:
    """Regions of the texture [UV_HEIGHT, UV_WIDTH], soft, 0 … 1."""
    uv = mesh.uv()
    x, y = mesh.uv_grid()
    ring = [*mesh.LIPS_OUTER_UPPER, *mesh.LIPS_OUTER_LOWER[-2:0:-1]]
    found = {"lips": _polygon(uv[ring], 0.8)}
    found["line"] = np.exp(-(((y + 85) / 1.3) ** 2)) * (np.abs(x) < 32)
    eyes = np.zeros_like(x)
    for upper, lower in ((mesh.LID_UPPER_RIGHT, mesh.LID_LOWER_RIGHT), (mesh.LID_UPPER_LEFT, mesh.LID_LOWER_LEFT)):
        eyes += _polygon(uv[[*upper, *lower[-2:0:-1]]], 0.5)
    upper_edge, lower_edge = np.zeros_like(x), np.zeros_like(x)
    for rings, edge in (
        ((mesh.LID_UPPER_RIGHT, mesh.LID_UPPER_LEFT), upper_edge),
        ((mesh.LID_LOWER_RIGHT, mesh.LID_LOWER_LEFT), lower_edge),
    ):
        for one in rings:
            signed, _ = _distance(mesh.neutral()[list(one), :2].astype(float))
            edge += np.exp(-((signed / 1.7) ** 2))
    found |= {"upper_lid": np.clip(upper_edge, 0, 1), "lower_lid": np.clip(lower_edge, 0, 1)}
    found["shadow"] = np.clip(_blob(42, 8, 22, 9) + 0.6 * _blob(22, -4, 7, 9), 0, 1)
    found["bags"] = _blob(40, -20, 18, 6)
    found["blush"] = _blob(54, -45, 18, 14)
    found["nose"] = _blob(0, -42, 14, 12)
    found["nostrils"] = np.clip(1.3 * _blob(9.5, -52.5, 5.0, 2.6), 0, 1)
    found["hollows"] = np.clip(
        0.7 * _blob(21, -52, 5, 5) + 0.5 * _blob(0, -60, 8, 5) + 0.6 * _blob(0, -108, 15, 4) + 0.5 * _blob(26, -40, 4, 12), 0, 1
    )
    found["moustache"] = _blob(0, -67, 24, 7) * (1 - found["lips"])
    jaw = mesh.smoothstep(-62.0, -110.0, (y + 0.28 * np.abs(x)).astype(np.float32))
    found["beard"] = jaw * (1 - found["lips"]) * (1 - 0.7 * _blob(0, -106, 22, 5))
    found["chin"] = np.exp(-((x / 20) ** 4) - ((y + 122) / 11) ** 4)
    return {name: mask.astype(np.float32) for name, mask in found.items()}


@cache
def brow_coordinates() -> tuple[Floats, Floats]:
    """Along each brow (0 at its head, 1 at its tail) and across it in units (up > 0)."""
    v = mesh.neutral()
    top, bottom = list(mesh.BROW_RIGHT_TOP), list(mesh.BROW_RIGHT_BOTTOM)
    spine = _smooth(((v[top, :2] + v[bottom, :2]) / 2)[::-1].astype(float))
    spine = np.concatenate([spine, spine[-1:] + (spine[-1] - spine[-4])])
    along, across = np.zeros((2, UV_HEIGHT, UV_WIDTH), np.float32)
    x, _ = mesh.uv_grid()
    for side in (1, -1):
        signed, t = _distance(spine * [side, 1])
        half = x * side < 0
        along[half], across[half] = t[half], (signed * -side)[half]
    return along, across


@cache
def noise_bank() -> Floats:
    """[8, 256, 256]: noise of mean 0 and deviation 1: blotches of 4 sizes, then strands of 4 slants. Tiles at its edges."""
    rng = np.random.default_rng(7)
    found = []
    f = np.fft.fftfreq(256) * 256
    fy, fx = np.meshgrid(f, f, indexing="ij")
    for size in (2.0, 6.0, 18.0, 50.0):
        found.append(np.exp(-(fx**2 + fy**2) * (size / 256) ** 2 * np.pi))
    for slant in (0.0, 0.5, 1.2, np.pi / 2):
        u, w = fx * np.cos(slant) + fy * np.sin(slant), fy * np.cos(slant) - fx * np.sin(slant)
        found.append(np.exp(-((u * 1.5 / 256) ** 2 + (w * 22 / 256) ** 2) * np.pi))
    planes = [np.fft.ifft2(np.fft.fft2(rng.standard_normal((256, 256))) * filter_).real for filter_ in found]
    return np.stack([(p - p.mean()) / p.std() for p in planes]).astype(np.float32)


def noise(rng: np.random.Generator, plane: int) -> Floats:
    """A random cut-out [UV_HEIGHT, UV_WIDTH] of the noise bank."""
    row, column = rng.integers(0, 256 - UV_HEIGHT), rng.integers(0, 256 - UV_WIDTH)
    return noise_bank()[plane, row : row + UV_HEIGHT, column : column + UV_WIDTH]


def draw_skin(
    rng: np.random.Generator, intensities: Floats, skin: Floats, hair: Floats, aus: tuple[int, ...], strength: float = 1.0
) -> tuple[Floats, Floats]:
    """Colour and relief of a face.

    Args:
        intensities: [20, 2], AUs `aus` × right and left half.
        skin: [3]; hair: [3], linear RGB.
        strength: how deep this corpus draws furrows.

    Returns:
        Linear RGB [UV_HEIGHT, UV_WIDTH, 3], and relief [UV_HEIGHT, UV_WIDTH] in units.
    """
    relief, dark = _relief(rng, intensities, aus, strength)
    m = masks()
    colour = np.empty((UV_HEIGHT, UV_WIDTH, 3), np.float32)
    patchy = 1 + rng.uniform(0.01, 0.05) * noise(rng, 1) + rng.uniform(0.01, 0.07) * noise(rng, 3)
    colour[:] = skin * patchy[..., None]
    redness = rng.uniform(0, 0.35) * m["blush"] + rng.uniform(0, 0.3) * m["nose"] + 0.05 * noise(rng, 2)
    colour *= 1 + redness[..., None] * np.array([0.15, -0.35, -0.3], np.float32)
    shade = rng.uniform(0, 0.45) * m["shadow"] + rng.uniform(0, 0.4) * m["bags"] + rng.uniform(0.1, 0.5) * m["hollows"]
    if rng.random() < 0.25:  # eye shadow
        colour += (rng.uniform(0.2, 0.7) * m["shadow"])[..., None] * (rng.uniform(0, 0.6, 3).astype(np.float32) * 0.6 - colour)
    colour *= (1 - np.clip(shade, 0, 0.8))[..., None]
    _moles(rng, colour)
    _beard(rng, colour, hair)
    _lips(rng, colour, skin)
    colour *= (1 - np.clip(rng.uniform(0.25, 0.5) * dark, 0, 0.75))[..., None]
    colour *= (1 - rng.uniform(0.5, 0.9) * m["nostrils"])[..., None]
    lash = rng.uniform(0.3, 0.95) * m["upper_lid"] + rng.uniform(0.0, 0.55) * m["lower_lid"]
    if rng.random() < 0.3:
        lash *= 0.5
    colour += np.clip(lash, 0, 1)[..., None] * (np.minimum(hair, 0.03) - colour)
    _brows(rng, colour, hair)
    return np.clip(colour, 0.003, 1), relief


def _relief(rng: np.random.Generator, intensities: Floats, aus: tuple[int, ...], strength: float) -> tuple[Floats, Floats]:
    relief, dark = np.zeros((2, UV_HEIGHT, UV_WIDTH), np.float32)
    index = {au: i for i, au in enumerate(aus)}
    age = rng.beta(1.1, 2.2)
    depth = strength * rng.uniform(0.15, 1.1) * (0.6 + 0.6 * age)
    for furrow, halves in zip(FURROWS, furrows(), strict=True):
        rest = furrow.age * age * rng.uniform(0, 2.0)
        if furrow.age == FOLD:
            rest = max(0.0, rng.normal(0.7, 0.6))
        variant, whim = rng.integers(VARIANTS), np.exp(rng.normal(0, 0.35))
        for half in (0, 1):
            on = sum(share * intensities[index[au], half] for au, share in furrow.aus.items())
            amount = depth * (rest * strength + float(on) * whim)
            if amount < 0.04:
                continue
            row, column, lines, darkness = halves[half][variant]
            box = np.s_[row : row + lines.shape[0], column : column + lines.shape[1]]
            relief[box] += min(amount, 2.2) * lines
            dark[box] += min(amount, 1.6) * darkness
    chin = float(intensities[index[17]].mean())
    # Drawn whether needed or not: what a face looks like otherwise does not depend on its AUs.
    dimples = np.minimum(noise(rng, 0) + 0.3 * noise(rng, 1), 0.5)
    if chin > 0:
        dimples = dimples * masks()["chin"] * depth * min(chin, 1.3)
        relief += 0.9 * dimples
        dark += np.clip(-0.25 * dimples, 0, 1)
    relief += rng.uniform(0.02, 0.12) * noise(rng, 0)  # pores
    return relief, dark


def _moles(rng: np.random.Generator, colour: Floats) -> None:
    for _ in range(rng.poisson(1.2)):
        spot = _spot(rng.uniform(-70, 70), rng.uniform(-130, 50), rng.uniform(0.7, 2.2))
        colour *= 1 - rng.uniform(0.2, 0.7) * spot[..., None]
    if rng.random() < 0.12:
        freckles = np.clip(noise(rng, 0) - 0.9, 0, 1) * (masks()["blush"] + masks()["nose"])
        colour *= 1 - np.clip(rng.uniform(0.2, 0.5) * freckles, 0, 0.6)[..., None]


def _spot(x: float, y: float, radius: float) -> Floats:
    gx, gy = mesh.uv_grid()
    return np.exp(-((gx - x) ** 2 + (gy - y) ** 2) / radius**2).astype(np.float32)


def _beard(rng: np.random.Generator, colour: Floats, hair: Floats) -> None:
    kind = rng.choice(4, p=(0.6, 0.16, 0.16, 0.08))
    if kind == 0:
        return
    m = masks()
    jaw, moustache = rng.random() < 0.85, rng.random() < 0.8
    where = np.clip(jaw * m["beard"] + moustache * m["moustache"], 0, 1)
    strength = {1: rng.uniform(0.1, 0.4), 2: rng.uniform(0.4, 0.8), 3: rng.uniform(0.8, 0.98)}[int(kind)]
    alpha = np.clip(where * strength * (1 + 0.35 * noise(rng, 7) + 0.25 * noise(rng, 0)), 0, 0.97)
    colour += alpha[..., None] * (hair * rng.uniform(0.5, 1.1) - colour)


def _lips(rng: np.random.Generator, colour: Floats, skin: Floats) -> None:
    if rng.random() < 0.22:  # lipstick
        red = rng.uniform((0.25, 0.0, 0.01), (0.75, 0.12, 0.2)).astype(np.float32)
        share = rng.uniform(0.5, 0.95)
    else:
        red = skin * np.array(rng.uniform((0.75, 0.38, 0.38), (1.05, 0.72, 0.75)), np.float32)
        share = rng.uniform(0.45, 1.0)
    m = masks()
    mottle = np.clip(1 + 0.12 * noise(rng, 4), 0.6, 1.4)
    colour += (share * m["lips"])[..., None] * (red * mottle[..., None] - colour)
    colour *= 1 - (rng.uniform(0.45, 0.85) * m["line"])[..., None]


def _brows(rng: np.random.Generator, colour: Floats, hair: Floats) -> None:
    along, across = brow_coordinates()
    thick = rng.uniform(2.0, 6.5)
    start, end = rng.uniform(-0.02, 0.1), rng.uniform(0.8, 1.0)
    bow = rng.normal(0, 1.2)
    middle = bow * np.sin(np.pi * along) + rng.normal(0, 0.8)
    width = thick * (1 - 0.62 * np.clip((along - 0.45) / 0.55, 0, 1)) + 0.3
    inside = 1 / (1 + np.exp(np.clip((np.abs(across - middle) - width) * rng.uniform(1.0, 2.5), -20, 20)))
    ends = np.clip((along - start) * 14, 0, 1) * np.clip((end - along) * 10, 0, 1)
    density = rng.uniform(0.3, 1.15)
    alpha = np.clip(inside * ends * density * (1 + 0.3 * noise(rng, int(rng.integers(4, 7)))), 0, 1)
    tone = np.minimum(hair * rng.uniform(0.3, 1.0), 0.35).astype(np.float32)
    colour += alpha[..., None] * (tone - colour)
