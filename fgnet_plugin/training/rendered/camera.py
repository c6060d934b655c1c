"""From a rendered face to a photograph: background, glasses, things in the way, lens, sensor and compression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fgnet_plugin.training.rendered import skin
from fgnet_plugin.training.rendered.domains import Domain
from fgnet_plugin.training.rendered.mesh import Floats
from fgnet_plugin.training.rendered.scene import Picture

BACKGROUNDS = (
    "brick.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg",
    "motorcycle_left.png", "page.png", "rocket.jpg",
)  # fmt: skip
"""Pictures without a person that scikit-image's wheel carries."""


@cache
def photographs() -> tuple[Floats, ...]:
    """The backgrounds, linear RGB [H, W, 3], 320 px wide. Raises FileNotFoundError where scikit-image lacks one."""
    import importlib.util

    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("scikit-image is not installed, whose pictures are backgrounds")
    found, width = [], 320
    for name in BACKGROUNDS:
        path = Path(spec.origin).parent / "data" / name
        with Image.open(path) as file:
            picture = np.asarray(file.convert("RGB"))
        picture = cv2.resize(picture, (width, width * picture.shape[0] // picture.shape[1]), interpolation=cv2.INTER_AREA)
        found.append(((picture / 255.0) ** 2.2).astype(np.float32))
    return tuple(found)


def draw_background(rng: np.random.Generator, domain: Domain, height: int, width: int) -> Floats:
    """Linear RGB [height, width, 3]."""
    plain = rng.random() < domain.plain_background
    base = rng.uniform(0, 1, 3) ** 2.2 if rng.random() < 0.6 else np.full(3, rng.uniform(0, 1) ** 2.2)
    out = np.empty((height, width, 3), np.float32)
    out[:] = base
    pictures = photographs()
    if plain:
        if rng.random() < 0.6:
            slope = rng.normal(0, 0.4, 2)
            y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
            out *= np.clip(1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5), 0.2, 2)[..., None].astype(np.float32)
        return out
    if rng.random() < 0.6:
        picture = pictures[rng.integers(len(pictures))]
        side = rng.uniform(0.3, 1.0) * min(picture.shape[0] / height, picture.shape[1] / width)
        h, w = int(side * height), int(side * width)
        top, left = rng.integers(0, picture.shape[0] - h + 1), rng.integers(0, picture.shape[1] - w + 1)
        out = cv2.resize(picture[top : top + h, left : left + w], (width, height), interpolation=cv2.INTER_LINEAR)
        out = out * np.float32(rng.uniform(0.4, 1.5))
        if rng.random() < 0.5:
            out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.5, 4) * width / 128)
        return out[:, ::-1] if rng.random() < 0.5 else out
    bank = skin.noise_bank()
    for _ in range(rng.integers(1, 4)):
        plane = bank[rng.integers(1, 8)]
        side = int(rng.integers(40, 256))
        top, left = rng.integers(0, 257 - side, 2)
        mask = cv2.resize(plane[top : top + side, left : left + side], (width, height), interpolation=cv2.INTER_LINEAR)
        mask = 1 / (1 + np.exp(-(mask - rng.normal(0, 0.5)) * rng.uniform(1, 12)))
        other = rng.uniform(0, 1, 3).astype(np.float32) ** 2.2
        out += mask[..., None].astype(np.float32) * (other - out)
    return out


def draw_glasses(rng: np.random.Generator, picture: Picture, image: Floats, scale: float) -> None:
    """Draws glasses over both eyes of a linear RGB image, in place; `scale` is the image's px a picture px."""
    right, left = (outline.mean(0) for outline in picture.eyes)
    across = (left - right) * scale
    distance = float(np.hypot(*across)) + 1e-6
    axis = across / distance
    down = np.array([-axis[1], axis[0]])
    wide, high = rng.uniform(0.30, 0.42) * distance, rng.uniform(0.22, 0.36) * distance
    corner = rng.uniform(2.0, 5.0)  # exponent of a superellipse: round to square
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    outline = np.stack(
        [
            np.sign(np.cos(t)) * np.abs(np.cos(t)) ** (2 / corner) * wide,
            np.sign(np.sin(t)) * np.abs(np.sin(t)) ** (2 / corner) * high,
        ],
        1,
    )
    tone = (rng.uniform(0, 0.6, 3) ** 2.2 if rng.random() < 0.3 else np.full(3, rng.uniform(0, 0.1))).astype(float)
    thickness = max(1, round(rng.uniform(0.02, 0.07) * distance))
    tint = rng.uniform(0.75, 1.0) if rng.random() < 0.15 else rng.uniform(0.0, 0.08)
    shift = rng.uniform(-0.02, 0.08) * distance
    lines = []
    for centre in (right * scale, left * scale):
        points = centre + shift * down + outline[:, :1] * axis + outline[:, 1:] * down
        lines.append(np.round(points * 16 - 8).astype(np.int32))
    shade = np.zeros(image.shape[:2], np.float32)
    for line in lines:
        cv2.fillPoly(shade, [line], 1.0, cv2.LINE_AA, 4)
    image *= 1 - tint * shade[..., None]
    for line in lines:
        cv2.polylines(image, [line], True, tone.tolist(), thickness, cv2.LINE_AA, 4)
    inner = [
        centre * scale + shift * down + side * wide * axis - 0.15 * high * down for centre, side in ((right, 1), (left, -1))
    ]
    bridge = np.round(np.array(inner) * 16 - 8).astype(np.int32)
    cv2.polylines(image, [bridge], False, tone.tolist(), thickness, cv2.LINE_AA, 4)


def draw_occluder(rng: np.random.Generator, picture: Picture, image: Floats, scale: float) -> None:
    """Something before the lower or outer part of the face: a hand, a cup, a microphone; an ellipse with a texture."""
    box = np.array([picture.landmarks.min(0), picture.landmarks.max(0)]) * scale
    size = float((box[1] - box[0]).mean())
    edge = rng.choice(3, p=(0.5, 0.25, 0.25))
    where = {
        0: (rng.uniform(0, 1), rng.uniform(0.95, 1.25)),
        1: (rng.uniform(-0.25, 0.05), rng.random()),
        2: (rng.uniform(0.95, 1.25), rng.random()),
    }
    centre = box[0] + (box[1] - box[0]) * where[int(edge)]
    mask = np.zeros(image.shape[:2], np.float32)
    axes = rng.uniform((0.1, 0.15), (0.3, 0.45)) * size
    cv2.ellipse(mask, (tuple(centre.tolist()), tuple((2 * axes).tolist()), float(rng.uniform(0, 180))), 1.0, -1, cv2.LINE_AA)
    tone = rng.uniform(0, 1, 3).astype(np.float32) ** 2.2
    height, width = image.shape[:2]
    plane = skin.noise_bank()[rng.integers(0, 8)][:height, :width]
    texture = cv2.resize(plane, (width, height))[..., None] * rng.uniform(0, 0.4) + 1
    image += mask[..., None] * (tone * np.clip(texture, 0, 2).astype(np.float32) - image)


@dataclass(frozen=True)
class Developed:
    """A photograph, and what the camera did to it."""

    image: np.ndarray  # uint8 [H, W, 3]
    blur: float  # standard deviation of the lens' blur, px of a picture 128 px wide
    resolution: float  # width that it was taken with, as a part of the width that it has; 1: it was not enlarged


def develop(rng: np.random.Generator, domain: Domain, linear: Floats, level: float) -> Developed:
    """Linear RGB [H, W, 3] -> the photograph.

    Args:
        level: mean brightness of the face, linear; exposure is set after it, as cameras do.
    """
    height, width = linear.shape[:2]
    coarse = min(1.0, width / 128)  # a small picture of a face is a larger one shrunk, and its faults with it
    aim = 0.22 * np.exp(rng.uniform(*domain.brightness))
    exposure = (aim / (level + 0.02)) ** rng.uniform(0.55, 0.95)
    image = linear * np.float32(exposure) * np.exp(rng.normal(0, domain.colour_cast, 3)).astype(np.float32)
    if rng.random() < 0.7:  # highlights roll off
        image = image * (1 + image / 4) / (1 + image)
    image = np.clip(image, 0, 1) ** np.float32(1 / 2.2)
    lens = float(rng.uniform(*domain.blur))
    blur = lens * width / 128
    if blur > 0.15:
        if rng.random() < 0.1:
            kernel = _motion(rng, 2 + int(3 * blur))
            image = cv2.filter2D(image, -1, kernel)
        else:
            image = cv2.GaussianBlur(image, (0, 0), blur)
    share = 1.0
    if rng.random() < domain.low_resolution:
        share = min(0.95, rng.uniform(0.35, 0.9) / coarse)
        small = cv2.resize(image, (max(8, int(width * share)), max(8, int(height * share))), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    image = (image - 0.45) * np.float32(rng.uniform(*domain.contrast)) + np.float32(0.45)
    if rng.random() < 0.3:  # sharpening
        image += np.float32(rng.uniform(0.2, 0.9)) * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
    sigma = rng.uniform(*domain.noise)
    if sigma > 0.002:
        grain = rng.standard_normal((height, width, 3), np.float32)
        if rng.random() < 0.5:
            grain[:] = grain[..., :1]
        image += np.float32(sigma * coarse) * grain
    if rng.random() < domain.grey:
        image[:] = (image @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    out = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    quality = int(100 - coarse * (100 - rng.uniform(*domain.jpeg)))
    ok, data = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError("OpenCV could not encode a JPEG")
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return Developed(np.ascontiguousarray(decoded[..., ::-1]), lens, share)


def pad(rng: np.random.Generator, image: np.ndarray) -> None:
    """Makes one or two sides of an aligned face, in place, what FFHQ puts where a face's square leaves the photo: blur."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    inside = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        distance = (x, 1 - x, y, 1 - y)[rng.integers(4)]
        depth = rng.uniform(0.04, 0.28 if distance is not y else 0.15)
        inside *= np.clip((distance - depth) / 0.06 + 0.5, 0, 1)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.03, 0.07) * width).astype(np.float32)
    median = np.median(image.reshape(-1, 3), 0).astype(np.float32)
    blurred += np.float32(rng.uniform(0, 0.7)) * (median - blurred)
    image[:] = (blurred + inside[..., None] * (image - blurred)).round().astype(np.uint8)


def _motion(rng: np.random.Generator, length: int) -> Floats:
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = np.round(length - reach).astype(int), np.round(length + reach).astype(int)
    cv2.line(kernel, tuple(start.tolist()), tuple(end.tolist()), 1.0, 1)
    return kernel / kernel.sum()
