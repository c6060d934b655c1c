"""What surrounds the face: skull, hair, ears, neck and shoulders, as simple surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered.mesh import CLOTH, HAIR, PLAIN, Floats, Ints


@dataclass(frozen=True)
class Surface:
    """Triangles of one part of the head."""

    vertices: Floats  # [N, 3]
    triangles: Ints  # [T, 3]
    material: int
    keep: Floats  # [N]; where its interpolation is negative, nothing is drawn
    grain: Floats  # [N, 2]: coordinates in the noise bank, texels


def _grid(rows: int, columns: int) -> Ints:
    """Triangles of a grid that closes in its columns."""
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    d, e = a + columns, b + columns
    return np.concatenate([np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, e], -1).reshape(-1, 3)]).astype(np.int32)


def _ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float], rows: int, columns: int) -> Floats:
    """[rows · columns, 3], from the top down, starting at the front and turning to the subject's left."""
    polar, turn = np.linspace(0.02, np.pi - 0.02, rows)[:, None], np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    unit = np.stack(
        [np.sin(polar) * np.sin(turn), np.cos(polar) + 0 * turn, np.sin(polar) * np.cos(turn)], -1
    )  # x left, y up, z front
    return (np.array(centre) + unit.reshape(-1, 3) * np.array(radii)).astype(np.float32)


def _surface(vertices: Floats, rows: int, columns: int, material: int, keep: NDArray[np.floating] | None = None) -> Surface:
    r, c = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    # The noise bank is 256 texels wide; strands run from the top down.
    grain = np.stack([c.ravel() * 512 / columns, r.ravel() * 128 / rows], 1).astype(np.float32)
    kept = np.ones(len(vertices), np.float32) if keep is None else keep.astype(np.float32)
    return Surface(vertices, _grid(rows, columns), material, kept, grain)


def draw_head(rng: np.random.Generator, face: Floats) -> tuple[list[Surface], float]:
    """The surfaces around a face [478, 3] at rest, and the height (y) of its hairline on the forehead (or far above it)."""
    top, side, chin = face[10], face[454], face[152]
    width = float(abs(side[0]))
    centre = (0.0, float(top[1]) - 50.0, float(side[2]) + 12)
    skull = (width * 1.0, 92.0, 90.0)
    scalp = _ellipsoid(centre, skull, 18, 24)
    # The face stands before the skull: only what is above and behind it is drawn.
    beside = np.maximum((scalp[:, 1] - top[1] + 8) / 6, (side[2] + 45 - scalp[:, 2]) / 6)
    parts = [_surface(scalp, 18, 24, PLAIN, beside)]
    parts += _neck(rng, chin, width)
    parts += _ears(rng, face, width)
    kind = rng.choice(5, p=(0.08, 0.34, 0.18, 0.32, 0.08))  # bald, short, medium, long, hat
    if kind == 0:
        return parts, 1e3
    thick = rng.uniform(3, 14) if kind == 1 else rng.uniform(6, 32)
    hairline = float(top[1]) - rng.uniform(-8, 8)
    radii = (skull[0] + 0.7 * thick, skull[1] + thick, skull[2] + 0.6 * thick)
    shell = _ellipsoid((0, centre[1] + 0.2 * thick, centre[2] - 0.5 * thick), radii, 20, 28)
    shell *= 1 + 0.02 * rng.standard_normal((len(shell), 1)).astype(np.float32)
    # Hair grows above a surface that rises from the nape over the ears to the hairline.
    ear = float(side[1]) + rng.uniform(-35, 25) if kind < 3 else float(side[1]) - rng.uniform(30, 110)
    front = np.clip((shell[:, 2] - side[2] - 20) / (top[2] - side[2] - 20), 0, 1)
    border = ear + (hairline - ear) * front ** rng.uniform(0.4, 1.6)
    keep = (shell[:, 1] - border) / 6 + 0.5 * rng.standard_normal(len(shell))
    material = HAIR if kind < 4 else CLOTH
    parts.append(_surface(shell, 20, 28, material, keep))
    if kind == 3:
        parts.append(_curtain(rng, centre, width, thick))
    return parts, hairline if kind < 4 else 1e3


def _neck(rng: np.random.Generator, tip: Floats, width: float) -> list[Surface]:
    """Neck and shoulders under and behind the tip of the chin [3], which a dropped jaw takes back by 30 units."""
    rows, columns, chin = 6, 14, float(tip[1])
    turn = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    y = np.linspace(chin + 45, chin - 150, rows)[:, None]
    radius = width * rng.uniform(0.55, 0.82) * (1 + 0.1 * np.linspace(0, 1, rows)[:, None] ** 2)
    front = float(tip[2]) - rng.uniform(38, 58) - np.linspace(0, 20, rows)[:, None]
    z = front - 0.9 * radius
    tube = np.stack([radius * np.sin(turn), y + 0 * turn, z + 0.9 * radius * np.cos(turn)], -1).reshape(-1, 3)
    fall = rng.uniform(60, 100)
    shoulders = _ellipsoid(
        (0, chin - fall - rng.uniform(2, 45), float(z.mean())), (width * rng.uniform(1.9, 3.2), fall, 85), 10, 24
    )
    return [
        _surface(tube.astype(np.float32), rows, columns, PLAIN),
        _surface(shoulders, 10, 24, CLOTH),
    ]


def _ears(rng: np.random.Generator, face: Floats, width: float) -> list[Surface]:
    size, out = rng.uniform(0.8, 1.2), rng.uniform(2, 9)
    ears = []
    for sign, at in ((-1, face[127]), (1, face[356])):
        ear = _ellipsoid(
            (float(at[0]) + sign * out, float(at[1]) - 8, float(at[2]) - 8), (7 * size, 27 * size, 15 * size), 8, 10
        )
        ears.append(_surface(ear, 8, 10, PLAIN))
    return ears


def _curtain(rng: np.random.Generator, centre: tuple[float, float, float], width: float, thick: float) -> Surface:
    """Long hair hanging behind the face."""
    length = rng.uniform(60, 220)
    rows, columns = 10, 24
    turn = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    down = np.linspace(0, 1, rows)[:, None]
    radius_x = (width + 0.8 * thick) * (1 + rng.uniform(-0.1, 0.35) * down)
    radius_z = 75 * (1 + 0 * down)
    z = centre[2] - 25 - 10 * down
    shape = np.stack(
        [radius_x * np.sin(turn), centre[1] + 10 - length * down + 0 * turn, z + radius_z * np.cos(turn)], -1
    ).reshape(-1, 3)
    shape += rng.normal(0, 2.5, shape.shape)
    return _surface(shape.astype(np.float32), rows, columns, HAIR)
