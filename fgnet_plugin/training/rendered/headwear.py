"""Caps, woollen hats, headbands and head scarves: shells over the head's own surface."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from fgnet_plugin.training.rendered import complexion, hair, head_data
from fgnet_plugin.training.rendered.mesh import Floats, Ints

Kind = Literal["cap", "beanie", "band", "scarf"]


@dataclass(frozen=True)
class Headwear:
    """What somebody wears on the head; lengths in mm."""

    kind: Kind
    colour: Floats  # [3], linear RGB
    border: float  # height over the eyes of its lower edge at the forehead
    slope: float  # how much lower it sits behind, mm a mm
    thick: float
    height: float  # of a band
    visor: float  # length of a cap's visor; 0 where it is worn backwards


def draw_headwear(rng: np.random.Generator, female: float) -> Headwear:
    """A thing to wear; scarves are for women only."""
    kinds: tuple[Kind, ...] = ("cap", "beanie", "band", "scarf")
    chances = np.array((0.4, 0.25, 0.35, 0.0) if female < 0.5 else (0.2, 0.2, 0.25, 0.35))
    kind = kinds[rng.choice(4, p=chances)]
    colour = complexion.linear_rgb(np.array((rng.uniform(8, 92), *rng.normal(0, 14, 2)), np.float32))
    low = {
        "cap": rng.uniform(34, 50),
        "beanie": rng.uniform(26, 50),
        "band": rng.uniform(32, 48),
        "scarf": rng.uniform(40, 62),
    }[kind]
    thick = {"cap": rng.uniform(6, 10), "beanie": rng.uniform(5, 9), "band": rng.uniform(6, 9), "scarf": rng.uniform(5, 9)}[
        kind
    ]
    return Headwear(
        kind, colour, low, rng.uniform(0.15, 0.42), thick, rng.uniform(14, 34), rng.uniform(45, 75) * (rng.random() < 0.75)
    )


def flatten(style: hair.HairStyle, kind: Kind) -> hair.HairStyle:
    """A hair style as it lies under headwear."""
    if kind == "scarf":
        return replace(style, length=0.0, front=0.0)
    flat = replace(style, lift=0.05, volume=0.01, frizz=min(style.frizz, 0.1), curl=min(style.curl, 0.5))
    return (
        replace(flat, front=flat.length, length=flat.length) if kind == "band" else replace(flat, front=min(flat.front, 20.0))
    )


@cache
def _cover(kind: Kind) -> tuple[Ints, Ints]:
    """Vertices of the body under a kind of headwear, and triangles that index them."""
    v = head_data.MEAN
    body = head_data.TRIANGLES[head_data.PART == head_data.BODY]
    middle = v[body].mean(1)
    reach = middle[:, 1] > (-150 if kind == "scarf" else 0)
    reach &= (head_data.CAVITY[body].max(1) < 0.05) & (head_data.EARS[body].max(1) < (2 if kind == "scarf" else 0.3))
    if kind == "scarf":
        reach &= (np.hypot(middle[:, 0] / 48, (middle[:, 1] + 20) / 62) > 1) | (middle[:, 2] < -50)
    used, triangles = np.unique(body[reach], return_inverse=True)
    return used.astype(np.int32), triangles.reshape(-1, 3).astype(np.int32)


@dataclass(frozen=True)
class Shell:
    """The surface of a headwear."""

    vertices: Floats  # [M, 3], head space
    triangles: Ints  # [T, 3]
    keep: Floats  # [M], negative where it is cut off


def fit(worn: Headwear, posed: Floats, outward: Floats) -> Shell:
    """Fits headwear on a head [N, 3] with unit normals [N, 3], head space."""
    used, triangles = _cover(worn.kind)
    mean = head_data.MEAN[used]
    over_border = mean[:, 1] - worn.border - worn.slope * np.minimum(mean[:, 2] - 10, 0)
    swell = np.ones(len(used))
    if worn.kind == "scarf":
        around = np.hypot(mean[:, 0] / 64, (mean[:, 1] + 22) / (worn.border + 28))
        keep = np.where(mean[:, 2] > -55, 30 * (around - 1), 20)
        swell += 0.8 * np.clip(around - 1, 0, 1)
    elif worn.kind == "band":
        keep = np.minimum(over_border, worn.height - over_border)
    else:
        keep = over_border
        swell += 0.9 * np.clip(over_border / 50, 0, 1)
    vertices = posed[used] + (worn.thick * swell)[:, None] * outward[used]
    shell = Shell(vertices.astype(np.float32), triangles, keep.astype(np.float32))
    return _with_visor(worn, shell, hair.skull(posed)) if worn.kind == "cap" and worn.visor else shell


def _with_visor(worn: Headwear, shell: Shell, ball: Floats) -> Shell:
    columns, rows = 13, 4
    angle = np.linspace(-1.0, 1.0, columns)
    out = np.linspace(0, 1, rows)[:, None]
    inner = ball[1, [0, 2]] * np.sqrt(max(0.2, 1 - ((worn.border - ball[0, 1]) / ball[1, 1]) ** 2)) + worn.thick
    reach = worn.visor * np.cos(0.75 * angle) * out
    x = (inner[0] + 0.25 * reach) * np.sin(angle)
    z = ball[0, 2] + inner[1] * np.cos(angle) + reach
    y = worn.border + 2 - 0.22 * reach - 12 * (np.abs(angle) ** 2) * (0.3 + out)
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (r * columns + c).ravel() + len(shell.vertices)
    triangles = np.concatenate([np.stack([a, a + columns, a + 1], 1), np.stack([a + 1, a + columns, a + columns + 1], 1)])
    return Shell(
        np.concatenate([shell.vertices, vertices]).astype(np.float32),
        np.concatenate([shell.triangles, triangles]).astype(np.int32),
        np.concatenate([shell.keep, np.ones(len(vertices), np.float32)]),
    )
