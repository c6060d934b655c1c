"""Heads of people who don't exist: their shape, their expression, where they look.

    head = draw_head(np.random.default_rng(1))
    drawn = np.zeros((len(DRAWN), 2), np.float32)
    drawn[DRAWN.index(12)] = 1
    smiling = pose_head(head, drawn, gaze=(0.2, 0.0))  # [N, 3]

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
from fgnet_plugin.training.rendered.head_aus import DRAWN, below_lips, blink, movements
from fgnet_plugin.training.rendered.head_data import (
    ACTIONS,
    BODY,
    EYE_VERTICES,
    EYES,
    LIDS,
    LOCAL,
    LOWER_TEETH,
    MACRO,
    MEAN,
    SCALES,
    UPPER_TEETH,
)
from fgnet_plugin.training.rendered.mesh import Floats, smoothstep

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
    ("neck/", 0.18), ("nose/nose-trans-in", 0.04), ("nose/nose-trans", 0.12), ("mouth/mouth-trans-in", 0.04), ("mouth/mouth-angles", 0.2),
    ("mouth/mouth-laugh", 0.3), ("mouth/mouth-dimples", 0.2), ("mouth/mouth-trans", 0.2),
    ("mouth/", 0.22), ("nose/", 0.18), ("chin/", 0.22), ("ears/", 0.28), ("cheek/", 0.2), ("", 0.22),
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
    amounts = rng.standard_normal(len(SCALES)).astype(np.float32)
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
    v = _close_lips(v.astype(np.float32), np.inf)
    return Head(v, years, female, muscle, weight, ancestry, centres.astype(np.float32), radius)


def pose_head(head: Head, drawn: Floats, gaze: tuple[float, float] = (0.0, 0.0)) -> Floats:
    """The head's vertices with AUs on, [N, 3].

    Args:
        head: from `draw_head`.
        drawn: [22, 2]: intensities of `DRAWN` on the subject's right and left half; 0 is off, 1 as strong as commonly seen.
        gaze: where the eyes look, rad, to the subject's left and up; the lids follow. Eyeballs are spheres, which don't turn.
    """
    v = head.vertices.copy()
    for movement in movements():
        amount = movement.amount(drawn)
        if amount > 0:
            v[movement.vertices] += np.float32(amount) * movement.displacement
    _follow_gaze(v, gaze)
    _shut_eyes(v, head, drawn[DRAWN.index(43)])
    _keep_lids_out(v, head)
    apart = drawn[[DRAWN.index(au) for au in (25, 26, 27)]].any()
    return _close_lips(v, 0.0 if apart else 2.5)


_LOOKS_UP, _LOOKS_DOWN = (sum(ACTIONS[f"eyeLook{way}{side}"] for side in ("Right", "Left")) for way in ("Up", "Down"))
_GAZE_OF_ACTION = 0.5
"""rad: how far the facial action's lids look."""


def _follow_gaze(v: Floats, gaze: tuple[float, float]) -> None:
    up = float(gaze[1]) / _GAZE_OF_ACTION
    if up:
        v[_LID_RANGE] += abs(up) * (_LOOKS_UP if up > 0 else _LOOKS_DOWN)[_LID_RANGE]


_LID_RANGE = np.flatnonzero((np.abs(_LOOKS_UP).max(1) + np.abs(_LOOKS_DOWN).max(1) > 0.01) & np.isin(
    np.arange(head_data.N), np.concatenate([head_data.OF_PART[BODY], head_data.OF_PART[head_data.LASHES]])
))  # fmt: skip
_UPPER_LID, _LOWER_LID = head_data.LANDMARKS[[[37, 38], [44, 43]]], head_data.LANDMARKS[[[41, 40], [46, 47]]]
_MEAN_EYES = np.stack([MEAN[eye].mean(0) for eye in EYE_VERTICES])


def _polar(v: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Angle and distance of vertices around the axis from left to right through an eyeball's centre."""
    y, z = v[..., 1] - centre[1], v[..., 2] - centre[2]
    return np.arctan2(y, z), np.hypot(y, z)


@cache
def _blinks() -> list[tuple[NDArray[np.intp], Floats, Floats, Floats, float]]:
    """For the right and left eye: vertices that a blink moves, their turn about the eyeball, how much nearer they come, how
    far they go sidewards, and how far the lids turn towards each other.
    """
    found = []
    for half, moves in enumerate(blink()):
        posed = MEAN + moves
        on = np.setdiff1d(np.flatnonzero(np.abs(moves).max(1) > 0.005), head_data.OF_PART[EYES])
        (open_, far), (shut, near) = (_polar(v, _MEAN_EYES[half]) for v in (MEAN, posed))
        # Next to the axis, in the eye's corners, little turns.
        turn = ((shut - open_) * smoothstep(4.0, 10.0, far)).astype(np.float32)
        meet = float((turn[_LOWER_LID[half]] - turn[_UPPER_LID[half]]).mean())
        found.append((on, turn[on], (near[on] / far[on]).astype(np.float32), (posed - MEAN)[on, 0], meet))
    return found


_PRESSED = 0.05
"""rad: how far shut lids overlap; how far they are apart at least while no blink shuts them."""


def _shut_eyes(v: Floats, head: Head, shut: Floats) -> None:
    """AU 43 and blinks: lids slide over the eyeballs until they meet at 1, whatever the eye's shape; else they don't cross."""
    for half, (on, turn, nearer, aside, meet) in enumerate(_blinks()):
        centre = head.eyes[half]
        opening = float((_polar(v[_UPPER_LID[half]], centre)[0] - _polar(v[_LOWER_LID[half]], centre)[0]).mean())
        share = (min(float(shut[half]), 1.0) * max(opening + _PRESSED, 0.0) + min(opening - _PRESSED, 0.0)) / meet
        if share != 0:
            angle, distance = _polar(v[on], centre)
            angle, distance = angle + share * turn, distance * (1 + share * (nearer - 1))
            v[on, 0] += np.float32(share) * aside
            v[on, 1], v[on, 2] = centre[1] + distance * np.sin(angle), centre[2] + distance * np.cos(angle)


def _around(half: int) -> NDArray[np.intp]:
    """The skin that lies on an eyeball or could be drawn over it."""
    body = head_data.OF_PART[BODY]
    distance = np.linalg.norm(MEAN[body] - _MEAN_EYES[half], axis=1)
    return body[(distance < 24) & (MEAN[body, 2] > 0) & ((LIDS[body] > 0.3) | (distance > 15))]


_LID_VERTICES = (_around(0), _around(1))
_THICKNESS = 2.0
"""mm: lids are no thicker where they have moved over the eyeball."""


def _keep_lids_out(v: Floats, head: Head) -> None:
    """Lids lie on the eyeballs, not in them."""
    for lids, centre in zip(_LID_VERTICES, head.eyes, strict=True):
        offset = v[lids] - centre
        distance = np.linalg.norm(offset, axis=1)
        rest = np.linalg.norm(head.vertices[lids] - centre, axis=1)
        least = np.clip(rest, head.eye_radius + 0.3, head.eye_radius + _THICKNESS)
        v[lids] = centre + offset * np.maximum(1, least / distance)[:, None]


# Where the lips meet, on the right half from the mouth's corner to the middle.
_UPPER_RIM, _LOWER_RIM = (433, 418, 419, 516, 2011, 515, 514, 522, 521, 520), (444, 437, 475, 519, 518, 517, 523)


@cache
def _rims() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Vertices where the upper and the lower lip meet, from the right to the left corner."""
    body = head_data.OF_PART[BODY]
    found = []
    for rim in (_UPPER_RIM, _LOWER_RIM):
        left = [body[np.argmin(((MEAN[body] - MEAN[i] * [-1, 1, 1]) ** 2).sum(1))] for i in rim[-2::-1]]
        found.append(np.array([*rim, *left], np.intp))
    return found[0], found[1]


@cache
def _lip_weights() -> tuple[NDArray[np.intp], Floats, Floats]:
    """Vertices near the mouth's line, and how far each goes along with the upper and the lower lip's rim."""
    upper, lower = _rims()
    x = MEAN[:, 0]
    found = []
    for rim, below in ((upper, False), (lower, True)):
        away = np.abs(MEAN[:, 1] - np.interp(x, MEAN[rim, 0], MEAN[rim, 1]))
        side = (below_lips() == below) & np.isin(np.arange(head_data.N), head_data.OF_PART[BODY])
        found.append(np.where(side & (MEAN[:, 2] > 5) & (np.abs(x) < 26), np.exp(-((away / 7.0) ** 2)), 0))
    near = np.flatnonzero(np.maximum(*found) > 0.01)
    return near, found[0][near].astype(np.float32), found[1][near].astype(np.float32)


def _gaps(v: Floats) -> tuple[Floats, Floats]:
    """X and height of the gap between the lips from the right to the left corner, mm; below 0 where they overlap."""
    upper, lower = _rims()
    x = np.linspace(v[lower[0], 0], v[lower[-1], 0], 17)
    gap = np.interp(x, v[upper, 0], v[upper, 1]) - np.interp(x, v[lower, 0], v[lower, 1])
    return x.astype(np.float32), gap.astype(np.float32)


_OVERLAP = 0.3
"""mm: lips that touch are pressed flat by so much."""


def _close_lips(v: Floats, reach: float) -> Floats:
    """Lips that overlap touch, and a gap is closed by up to `reach` mm."""
    for _ in range(2):
        x, gap = _gaps(v)
        near, upper, lower = _lip_weights()
        # The corners hold both lips.
        places, shifts = [x[0] - 3, *x, x[-1] + 3], [0, *(np.minimum(gap + _OVERLAP, reach) / 2), 0]
        v[near, 1] += (np.interp(v[near, 0], places, shifts) * (lower - upper)).astype(np.float32)
    return v


def lips_parted(vertices: Floats) -> float:
    """How far the lips are apart, mm, at the middle half of the mouth; 0 where they touch."""
    _, gap = _gaps(vertices)
    middle = len(gap) // 4
    return float(max(gap[middle:-middle].max(), 0.0))
