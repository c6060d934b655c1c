"""Lids: they follow the gaze, slide over the eyeballs and shut. Lengths are in mm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered.head_data import ACTIONS, BODY, EYE_VERTICES, EYES, LANDMARKS, LIDS, MEAN, OF_PART
from fgnet_plugin.training.rendered.mesh import Floats, smoothstep

_GAZE_OF_ACTION = 0.5
"""rad: how far up or down the eyes look in the facial actions that move the lids along."""
LID_FOLLOWS = 0.8
"""Part of the eye's opening, a rad, by which the upper lid sinks when the eye looks down, beyond that facial action."""
_UPPER_EDGE, _LOWER_EDGE = LANDMARKS[[[37, 38], [44, 43]]], LANDMARKS[[[41, 40], [46, 47]]]
_MEAN_EYES = np.stack([MEAN[eye].mean(0) for eye in EYE_VERTICES])


@cache
def _looks() -> tuple[NDArray[np.intp], Floats, Floats]:
    """Vertices that follow the gaze, and where to when the eyes look up and down."""
    up, down = (ACTIONS[f"eyeLook{way}Right"] + ACTIONS[f"eyeLook{way}Left"] for way in ("Up", "Down"))
    moved = np.setdiff1d(np.flatnonzero(np.maximum(np.abs(up), np.abs(down)).max(1) > 0.005), OF_PART[EYES])
    return moved, up[moved], down[moved]


def follow_gaze(v: Floats, up: float) -> None:
    """Moves the lids of a head [N, 3] along with eyes that look up (or down, below 0) by so many rad."""
    if up:
        moved, upwards, downwards = _looks()
        v[moved] += np.float32(abs(up) / _GAZE_OF_ACTION) * (upwards if up > 0 else downwards)


def _polar(v: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Angle and distance of vertices around the axis from left to right through an eyeball's centre."""
    y, z = v[..., 1] - centre[1], v[..., 2] - centre[2]
    return np.arctan2(y, z), np.hypot(y, z)


@dataclass(frozen=True)
class _Blink:
    """What shuts one eye of the mean head."""

    vertices: NDArray[np.intp]
    moves: Floats  # [V, 3]
    turn: Floats  # [V], rad, about the eyeball
    nearer: Floats  # [V]: ratio of the distances from the eyeball's axis
    on_ball: Floats  # [V]: 1 on the eyeball, 0 near its axis (in the eye's corners), where a turn says little
    meet: float
    """rad: how far the lids' edges turn towards each other."""


@cache
def _blinks() -> tuple[_Blink, ...]:
    found = []
    for half, moves in enumerate((ACTIONS["eyeBlinkRight"], ACTIONS["eyeBlinkLeft"])):
        on = np.setdiff1d(np.flatnonzero(np.abs(moves).max(1) > 0.005), OF_PART[EYES])
        (open_, far), (shut, near) = (_polar(v, _MEAN_EYES[half]) for v in (MEAN, MEAN + moves))
        turn = (shut - open_).astype(np.float32)
        meet = float((turn[_LOWER_EDGE[half]] - turn[_UPPER_EDGE[half]]).mean())
        nearer = (near / np.maximum(far, 1))[on].astype(np.float32)
        found.append(_Blink(on, moves[on], turn[on], nearer, smoothstep(5.0, 12.0, far[on]), meet))
    return tuple(found)


_PRESSED = 0.05
"""rad: how far shut lids overlap, and how far they stay apart at least while nothing shuts them."""


def shut_eyes(v: Floats, centres: Floats, shut: Floats) -> None:
    """Shuts the right and left eye of a head [N, 3], by shares (0 … 1), whatever the eyes' shape; lids that cross, part.

    Args:
        centres: [2, 3], of the eyeballs, over which the lids slide.
    """
    for half, (blink, centre) in enumerate(zip(_blinks(), centres, strict=True)):
        opening = float((_polar(v[_UPPER_EDGE[half]], centre)[0] - _polar(v[_LOWER_EDGE[half]], centre)[0]).mean())
        share = (min(float(shut[half]), 1.0) * max(opening + _PRESSED, 0.0) + min(opening - _PRESSED, 0.0)) / blink.meet
        if share == 0:
            continue
        start = v[blink.vertices]
        straight = start + np.float32(share) * blink.moves
        angle, distance = _polar(start, centre)
        angle, distance = angle + share * blink.turn, distance * (1 + share * (blink.nearer - 1))
        round_ = np.stack([straight[:, 0], centre[1] + distance * np.sin(angle), centre[2] + distance * np.cos(angle)], 1)
        v[blink.vertices] = straight + blink.on_ball[:, None] * (round_ - straight)


_COMMON_OPENING, _NARROW, _WIDE = 9.4, 7.4, 10.6
"""mm, at the lids' landmarks."""
_KEPT = 0.4


def set_openings(v: Floats, centres: Floats, wider: float) -> None:
    """Opens the eyes of a head [N, 3] at rest as people do: MakeHuman's are narrower, and far more different.

    Args:
        centres: [2, 3], of the eyeballs; wider: mm more than common.
    """
    for half, side in enumerate(("Right", "Left")):
        opening = float((v[_UPPER_EDGE[half], 1] - v[_LOWER_EDGE[half], 1]).mean())
        wanted = np.clip(_COMMON_OPENING + wider + _KEPT * (opening - _COMMON_OPENING), _NARROW, _WIDE)
        if wanted > opening:
            wide = ACTIONS["eyeWide" + side]
            reach = float((wide[_UPPER_EDGE[half], 1] - wide[_LOWER_EDGE[half], 1]).mean())
            v += np.float32((wanted - opening) / reach) * wide
        else:
            shut_eyes(v, centres, (1 - wanted / opening) * np.eye(2, dtype=np.float32)[half])


@cache
def _around() -> tuple[NDArray[np.intp], ...]:
    """The skin that lies on the right and the left eyeball, or could be drawn over it."""
    skin = OF_PART[BODY][MEAN[OF_PART[BODY], 2] > 0]
    found = []
    for centre in _MEAN_EYES:
        distance = np.linalg.norm(MEAN[skin] - centre, axis=1)
        found.append(skin[(distance < 24) & ((LIDS[skin] > 0.3) | (distance > 15))])
    return tuple(found)


_THICKNESS = 2.0
"""mm: lids are no thicker where they have moved over the eyeball."""


def keep_lids_out(v: Floats, rest: Floats, centres: Floats, radius: float) -> None:
    """Keeps the lids of a posed head [N, 3] as far out of the eyeballs as on the head at rest."""
    for skin, centre in zip(_around(), centres, strict=True):
        offset = v[skin] - centre
        least = np.clip(np.linalg.norm(rest[skin] - centre, axis=1), radius + 0.3, radius + _THICKNESS)
        v[skin] = centre + offset * np.maximum(1, least / np.linalg.norm(offset, axis=1))[:, None]
