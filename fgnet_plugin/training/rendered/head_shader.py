"""The shader of the rendered heads: skin, eyes, teeth, mouth and clothes in the light of a key lamp and of surroundings.

The light that comes from all around is nine spherical harmonics a colour (Ramamoorthi & Hanrahan 2001), dimmed where the head
hides it from itself; the key lamp has a shadow map.
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered.mesh import Floats, Ints

SKIN, EYE, TOOTH, TONGUE, CLOTH, HAT, HIDDEN = range(7)
"""Materials of triangles."""

FRONT, AMBIENT, LIP, CAVITY, HAIR = range(5)
"""Columns of the vertices' attributes: weight of the face's texture, share of the sky that is seen, lips' red, mouth's inside,
mm above the hairline."""


class Light(NamedTuple):
    """What shines on a face; directions in the camera's frame (x right, y up, z to the camera)."""

    key: Floats  # [3], unit
    key_colour: Floats  # [3]
    lamp: Floats  # [3], unit: a second lamp without a shadow
    lamp_colour: Floats  # [3]
    around: Floats  # [9, 3]: irradiance by spherical harmonics of the normal
    hardness: float  # 0 … 1: how dark the key's shadow is
    softness: float  # reach of the shadow's edge, texels of its map
    shadow: Floats  # [h, w]: depth that the key lamp sees
    to_shadow: Floats  # [3, 4]: head space -> column, row, depth of the shadow map


class Look(NamedTuple):
    """Colours and surfaces that a face brings along; linear RGB."""

    skin: Floats  # [3]
    lips: Floats  # [4]: colour and how far it covers
    cloth: Floats  # [3]
    cloth_pattern: Floats  # [3]: stripes' period mm (0 is none), contrast, weave
    neckline: Floats  # [2]: height on the mean head, mm, and slope of its V
    hair: Floats  # [3]
    hair_edge: Floats  # [2]: mm that the hairline is moved, mm over which hair thins out (0: no hair)
    oil: float  # strength of the skin's gloss
    wet: float  # strength of the lips' gloss
    bump: float
    turn: Floats  # [3, 3]: head space -> camera
    eyes: Floats  # [2, 3]: centres of the right and left eyeball, head space
    gaze: Floats  # [2, 3]: unit directions of the right and left eye
    iris: Floats  # [3]
    iris_size: Floats  # [2]: angle of the iris, rad; pupil's share of it
    sclera: Floats  # [3]
    lids: Floats  # [2, 3]: x of the outer and inner corner and height of the upper lid of each eye, head space
    teeth: Floats  # [3]
    gums: Floats  # [2]: heights on the resting head where the upper and lower crowns end
    hat: Floats  # [3]


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def _sample(texture: Floats, x: float, y: float, out: Floats) -> None:
    """Bilinear sample of [H, W, C], clamped at the border."""
    h, w = texture.shape[0], texture.shape[1]
    x = min(max(x, 0.0), w - 1.001)
    y = min(max(y, 0.0), h - 1.001)
    i, j = int(y), int(x)
    fy, fx = y - i, x - j
    a, b, c, d = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
    for k in range(texture.shape[2]):
        out[k] = a * texture[i, j, k] + b * texture[i, j + 1, k] + c * texture[i + 1, j, k] + d * texture[i + 1, j + 1, k]


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def _step(low: float, high: float, x: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def irradiance(around: Floats, x: float, y: float, z: float, channel: int) -> float:
    """Light from all around on a surface with normal (x, y, z), relative to what a white sphere gives back."""
    c = around
    k = channel
    return max(
        0.0,
        c[0, k]
        + c[1, k] * y
        + c[2, k] * z
        + c[3, k] * x
        + c[4, k] * x * y
        + c[5, k] * y * z
        + c[6, k] * (3 * z * z - 1)
        + c[7, k] * x * z
        + c[8, k] * (x * x - y * y),
    )


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def lit_share(light: Light, x: float, y: float, z: float) -> float:
    """Share of the key lamp that reaches a point of head space, 0 … 1."""
    m = light.to_shadow
    column = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
    row = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
    depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
    seen, h, w = 0.0, light.shadow.shape[0], light.shadow.shape[1]
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            i, j = int(row + dy * light.softness), int(column + dx * light.softness)
            if i < 0 or j < 0 or i >= h or j >= w or light.shadow[i, j] < depth + 4.0 + 1.5 * light.softness:
                seen += 1.0 / 9.0
    return 1 - light.hardness * (1 - seen)


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def _eye(x: float, y: float, z: float, look: Look, rgb: Floats, normal: Floats) -> float:
    """Colour of the eyeball at a point of head space; bulges the normal over the cornea. Returns the light that lids leave."""
    side = 0 if x < 0 else 1
    dx, dy, dz = x - look.eyes[side, 0], y - look.eyes[side, 1], z - look.eyes[side, 2]
    r = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-6
    gx, gy, gz = look.gaze[side, 0], look.gaze[side, 1], look.gaze[side, 2]
    angle = np.arccos(min(1.0, max(-1.0, (dx * gx + dy * gy + dz * gz) / r)))
    at = angle / look.iris_size[0]
    iris = 1 - _step(0.9, 1.07, at)
    pupil = 1 - _step(look.iris_size[1] - 0.06, look.iris_size[1] + 0.06, at)
    ring = 1 - 0.55 * _step(0.62, 0.98, at)
    fibre = 1 + 0.25 * np.sin(40 * np.arctan2(dy / r - gy, dx / r - gx)) * _step(0.3, 0.6, at) * (1 - _step(0.7, 0.95, at))
    vein = _step(0.9, 2.6, at)
    for k in range(3):
        white = look.sclera[k] * (1.0 if k == 0 else 1 - 0.22 * vein)
        rgb[k] = white + iris * (look.iris[k] * ring * fibre * (1 - 0.96 * pupil) - white)
    bulge = 1 - _step(0.8, 1.2, at)  # the cornea is rounder than the eyeball
    nx, ny, nz = dx / r, dy / r, dz / r
    nx, ny, nz = nx + 0.6 * bulge * (nx - gx), ny + 0.6 * bulge * (ny - gy), nz + 0.6 * bulge * (nz - gz)
    for k in range(3):
        normal[k] = look.turn[k, 0] * nx + look.turn[k, 1] * ny + look.turn[k, 2] * nz
    outer, inner, top = look.lids[side, 0], look.lids[side, 1], look.lids[side, 2]
    across = (x - 0.5 * (outer + inner)) / (0.5 * abs(outer - inner) + 1e-3)
    lid = look.eyes[side, 1] + (top - look.eyes[side, 1]) * max(0.0, 1 - across * across)
    corner = 1 - 0.5 * _step(0.6, 1.05, abs(across))
    return (0.45 + 0.55 * _step(0.0, 3.2, lid - y)) * corner


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def _skin(
    px: float, py: float, pz: float, tx: float, ty: float, front: float, lip: float, cavity: float, hair: float,
    texture: Floats, texel: Floats, grain: Floats, look: Look, rgb: Floats, normal: Floats,
) -> float:  # fmt: skip
    """Colour of skin at a point of the resting head; bends the normal by the relief. Returns the strength of the gloss."""
    mottle = 1 + 0.035 * grain[int(1.4 * py) & 255, int(1.4 * (px + 0.7 * pz)) & 255, 1]
    gloss = 0.5 * look.oil
    if front > 0:
        _sample(texture, tx, ty, texel)
        gloss += front * look.oil * (texel[3] - 0.5)
    else:
        texel[:] = 0
    gx, gy = front * look.bump * texel[4], front * look.bump * texel[5]
    for k in range(3):
        plain = look.skin[k] * mottle
        rgb[k] = plain + front * (texel[k] - plain)
        normal[k] -= gx * look.turn[k, 0] + gy * look.turn[k, 1]
    red = _step(0.3, 0.62, lip) * look.lips[3]
    if red > 0:
        crease = 1 + 0.10 * grain[int(0.6 * py) & 255, int(4.0 * px) & 255, 0]
        for k in range(3):
            rgb[k] += red * (look.lips[k] * crease - rgb[k])
        gloss += red * (look.wet - gloss)
    inside = min(1.0, 1.6 * cavity)
    if inside > 0:
        for k in range(3):
            rgb[k] += inside * ((0.16, 0.035, 0.03)[k] - rgb[k])
        gloss *= 1 - inside
    if look.hair_edge[1] > 0 and hair > -40:
        strand = grain[int(2.6 * (px + 0.5 * pz)) & 255, int(0.9 * py) & 255, 0]
        cover = _step(-0.5, 1.0, (hair - look.hair_edge[0]) / look.hair_edge[1] + 0.45 * strand)
        for k in range(3):
            rgb[k] += 0.93 * cover * (look.hair[k] * max(0.2, 1 + 0.35 * strand) - rgb[k])
        gloss *= 1 - 0.7 * cover
    return gloss


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def _cloth(x: float, y: float, tone: Floats, grain: Floats, look: Look, rgb: Floats) -> None:
    weave = 1 + look.cloth_pattern[2] * grain[int(3 * y) & 255, int(3 * x) & 255, 2]
    if look.cloth_pattern[0] > 0 and int(np.floor((y + 400) / look.cloth_pattern[0])) % 2 == 0:
        weave *= look.cloth_pattern[1]
    for k in range(3):
        rgb[k] = min(0.95, tone[k] * weave)


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def depth_map(found: Ints, weights: Floats, triangles: Ints, depth: Floats, empty: float) -> Floats:
    """[H, W]: the depth [N] of what `raster.rasterise` found at each pixel, `empty` where that is nothing."""
    out = np.full(found.shape, np.float32(empty), np.float32)
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            t = found[y, x]
            if t >= 0:
                out[y, x] = (
                    weights[y, x, 0] * depth[triangles[t, 0]]
                    + weights[y, x, 1] * depth[triangles[t, 1]]
                    + weights[y, x, 2] * depth[triangles[t, 2]]
                )
    return out


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def shade(
    found: Ints, weights: Floats, triangles: Ints, material: NDArray[np.uint8], rest: Floats, posed: Floats, normals: Floats,
    where: Floats, attributes: Floats, texture: Floats, grain: Floats, look: Look, light: Light,
) -> Floats:  # fmt: skip
    """Colours of what `raster.rasterise` found.

    Args:
        rest, posed: [N, 3], mm, the mean head at rest and this head's expression, both unturned; normals: [N, 3], as the camera
            sees them; where: [N, 2], texel of each vertex in texture; attributes: [N, 5], by the columns above.
        texture: [h, w, 6], linear RGB, gloss, and the relief's rise to the subject's left and up; grain: [256, 256, 3],
            strands, blotches and a weave, of mean 0.

    Returns:
        [H, W, 4]: linear RGB and coverage, 0 or 1.
    """
    height, width = found.shape
    out = np.zeros((height, width, 4), np.float32)
    rgb, n, normal = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    p, r = np.zeros(3, np.float32), np.zeros(3, np.float32)
    at, texel = np.zeros(5, np.float32), np.zeros(6, np.float32)
    second_lamp = light.lamp_colour.max() > 0
    half = light.key + np.array([0.0, 0.0, 1.0], np.float32)
    half /= np.sqrt((half * half).sum()) + np.float32(1e-6)
    other = light.lamp + np.array([0.0, 0.0, 1.0], np.float32)
    other /= np.sqrt((other * other).sum()) + np.float32(1e-6)
    for y in range(height):
        for x in range(width):
            t = found[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            u, v, w = weights[y, x, 0], weights[y, x, 1], weights[y, x, 2]
            for k in range(3):
                normal[k] = u * normals[a, k] + v * normals[b, k] + w * normals[c, k]
                p[k] = u * posed[a, k] + v * posed[b, k] + w * posed[c, k]
                r[k] = u * rest[a, k] + v * rest[b, k] + w * rest[c, k]
            for k in range(5):
                at[k] = u * attributes[a, k] + v * attributes[b, k] + w * attributes[c, k]
            kind = material[t]
            hollow, gloss, power, soft = float(at[AMBIENT]), 0.3, 14.0, 0.0
            shaded = lit_share(light, p[0], p[1], p[2])
            if kind == SKIN and r[1] < look.neckline[0] + look.neckline[1] * abs(r[0]):
                kind = CLOTH
            if kind == SKIN:
                tx = u * where[a, 0] + v * where[b, 0] + w * where[c, 0]
                ty = u * where[a, 1] + v * where[b, 1] + w * where[c, 1]
                gloss = _skin(
                    r[0], r[1], r[2], tx, ty, at[FRONT], at[LIP], at[CAVITY], at[HAIR], texture, texel, grain, look, rgb, normal
                )
                soft = 0.11
            elif kind == EYE:
                hollow = _eye(p[0], p[1], p[2], look, rgb, normal)
                shaded *= hollow
                gloss, power = 1.2 * hollow, 90.0
            elif kind == TOOTH:
                shaded = max(shaded, 0.5)  # light comes through lips and teeth
                gap = r[0] / 7.0 - np.round(r[0] / 7.0)
                white = 1 - 0.3 * np.exp(-((gap * 7.0) ** 2) / 0.35)
                gum = _step(look.gums[0], look.gums[0] + 1.5, r[1]) + _step(look.gums[1], look.gums[1] - 1.5, r[1])
                for k in range(3):
                    rgb[k] = white * look.teeth[k] + gum * ((0.33, 0.10, 0.09)[k] - white * look.teeth[k])
                for k in range(3):  # crowns are rounder than the mesh' boxes
                    normal[k] = look.turn[k, 0] * (r[0] / 30 + 0.8 * gap) + 0.1 * look.turn[k, 1] + look.turn[k, 2]
                gloss, power = 0.25, 40.0
            elif kind == TONGUE:
                rgb[0], rgb[1], rgb[2] = 0.36, 0.10, 0.09
            else:
                _cloth(r[0], r[1], look.hat if kind == HAT else look.cloth, grain, look, rgb)
                gloss = 0.08
            length = np.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]) + 1e-6
            if normal[2] < 0:  # seen from behind: the surface that faces the camera has the opposite normal
                length = -length
            for k in range(3):
                n[k] = normal[k] / length
            key = n[0] * light.key[0] + n[1] * light.key[1] + n[2] * light.key[2]
            edge = 1 - max(0.0, float(n[2]))
            fresnel = 1 + 3 * edge * edge * edge
            glint = n[0] * half[0] + n[1] * half[1] + n[2] * half[2]
            spark, sheen, lamp = 0.0, 0.0, 0.0
            if key > 0 and glint > 0.3:
                broad = glint ** (0.3 * power)
                spark = gloss * fresnel * (glint**power + 0.35 * broad) * shaded
            if second_lamp:
                lamp = n[0] * light.lamp[0] + n[1] * light.lamp[1] + n[2] * light.lamp[2]
                gleam = n[0] * other[0] + n[1] * other[1] + n[2] * other[2]
                if gleam > 0.3:
                    sheen = gloss * fresnel * gleam**power * hollow
            if kind == EYE and key > 0:  # the lamp mirrored in the cornea
                spark += 1.6 * _step(0.980, 0.993, glint) * hollow
            for k in range(3):
                wrap = soft * (1.0 if k == 0 else 0.5)  # light that enters skin comes out redder beside the shadow's edge
                direct = max(0.0, (key + wrap) / (1 + wrap)) * shaded * light.key_colour[k]
                second = max(0.0, (lamp + wrap) / (1 + wrap)) * hollow * light.lamp_colour[k]
                sky = irradiance(light.around, n[0], n[1], n[2], k)
                dim = hollow if k == 0 or kind != SKIN else hollow * (0.85 + 0.15 * hollow)  # hollows glow red
                body = rgb[k] * (direct + second + sky * dim)
                rim = 0.05 * gloss * edge * edge * edge * edge * sky * hollow * 8
                out[y, x, k] = body + 0.22 * spark * light.key_colour[k] + 0.22 * sheen * light.lamp_colour[k] + rim
            out[y, x, 3] = 1
    return out
