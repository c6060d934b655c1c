"""Rendered heads as a corpus: picture, landmarks, labels of 20 AUs and who it is by index, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fgnet_plugin.action_units import au_name
from fgnet_plugin.training.rendered import camera, head_expressions, head_scene, heads, props
from fgnet_plugin.training.rendered.corpus import Framing, channels_first, framed
from fgnet_plugin.training.rendered.domains import DOMAINS, Domain, domain
from fgnet_plugin.training.rendered.mesh import Floats
from fgnet_plugin.utils.threads import stop_opencv_threads

AUS = tuple(au_name(number) for number in head_expressions.LABELLED)
"""The AUs that rendered heads are labelled for, in the order of their labels."""

PERSON = (
    "age", "gender", "african", "asian", "european", "ita", "glasses", "beard", "yaw", "occluded", "blur", "resolution"
)  # fmt: skip
"""What an item's "person" says: age in years; gender 0 male to 1 female; shares of ancestry; skin's individual typology angle
in degrees (over 55 very light, under -30 dark); glasses, occluded 0 or 1; beard 0 to 1; yaw in rad; of the camera: blur of the
lens in px of a picture 128 px wide, and resolution, the width that the picture was taken with as a part of its width."""


class HeadCorpus(Dataset[dict[str, Tensor]]):
    """Faces of one or more domains. Face i depends on the arguments and i alone: same seed, same bytes, in any process.

    (With the same versions of numpy, numba and OpenCV; others may round a pixel differently.)

    Args:
        domains, size, seed, length, framing: as of `RenderedCorpus`.

    An item is {"image": uint8 [3, size, size], "landmarks": float32 [68, 2] in px (integers at pixel centres), "labels":
    float32 [20], 1, 0 or NaN for `AUS`, "intensities": float32 [20], "person": float32 [12], see `PERSON`}.

    Raises:
        ValueError: unknown domains or framing, or numbers out of range.

    Example:
        >>> HeadCorpus(("studio",), size=64, seed=1)[0]["image"].shape
        torch.Size([3, 64, 64])
    """

    aus = AUS

    def __init__(
        self,
        domains: Sequence[str] = ("studio", "webcam", "street"),
        size: int = 128,
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
        stop_opencv_threads()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"face {index} of {self.length}")
        kind = self.domains[index % len(self.domains)]
        rng = np.random.default_rng([self.seed, list(DOMAINS).index(kind.name), index, 2])
        drawn, gaze = head_expressions.draw_expression(rng, heads.DRAWN)
        person = head_scene.draw_person(rng, kind, heads.draw_head(rng, rng.uniform(*kind.spread)))
        shot = photograph(rng, kind, person, drawn, gaze, self.size, self.framing)
        labels, intensities = head_expressions.label(drawn, heads.DRAWN, shot.parted, shot.mouth_hidden, shot.eyes_hidden)
        ancestry = person.head.ancestry
        beard = max(person.complexion.beard, person.complexion.moustache)
        who = (
            person.head.age, person.head.female, *ancestry, person.complexion.ita, shot.glasses, beard, shot.yaw, shot.occluded,
            shot.blur, shot.resolution,
        )  # fmt: skip
        return {
            "image": channels_first(shot.image),
            "landmarks": torch.from_numpy(shot.landmarks),
            "labels": torch.from_numpy(labels),
            "intensities": torch.from_numpy(intensities),
            "person": torch.tensor(who, dtype=torch.float32),
        }


@dataclass(frozen=True)
class Shot:
    """A photograph of a rendered head."""

    image: NDArray[np.uint8]  # [size, size, 3]
    landmarks: Floats  # [68, 2], px, integers at pixel centres
    parted: float  # mm between the lips
    yaw: float
    glasses: bool
    occluded: bool
    blur: float
    resolution: float
    mouth_hidden: bool
    eyes_hidden: bool


def photograph(
    rng: np.random.Generator,
    kind: Domain,
    person: head_scene.HeadPerson,
    drawn: Floats,
    gaze: Floats,
    size: int,
    framing: Framing,
) -> Shot:
    """Renders and photographs a person; arguments as of `head_scene.draw_picture`."""
    inner = int(size * (2 if size <= 96 else 1.5))
    picture = head_scene.draw_picture(rng, kind, person, drawn, gaze, framed(rng, framing, inner), (inner, inner))
    covered = picture.rgba[..., 3:]
    level = float((picture.rgba[..., :3] * covered).sum() / (3 * covered.sum() + 1))
    shrunk = cv2.resize(picture.rgba, (size, size), interpolation=cv2.INTER_AREA)
    background = camera.draw_background(rng, kind, size, size)
    background += rng.beta(2, 1) * (background.mean(-1, keepdims=True) - background)  # rooms and walls are not gaudy
    linear = shrunk[..., :3] + (1 - shrunk[..., 3:]) * background
    landmarks = picture.landmarks * (size / inner)
    occluded = rng.random() < kind.occluders
    glasses = props.draw_glasses(rng, picture.eyeballs) if rng.random() < kind.glasses else None
    if glasses:
        props.put_glasses(
            rng, linear, glasses, lambda points: picture.camera.project(points)[1] * (size / inner), picture.camera.turn
        )
    hidden = np.zeros(0, bool)
    if occluded:
        cheeks = landmarks[[29, 30, 31, 35]].astype(int).clip(0, size - 1)
        tone = linear[cheeks[:, 1], cheeks[:, 0]].mean(0)
        cover = props.draw_occluder(rng, linear, landmarks, tone)
        at = landmarks.astype(int).clip(0, size - 1)
        hidden = cover[at[:, 1], at[:, 0]] > 0.5
    # Cameras steepen the tones about the face's.
    steep = (np.maximum(linear.mean(-1, keepdims=True), 1e-4) / (level + 1e-3)) ** np.float32(rng.uniform(0.0, 0.5))
    developed = camera.develop(rng, kind, (linear * steep).astype(np.float32), level)
    image = developed.image
    if framing == "aligned" and rng.random() < kind.tight:
        props.cut_photo(rng, image, landmarks)
    mouth_hidden = bool(occluded and hidden[48:68].mean() > 0.3)
    eyes_hidden = glasses is not None and glasses.tint > 0.5
    return Shot(
        image, (landmarks - 0.5).astype(np.float32), picture.parted, picture.yaw, glasses is not None, occluded,
        developed.blur, developed.resolution, mouth_hidden, eyes_hidden,
    )  # fmt: skip
