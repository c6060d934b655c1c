"""Heads of people who don't exist: their shape, their expression, where they look.

Lengths are in mm; x points to the subject's left, y up, z to the camera, and the origin lies between the eyeballs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fgnet_plugin.training.rendered import head_data
from fgnet_plugin.training.rendered.head_aus import DRAWN, amounts, movements
from fgnet_plugin.training.rendered.head_data import EYE_VERTICES, LOCAL, LOWER_TEETH, MACRO, SCALES, UPPER_TEETH
from fgnet_plugin.training.rendered.head_lids import LID_FOLLOWS, follow_gaze, keep_lids_out, set_openings, shut_eyes
from fgnet_plugin.training.rendered.head_lips import close_lips, lips_parted
from fgnet_plugin.training.rendered.mesh import Floats

__all__ = ["DRAWN", "Head", "draw_head", "lips_parted", "pose_head"]


@dataclass(frozen=True)
class Head:
    """Somebody's head, its face neutral and its lips closed."""

    vertices: Floats  # [N, 3], mm
    age: float
    """Years, 10 to 90."""
    female: float
    """0 male, 1 female; between them, an androgynous head."""
    muscle: float
    weight: float
    """0 least, 0.5 average, 1 most."""
    ancestry: Floats
    """[3]: shares of African, Asian and European ancestors; they add up to 1."""
    eyes: Floats
    """[2, 3]: centres of the right and left eyeball."""
    eye_radius: float


# Standard deviation of the scales of shape, by the start of their names: 1 is MakeHuman's furthest.
_SPREAD = (
    ("asym/asym-ear", 0.2), ("asym/asym-nose", 0.18), ("asym/asym-mouth", 0.10), ("asym/asym-eye", 0.10), ("asym/", 0.14),
    ("eyes/{}-eye-push", 0.06), ("eyes/{}-eye-trans", 0.15), ("eyes/{}-eye-eyefold", 0.4), ("eyes/{}-eye-bag", 0.3),
    ("eyes/", 0.24), ("head/head-scale", 0.18), ("head/head-back", 0.2), ("head/head-fat", 0.2), ("head/", 0.16),
    ("neck/", 0.18), ("nose/nose-trans-in", 0.04), ("nose/nose-trans", 0.12), ("nose/", 0.18),
    ("mouth/mouth-trans-in", 0.04), ("mouth/mouth-angles", 0.2), ("mouth/mouth-laugh", 0.2),
    ("mouth/mouth-dimples", 0.2), ("mouth/mouth-trans", 0.2),
    ("mouth/", 0.22), ("chin/", 0.22), ("ears/", 0.28), ("cheek/", 0.2), ("", 0.22),
)  # fmt: skip
_FURTHEST = 0.95


@cache
def _deviations() -> Floats:
    def of(scale: str) -> float:
        return next(spread for start, spread in _SPREAD if scale.startswith((start, start.format("l"), start.format("r"))))

    return np.array([of(scale) for scale in SCALES], np.float32)


@cache
def _mirrored() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Scales of the right half, and those of the left one that they nearly equal."""
    pairs = [(i, SCALES.index(scale.replace("/r-", "/l-", 1))) for i, scale in enumerate(SCALES) if "/r-" in scale]
    right, left = np.array(pairs, np.intp).T
    return right, left


@cache
def _local() -> Any:
    """[L, 3 N], sparse: a small region's vertices move each."""
    return sparse.csr_array(LOCAL.reshape(len(LOCAL), -1))


def _local_weights(rng: np.random.Generator, spread: float) -> Floats:
    amounts = np.clip(rng.standard_normal(len(SCALES)), -1.8, 1.8).astype(np.float32)
    right, left = _mirrored()
    amounts[right] = 0.97 * amounts[left] + 0.2 * amounts[right]
    amounts = np.clip(amounts * _deviations() * spread, -_FURTHEST, _FURTHEST)
    weights = np.zeros(len(LOCAL), np.float32)
    low, high = head_data.SCALE_ENDS.T
    for ends, share in ((low, np.maximum(-amounts, 0)), (high, np.maximum(amounts, 0))):
        weights[ends[ends >= 0]] += share[ends >= 0]
    return weights


def draw_head(
    rng: np.random.Generator,
    spread: float = 1.0,
    age: tuple[float, float] | None = None,
) -> Head:
    """A head of a person drawn at random; everything follows from the generator.

    Args:
        rng: the source of chance.
        spread: how far the face's features are from the mean of its age, sex and ancestry; 1 is common.
        age: least and greatest age, years; else mostly grown-ups, from 12 to 88.

    Example:
        >>> draw_head(np.random.default_rng(1)).vertices.shape
        (5276, 3)
    """
    low, high = age if age is not None else ((18.0, 45.0) if rng.random() < 0.6 else (12.0, 88.0))
    years = float(rng.uniform(low, high))
    female = float(np.clip((rng.random() < 0.5) + rng.normal(0, 0.15), 0, 1))
    muscle, weight = (float(value) for value in np.clip(rng.normal(0.5, (0.18, 0.22)), 0, 1))
    ancestry = rng.dirichlet((0.35, 0.35, 0.35)).astype(np.float32)
    macro = head_data.macro_weights(years, female, muscle, weight, ancestry)
    on = np.flatnonzero(macro)
    v = head_data.TEMPLATE + np.einsum("m,mvc->vc", macro[on], MACRO[on])
    v += (_local_weights(rng, spread) @ _local()).reshape(-1, 3).astype(np.float32)
    # Women and the young show more of their upper teeth when their lips part.
    shown = np.clip(rng.normal(1.6 + 0.8 * female - 0.02 * (years - 30), 0.7), 0, 3.5)
    v[head_data.OF_PART[UPPER_TEETH]] += np.array([0, -1.2 - shown, 1.0], np.float32)
    v[head_data.OF_PART[LOWER_TEETH]] += np.array([0, 0.6 - 0.5 * shown, -1.5], np.float32)
    centres = np.stack([v[eye].mean(0) for eye in EYE_VERTICES])
    v -= np.array([0, *centres.mean(0)[1:]], np.float32)
    centres[:, 1:] -= centres.mean(0)[1:]
    radius = float(np.linalg.norm(v[EYE_VERTICES[0]] - centres[0], axis=1).mean())
    v = v.astype(np.float32)
    set_openings(v, centres, float(rng.normal(0, 0.45)))
    keep_lids_out(v, v, centres, radius)
    v = close_lips(v, np.inf)
    return Head(v, years, female, muscle, weight, ancestry, centres.astype(np.float32), radius)


_TEETH = np.concatenate([head_data.OF_PART[UPPER_TEETH], head_data.OF_PART[LOWER_TEETH]])


def pose_head(head: Head, drawn: Floats, gaze: tuple[float, float] = (0.0, 0.0)) -> Floats:
    """The head's vertices with AUs on, [N, 3].

    Args:
        head: from `draw_head`.
        drawn: [25, 2]: intensities of `DRAWN` on the subject's right and left half; 0 is off, 1 as strong as commonly seen.
        gaze: where the eyes look, rad, to the subject's left and up; the lids follow. Eyeballs are spheres, which don't turn.

    Raises:
        ValueError: `drawn` has another shape.

    Example:
        >>> drawn = np.zeros((len(DRAWN), 2), np.float32)
        >>> drawn[DRAWN.index(26)] = 1
        >>> lips_parted(pose_head(draw_head(np.random.default_rng(1)), drawn)) > 5
        True
    """
    if drawn.shape != (len(DRAWN), 2):
        raise ValueError(f"drawn must be [{len(DRAWN)}, 2], AUs by halves of the face, got {list(drawn.shape)}")
    v = head.vertices.copy()
    for movement, amount in zip(movements(), amounts(drawn), strict=True):
        if amount:
            v[movement.vertices] += amount * movement.displacement
    follow_gaze(v, gaze[1])
    open_ = (1 - np.clip(drawn[DRAWN.index(43)], 0, 1)) * (1 - LID_FOLLOWS * max(-gaze[1], 0.0))
    shut_eyes(v, head.eyes, 1 - open_)
    keep_lids_out(v, head.vertices, head.eyes, head.eye_radius)
    apart = drawn[[DRAWN.index(au) for au in (25, 26, 27)]].any()
    close_lips(v, 0.0 if apart else 2.5)
    if lips_parted(v) == 0:  # tight lips and a drawn-in chin would touch them
        v[_TEETH, 2] -= 8
    return v
