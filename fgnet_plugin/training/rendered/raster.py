"""Triangles to pixels: a depth-buffered rasteriser and the shading of each material, compiled by numba.

The rendering libraries that install by pip alone need a system OpenGL, or draw flat polygons; per-pixel relief and eyes and
teeth that move on their own want a shader, and at these sizes a loop that numba compiles draws a face in milliseconds.
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered.mesh import EYE, HAIR, MOUTH, PLAIN, SKIN, Floats, Ints

# Indices into the vector of what light and face share; see `scene._shading`.
KEY, KEY_COLOUR, SKY, GROUND, SPECULAR, GLOSS, BUMP = 0, 3, 6, 9, 12, 13, 14
TANGENT, UP, SKIN_COLOUR, HAIR_COLOUR, CLOTH_COLOUR, WRAP = 15, 18, 21, 24, 27, 30
IRIS_COLOUR, SCLERA, IRIS_RADIUS, PUPIL, EYES = 31, 34, 37, 38, 39  # EYES: x, y of the right, then of the left iris
TEETH_EDGE, LOWER_TEETH, TEETH_WIDTH, TEETH_COLOUR, TONGUE, MOUTH_TOP, HAIR_CONTRAST, FILL, FILL_COLOUR = (
    43, 44, 45, 46, 49, 50, 51, 52, 55,
)  # fmt: skip
LID_TOP, LIGHTS = 58, 60


@numba.njit(cache=True, fastmath=False)
def rasterise(xy: Floats, depth: Floats, keep: Floats, triangles: Ints, height: int, width: int) -> tuple[Ints, Floats]:
    """The nearest triangle at each pixel centre.

    Args:
        xy: [N, 2], px, continuous (a pixel's centre is at + 0.5); depth: [N], larger is nearer; keep: [N], triangles are cut
            where its interpolation is negative; triangles: [T, 3].

    Returns:
        Triangle [H, W], -1 where there is none, and its barycentric weights [H, W, 3].
    """
    found = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 3), np.float32)
    nearest = np.full((height, width), np.float32(-1e30), np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        left, right = max(0, int(np.ceil(min(ax, bx, cx) - 0.5))), min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top, bottom = max(0, int(np.ceil(min(ay, by, cy) - 0.5))), min(height - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        cut = keep[a] < 0 or keep[b] < 0 or keep[c] < 0
        inverse = np.float32(1 / area)
        for y in range(top, bottom + 1):
            py = np.float32(y + 0.5)
            for x in range(left, right + 1):
                px = np.float32(x + 0.5)
                u = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * inverse
                v = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * inverse
                w = np.float32(1) - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                z = u * depth[a] + v * depth[b] + w * depth[c]
                if z <= nearest[y, x] or (cut and u * keep[a] + v * keep[b] + w * keep[c] < 0):
                    continue
                nearest[y, x] = z
                found[y, x] = t
                weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = u, v, w
    return found, weights


@numba.njit(cache=True)
def normals(vertices: Floats, triangles: Ints) -> Floats:
    """Unit normals [N, 3] of a mesh, on the side that its triangles' order says."""
    found = np.zeros_like(vertices)
    for t in range(triangles.shape[0]):
        a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            i = triangles[t, k]
            found[i, 0] += nx
            found[i, 1] += ny
            found[i, 2] += nz
    for i in range(found.shape[0]):
        n = found[i]
        length = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) + np.float32(1e-9)
        found[i] = n / length
    return found


@numba.njit(cache=True)
def _texel(texture: Floats, x: float, y: float, channel: int) -> float:
    """Bilinear sample of [H, W, C], clamped at the border."""
    h, w = texture.shape[0], texture.shape[1]
    x = min(max(x, 0.0), w - 1.001)
    y = min(max(y, 0.0), h - 1.001)
    i, j = int(y), int(x)
    fy, fx = y - i, x - j
    upper = texture[i, j, channel] * (1 - fx) + texture[i, j + 1, channel] * fx
    lower = texture[i + 1, j, channel] * (1 - fx) + texture[i + 1, j + 1, channel] * fx
    return upper * (1 - fy) + lower * fy


@numba.njit(cache=True)
def _step(low: float, high: float, x: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@numba.njit(cache=True)
def _eye(x: float, y: float, left: bool, s: Floats, out: Floats) -> None:
    """Sclera, iris, pupil, highlight and the upper lid's shadow."""
    at = EYES + (2 if left else 0)
    dx, dy = x - s[at], y - s[at + 1]
    r = np.sqrt(dx * dx + dy * dy) / s[IRIS_RADIUS]
    iris = 1 - _step(0.9, 1.08, r)
    pupil = 1 - _step(s[PUPIL] - 0.07, s[PUPIL] + 0.07, r)
    ring = 1 - 0.45 * _step(0.65, 0.98, r)
    glint = 1 - _step(0.12, 0.3, np.sqrt((dx / s[IRIS_RADIUS] - 0.25) ** 2 + (dy / s[IRIS_RADIUS] - 0.35) ** 2))
    shade = 1 - 0.55 * (1 - _step(0.0, 5.0, s[LID_TOP + (1 if left else 0)] - y))
    for k in range(3):
        value = s[SCLERA + k] + iris * (s[IRIS_COLOUR + k] * ring * (1 - 0.95 * pupil) - s[SCLERA + k])
        out[k] = value * shade + 0.8 * glint * iris


@numba.njit(cache=True)
def _mouth(x: float, y: float, s: Floats, out: Floats) -> None:
    """Upper teeth on the skull, lower teeth and tongue on the jaw, dark between them."""
    out[0], out[1], out[2] = 0.045, 0.012, 0.010
    tongue = 1 - _step(s[LOWER_TEETH] + 1.5, s[LOWER_TEETH] + 6.0, y + 0.02 * x * x)
    out[0] += tongue * s[TONGUE] * 0.25
    out[1] += tongue * s[TONGUE] * 0.05
    out[2] += tongue * s[TONGUE] * 0.05
    arch = 1 - (x / s[TEETH_WIDTH]) ** 2
    if arch <= 0:
        return
    gap = 1 - 0.25 * np.exp(-(((x / 6.5 - np.round(x / 6.5)) * 6.5) ** 2) / 0.35)
    upper = _step(-0.5, 0.5, y - s[TEETH_EDGE] - 2.5 * (x / s[TEETH_WIDTH]) ** 2)
    gum = _step(9.0, 11.0, y - s[TEETH_EDGE])
    lower = _step(-0.5, 0.5, s[LOWER_TEETH] - y)
    lit = np.sqrt(arch) * (1 - 0.35 * _step(-6.0, 0.0, y - s[MOUTH_TOP]))
    for k in range(3):
        tooth = s[TEETH_COLOUR + k] * gap * lit
        pink = (0.45, 0.16, 0.15)[k] * lit
        out[k] += lower * (0.6 * tooth - out[k])
        out[k] += upper * (tooth + gum * (pink - tooth) - out[k])


@numba.njit(cache=True)
def shade(
    found: Ints, weights: Floats, triangles: Ints, material: NDArray[np.uint8], position: Floats, normal: Floats, where: Floats,
    colour: Floats, slope: Floats, grain: Floats, s: Floats,
) -> Floats:  # fmt: skip
    """Colours of what `rasterise` found.

    Args:
        position: [N, 3], on the unturned head; normal: [N, 3], as the camera sees them; where: [N, 2], texel of each vertex in
            colour and slope (face) or grain (hair, skin elsewhere, cloth).
        colour: [h, w, 3], linear RGB; slope: [h, w, 2], relief's rise to the subject's left and up, units a unit; grain: [256,
            256, 1], strands of mean 0.
        s: what light and face share, by the indices above.

    Returns:
        [H, W, 4]: linear RGB and coverage, 0 or 1.
    """
    height, width = found.shape
    out = np.zeros((height, width, 4), np.float32)
    rgb = np.zeros(3, np.float32)
    for y in range(height):
        for x in range(width):
            t = found[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            u, v, w = weights[y, x, 0], weights[y, x, 1], weights[y, x, 2]
            nx = u * normal[a, 0] + v * normal[b, 0] + w * normal[c, 0]
            ny = u * normal[a, 1] + v * normal[b, 1] + w * normal[c, 1]
            nz = u * normal[a, 2] + v * normal[b, 2] + w * normal[c, 2]
            px = u * position[a, 0] + v * position[b, 0] + w * position[c, 0]
            py = u * position[a, 1] + v * position[b, 1] + w * position[c, 1]
            tx = u * where[a, 0] + v * where[b, 0] + w * where[c, 0]
            ty = u * where[a, 1] + v * where[b, 1] + w * where[c, 1]
            kind = material[t]
            shiny = np.float32(1)
            if kind == SKIN:
                for k in range(3):
                    rgb[k] = _texel(colour, tx, ty, k)
                gx, gy = s[BUMP] * _texel(slope, tx, ty, 0), s[BUMP] * _texel(slope, tx, ty, 1)
                nx -= gx * s[TANGENT] + gy * s[UP]
                ny -= gx * s[TANGENT + 1] + gy * s[UP + 1]
                nz -= gx * s[TANGENT + 2] + gy * s[UP + 2]
            elif kind == EYE:
                _eye(px, py, px > 0, s, rgb)
                shiny = np.float32(0.3)
            elif kind == MOUTH:
                _mouth(px, py, s, rgb)
                shiny = np.float32(0.4)
            else:
                strand = grain[int(ty) & 255, int(tx) & 255, 0]
                if kind == HAIR:
                    for k in range(3):
                        rgb[k] = s[HAIR_COLOUR + k] * max(0.1, 1 + s[HAIR_CONTRAST] * strand)
                elif kind == PLAIN:
                    for k in range(3):
                        rgb[k] = s[SKIN_COLOUR + k] * (1 + 0.03 * strand)
                else:
                    for k in range(3):
                        rgb[k] = s[CLOTH_COLOUR + k] * (1 + 0.12 * strand)
                shiny = np.float32(0.5 if kind == HAIR else 0.3)
            if nz < 0:
                nx, ny, nz = -nx, -ny, -nz
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
            nx, ny, nz = nx / length, ny / length, nz / length
            key = nx * s[KEY] + ny * s[KEY + 1] + nz * s[KEY + 2]
            half = nx * s[KEY] + ny * s[KEY + 1] + nz * (s[KEY + 2] + 1)
            norm = np.sqrt(s[KEY] ** 2 + s[KEY + 1] ** 2 + (s[KEY + 2] + 1) ** 2) + 1e-6
            lit = max(0.0, (key + s[WRAP]) / (1 + s[WRAP]))
            fill = max(0.0, nx * s[FILL] + ny * s[FILL + 1] + nz * s[FILL + 2])
            spark = s[SPECULAR] * shiny * max(0.0, half / norm) ** s[GLOSS] if key > 0 else 0.0
            sky = 0.5 + 0.5 * ny
            for k in range(3):
                light = s[KEY_COLOUR + k] * lit + s[FILL_COLOUR + k] * fill + s[SKY + k] * sky + s[GROUND + k] * (1 - sky)
                if kind in (EYE, MOUTH):  # moist and hollow: the lids' and lips' shadow takes most of the modelling
                    light = 0.6 * light + 0.4 * (0.5 * s[KEY_COLOUR + k] + s[SKY + k])
                out[y, x, k] = rgb[k] * light + spark * s[KEY_COLOUR + k]
            out[y, x, 3] = 1
    return out
