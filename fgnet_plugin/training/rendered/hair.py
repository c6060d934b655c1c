"""Hair as strands: grown from the scalp, combed, curled, bent by gravity, kept off the skull and out of the face, and drawn."""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered import head_data
from fgnet_plugin.training.rendered.head_shader import Light, irradiance, lit_share
from fgnet_plugin.training.rendered.mesh import Floats, Ints

POINTS = 12
"""Points of a strand."""
_MOST = 4200
"""Strands on a full head of hair."""


@dataclass(frozen=True)
class HairStyle:
    """How hair is cut and combed; lengths in mm, directions in head space (x left, y up, z front)."""

    length: float  # 0: shaved or bald, nothing but the painted scalp
    front: float  # length at the forehead
    sides: float  # of short hair, how much of its length is left at the sides and the nape
    comb: Floats  # [3]: where it is combed to in the middle of the head
    part: float  # x of the parting
    parted: float  # 0 all one way … 1 to both sides of the parting
    lift: float  # how upright it stands at the root
    weight: float  # how soon gravity bends it
    curl: float  # strength of curls
    twist: float  # rad of curl a step
    frizz: float
    tied: bool  # together at the back of the head
    volume: float  # how far above the skull it stays, share of the skull's radius
    shortest: float  # height over the eyes at which hair on the forehead ends
    open_face: float  # x beyond which long hair hangs beside the face
    edge: Floats  # [2]: mm that the hairline is moved up, mm over which hair thins out (0: bald)
    temples: float  # mm that the hairline recedes at the temples


def draw_style(rng: np.random.Generator, female: float, years: float, african: float) -> HairStyle:
    """A hair style that goes with gender, age and ancestry."""
    kinds = ("bald", "shaved", "short", "medium", "long", "tied", "curly")
    man = np.array((0.03 + 0.25 * (years > 45), 0.16, 0.46, 0.17, 0.05, 0.03, 0.10))
    woman = np.array((0.005, 0.02, 0.12, 0.27, 0.33, 0.17, 0.10))
    chances = (woman if female > 0.5 else man) * (1 - african)
    chances += african * np.array(
        (0.04, 0.36, 0.08, 0.04, 0.06, 0.16, 0.26) if female < 0.5 else (0, 0.08, 0.06, 0.12, 0.2, 0.24, 0.3)
    )
    kind = kinds[rng.choice(7, p=chances / chances.sum())]
    length = {
        "bald": 0.0, "shaved": 0.0, "short": rng.uniform(9, 38), "medium": rng.uniform(50, 170), "long": rng.uniform(180, 380),
        "tied": rng.uniform(110, 150), "curly": rng.uniform(14, 60) if rng.random() < 0.8 else rng.uniform(70, 160),
    }[kind]  # fmt: skip
    side = rng.choice((-1, 1))
    part = side * rng.uniform(0, 32)
    fringe = kind in ("medium", "long") and rng.random() < 0.4
    comb = {
        "short": rng.normal((0.5 * side, 0, 0.3), (0.4, 0.1, 0.7)),
        "medium": np.array([side * rng.uniform(0.3, 1), -0.2, rng.uniform(-0.8, 0.6)]),
        "long": np.array([0, -0.3, rng.uniform(-0.9, 0.2)]),
        "tied": np.array([0, 0.15, -1.0]),
    }.get(kind, np.zeros(3))
    curl = rng.uniform(0.7, 1.3) if kind == "curly" else (rng.uniform(0.1, 0.4) if rng.random() < 0.3 else rng.uniform(0, 0.1))
    lift = {"tied": 0.02, "curly": rng.uniform(0.3, 1.0), "short": rng.uniform(0.1, 0.55)}.get(kind, rng.uniform(0.05, 0.35))
    volume = {"tied": 0.02, "curly": rng.uniform(0.1, 0.45), "short": rng.uniform(0.02, 0.12)}.get(
        kind, rng.uniform(0.02, 0.16)
    )
    frizz = rng.uniform(0.12, 0.25) if kind == "curly" else rng.uniform(0.01, 0.08)
    receding = float(np.clip(rng.normal((years - 30) * 0.35, 8), 0, 26)) if female < 0.5 else 0.0
    return HairStyle(
        length, rng.uniform(38, 62) if fringe else length, rng.uniform(0.2, 0.7), comb.astype(np.float32), float(part),
        1.0 if kind == "long" or (kind == "medium" and rng.random() < 0.6) else 0.0,
        lift, {"tied": 0.0, "short": rng.uniform(0, 0.1), "curly": rng.uniform(0, 0.12)}.get(kind, rng.uniform(0.12, 0.3)),
        float(curl), rng.uniform(0.5, 1.4), frizz, kind == "tied", volume, rng.uniform(18, 48), rng.uniform(56, 72),
        np.array([rng.normal(0, 4) + 0.6 * receding, 0 if kind == "bald" else rng.uniform(4, 9)], np.float32), receding,
    )  # fmt: skip


@cache
def _scalp() -> tuple[Ints, NDArray[np.float64]]:
    """Triangles on which hair may grow, and the running sum of their areas on the mean head."""
    body = head_data.TRIANGLES[head_data.PART == head_data.BODY]
    triangles = body[hair_field()[body].max(1) > -6]
    a, b, c = (head_data.MEAN[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return np.ascontiguousarray(triangles), np.cumsum(area) / area.sum()


@cache
def hair_field() -> Floats:
    """[N]: mm above the hairline on the mean head, negative where no hair grows."""
    v = head_data.MEAN
    line = np.interp(v[:, 2], (-185, -135, -100, -84, -70, -58, -40, -15, 5, 30), (-85, -76, -45, 5, -8, 8, 36, 54, 62, 66))
    grows = (head_data.EARS < 0.3) & (head_data.CAVITY < 0.1) & (v[:, 1] > -95)
    beside = (np.abs(v[:, 0]) > 62) & (v[:, 1] < 20) & (v[:, 2] > -95) & (head_data.EARS > 0.05)
    return np.where(grows & ~beside, v[:, 1] - line, -50).astype(np.float32)


@cache
def _temples() -> Floats:
    """[N]: 1 at the temples and the forehead's corners, where men's hair recedes."""
    v = head_data.MEAN
    return np.exp(-(((np.abs(v[:, 0]) - 42) / 20) ** 2) - ((v[:, 1] - 66) / 26) ** 2 - ((v[:, 2] + 10) / 34) ** 2).astype(
        np.float32
    )


def growth(style: HairStyle) -> Floats:
    """[N]: mm above this style's hairline."""
    return (hair_field() - style.temples * _temples()).astype(np.float32)


def skull(v: Floats) -> Floats:
    """[2, 3]: centre and radii of the ellipsoid under the scalp of a head [N, 3]."""
    p = v[_scalp_vertices()]
    wide, low, high, back, front = np.abs(p[:, 0]).max(), 0.0, p[:, 1].max(), p[:, 2].min(), p[:, 2].max()
    deep = (front - back) / 2
    tall = min(0.95 * deep, high - low)
    return np.array([[0, high - tall, (front + back) / 2], [wide, tall, deep]], np.float32)


@cache
def _scalp_vertices() -> NDArray[np.intp]:
    """Those over the ears."""
    used = np.unique(_scalp()[0])
    return used[(head_data.MEAN[used, 1] > 10) & (hair_field()[used] > 0)]


def grow(rng: np.random.Generator, style: HairStyle, v: Floats, normals: Floats) -> Floats:
    """[S, POINTS, 3]: strands on a head [N, 3] with unit normals; S is 0 where there is none."""
    if style.length == 0:
        return np.zeros((0, POINTS, 3), np.float32)
    triangles, areas = _scalp()
    chosen = triangles[np.searchsorted(areas, rng.random(_MOST))]
    weights = rng.dirichlet((1, 1, 1), _MOST).astype(np.float32)
    height = np.einsum("sk,sk->s", growth(style)[chosen], weights) - style.edge[0]
    grows = height > rng.normal(0, 0.35 * style.edge[1], _MOST)
    root = np.einsum("skc,sk->sc", v[chosen[grows]], weights[grows])
    out = np.einsum("skc,sk->sc", normals[chosen[grows]], weights[grows])
    front = np.clip(root[:, 2] / 40 + 0.9, 0, 1) * (np.abs(root[:, 0]) < 52)
    length = style.length + front * (style.front - style.length)
    if style.length < 40:  # cut shorter at the sides and the nape
        length *= np.clip(0.35 + (root[:, 1] - 10) / 80, style.sides, 1)
    # Locks: neighbours are alike.
    waves = np.stack([np.sin(root @ rng.normal(0, 0.09, 3) + phase) for phase in rng.uniform(0, 6.28, 6)], 1)
    length = length * np.exp(0.10 * waves[:, 0] + rng.normal(0, 0.12, len(root)))
    sides = np.sign(root[:, 0] - style.part) * style.parted
    comb = style.comb + np.stack([1.1 * sides, 0 * sides, 0 * sides], 1) + 0.22 * waves[:, 1:4]
    comb[:, 2] += (style.front != style.length) * front * 1.6
    comb[:, 0] *= 1 - 0.8 * (style.front != style.length) * front
    comb -= (comb * out).sum(1, keepdims=True) * out
    comb /= np.maximum(np.linalg.norm(comb, axis=1, keepdims=True), 0.6)
    direction = comb + style.lift * out + rng.normal(0, 0.06 + style.frizz, root.shape)
    phase = 3 * waves[:, 4] + 3 * waves[:, 5] + rng.normal(0, 0.4 + 4 * style.frizz, len(root))
    hangs = np.where(style.front != style.length, (front < 0.5) * 1.0, 1.0) * (style.length > 60) * style.open_face
    return _grow(
        root.astype(np.float32), direction.astype(np.float32), length.astype(np.float32), phase.astype(np.float32),
        hangs.astype(np.float32), rng.normal(style.shortest, 4, len(root)).astype(np.float32), skull(v), style.weight,
        style.curl, style.twist,
        style.volume, style.tied,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _grow(
    root: Floats, direction: Floats, length: Floats, phase: Floats, hangs: Floats, least_y: Floats, ball: Floats,
    weight: float, curl: float,
    twist: float, volume: float, tied: bool,
) -> Floats:  # fmt: skip
    found = np.empty((len(root), POINTS, 3), np.float32)
    cx, cy, cz, ax, ay, az = ball[0, 0], ball[0, 1], ball[0, 2], ball[1, 0], ball[1, 1], ball[1, 2]
    for s in range(len(root)):
        x, y, z = root[s, 0], root[s, 1], root[s, 2]
        dx, dy, dz = direction[s, 0], direction[s, 1], direction[s, 2]
        step = length[s] / np.float32(POINTS - 1)
        bend = curl * min(step, np.float32(5))
        wave = abs(np.sin(3 * phase[s]))
        for k in range(POINTS):
            found[s, k, 0], found[s, k, 1], found[s, k, 2] = x, y, z
            dy -= weight * step / 6
            if tied:
                tx, ty, tz = -x, cy + 10 - y, cz - az - 12 - z
                far = np.sqrt(tx * tx + ty * ty + tz * tz)
                if far < 14:
                    found[s, k:] = found[s, k]
                    break
                dx, dy, dz = dx + 0.4 * tx / far, dy + 0.4 * ty / far, dz + 0.4 * tz / far
            size = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-6
            dx, dy, dz = dx / size, dy / size, dz / size
            turn = phase[s] + twist * k
            x += step * dx + bend * np.cos(turn)
            y += step * dy + 0.7 * bend * np.sin(turn)
            z += step * dz + 0.7 * bend * np.sin(turn + 1)
            qx, qy, qz = (x - cx) / ax, (y - cy) / ay, (z - cz) / az
            if qy > -0.6:
                r = np.sqrt(qx * qx + qy * qy + qz * qz) + 1e-6
                least = 1.012 + 0.6 * volume * wave * min(1.0, 0.3 * (k + 1))
                gx, gy, gz = qx / r, qy / r, qz / r
                if r < least:
                    x, y, z = cx + (x - cx) * least / r, cy + (y - cy) * least / r, cz + (z - cz) * least / r
                    dx, dy, dz = dx + 0.35 * gx, dy + 0.35 * gy, dz + 0.35 * gz
                elif r - least > 0.3 * volume and qy > -0.1:  # locks lie on each other
                    pull = min(0.5, 6 * (r - least - 0.3 * volume)) * min(1.0, step / 4)
                    dx, dy, dz = dx - pull * gx, dy - pull * gy, dz - pull * gz
            if hangs[s] > 0 and y < 50 and z > -75:
                side = 1.0 if x + 0.3 * root[s, 0] > 0 else -1.0
                inside = hangs[s] + 3 * np.sin(phase[s]) - side * x
                if inside > 0:
                    x += side * min(inside, step)
                    dx += 0.3 * side
            if y < least_y[s] and z > -30 and abs(x) < 50:  # cut before it hangs into the eyes
                found[s, k + 1 :] = found[s, k]
                break
    return found


@numba.njit(cache=True, error_model="numpy")
def cast_shadow(points: Floats, light: Light) -> None:
    """Enters strands (head space) into the key lamp's shadow map."""
    m = light.to_shadow
    h, w = light.shadow.shape
    for s in range(points.shape[0]):
        for k in range(1, points.shape[1]):
            x, y, z = points[s, k, 0], points[s, k, 1], points[s, k, 2]
            j = int(m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
            i = int(m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
            if 0 <= i < h and 0 <= j < w:
                light.shadow[i, j] = max(light.shadow[i, j], m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])


@numba.njit(cache=True, error_model="numpy")
def draw(
    rgba: Floats, nearest: Floats, points: Floats, turned: Floats, xy: Floats, near: Floats, outward: Floats, colours: Floats,
    width_px: int, cover: float, gloss: float, light: Light,
) -> None:  # fmt: skip
    """Draws strands into a picture, in place.

    Args:
        rgba: [H, W, 4], linear RGB and coverage; nearest: [H, W], depth of what is drawn, larger is nearer.
        points: [S, K, 3], head space; turned: [S, K, 3], the camera's frame; xy: [S, K, 2], px; near: [S, K], depth.
        outward: [S, K, 3]: unit, from the skull, as the camera sees it.
        colours: [S, 3], linear RGB; width_px: how wide strands are; cover: how much a strand hides, 0 … 1;
            gloss: strength of the hair's sheen.
    """
    height, width = nearest.shape
    hx, hy, hz = light.key[0], light.key[1], light.key[2] + 1
    size = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-6
    hx, hy, hz = hx / size, hy / size, hz / size
    r = np.zeros(3, np.float32)
    last = points.shape[1] - 1
    for s in range(points.shape[0]):
        for k in range(last):
            ax, ay, bx, by = xy[s, k, 0], xy[s, k, 1], xy[s, k + 1, 0], xy[s, k + 1, 1]
            if max(ax, bx) < 0 or max(ay, by) < 0 or min(ax, bx) > width or min(ay, by) > height:
                continue
            steps = int(max(abs(bx - ax), abs(by - ay))) + 1
            strength, shaded = cover * (1.0 if k < last - 2 else 0.75), False
            for q in range(steps):
                share = (q + 0.5) / steps
                z = near[s, k] + share * (near[s, k + 1] - near[s, k])
                x0, y0 = int(ax + share * (bx - ax)), int(ay + share * (by - ay))
                for x in range(max(x0, 0), min(x0 + width_px, width)):
                    for y in range(max(y0, 0), min(y0 + width_px, height)):
                        if z < nearest[y, x]:
                            continue
                        if not shaded:
                            shaded = True
                            tx, ty, tz = (
                                turned[s, k + 1, 0] - turned[s, k, 0],
                                turned[s, k + 1, 1] - turned[s, k, 1],
                                turned[s, k + 1, 2] - turned[s, k, 2],
                            )
                            size = np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6
                            nx, ny, nz = outward[s, k, 0], outward[s, k, 1], outward[s, k, 2]
                            along = (tx * light.key[0] + ty * light.key[1] + tz * light.key[2]) / size
                            facing = nx * light.key[0] + ny * light.key[1] + nz * light.key[2]
                            mirror = (tx * hx + ty * hy + tz * hz) / size
                            lit = lit_share(light, points[s, k, 0], points[s, k, 1], points[s, k, 2])
                            body = np.sqrt(max(0.0, 1 - along * along)) * max(0.0, (facing + 0.35) / 1.35) * lit
                            sheen = 0.12 * gloss * max(0.0, 1 - mirror * mirror) ** 12 * max(0.0, facing + 0.2) * lit
                            deep = 0.42 + 0.58 * min(1.0, (k + 1) / 5)  # roots lie in the shade of what is over them
                            for i in range(3):
                                sky = irradiance(light.around, nx, ny, nz, i)
                                r[i] = (
                                    colours[s, i] * (light.key_colour[i] * body + 0.9 * sky) * deep
                                    + sheen * light.key_colour[i]
                                )
                        nearest[y, x] = z
                        for i in range(3):
                            rgba[y, x, i] += strength * (r[i] - rgba[y, x, i])
                        rgba[y, x, 3] += strength * (1 - rgba[y, x, 3])
