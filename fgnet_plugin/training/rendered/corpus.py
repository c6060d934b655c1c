"""Rendered faces as a corpus: picture, landmarks and labels by index, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fgnet_plugin.action_units import au_name
from fgnet_plugin.training.rendered import camera, expressions, scene
from fgnet_plugin.training.rendered.domains import DOMAINS, Domain, domain
from fgnet_plugin.training.rendered.mesh import Floats
from fgnet_plugin.utils.threads import stop_opencv_threads

AUS = tuple(au_name(number) for number in expressions.LABELLED)
"""The AUs that rendered faces are labelled for, in the order of their labels."""

Framing = Literal["aligned", "photo"]


class RenderedCorpus(Dataset[dict[str, Tensor]]):
    """Faces of one or more domains. Face i depends on the arguments and i alone: same seed, same bytes, in any process.

    (With the same versions of numpy, numba and OpenCV; others may round a pixel differently.)

    Args:
        domains: names out of `DOMAINS`; faces take turns.
        size: side of the pictures, px.
        seed: another seed, other faces.
        length: number of faces; they cost nothing until asked for.
        framing: "aligned" as FFHQ is, from the landmarks with a little error, as a detector makes; "photo" anywhere in the
            picture.

    An item is {"image": uint8 [3, size, size], "landmarks": float32 [68, 2] in px (integers at pixel centres), "labels":
    float32 [15], 1, 0 or NaN for `AUS`, "intensities": float32 [15]}.

    OpenCV runs without threads of its own from here on, in the whole process.

    Raises:
        ValueError: unknown domains or framing, or numbers out of range.

    Example:
        >>> RenderedCorpus(("studio",), size=64, seed=1)[0]["image"].shape
        torch.Size([3, 64, 64])
    """

    aus = AUS

    def __init__(
        self,
        domains: Sequence[str] = ("studio", "webcam", "street"),
        size: int = 64,
        seed: int = 0,
        length: int = 100_000,
        framing: Framing = "aligned",
    ) -> None:
        if isinstance(domains, str) or not domains:
            raise ValueError(f"domains must be a sequence of names such as ('studio',), got {domains!r}")
        self.domains = tuple(domain(name) for name in domains)
        if framing not in ("aligned", "photo"):
            raise ValueError(f"framing must be aligned or photo, got {framing!r}")
        if size < 16 or length < 1 or seed < 0:
            raise ValueError(f"size {size} must be at least 16, length {length} at least 1, seed {seed} at least 0")
        self.size, self.seed, self.length, self.framing = size, seed, length, framing
        # OpenCV's threads do not survive a fork: workers of a process that has used them would hang.
        stop_opencv_threads()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"face {index} of {self.length}")
        kind = self.domains[index % len(self.domains)]
        rng = np.random.default_rng([self.seed, list(DOMAINS).index(kind.name), index])
        drawn, labels, intensities = expressions.draw_expression(rng)
        person = scene.draw_person(rng, kind)
        image, landmarks = photograph(rng, kind, person, drawn, self.size, self.framing)
        return {
            "image": channels_first(image),
            "landmarks": torch.from_numpy(landmarks),
            "labels": torch.from_numpy(labels),
            "intensities": torch.from_numpy(intensities),
        }


def photograph(
    rng: np.random.Generator, kind: Domain, person: scene.Person, drawn: Floats, size: int, framing: Framing
) -> tuple[np.ndarray, Floats]:
    """A photograph of a person, uint8 [size, size, 3], and the 68 landmarks in it, px (integers at pixel centres)."""
    scale = 2 if size <= 96 else 1.5 if size <= 160 else 1
    inner = int(size * scale)
    picture = scene.draw_picture(rng, kind, person, drawn, framed(rng, framing, inner), (inner, inner))
    covered = picture.rgba[..., 3:]
    level = float((picture.rgba[..., :3] * covered).sum() / (3 * covered.sum() + 1))
    linear = picture.rgba[..., :3]
    background = camera.draw_background(rng, kind, size, size)
    if inner != size:
        linear = cv2.resize(linear, (size, size), interpolation=cv2.INTER_AREA)
        covered = cv2.resize(np.ascontiguousarray(covered), (size, size), interpolation=cv2.INTER_AREA)[..., None]
    linear = linear + (1 - covered) * background
    if rng.random() < kind.glasses:
        camera.draw_glasses(rng, picture, linear, size / inner)
    if rng.random() < kind.occluders:
        camera.draw_occluder(rng, picture, linear, size / inner)
    image = camera.develop(rng, kind, linear, level).image
    if framing == "aligned" and rng.random() < 0.2:
        camera.pad(rng, image)
    return image, (picture.landmarks * (size / inner) - 0.5).astype(np.float32)


def framed(rng: np.random.Generator, framing: Framing, size: int) -> scene.Frame:
    """Where a picture of `size` px puts a face: `aligned` or anywhere in a `photo`."""

    def aligned(landmarks: Floats) -> Floats:
        """The FFHQ square (`alignment.ffhq_square`) of landmarks with a detector's error."""
        reach = float(np.ptp(landmarks[:, 0]))
        seen = landmarks + rng.normal(0, 0.012 * reach, landmarks.shape)
        right, left = seen[36:42].mean(0), seen[42:48].mean(0)
        eyes, mouth = (right + left) / 2, (seen[48] + seen[54]) / 2
        e, m = left - right, mouth - eyes
        x = e - np.array([-m[1], m[0]])
        x *= max(2.0 * np.hypot(*e), 1.8 * np.hypot(*m)) / np.hypot(*x)
        x *= rng.uniform(0.94, 1.08)
        centre = eyes + 0.1 * m + rng.normal(0, 0.02, 2) * np.hypot(*x)
        return _similarity(centre, x, size)

    def photo(landmarks: Floats) -> Floats:
        low, high = landmarks.min(0), landmarks.max(0)
        side = float((high - low).max()) * rng.uniform(1.6, 4.0)
        angle = rng.normal(0, 0.15)
        centre = (low + high) / 2 + rng.uniform(-0.22, 0.22, 2) * (side - float((high - low).max()))
        return _similarity(centre, side / 2 * np.array([np.cos(angle), np.sin(angle)]), size)

    return {"aligned": aligned, "photo": photo}[framing]


def _similarity(centre: np.ndarray, x: np.ndarray, size: int) -> Floats:
    """[2, 3]: the square centre ± x ± (x turned by 90°) onto [0, size]²."""
    length2 = float(x @ x)
    rotation = np.array([[x[0], x[1]], [-x[1], x[0]]]) / length2 * size / 2
    return np.concatenate([rotation, (size / 2 - rotation @ centre)[:, None]], 1).astype(np.float32)


def channels_first(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] -> tensor [3, H, W]."""
    # By numpy: torch's threads, where a process has used them, hang in the workers forked from it.
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
