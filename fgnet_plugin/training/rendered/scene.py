"""One face, from random numbers to pixels: shape, expression, pose, light, projection and shading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered import head as surroundings
from fgnet_plugin.training.rendered import identity, mesh, muscles, raster, skin
from fgnet_plugin.training.rendered.domains import Domain
from fgnet_plugin.training.rendered.mesh import Floats, Ints

_CENTRE = np.array([0.0, -45.0, -60.0], np.float32)
"""The head turns about this point."""


@dataclass(frozen=True)
class Person:
    """What stays the same from picture to picture of one face."""

    shape: Floats  # [478, 3], neutral
    skin: Floats
    hair: Floats
    iris: Floats
    head: list[surroundings.Surface]
    hairline: float


def draw_person(rng: np.random.Generator, domain: Domain) -> Person:
    """A person of a domain's population."""
    shape = identity.draw_shape(rng, rng.uniform(*domain.spread))
    head, hairline = surroundings.draw_head(rng, shape)
    irises = np.array([(60, 36, 20), (96, 62, 32), (70, 90, 60), (80, 110, 140), (110, 110, 100)], float) / 255
    iris = (irises[rng.choice(5, p=(0.45, 0.25, 0.1, 0.13, 0.07))] * rng.uniform(0.6, 1.2)) ** 2.2
    return Person(
        shape,
        identity.draw_skin_colour(rng, *domain.skin),
        identity.draw_hair_colour(rng),
        iris.astype(np.float32),
        head,
        hairline,
    )


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """[3, 3]: turns by yaw about y, then pitch about x, then roll about z, rad."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


Frame = Callable[[Floats], Floats]
"""Landmarks [68, 2] on the picture plane (x right, y down) -> [2, 3], the map from there to the picture's pixels."""


@dataclass(frozen=True)
class Picture:
    """A rendered face before the camera's faults."""

    rgba: Floats  # [H, W, 4], linear RGB, 0 where nothing is, and coverage 0 or 1
    landmarks: Floats  # [68, 2], px, continuous: a pixel's centre is at + 0.5
    eyes: tuple[Floats, Floats]  # outlines of both eyes, px, for glasses


def draw_picture(
    rng: np.random.Generator, domain: Domain, person: Person, drawn: Floats, frame: Frame, size: tuple[int, int]
) -> Picture:
    """Renders a person with an expression.

    Args:
        drawn: [20, 2], intensities of `muscles.DRAWN` on the right and left half.
        frame: says where on the picture the landmarks go.
        size: height and width, px.
    """
    face = muscles.pose_expression(person.shape, drawn)
    sizes = [468, *(len(part.vertices) for part in person.head)]
    starts = np.cumsum([0, *sizes])
    vertices = np.concatenate([face[:468], *(part.vertices for part in person.head)]).astype(np.float32)
    triangles, material, keep, where = _join(person, starts)
    turn = rotation(*(np.clip(rng.normal(0, (domain.yaw, domain.pitch, domain.roll)), -0.8, 0.8)))
    distance = rng.uniform(*domain.distance)
    turned = (vertices - _CENTRE) @ turn.T
    perspective = distance / (distance - turned[:, 2])
    plane = turned[:, :2] * perspective[:, None] * [1, -1]
    to_pixels = frame(plane[mesh.arrays()["dlib68"].astype(int)].astype(np.float32))
    xy = (plane @ to_pixels[:, :2].T + to_pixels[:, 2]).astype(np.float32)
    found, weights = raster.rasterise(xy, perspective.astype(np.float32), keep, triangles, *size)
    normal = _normals(turned.astype(np.float32), person, starts)
    colour, relief = skin.draw_skin(rng, drawn, person.skin, person.hair, muscles.DRAWN, float(rng.uniform(*domain.furrows)))
    _fringe(rng, colour, person)
    slope = np.stack([np.gradient(relief, axis=1), -np.gradient(relief, axis=0)], -1) * mesh.UV_SCALE
    settings = _settings(rng, domain, person, face, turn)
    grain = skin.noise_bank()[7][..., None]
    rgba = raster.shade(
        found, weights, triangles, material, vertices, normal, where, colour, slope.astype(np.float32), grain, settings
    )
    outlines = [xy[[*upper, *lower[-2:0:-1]]] for upper, lower in _EYES]
    return Picture(rgba, xy[mesh.arrays()["dlib68"].astype(int)], (outlines[0], outlines[1]))


_EYES = ((mesh.LID_UPPER_RIGHT, mesh.LID_LOWER_RIGHT), (mesh.LID_UPPER_LEFT, mesh.LID_LOWER_LEFT))


def _join(person: Person, starts: NDArray[np.intp]) -> tuple[Ints, NDArray[np.uint8], Floats, Floats]:
    triangles, material = mesh.triangles()
    all_triangles, all_material = [triangles], [material]
    for start, part in zip(starts[1:], person.head, strict=False):
        all_triangles.append(part.triangles + np.int32(start))
        all_material.append(np.full(len(part.triangles), part.material, np.uint8))
    keep = np.concatenate([np.ones(468, np.float32), *(part.keep for part in person.head)])
    where = np.concatenate([mesh.uv()[:468], *(part.grain for part in person.head)])
    return np.concatenate(all_triangles).astype(np.int32), np.concatenate(all_material), keep, where


def _normals(turned: Floats, person: Person, starts: NDArray[np.intp]) -> Floats:
    """[N, 3] as the camera sees them: each surface's own, all pointing outwards."""
    found = np.empty_like(turned)
    parts = [mesh.triangles()[0], *(part.triangles for part in person.head)]
    for start, stop, triangles in zip(starts[:-1], starts[1:], parts, strict=True):
        n = raster.normals(np.ascontiguousarray(turned[start:stop]), triangles)
        centre = turned[start:stop].mean(0)
        outwards = n[:, 2].sum() >= 0 if start == 0 else ((turned[start:stop] - centre) * n).sum() >= 0
        found[start:stop] = n if outwards else -n
    return found


def _fringe(rng: np.random.Generator, colour: Floats, person: Person) -> None:
    """Hair on the forehead, down to the hairline or, as a fringe, farther."""
    if person.hairline > 500:
        return
    x, y = mesh.uv_grid()
    depth = rng.uniform(0, 6) if rng.random() < 0.7 else rng.uniform(6, 34)
    side = rng.normal(0, 0.12)
    border = 52 - depth + side * x - rng.uniform(-0.002, 0.006) * x * x
    strands = skin.noise(rng, 7)
    alpha = np.clip((y - border) / 3 + 1.2 * strands, 0, 1)
    temples = np.clip((np.abs(x) - rng.uniform(78, 90)) / 4 + 0.6 * strands, 0, 1) * (y > -40)
    alpha = np.maximum(alpha, temples)[..., None]
    colour += alpha * (person.hair * np.clip(1 + 0.35 * strands, 0.2, 2)[..., None] - colour)


def _settings(rng: np.random.Generator, domain: Domain, person: Person, face: Floats, turn: Floats) -> Floats:
    """The vector that `raster.shade` reads."""
    s = np.zeros(raster.LIGHTS, np.float32)
    angle, tilt = rng.normal(0, domain.key_turn), rng.normal(0.45, 0.35)
    key = np.array([np.sin(angle) * np.cos(tilt), np.sin(tilt), max(0.05, np.cos(angle)) * np.cos(tilt)])
    s[raster.KEY : raster.KEY + 3] = key / np.linalg.norm(key)
    tint = np.exp(rng.normal(0, domain.colour_cast, 3))
    strength = rng.uniform(*domain.key)
    total = 1.0 / (0.6 * strength + 0.55)
    s[raster.KEY_COLOUR : raster.KEY_COLOUR + 3] = total * strength * tint
    around = total * np.exp(rng.normal(0, domain.colour_cast, 3))
    s[raster.SKY : raster.SKY + 3] = around * rng.uniform(0.4, 0.8)
    s[raster.GROUND : raster.GROUND + 3] = around * rng.uniform(0.1, 0.5)
    fill = rng.normal((0, 0, 0.5), (1, 0.5, 0.3))
    s[raster.FILL : raster.FILL + 3] = fill / np.linalg.norm(fill)
    s[raster.FILL_COLOUR : raster.FILL_COLOUR + 3] = total * rng.uniform(0, 0.35) * np.exp(rng.normal(0, 0.15, 3))
    s[raster.SPECULAR], s[raster.GLOSS] = rng.uniform(0, 0.28), rng.uniform(6, 30)
    s[raster.BUMP], s[raster.WRAP] = rng.uniform(0.6, 1.4), rng.uniform(0, 0.4)
    s[raster.TANGENT : raster.TANGENT + 3], s[raster.UP : raster.UP + 3] = turn[:, 0], turn[:, 1]
    s[raster.SKIN_COLOUR : raster.SKIN_COLOUR + 3] = person.skin * rng.uniform(0.75, 1.0)
    s[raster.HAIR_COLOUR : raster.HAIR_COLOUR + 3] = person.hair
    s[raster.HAIR_CONTRAST] = rng.uniform(0.15, 0.5)
    s[raster.CLOTH_COLOUR : raster.CLOTH_COLOUR + 3] = rng.uniform(0.02, 0.9, 3) ** 2
    s[raster.IRIS_COLOUR : raster.IRIS_COLOUR + 3] = person.iris
    s[raster.SCLERA : raster.SCLERA + 3] = np.clip(rng.uniform(0.25, 0.75) * np.array([1.0, 0.95, 0.92]), 0, 1)
    s[raster.IRIS_RADIUS], s[raster.PUPIL] = rng.uniform(6.8, 8.2), rng.uniform(0.25, 0.55)
    gaze = np.clip(rng.normal(0, (2.6, 1.2)), -7, 7)
    for i, (upper, lower) in enumerate(_EYES):
        rest = (person.shape[upper[4], :2] + person.shape[lower[4], :2]) / 2
        s[raster.EYES + 2 * i : raster.EYES + 2 * i + 2] = rest + gaze + [0, 0.8]
        s[raster.LID_TOP + i] = face[upper[4], 1]
    line = float(person.shape[13, 1])
    jaw = float(face[152, 1] - person.shape[152, 1]) if face[14, 1] < face[13, 1] - 4 else float(face[14, 1] - line)
    s[raster.TEETH_EDGE] = line + rng.uniform(-3.5, 1.0)
    s[raster.LOWER_TEETH] = line + jaw - rng.uniform(-1.0, 3.5)
    s[raster.TEETH_WIDTH] = rng.uniform(29, 38)
    s[raster.TEETH_COLOUR : raster.TEETH_COLOUR + 3] = np.clip(
        rng.uniform(0.4, 0.85) * np.array([1.0, rng.uniform(0.88, 0.98), rng.uniform(0.7, 0.95)]), 0, 1
    )
    s[raster.TONGUE], s[raster.MOUTH_TOP] = rng.uniform(0.2, 1.2), face[13, 1]
    return s
