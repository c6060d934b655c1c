"""A rendered head, from random numbers to pixels: person, light, pose, projection and shading."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered import complexion, hair, head_data, head_light, heads, headwear, mesh, raster, skin
from fgnet_plugin.training.rendered import head_shader as shader
from fgnet_plugin.training.rendered.complexion import Complexion
from fgnet_plugin.training.rendered.domains import Domain
from fgnet_plugin.training.rendered.mesh import Floats, Ints
from fgnet_plugin.training.rendered.scene import Frame, rotation

_CENTRE = np.array([0.0, -40.0, -70.0], np.float32)
"""The head turns about this point, mm."""
_UNIT = 0.78
"""mm in a unit of `Domain.distance`."""
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
    headwear: headwear.Headwear | None


@dataclass(frozen=True)
class Camera:
    """Where a head is in front of the camera, and what becomes of its points there."""

    turn: Floats  # [3, 3]: head space -> the camera's frame
    distance: float  # mm
    to_pixels: Floats  # [2, 3]

    def project(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """The camera's frame [..., 3], px [..., 2] and depth [...] (larger is nearer) of points [..., 3] of head space."""
        seen = ((points - _CENTRE) @ self.turn.T).astype(np.float32)
        near = np.float32(self.distance) / (np.float32(self.distance) - seen[..., 2])
        plane = seen[..., :2] * near[..., None] * np.array([1, -1], np.float32)
        return seen, plane @ self.to_pixels[:, :2].T + self.to_pixels[:, 2], near


@dataclass(frozen=True)
class HeadPicture:
    """A rendered head before the camera's faults."""

    rgba: Floats  # [H, W, 4], linear RGB, 0 where nothing is, and coverage 0 or 1
    landmarks: Floats  # [68, 2], px, continuous: a pixel's centre is at + 0.5
    camera: Camera
    eyeballs: Floats  # [2, 3]: centres of the right and left eyeball, head space, mm
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
    style = hair.draw_style(rng, head.female, head.age, float(head.ancestry[0]))
    worn = headwear.draw_headwear(rng, head.female) if rng.random() < domain.headwear else None
    if worn:
        style = headwear.flatten(style, worn.kind)
    return HeadPerson(
        head, look, iris.astype(np.float32), np.array([rng.uniform(0.44, 0.51), rng.uniform(0.28, 0.55)], np.float32),
        (rng.uniform(0.40, 0.68) * np.array([1.0, rng.uniform(0.91, 0.97), rng.uniform(0.85, 0.95)])).astype(np.float32),
        (rng.uniform(0.45, 0.74) * np.array([1.0, rng.uniform(0.9, 0.97), rng.uniform(0.76, 0.93)])).astype(np.float32),
        complexion.linear_rgb(np.array(fabric, np.float32)), np.array(pattern, np.float32),
        np.array([rng.uniform(-200, -135), rng.uniform(-0.2, 1.0)], np.float32),
        style, worn,
    )  # fmt: skip


@cache
def _drawn_triangles() -> tuple[Ints, NDArray[np.uint8]]:
    """The triangles that are drawn, and their materials."""
    kinds = {
        head_data.BODY: shader.SKIN, head_data.EYES: shader.EYE, head_data.UPPER_TEETH: shader.TOOTH,
        head_data.LOWER_TEETH: shader.TOOTH, head_data.TONGUE: shader.TONGUE,
    }  # fmt: skip
    material = np.array([kinds.get(part, shader.HIDDEN) for part in range(5)], np.uint8)[head_data.PART]
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
    for part, share in ((head_data.UPPER_TEETH, 0.85), (head_data.LOWER_TEETH, 0.6), (head_data.TONGUE, 0.35)):
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
        depth = shader.depth_map(found, weights, triangles, np.ascontiguousarray(q[:, 2]), -1e9)
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
    face = heads.pose_head(person.head, drawn, (float(gaze[0]), float(gaze[1])))
    yaw, pitch, roll = np.clip(rng.normal(0, (domain.yaw, domain.pitch, domain.roll)), -0.8, 0.8)
    posed = _hang_shoulders(face, rotation(yaw, pitch, roll), rotation(0.4 * yaw, 0, 0.3 * roll))
    camera = Camera(rotation(yaw, pitch, roll), rng.uniform(*domain.distance) * _UNIT, np.eye(2, 3, dtype=np.float32))
    camera = replace(camera, to_pixels=frame(camera.project(posed[head_data.LANDMARKS])[1]))
    outward = raster.normals(posed, head_data.TRIANGLES)
    surface = _dress(person, posed, outward)
    _, xy, near = camera.project(surface.posed)
    found, weights = raster.rasterise(xy, near, surface.keep, surface.triangles, *size)
    colour, relief = complexion.paint(person.complexion, drawn, heads.DRAWN, float(rng.uniform(*domain.furrows)))
    texture = np.concatenate([colour, np.zeros((*relief.shape, 2), np.float32)], -1)
    texture[:, 1:-1, 4] = (relief[:, 2:] - relief[:, :-2]) * (mesh.UV_SCALE / 2)
    texture[1:-1, :, 5] = (relief[:-2] - relief[2:]) * (mesh.UV_SCALE / 2)
    strands = hair.grow(np.random.default_rng([person.complexion.seed, 1]), person.style, posed, outward)
    light = head_light.draw_light(rng, domain, surface.posed, surface.casters, surface.keep, camera.turn)
    hair.cast_shadow(strands, light)
    rgba = shader.shade(
        found, weights, surface.triangles, surface.material, surface.rest, surface.posed,
        (surface.outward @ camera.turn.T).astype(np.float32), surface.texels, surface.attributes, texture,
        _grain(), _look(rng, person, posed, gaze, camera.turn), light,
    )  # fmt: skip
    nearest = shader.depth_map(found, weights, surface.triangles, near, 0.0)
    _draw_hair(person, strands, camera, hair.skull(posed), rgba, nearest, light)
    _draw_lashes(person, posed, camera, rgba, nearest, light)
    landmarks = xy[head_data.LANDMARKS]
    return HeadPicture(rgba, landmarks, camera, _eyeballs(posed), heads.lips_parted(face), float(yaw))


def _eyeballs(posed: Floats) -> Floats:
    return np.stack([posed[ids].mean(0) for ids in head_data.EYE_VERTICES]).astype(np.float32)


def _hang_shoulders(face: Floats, head: Floats, body: Floats) -> Floats:
    """The vertices in head space, neck and shoulders turned against it: they follow the head's turn in part."""
    v = face - _CENTRE
    follow = mesh.smoothstep(-190.0, -95.0, face[:, 1])[:, None]
    still = v @ (head.T @ body).T
    return np.ascontiguousarray(_CENTRE + still + follow * (v - still), np.float32)


@dataclass(frozen=True)
class _Surface:
    """All that is drawn as triangles: the head, and what it wears."""

    posed: Floats
    rest: Floats
    outward: Floats
    texels: Floats
    attributes: Floats
    keep: Floats
    triangles: Ints
    material: NDArray[np.uint8]
    casters: Ints


def _dress(person: HeadPerson, posed: Floats, outward: Floats) -> _Surface:
    triangles, material = _drawn_triangles()
    known = attributes().copy()
    known[:, shader.HAIR] = hair.growth(person.style)
    keep = np.ones(len(posed), np.float32)
    if person.headwear is None:
        return _Surface(posed, head_data.MEAN, outward, _texels(), known, keep, triangles, material, _casters())
    shell = headwear.fit(person.headwear, posed, outward)
    start, extra = len(posed), len(shell.vertices)
    bare = np.zeros((extra, known.shape[1]), np.float32)
    bare[:, shader.AMBIENT] = 0.85
    shells = shell.triangles + np.int32(start)
    return _Surface(
        np.concatenate([posed, shell.vertices]), np.concatenate([head_data.MEAN, shell.vertices]),
        np.concatenate([outward, raster.normals(shell.vertices, shell.triangles)]),
        np.concatenate([_texels(), np.zeros((extra, 2), np.float32)]), np.concatenate([known, bare]),
        np.concatenate([keep, shell.keep]), np.concatenate([triangles, shells]),
        np.concatenate([material, np.full(len(shells), shader.HAT, np.uint8)]), np.concatenate([_casters(), shells]),
    )  # fmt: skip


@cache
def _casters() -> Ints:
    """Triangles of the head that cast shadows."""
    return np.ascontiguousarray(head_data.TRIANGLES[head_data.PART == head_data.BODY])


def _draw_hair(
    person: HeadPerson, strands: Floats, camera: Camera, ball: Floats, rgba: Floats, nearest: Floats, light: shader.Light
) -> None:
    rng = np.random.default_rng([person.complexion.seed, 2])
    outward = (strands - ball[0]) / ball[1] ** 2
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True) + np.float32(1e-6)
    shades = np.exp(rng.normal(0, 0.22, (len(strands), 1))).astype(np.float32)
    turned, xy, near = camera.project(strands)
    hair.draw(
        rgba, nearest, strands, turned, xy, near, (outward @ camera.turn.T).astype(np.float32), person.complexion.hair * shades,
        1 if rgba.shape[0] < 300 else 2, 0.8, float(rng.uniform(0.2, 1.0)), light,
    )  # fmt: skip


def _draw_lashes(person: HeadPerson, posed: Floats, camera: Camera, rgba: Floats, nearest: Floats, light: shader.Light) -> None:
    rng = np.random.default_rng([person.complexion.seed, 3])
    length = rng.uniform(4, 8) + 2.5 * person.complexion.make_up
    strands = []
    for corners, lid, eye in (((36, 39), (37, 38), 0), ((45, 42), (44, 43), 1)):
        outer, inner = posed[head_data.LANDMARKS[list(corners)]]
        top = posed[head_data.LANDMARKS[list(lid)]].mean(0)
        t = rng.uniform(0.02, 0.9, 30)[:, None]
        control = 2 * top - (outer + inner) / 2  # the curve goes through the lid's middle
        root = (1 - t) ** 2 * outer + 2 * t * (1 - t) * control + t**2 * inner
        centre = _eyeballs(posed)[eye]
        away = root - centre
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        away[:, 0] += (0.5 - t[:, 0]) * (0.7 if eye else -0.7)
        along = np.linspace(0, 1, 4)[None, :, None]
        bend = np.array([0, 0.75, 0]) * along**2
        size = length * rng.uniform(0.6, 1.0, (30, 1, 1))
        strands.append(root[:, None] + away[:, None] * (0.4 + size * along * 0.7) + size * bend)
    points = np.concatenate(strands).astype(np.float32)
    outward = np.broadcast_to(np.array([0, 0, 1], np.float32) @ camera.turn.T, points.shape)
    turned, xy, near = camera.project(points)
    tone = np.tile(np.minimum(person.complexion.brows, 0.02), (len(points), 1)).astype(np.float32)
    hair.draw(rgba, nearest, points, turned, xy, near, np.ascontiguousarray(outward), tone, 1, 0.55, 0.0, light)


@cache
def _grain() -> Floats:
    """[256, 256, 3]: strands, blotches, a weave."""
    bank = skin.noise_bank()
    return np.ascontiguousarray(np.stack([bank[7], bank[1], bank[0]], -1))


@cache
def _gums() -> Floats:
    """[2]: heights on the mean head where the upper and the lower crowns meet the gums."""
    upper, lower = (head_data.MEAN[head_data.OF_PART[part], 1] for part in (head_data.UPPER_TEETH, head_data.LOWER_TEETH))
    return np.array([upper.min() + 10, lower.max() - 9], np.float32)


def _look(rng: np.random.Generator, person: HeadPerson, posed: Floats, gaze: Floats, turn: Floats) -> shader.Look:
    points = posed[head_data.LANDMARKS]
    lids = np.stack(
        [[points[36, 0], points[39, 0], points[37:39, 1].max()], [points[45, 0], points[42, 0], points[43:45, 1].max()]]
    )
    centres = _eyeballs(posed)
    squint = rng.normal(0, 0.02)  # eyes that meet before or behind the camera
    aim = np.array([[np.sin(gaze[0] + s * (0.03 + squint)), np.sin(gaze[1]), 1.0] for s in (1, -1)])
    aim /= np.linalg.norm(aim, axis=1, keepdims=True)
    own = np.random.default_rng(person.complexion.seed)
    return shader.Look(
        person.complexion.skin * np.float32(0.95), person.complexion.lips, person.cloth, person.cloth_pattern, person.neckline,
        person.complexion.hair, person.style.edge, own.uniform(0.15, 1.0), own.uniform(0.4, 1.6),
        own.uniform(0.6, 1.1), turn, centres, aim.astype(np.float32), person.iris, person.iris_size,
        person.sclera, lids.astype(np.float32), person.teeth, _gums(),
        person.headwear.colour if person.headwear else person.cloth,
    )  # fmt: skip
