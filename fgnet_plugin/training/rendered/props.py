"""What comes between a rendered head and its picture: hands, microphones, things, and the edges of a tightly cut photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered import complexion, skin
from fgnet_plugin.training.rendered.mesh import Floats


def draw_occluder(rng: np.random.Generator, image: Floats, landmarks: Floats, tone: Floats) -> Floats:
    """Draws a hand, a microphone or a thing before the lower or outer part of a face, in place.

    Args:
        image: [H, W, 3], linear RGB; landmarks: [68, 2], px in it; tone: [3], linear RGB of the face's skin in its light.

    Returns:
        [H, W]: how much of each pixel it hides.
    """
    kind = rng.choice(3, p=(0.5, 0.25, 0.25))
    low, high = landmarks.min(0), landmarks.max(0)
    reach = float((high - low).mean())
    if kind == 0:
        return _hand(rng, image, landmarks, reach, tone)
    if kind == 1:
        return _microphone(rng, image, landmarks, reach)
    return _thing(rng, image, low, high, reach)


@dataclass(frozen=True)
class Glasses:
    """Outlines in head space, mm: x to the subject's left, y up, z to the camera."""

    lenses: Floats  # [2, 28, 3]
    bridge: Floats  # [3, 3]
    arms: Floats  # [2, 2, 3]
    frame: Floats  # [3], linear RGB
    thick: float  # mm; 0 is rimless
    tint: float  # 0 clear … 1 black
    glare: float  # how much the lenses mirror a window


def draw_glasses(rng: np.random.Generator, eyes: Floats) -> Glasses:
    """Glasses before eyeballs [2, 3]: right and left centre, mm."""
    wide, high = rng.uniform(21, 28), rng.uniform(13, 23)
    corner = rng.uniform(2.0, 5.0)  # exponent of a superellipse: round to square
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    x, y = (np.sign(f(t)) * np.abs(f(t)) ** (2 / corner) for f in (np.cos, np.sin))
    front, low = rng.uniform(19, 25), rng.uniform(0, 7)
    lenses, arms = [], []
    for eye, side in zip(eyes, (-1, 1), strict=True):
        outwards = eye[0] + side * 1.5 + wide * x
        bow = 0.0016 * outwards**2
        lenses.append(np.stack([outwards, eye[1] - low + high * y, eye[2] + front - bow], 1))
        hinge = np.array(
            [eye[0] + side * (wide + 2), eye[1] - low + 0.4 * high, eye[2] + front - 0.0016 * (eye[0] + side * wide) ** 2]
        )
        arms.append([hinge, [side * 76, eye[1] + 2, eye[2] - 85]])
    inner = [lens[np.argmin(np.abs(lens[:, 0]))] + [0, 0.35 * high, 0] for lens in lenses]
    bridge = np.stack([inner[0], (inner[0] + inner[1]) / 2 + [0, 2, 3], inner[1]])
    tone = rng.uniform(0, 0.6, 3) ** 2.2 if rng.random() < 0.3 else np.full(3, rng.uniform(0, 0.1))
    if rng.random() < 0.25:
        tone = np.full(3, rng.uniform(0.06, 0.3))  # metal
    thick = rng.uniform(0.4, 1.2) if rng.random() < 0.6 else rng.uniform(1.2, 4.0)
    tint = rng.uniform(0.6, 0.98) if rng.random() < 0.08 else rng.uniform(0.0, 0.15)
    glare = rng.uniform(0.1, 0.6) if rng.random() < 0.25 else 0.0
    return Glasses(
        np.stack(lenses).astype(np.float32), bridge.astype(np.float32), np.array(arms, np.float32), tone.astype(np.float32),
        thick, float(tint), float(glare),
    )  # fmt: skip


def put_glasses(
    rng: np.random.Generator, image: Floats, glasses: Glasses, project: Callable[[Floats], Floats], turn: Floats
) -> None:
    """Draws glasses into a linear RGB image, in place.

    Args:
        project: head space [..., 3] to px [..., 2] of the image; turn: [3, 3], head space to the camera's frame.
    """
    fixed = [np.round(project(lens) * 16 - 8).astype(np.int32) for lens in glasses.lenses]
    scale = float(np.linalg.norm(project(glasses.lenses[0, 0]) - project(glasses.lenses[0, 14])))
    scale /= float(np.ptp(glasses.lenses[0, :, 0]))
    shade = np.zeros(image.shape[:2], np.float32)
    for line in fixed:
        cv2.fillPoly(shade, [line], 1.0, cv2.LINE_AA, 4)
    image *= 1 - glasses.tint * shade[..., None]
    if glasses.glare:
        y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
        slope, at = rng.normal(0.6, 0.5), project(glasses.lenses[int(rng.integers(2))].mean(0))
        band = np.clip(2 - np.abs((x - at[0]) + slope * (y - at[1])) / (7 * scale), 0, 1)
        _blend(image, glasses.glare * band * shade, np.full(3, 0.9, np.float32))
    thickness = max(1, round(glasses.thick * scale))
    cover = np.zeros(image.shape[:2], np.float32)
    lines = [(line, True) for line in fixed] + [(np.round(project(glasses.bridge) * 16 - 8).astype(np.int32), False)]
    for arm, side in zip(glasses.arms, (-1, 1), strict=True):
        if side * turn[2, 0] > -0.05:  # the arm on the side that is turned to the camera
            lines.append((np.round(project(arm) * 16 - 8).astype(np.int32), False))
    for line, closed in lines:
        cv2.polylines(cover, [line], closed, 1.0, thickness, cv2.LINE_AA, 4)
    _blend(image, cover * np.float32(min(1.0, glasses.thick * scale + 0.25)), glasses.frame)


def _blend(image: Floats, cover: Floats, colour: Floats) -> None:
    image += cover[..., None] * (colour - image)


def _capsule(
    shape: tuple[int, int], a: NDArray[np.floating], b: NDArray[np.floating], radius: float
) -> tuple[Floats, Floats, Floats]:
    """Cover [H, W] of a stick with round ends, and x and y of its outward normal, as seen from the front."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    d = b - a
    t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1]) / (d @ d + 1e-6), 0, 1)
    ex, ey = x - a[0] - t * d[0], y - a[1] - t * d[1]
    far = np.sqrt(ex * ex + ey * ey)
    cover = np.clip(radius - far + 0.5, 0, 1).astype(np.float32)
    return cover, (ex / radius).astype(np.float32), (ey / radius).astype(np.float32)


def _hand(rng: np.random.Generator, image: Floats, landmarks: Floats, reach: float, tone: Floats) -> Floats:
    """Three or four fingers and a palm that come from below or from a side."""
    side = rng.choice((-1, 1))
    mouth, chin = landmarks[48:68].mean(0), landmarks[8]
    target = (mouth, chin, landmarks[14 if side > 0 else 2])[rng.choice(3, p=(0.3, 0.4, 0.3))] + rng.normal(0, 0.08 * reach, 2)
    angle = rng.normal(-0.6 if side < 0 else np.pi + 0.6, 0.45)  # fingers point inwards and up
    pointing = np.array([np.cos(angle), np.sin(angle) if side < 0 else -abs(np.sin(angle))])
    across = np.array([-pointing[1], pointing[0]])
    radius, length = rng.uniform(0.055, 0.075) * reach, rng.uniform(0.35, 0.55) * reach
    light = rng.normal(0, 0.6, 2)
    hidden = np.zeros(image.shape[:2], np.float32)
    palm = target - pointing * (length + 1.2 * radius)
    parts = [
        (palm - across * 2.0 * radius, palm + across * 2.0 * radius, 2.3 * radius),
        (palm, palm - pointing * reach, 2.2 * radius),
    ]
    for i in range(int(rng.integers(3, 5))):
        tip = target + across * (i - 1.5) * 2.05 * radius - pointing * radius * abs(i - 1.5) * rng.uniform(0.5, 1.2)
        parts.append((palm + across * (i - 1.5) * 1.9 * radius, tip, radius))
    for a, b, size in parts:
        cover, nx, ny = _capsule(image.shape[:2], a, b, size)
        depth = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.02, 1))
        shade = np.clip(0.45 + 0.6 * depth + 0.3 * (nx * light[0] + ny * light[1]), 0.12, 1.6)
        _blend(image, 0.5 * np.clip(cv2.GaussianBlur(cover, (0, 0), 0.5 * radius + 0.5) - cover, 0, 1), np.zeros(3, np.float32))
        _blend(image, cover, tone * shade[..., None])
        hidden = np.maximum(hidden, cover)
    return hidden


def _microphone(rng: np.random.Generator, image: Floats, landmarks: Floats, reach: float) -> Floats:
    head = landmarks[57] + reach * np.array([rng.normal(0, 0.2), rng.uniform(0.12, 0.5)])
    foot = head + reach * np.array([rng.normal(0, 0.5), 1.2])
    radius = rng.uniform(0.07, 0.14) * reach
    tone = np.full(3, rng.uniform(0.01, 0.08), np.float32)
    stick, *_ = _capsule(image.shape[:2], head, foot, 0.6 * radius)
    _blend(image, stick, tone)
    ball, nx, ny = _capsule(image.shape[:2], head, head + 1e-3, radius)
    shade = 0.7 + 0.5 * np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1)) - 0.5 * ny
    foam = (rng.uniform(0.0, 0.5, 3) ** 2.2).astype(np.float32) if rng.random() < 0.2 else tone * 1.5
    _blend(image, ball, foam * np.clip(shade, 0.1, 2)[..., None])
    return np.maximum(stick, ball)


def _thing(rng: np.random.Generator, image: Floats, low: Floats, high: Floats, reach: float) -> Floats:
    """A cup, a phone, a shoulder: an ellipse or a box with a texture."""
    where = (
        (rng.uniform(0, 1), rng.uniform(0.95, 1.2)),
        (rng.uniform(-0.25, 0.02), rng.random()),
        (rng.uniform(0.98, 1.25), rng.random()),
    )
    centre = low + (high - low) * where[int(rng.integers(3))]
    axes = rng.uniform((0.1, 0.15), (0.35, 0.5)) * reach
    hidden = np.zeros(image.shape[:2], np.float32)
    turn = float(rng.uniform(0, 180))
    if rng.random() < 0.5:
        cv2.ellipse(hidden, (tuple(centre.tolist()), tuple((2 * axes).tolist()), turn), 1.0, -1, cv2.LINE_AA)
    else:
        corners = cv2.boxPoints((tuple(centre.tolist()), tuple((2 * axes).tolist()), turn))
        cv2.fillPoly(hidden, [np.round(corners * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    tone = complexion.linear_rgb(np.array((rng.uniform(5, 90), *rng.normal(0, 15, 2)), np.float32))
    height, width = image.shape[:2]
    plane = cv2.resize(skin.noise_bank()[rng.integers(1, 8)][: height // 2, : width // 2], (width, height))
    _blend(image, hidden, tone * np.clip(1 + rng.uniform(0, 0.3) * plane, 0.2, 2)[..., None])
    return hidden


def cut_photo(rng: np.random.Generator, image: NDArray[np.uint8], landmarks: Floats) -> None:
    """Makes an aligned face, in place, look as if its photo ended near the face: beyond, FFHQ mirrors, blurs and fades.

    Args:
        image: [size, size, 3]; landmarks: [68, 2], px.
    """
    size = len(image)
    low, high = landmarks.min(0), landmarks.max(0)
    reach = float((high - low).mean())
    margin = rng.uniform((0.0, 0.2, 0.0, -0.01), (0.3, 0.62, 0.3, 0.28)) * reach  # left, top, right, bottom
    edges = np.concatenate([low - margin[:2], high + margin[2:]])
    left, top, right, bottom = (
        int(v) for v in np.clip(edges, (0, 0, size // 2, size // 2), (size // 2, size // 2, size, size))
    )
    inner = image[top:bottom, left:right]
    wide = cv2.copyMakeBorder(inner, top, size - bottom, left, size - right, cv2.BORDER_REFLECT).astype(np.float32)
    pads = np.maximum(np.array([left, top, size - right, size - bottom], np.float32), 1) * rng.uniform(1.0, 1.8)
    at = np.arange(size, dtype=np.float32)
    outside_x = np.maximum((left - at) / pads[0], (at - right + 1) / pads[2])
    outside_y = np.maximum((top - at) / pads[1], (at - bottom + 1) / pads[3])
    outside = np.maximum(outside_x[None, :], outside_y[:, None])[..., None]
    blurred = cv2.GaussianBlur(wide, (0, 0), 0.02 * size * rng.uniform(0.8, 1.3))
    wide += (blurred - wide) * np.clip(outside * 3 + 1, 0, 1)
    wide += (np.median(wide, (0, 1)) - wide) * np.clip(outside, 0, 1)
    image[:] = np.clip(wide + 0.5, 0, 255).astype(np.uint8)
