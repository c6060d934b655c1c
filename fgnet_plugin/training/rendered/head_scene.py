"""A rendered head, from random numbers to pixels: person, light, pose, projection and shading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered import complexion, hair, head_data, heads, mesh, raster, skin
from fgnet_plugin.training.rendered import head_shader as shader
from fgnet_plugin.training.rendered.complexion import Complexion
from fgnet_plugin.training.rendered.domains import Domain
from fgnet_plugin.training.rendered.mesh import Floats, Ints
from fgnet_plugin.training.rendered.scene import Frame, rotation

_CENTRE = np.array([0.0, -40.0, -70.0], np.float32)
"""The head turns about this point, mm."""
_UNIT = 0.78
"""mm in a unit of `Domain.distance`."""
_SHADOW, _REACH = 176, 340.0
"""Side of the shadow map, texels and mm."""
_IRISES = ((58, 34, 20), (88, 56, 30), (92, 84, 52), (92, 112, 132), (104, 108, 104))


@dataclass(frozen=True)
class HeadPerson:
    """What stays the same from picture to picture of one head; colours are linear RGB."""

    head: heads.Head
    complexion: Complexion
    iris: Floats
    iris_size: Floats
    sclera: Floats
    teeth: Floats
    cloth: Floats
    cloth_pattern: Floats
    neckline: Floats
    style: hair.HairStyle


@dataclass(frozen=True)
class HeadPicture:
    """A rendered head before the camera's faults."""

    rgba: Floats  # [H, W, 4], linear RGB, 0 where nothing is, and coverage 0 or 1
    landmarks: Floats  # [68, 2], px, continuous: a pixel's centre is at + 0.5
    eyes: tuple[Floats, Floats]  # outlines of both eyes, px
    parted: float  # how far the lips are apart, mm
    yaw: float  # rad


def draw_person(rng: np.random.Generator, domain: Domain, head: heads.Head) -> HeadPerson:
    """Colours, hair and clothes for a head."""
    look = complexion.draw_complexion(rng, head.ancestry, head.female, head.age)
    european = float(head.ancestry[2] / head.ancestry.sum())
    chances = np.array((0.75, 0.2, 0.03, 0.01, 0.01)) * (1 - european) + np.array((0.3, 0.25, 0.15, 0.2, 0.1)) * european
    iris = (np.array(_IRISES[rng.choice(5, p=chances / chances.sum())]) / 255 * rng.uniform(0.6, 1.15)) ** 2.2
    fabric = (rng.uniform(5, 92), *rng.normal(0, 9 if rng.random() < 0.7 else 28, 2))
    pattern = (rng.uniform(4, 25) if rng.random() < 0.15 else 0.0, rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.25))
    return HeadPerson(
        head, look, iris.astype(np.float32), np.array([rng.uniform(0.44, 0.51), rng.uniform(0.28, 0.55)], np.float32),
        (rng.uniform(0.58, 0.88) * np.array([1.0, rng.uniform(0.91, 0.97), rng.uniform(0.85, 0.95)])).astype(np.float32),
        (rng.uniform(0.4, 0.75) * np.array([1.0, rng.uniform(0.9, 0.97), rng.uniform(0.74, 0.92)])).astype(np.float32),
        complexion.linear_rgb(np.array(fabric, np.float32)), np.array(pattern, np.float32),
        np.array([rng.uniform(-200, -135), rng.uniform(-0.2, 1.0)], np.float32),
        hair.draw_style(rng, head.female, head.age, float(head.ancestry[0])),
    )  # fmt: skip


@cache
def _drawn_triangles() -> tuple[Ints, NDArray[np.uint8]]:
    """The triangles that are drawn, and their materials."""
    kinds = {
        head_data.BODY: shader.SKIN, head_data.EYES: shader.EYE, head_data.UPPER_TEETH: shader.TOOTH,
        head_data.LOWER_TEETH: shader.TOOTH, head_data.TONGUE: shader.TONGUE,
    }  # fmt: skip
    material = np.array([kinds.get(part, shader.HIDDEN) for part in range(7)], np.uint8)[head_data.PART]
    return np.ascontiguousarray(head_data.TRIANGLES[material != shader.HIDDEN]), material[material != shader.HIDDEN]


@cache
def _texels() -> Floats:
    """[N, 2]: each vertex' texel."""
    x, y = head_data.TO_MESH[:, 0], head_data.TO_MESH[:, 1]
    return np.stack([(x + 102) * mesh.UV_SCALE, (66 - y) * mesh.UV_SCALE], 1).astype(np.float32)


@cache
def attributes() -> Floats:
    """[N, 5]: what `head_shader` knows of each vertex."""
    v = head_data.MEAN
    body = np.isin(np.arange(len(v)), head_data.OF_PART[head_data.BODY])
    n = raster.normals(v, head_data.TRIANGLES)
    step = mesh.smoothstep
    found = np.zeros((len(v), 5), np.float32)
    front = step(-0.05, 0.35, n[:, 2]) * step(-85, -45, v[:, 2]) * step(74, 66, np.abs(v[:, 0])) * step(-118, -104, v[:, 1])
    found[:, shader.FRONT] = body * front * step(0.3, 0, head_data.EARS) * (head_data.CAVITY < 0.5)
    inside = step(-30, 15, v[:, 2])
    open_sky = np.where(body, _seen_sky(v, n, body), 1)
    open_sky = np.where(body & (head_data.CAVITY > 0.3), np.minimum(open_sky, 0.22 * inside), open_sky)
    open_sky[head_data.OF_PART[head_data.EYES]] = 0.75
    for part, share in ((head_data.UPPER_TEETH, 0.6), (head_data.LOWER_TEETH, 0.45), (head_data.TONGUE, 0.35)):
        mine = head_data.OF_PART[part]
        open_sky[mine] = share * inside[mine]
    found[:, shader.AMBIENT] = open_sky
    found[:, shader.LIP], found[:, shader.CAVITY] = head_data.LIPS * body, head_data.CAVITY * body
    return found


def _seen_sky(v: Floats, n: Floats, body: NDArray[np.bool_]) -> Floats:
    """[N]: cosine-weighted share of directions from which a vertex of the mean head is seen."""
    count, side = 96, 320
    k = np.arange(count)
    z, turn = 1 - (2 * k + 1) / count, k * np.pi * (3 - np.sqrt(5))
    directions = np.stack([np.sqrt(1 - z * z) * np.cos(turn), z, np.sqrt(1 - z * z) * np.sin(turn)], 1).astype(np.float32)
    triangles = np.ascontiguousarray(head_data.TRIANGLES[head_data.PART <= head_data.LOWER_TEETH])
    ones, seen, total = np.ones(len(v), np.float32), np.zeros(len(v)), np.zeros(len(v))
    for d in directions:
        right = np.cross([0, 1, 0.001], d)
        right /= np.linalg.norm(right)
        axes = np.stack([right, -np.cross(d, right), d]).astype(np.float32)
        q = v @ axes.T
        low = q[:, :2].min(0) - 2
        scale = side / (np.ptp(q[:, :2], 0).max() + 4)
        xy = ((q[:, :2] - low) * scale).astype(np.float32)
        found, weights = raster.rasterise(xy, np.ascontiguousarray(q[:, 2]), ones, triangles, side, side)
        depth = np.where(found >= 0, (q[:, 2][triangles[found.clip(0)]] * weights).sum(2), -1e9)
        raised = (v + n) @ axes.T
        at = ((raised[:, :2] - low) * scale).astype(int).clip(0, side - 1)
        cosine = np.maximum(n @ d, 0)
        seen += cosine * (raised[:, 2] >= depth[at[:, 1], at[:, 0]] - 1.5)
        total += cosine
    return (seen / (total + 1e-6)).astype(np.float32)


def draw_picture(
    rng: np.random.Generator,
    domain: Domain,
    person: HeadPerson,
    drawn: Floats,
    gaze: Floats,
    frame: Frame,
    size: tuple[int, int],
) -> HeadPicture:
    """Renders a person with an expression.

    Args:
        drawn: [len(heads.DRAWN), 2], intensities on the right and left half.
        gaze: to the subject's left and up, rad.
        frame: says where on the picture the landmarks go.
        size: height and width, px.
    """
    face = heads.pose_head(person.head, drawn, gaze)
    yaw, pitch, roll = np.clip(rng.normal(0, (domain.yaw, domain.pitch, domain.roll)), -0.8, 0.8)
    turn = rotation(yaw, pitch, roll)
    turned = _turn(face, turn, rotation(0.4 * yaw, 0, 0.3 * roll))
    distance = rng.uniform(*domain.distance) * _UNIT
    perspective = distance / (distance - turned[:, 2])
    plane = turned[:, :2] * perspective[:, None] * [1, -1]
    to_pixels = frame(plane[head_data.LANDMARKS].astype(np.float32))
    xy = (plane @ to_pixels[:, :2].T + to_pixels[:, 2]).astype(np.float32)
    triangles, material = _drawn_triangles()
    everywhere = np.ones(len(face), np.float32)
    found, weights = raster.rasterise(xy, perspective.astype(np.float32), everywhere, triangles, *size)
    normals = raster.normals(turned, head_data.TRIANGLES)
    colour, relief = complexion.paint(person.complexion, drawn, heads.DRAWN, float(rng.uniform(*domain.furrows)))
    slope = np.stack([np.gradient(relief, axis=1), -np.gradient(relief, axis=0)], -1) * mesh.UV_SCALE
    posed = np.ascontiguousarray(turned @ turn)  # back to the unturned head, neck and shoulders as they hang
    light = draw_light(rng, domain, posed, turn)
    strands = _grow(person, posed, turn, normals)
    hair.cast_shadow(strands, light)
    look = _look(rng, person, face, posed, gaze, turn)
    rgba = shader.shade(
        found, weights, triangles, material, head_data.MEAN, posed, normals, _texels(), _attributes_of(person.style), colour,
        slope.astype(np.float32), _grain(), look, light,
    )  # fmt: skip
    nearest = np.where(found >= 0, (perspective[triangles[found.clip(0)]] * weights).sum(2), 0).astype(np.float32)

    def project(points: Floats) -> tuple[Floats, Floats, Floats]:
        """The camera's frame [..., 3], px [..., 2] and depth [...] of points of head space."""
        q = (points @ turn.T).astype(np.float32)
        near = distance / (distance - q[..., 2])
        return q, (q[..., :2] * near[..., None] * [1, -1] @ to_pixels[:, :2].T + to_pixels[:, 2]).astype(np.float32), near.astype(np.float32)

    _draw_hair(person, strands, project, posed, rgba, nearest, light, turn)
    landmarks = xy[head_data.LANDMARKS]
    return HeadPicture(rgba, landmarks, (landmarks[36:42], landmarks[42:48]), heads.lips_parted(face), float(yaw))


Project = Callable[[Floats], tuple[Floats, Floats, Floats]]


def _attributes_of(style: hair.HairStyle) -> Floats:
    found = attributes().copy()
    found[:, shader.HAIR] = hair.growth(style)
    return found


def _grow(person: HeadPerson, posed: Floats, turn: Floats, normals: Floats) -> Floats:
    outward = normals @ turn  # back to head space
    rng = np.random.default_rng([person.complexion.seed, 1])
    return hair.grow(rng, person.style, posed, outward)


def _draw_hair(
    person: HeadPerson, strands: Floats, project: Project, posed: Floats, rgba: Floats, nearest: Floats, light: shader.Light,
    turn: Floats,
) -> None:  # fmt: skip
    rng = np.random.default_rng([person.complexion.seed, 2])
    ball = hair.skull(posed)
    outward = (strands - ball[0]) / ball[1] ** 2
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True) + 1e-6
    shades = np.exp(rng.normal(0, 0.22, (len(strands), 1))).astype(np.float32)
    colours = person.complexion.hair * shades
    turned, xy, near = project(strands)
    hair.draw(
        rgba, nearest, strands, turned, xy, near, (outward @ turn.T).astype(np.float32), colours,
        1 if rgba.shape[0] < 300 else 2, 0.8,
        float(rng.uniform(0.2, 1.0)), light,
    )  # fmt: skip


@cache
def _grain() -> Floats:
    """[256, 256, 3]: strands, blotches, a weave."""
    bank = skin.noise_bank()
    return np.ascontiguousarray(np.stack([bank[7], bank[1], bank[0]], -1))


def _turn(face: Floats, head: Floats, body: Floats) -> Floats:
    """The head turned about the neck, which shoulders follow in part; origin at the eyes of the unturned head."""
    v = face - _CENTRE
    follow = mesh.smoothstep(-190.0, -95.0, face[:, 1])[:, None]
    return np.ascontiguousarray(v @ body.T + follow * (v @ head.T - v @ body.T), np.float32)


def surroundings(directions: Floats, colours: Floats) -> Floats:
    """[9, 3]: the irradiance of lamps (unit directions [n, 3], colours [n, 3]) as `head_shader.irradiance` reads it."""
    x, y, z = directions.T
    ones, q = np.ones_like(x), 5 / 32
    basis = np.stack([
        0.25 * ones, 0.5 * y, 0.5 * z, 0.5 * x, 6 * q * x * y, 6 * q * y * z, q * (3 * z * z - 1) / 2, 6 * q * x * z,
        1.5 * q * (x * x - y * y),
    ])  # fmt: skip
    return (basis @ colours).astype(np.float32)


def draw_light(rng: np.random.Generator, domain: Domain, posed: Floats, turn: Floats) -> shader.Light:
    """A key lamp with a shadow, a second one, sky, ground and a few lamps or windows around."""
    angle, tilt = rng.normal(0, domain.key_turn), rng.normal(0.45, 0.35)
    key = np.array([np.sin(angle) * np.cos(tilt), np.sin(tilt), max(0.05, np.cos(angle)) * np.cos(tilt)])
    key = (key / np.linalg.norm(key)).astype(np.float32)
    strength = rng.uniform(*domain.key)

    def tint(share: float = 1.0) -> NDArray[np.float64]:
        """Lamps are warmer or cooler, hardly greener or pinker."""
        warm = rng.normal(0, share * domain.colour_cast)
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
    middle = np.array([0.0, -30.0, -20.0])
    to_shadow[:2, 3] = _SHADOW / 2 - to_shadow[:2, :3] @ middle
    seen = posed @ to_shadow[:, :3].T + to_shadow[:, 3]
    triangles = _casters()
    found, weights = raster.rasterise(
        np.ascontiguousarray(seen[:, :2]), np.ascontiguousarray(seen[:, 2]), np.ones(len(posed), np.float32), triangles,
        _SHADOW, _SHADOW,
    )  # fmt: skip
    depth = np.where(found >= 0, (seen[:, 2][triangles[found.clip(0)]] * weights).sum(2), -1e9)
    return shader.Light(
        key, (total * strength * tint()).astype(np.float32), (second / np.linalg.norm(second)).astype(np.float32),
        (total * rng.uniform(0, 0.5) * (rng.random() < 0.6) * tint(1.5)).astype(np.float32), surroundings(directions, colours),
        np.float32(rng.uniform(0.55, 1.0)), np.float32(rng.uniform(0.4, 1.8)), depth.astype(np.float32), to_shadow,
    )  # fmt: skip


@cache
def _gums() -> Floats:
    """[2]: heights on the mean head where the upper and the lower crowns meet the gums."""
    upper, lower = (head_data.MEAN[head_data.OF_PART[part], 1] for part in (head_data.UPPER_TEETH, head_data.LOWER_TEETH))
    return np.array([upper.min() + 10, lower.max() - 9], np.float32)


@cache
def _casters() -> Ints:
    """Triangles that cast shadows."""
    return np.ascontiguousarray(head_data.TRIANGLES[head_data.PART == head_data.BODY])


def _look(rng: np.random.Generator, person: HeadPerson, face: Floats, posed: Floats, gaze: Floats, turn: Floats) -> shader.Look:
    points = posed[head_data.LANDMARKS]
    lids = np.stack([[points[36, 0], points[39, 0], points[37:39, 1].max()], [points[45, 0], points[42, 0], points[43:45, 1].max()]])
    centres = np.stack([posed[ids].mean(0) for ids in head_data.EYE_VERTICES])
    squint = rng.normal(0, 0.02)  # eyes that meet before or behind the camera
    aim = np.array([[np.sin(gaze[0] + s * (0.03 + squint)), np.sin(gaze[1]), 1.0] for s in (1, -1)])
    aim /= np.linalg.norm(aim, axis=1, keepdims=True)
    own = np.random.default_rng(person.complexion.seed)
    single = np.float32
    return shader.Look(
        person.complexion.skin * single(0.95), person.complexion.lips, person.cloth, person.cloth_pattern, person.neckline,
        person.complexion.hair, person.style.edge, single(own.uniform(0.15, 1.0)), single(own.uniform(0.4, 1.6)),
        single(own.uniform(0.6, 1.1)), turn, centres.astype(np.float32), aim.astype(np.float32), person.iris, person.iris_size,
        person.sclera, lids.astype(np.float32), person.teeth, _gums(),
    )  # fmt: skip
