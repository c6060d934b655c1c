"""How faces look, in a few numbers: light, colour, sharpness, size, pose; and whether a recording looks unlike others.

A student may be as near to its teacher on a grey or dark recording as on those that it learned from, or not: its report says
nothing about such recordings. That they are unlike can be seen without asking the teacher.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from fgnet_plugin.alignment import align_for_network, show_faces
from fgnet_plugin.faces.face_mesh import load_face_mesh
from fgnet_plugin.faces.head_pose import landmark_pose
from fgnet_plugin.utils.arrays import Bools, Floats, Integers

FALSE_ALARMS = 0.05
"""Share of recordings like the others that are called unlike, at most; see `unlike`."""
LEAST_PEOPLE = 5
"""Of fewer people, hardly any difference can be told from those between people."""
_SIZE = 128  # px a side of the faces that are looked at
_INSIDE = 16  # px at each side of them that are mostly hair and background
_MOST_RECORDINGS = 500  # that a card keeps


class Quality(NamedTuple):
    """One of the numbers that describe how a face looks."""

    name: str
    lower: str
    """What a recording is called that has less of it than others."""
    higher: str
    form: str
    """How values are written."""
    logarithmic: bool
    """Whether ratios count, rather than differences."""
    slight: float
    """A difference that is no reason for care, about what a student sees in its training: of logarithms where these count."""


QUALITIES = (
    Quality("brightness", "darker", "brighter", "{:.2f}", True, 0.1),
    Quality("contrast", "lower in contrast", "higher in contrast", "{:.2f}", True, 0.1),
    Quality("saturation", "less colourful", "more colourful", "{:.2f}", True, 0.15),
    Quality("warmth", "bluer", "redder", "{:.2f}", True, 0.1),
    Quality("light from the side", "more lit from their left", "more lit from their right", "{:.2f}", False, 0.05),
    Quality("sharpness", "less sharp", "sharper, or noisier", "{:.3f}", True, 0.15),
    Quality("face size", "smaller in the picture", "larger in the picture", "{:.0f} px", True, 0.2),
    Quality("pitch", "looking more downwards", "looking more upwards", "{:.0f}°", False, 4.0),
    Quality("roll", "more tilted to their left", "more tilted to their right", "{:.0f}°", False, 4.0),
    Quality("yaw", "turned more to their left", "turned more to their right", "{:.0f}°", False, 4.0),
)
"""Of the aligned face in RGB from 0 to 1: mean and standard deviation of the luminance, the latter in means; mean of (maximum −
minimum) / maximum of a pixel's channels; red over blue; difference of the halves' luminance over their sum; mean absolute
Laplacian over the standard deviation. Side of the face's square in the frame; degrees by its landmarks."""
_LUMINANCE = 0.299, 0.587, 0.114
_LEAST = 1e-3  # of values whose ratios count
_LOGARITHMIC = np.array([quality.logarithmic for quality in QUALITIES])
_SLIGHT = np.array([quality.slight for quality in QUALITIES])
_MOST = np.array([float(_SIZE) if quality.name == "face size" else np.inf for quality in QUALITIES])


def describe(image: Tensor, landmarks: Tensor) -> Floats:
    """Describe the faces of a frame.

    Args:
        image: uint8 [3, H, W].
        landmarks: [n, 68, 2] in its pixels.

    Returns:
        [n, Q] of `QUALITIES`; NaN where the landmarks show no face.
    """
    found = np.full((len(landmarks), len(QUALITIES)), np.nan)
    shown = show_faces(landmarks, image.shape[1], image.shape[2])
    if not shown.any():
        return found
    points = landmarks[shown]
    aligned = align_for_network([image], [points], _SIZE, torch.float32)
    faces = ((aligned.network_input().float() + 1) / 2).clamp(0, 1)[..., _INSIDE:-_INSIDE, _INSIDE:-_INSIDE].cpu()
    grey = (faces * torch.tensor(_LUMINANCE)[:, None, None]).sum(1, keepdim=True)
    mean, spread = grey.mean((1, 2, 3)), grey.std((1, 2, 3))
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    edges = F.conv2d(grey, kernel).abs().mean((1, 2, 3))
    half = grey.shape[-1] // 2
    their_right, their_left = grey[..., :half].mean((1, 2, 3)), grey[..., half:].mean((1, 2, 3))
    highest, lowest = faces.amax(1), faces.amin(1)
    red, _, blue = faces.mean((2, 3)).unbind(1)
    side = aligned.to_photo[:, :, 0].norm(dim=1).cpu() * _SIZE
    values = [
        mean,
        spread / mean.clamp(min=_LEAST),
        ((highest - lowest) / highest.clamp(min=1 / 255)).mean((1, 2)),
        red.clamp(min=_LEAST) / blue.clamp(min=_LEAST),
        (their_right - their_left) / (their_right + their_left).clamp(min=_LEAST),
        edges / spread.clamp(min=_LEAST),
        side,
        *torch.rad2deg(landmark_pose(points.cpu(), _canonical())).unbind(1),
    ]
    found[shown.numpy()] = torch.stack(values, 1).double().numpy()
    return found


@functools.cache
def _canonical() -> Tensor:
    return load_face_mesh().canonical


@dataclass(frozen=True, eq=False)
class Looks:
    """How the recordings of a study look."""

    values: Floats
    """[R, Q] medians over the faces of each recording; see `describe`."""
    person: Integers
    """[R] number of who is filmed."""
    within: Floats
    """[Q] standard deviation over the faces of a recording, of logarithms where ratios count."""
    faces: float
    """Faces of a recording that were looked at, in the harmonic mean."""

    @classmethod
    def of(cls, faces: Sequence[Floats], people: Sequence[str]) -> Looks:
        """Summarise recordings by their faces' descriptions [n, Q] each, and by who is filmed; the others have no face."""
        some = [i for i, of_recording in enumerate(faces) if np.isfinite(of_recording).all(1).any()]
        shown = [faces[i][np.isfinite(faces[i]).all(1)] for i in some]
        _, person = np.unique([people[i] for i in some], return_inverse=True)
        several = [_scaled(one) for one in shown if len(one) > 1]
        squares = sum((((one - one.mean(0)) ** 2).sum(0) for one in several), np.zeros(len(QUALITIES)))
        within = np.sqrt(squares / max(sum(len(one) - 1 for one in several), 1))
        counts = np.array([len(one) for one in shown], float)
        values = np.array([np.median(one, axis=0) for one in shown]).reshape(-1, len(QUALITIES))
        return cls(values, person.astype(np.intp), within, float(1 / np.mean(1 / counts)) if len(counts) else 0.0)

    @property
    def people(self) -> int:
        """How many people there are."""
        return len(set(self.person.tolist()))

    def to_json(self, seed: int = 0) -> dict[str, Any]:
        """Return what a student's card keeps: of at most 500 recordings, drawn by `seed`."""
        kept: Any = np.arange(len(self.values))
        if len(kept) > _MOST_RECORDINGS:
            kept = np.sort(np.random.default_rng(seed).choice(kept, _MOST_RECORDINGS, replace=False))
        return {
            "qualities": [quality.name for quality in QUALITIES],
            "recordings": [[float(f"{value:.4g}") for value in row] for row in self.values[kept]],
            "person": self.person[kept].tolist(),
            "within": [float(f"{value:.4g}") for value in self.within],
            "faces": round(self.faces, 2),
        }

    @classmethod
    def from_json(cls, card: dict[str, Any]) -> Looks | None:
        """Read what a card keeps; None where it has none, or other qualities."""
        if card.get("qualities") != [quality.name for quality in QUALITIES] or not card["recordings"]:
            return None
        values, person = np.array(card["recordings"], float), np.array(card["person"], np.intp)
        return cls(values, person, np.array(card["within"], float), float(card["faces"]))


@dataclass(frozen=True)
class Difference:
    """A quality in which a recording is unlike those of a study."""

    quality: Quality
    value: float
    low: float
    high: float
    """Of the study's recordings."""

    def __str__(self) -> str:
        """Say it in words, such as "darker than all of them: brightness 0.12, theirs 0.31 to 0.58"."""
        quality = self.quality
        beyond = not self.low <= self.value <= self.high
        word = quality.higher if self.value > (self.low + self.high) / 2 else quality.lower
        value, low, high = (quality.form.format(number) for number in (self.value, self.low, self.high))
        return f"{word} than {'all' if beyond else 'most'} of them: {quality.name} {value}, theirs {low} to {high}"


def unlike(faces: Floats, looks: Looks) -> list[Difference]:
    """Test whether a recording looks unlike those of a study.

    Its distance is the largest over all qualities from the mean of the study's recordings, in standard errors. Those of the
    study are measured likewise, each by this one and those of the other people; of like recordings, any is as likely to be the
    farthest. So where at most 5 % of the people's are as far, it is called unlike: of like ones, 1 of 20 at most (Vovk's
    conformal prediction, which asks nothing of distributions). Fewer than 19 people can't tell 5 %. Then it must be farther
    than all, and beyond the limit of a t distribution with as many degrees of freedom as there are people but one, for 5 %
    over all qualities together; that holds for qualities with normal distributions.

    Args:
        faces: [n, Q] of the recording; rows with NaN count for nothing.
        looks: of the study.

    Returns:
        The qualities in which it is unlike, the farthest first; none where it is like the study's.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> of_study = [rng.uniform(0.9, 1.1, (20, 1)) * rng.uniform(0.3, 0.4, (1, len(QUALITIES))) for _ in range(20)]
        >>> looks = Looks.of(of_study, [str(i) for i in range(20)])
        >>> dark = of_study[0].copy()
        >>> dark[:, 0] /= 6
        >>> [difference.quality.lower for difference in unlike(dark, looks)], unlike(of_study[0], looks)
        (['darker'], [])
    """
    faces = faces[np.isfinite(faces).all(1)]
    if not len(faces) or looks.people < 2:
        return []
    value = np.median(faces, axis=0)
    known, own = _scaled(looks.values), _scaled(value[None])
    extra = looks.within**2 * (math.pi / 2) * max(1 / len(faces) - 1 / looks.faces, 0.0)  # of a median of fewer faces
    distance = _distances(own, known, np.ones((1, len(known)), bool), extra)[0]
    limit = stats.t.isf(FALSE_ALARMS / (2 * len(QUALITIES)), looks.people - 1)
    people, few = looks.people, looks.people + 1 < 1 / FALSE_ALARMS
    if few and distance.max() <= limit:
        return []
    everyone = np.concatenate([known, own])
    person = np.append(looks.person, -1)
    others = person[:-1, None] != person[None, :]
    farther = _distances(known, everyone, others, np.zeros(len(QUALITIES))).max(1) >= distance.max()
    shares = np.bincount(looks.person, farther) / np.maximum(np.bincount(looks.person), 1)
    if (shares.sum() + 1) / (people + 1) > (1 / (people + 1) if few else FALSE_ALARMS):
        return []
    order = [i for i in np.argsort(-distance) if distance[i] > min(limit, distance.max() - 1e-9)]
    lowest, highest = looks.values.min(0), looks.values.max(0)
    return [Difference(QUALITIES[i], float(value[i]), float(lowest[i]), float(highest[i])) for i in order]


def _scaled(values: Floats) -> Floats:
    """Take logarithms where ratios count. A face that is larger than what students read is as good as one of that size."""
    values = np.minimum(values, _MOST)
    return np.where(_LOGARITHMIC, np.log(np.maximum(values, _LEAST)), values)


def _distances(values: Floats, known: Floats, others: Bools, extra: Floats) -> Floats:
    """How far values [n, Q] are from the mean of those known [R, Q] that are others [n, R], in standard errors: [n, Q]."""
    count = others.sum(1, keepdims=True).astype(float)
    mean = others @ known / count
    variance = np.maximum(others @ known**2 / count - mean**2, 0) * count / np.maximum(count - 1, 1)
    result: Floats = np.abs(values - mean) / np.sqrt(variance * (1 + 1 / count) + _SLIGHT**2 + extra)
    return result
