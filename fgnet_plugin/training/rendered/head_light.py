"""Light on a rendered head: a key lamp with a shadow, a second lamp, and sky, ground, windows and lamps all around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered import raster
from fgnet_plugin.training.rendered.domains import Domain
from fgnet_plugin.training.rendered.head_shader import Light, depth_map
from fgnet_plugin.training.rendered.mesh import Floats, Ints

_SHADOW, _REACH = 176, 340.0
"""Side of the shadow map, texels and mm."""


def surroundings(directions: Floats, colours: Floats) -> Floats:
    """[9, 3]: the irradiance of lamps (unit directions [n, 3], colours [n, 3]) as `head_shader.irradiance` reads it."""
    x, y, z = directions.T
    ones, q = np.ones_like(x), 5 / 32
    basis = np.stack([
        0.25 * ones, 0.5 * y, 0.5 * z, 0.5 * x, 6 * q * x * y, 6 * q * y * z, q * (3 * z * z - 1) / 2, 6 * q * x * z,
        1.5 * q * (x * x - y * y),
    ])  # fmt: skip
    return (basis @ colours).astype(np.float32)


def draw_light(rng: np.random.Generator, domain: Domain, posed: Floats, triangles: Ints, keep: Floats, turn: Floats) -> Light:
    """A domain's light.

    Args:
        posed: [N, 3], head space; triangles: [T, 3], what casts shadows; keep: [N], negative where a surface is cut off.
        turn: [3, 3], head space to the camera's frame.
    """
    angle, tilt = rng.normal(0, domain.key_turn), rng.normal(0.45, 0.35)
    key = np.array([np.sin(angle) * np.cos(tilt), np.sin(tilt), max(0.05, np.cos(angle)) * np.cos(tilt)])
    key = (key / np.linalg.norm(key)).astype(np.float32)
    strength = rng.uniform(*domain.key)

    def tint(share: float = 1.0) -> NDArray[np.float64]:
        """Lamps are warmer or cooler, hardly greener or pinker."""
        warm = rng.normal(0, 0.7 * share * domain.colour_cast)
        green = rng.normal(0, 0.25 * share * domain.colour_cast)
        return np.exp(np.array([warm - green, green, -1.3 * warm - green]))

    total = 1.0 / (0.6 * strength + 0.55)
    others = rng.integers(2, 6)
    lamps = rng.normal((0, 0.25, 0.25), (1, 0.5, 0.8), (others, 3))
    directions = np.concatenate([[[0, 1, 0], [0, -1, 0]], lamps / np.linalg.norm(lamps, axis=1, keepdims=True)])
    amounts = np.concatenate([[rng.uniform(0.4, 1.1)], [rng.uniform(0.1, 0.5)], rng.exponential(0.4, others)])
    colours = np.stack([amount * tint() for amount in amounts])
    colours *= total * 1.1 / amounts.sum() * tint(0.7)
    second = rng.normal((0, 0.1, 0.3), (1, 0.5, 0.6))
    right = np.cross([0, 1, 0.01], key @ turn)
    right /= np.linalg.norm(right)
    toward = key @ turn
    scale = _SHADOW / _REACH
    to_shadow = np.zeros((3, 4), np.float32)
    to_shadow[:, :3] = np.stack([scale * right, -scale * np.cross(toward, right), toward])
    middle = np.array([0.0, -40.0, -70.0])
    to_shadow[:2, 3] = _SHADOW / 2 - to_shadow[:2, :3] @ middle
    seen = posed @ to_shadow[:, :3].T + to_shadow[:, 3]
    found, weights = raster.rasterise(
        np.ascontiguousarray(seen[:, :2]), np.ascontiguousarray(seen[:, 2]), keep, triangles,
        _SHADOW, _SHADOW,
    )  # fmt: skip
    depth = depth_map(found, weights, triangles, np.ascontiguousarray(seen[:, 2]), -1e9)
    return Light(
        key, (total * strength * tint()).astype(np.float32), (second / np.linalg.norm(second)).astype(np.float32),
        (total * rng.uniform(0, 0.5) * (rng.random() < 0.6) * tint(1.5)).astype(np.float32), surroundings(directions, colours),
        rng.uniform(0.55, 1.0), rng.uniform(0.4, 1.8), depth, to_shadow,
    )  # fmt: skip
