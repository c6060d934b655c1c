"""What each AU does to a head: MakeHuman's facial actions, and pulls of our own where they are weak, misleading or missing.

The descriptions are those of the Facial Action Coding System's manual (Ekman, Friesen & Hager 2002). Lengths are in mm on the
mean head (`head_data.MEAN`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered import head_data
from fgnet_plugin.training.rendered.head_data import ACTIONS, BODY, CAVITY, EYES, LEFT, LOWER_TEETH, MEAN, TONGUE
from fgnet_plugin.training.rendered.mesh import Floats, smoothstep

DRAWN = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 30, 34, 43)
"""AUs that heads can show. Of 30, the halves are the side that the jaw goes to."""

# AU -> facial action: share at full intensity. A star stands for Right and Left.
_ACTIONS: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.15},
    2: {"browOuterUp*": 1.0},
    4: {"browDown*": 1.0},
    5: {"eyeWide*": 1.0},
    6: {"cheekSquint*": 0.85, "eyeSquint*": 0.5},
    7: {"eyeSquint*": 1.15},
    9: {"noseSneer*": 1.1, "browDown*": 0.15},
    10: {"mouthUpperUp*": 1.0},
    11: {"mouthUpperUp*": 0.3},
    12: {"mouthSmile*": 0.66},
    15: {"mouthFrown*": 0.75},
    17: {"mouthShrugLower": 0.9, "mouthShrugUpper": 0.45},
    18: {"mouthPucker": 0.75},
    20: {"mouthStretch*": 0.85},
    22: {"mouthFunnel": 0.7},
    23: {"mouthRollUpper": 0.35, "mouthRollLower": 0.45},
    24: {"mouthRollLower": 0.45, "mouthRollUpper": 0.4},
    25: {"mouthLowerDown*": 0.6, "mouthUpperUp*": 0.15, "jawOpen": 0.07},
    26: {"jawOpen": 0.38},
    27: {"jawOpen": 0.8},
    28: {"mouthRollUpper": 1.0, "mouthRollLower": 1.0},
    30: {"jaw*": 0.7},
    34: {"cheekPuff": 0.8},
}
_MOST = {"browDown": 1.25}
"""How far facial actions go at most, where that is not 1.6: brows meet the eyes."""

Pull = tuple[tuple[float, float], tuple[float, float, float], float, str]
"""Anchor on the left half (x, y), displacement (outwards, up, forwards), reach; "u" and "l" keep it to what is above or under
the mouth's line. An anchor with x > 0 acts on both halves."""
_PULLS: dict[int, tuple[Pull, ...]] = {
    1: (((11, 13), (0.5, 3.5, 0), 9, ""), ((9, 30), (0, 2.0, 0), 11, ""), ((24, 15), (0, 1.5, 0), 8, "")),
    2: (
        ((42, 15), (0.5, 2.0, 0), 11, ""), ((38, 30), (0, 1.5, 0), 12, ""), ((25, 17), (0, 3.0, 0), 9, ""),
        ((12, 12), (0, 1.2, 0), 8, ""),
    ),
    4: (((11, 12), (-0.8, -1.5, 1.4), 8, ""), ((26, 15), (-0.5, -1.2, 0.6), 10, ""), ((6, 4), (-0.8, -1.0, 1.0), 6, "")),
    6: (((40, -27), (0, 3.2, 3.8), 12, ""), ((50, -4), (-1.5, 0.8, 0), 9, "")),
    7: (((30, -9), (0, 1.0, 0.4), 7, ""),),
    9: (((8, -16), (0, 2.0, 1.5), 6, ""), ((16, -38), (0.6, 2.0, 0.3), 6, ""), ((9, 8), (-1.0, -1.0, 0.5), 9, "")),
    10: (((10, -58), (0.2, 1.6, 0.5), 8, "u"), ((23, -48), (1.0, 1.5, 1.5), 8, "")),
    11: (((22, -52), (1.0, 2.0, 1.5), 7, ""), ((17, -62), (0, 1.0, 0), 5, "u")),
    12: (((23, -68), (2.5, 0, -1.2), 8, ""), ((37, -42), (1.2, 1.5, 2.8), 11, "")),
    14: (((25, -68), (0.4, 0.3, -4.5), 6, ""), ((33, -67), (-0.5, 0.2, 2.6), 5, ""), ((24, -74), (0, 1.2, 0.5), 5, "l")),
    15: (((23, -69), (0.4, -2.0, -0.4), 7, ""), ((22, -80), (0, -1.5, 1.2), 8, "")),
    17: (((0, -95), (0, 3.0, 2.0), 10, ""), ((12, -92), (0, 2.0, 1.5), 9, ""), ((0, -78), (0, 1.5, 1.2), 8, "l")),
    20: (((24, -68), (2.2, 1.8, -0.5), 9, ""), ((30, -82), (1.5, 0.5, 0), 10, "")),
    23: (((23, -68), (-3.0, 0, 0.8), 8, ""), ((12, -67), (-1.0, 0, 0.3), 7, "")),
    24: (
        ((12, -55), (0, -1.8, 1.5), 7, "u"), ((12, -84), (0, 2.2, 2.0), 7, "l"), ((24, -68), (0.3, -0.4, -1.2), 5, ""),
        ((0, -72), (0, 1.2, 0), 8, "l"),
    ),
}  # fmt: skip


@cache
def _front() -> Floats:
    """[N]: 1 on the face's skin, 0 on the back of the head, inside the mouth, on eyes, teeth and tongue."""
    skin = np.zeros(head_data.N, np.float32)
    skin[head_data.OF_PART[BODY]] = 1
    return (skin * smoothstep(-70.0, -25.0, MEAN[:, 2]) * (1 - CAVITY)).astype(np.float32)


@cache
def below_lips() -> NDArray[np.bool_]:
    """[N]: what is under the mouth's line and goes along with the jaw."""
    return ACTIONS["jawOpen"][:, 1] < -12.2


def _pull(pull: Pull, side: int) -> Floats:
    """[N, 3]: what a pull does on the right (-1) or left (1) half; one at the middle belongs to both, by halves."""
    (x, y), (outwards, up, forwards), reach, lip = pull
    near = np.exp(-((MEAN[:, 0] - side * x) ** 2 + (MEAN[:, 1] - y) ** 2) / (2 * reach * reach))
    weight = near * _front() * (1 - 0.85 * head_data.LIDS)  # the eyeball holds the lids
    if lip:
        mouth = (np.abs(MEAN[:, 0]) < 30) & (MEAN[:, 1] > -95)
        weight = np.where(mouth & (below_lips() == (lip == "u")), 0, weight)
    direction = np.array([side * outwards, up, forwards]) * (0.5 if x == 0 else 1.0)
    return (weight[:, None] * direction).astype(np.float32)


@dataclass(frozen=True)
class Movement:
    """One facial action, or the pulls of one AU, of one half of the face (or of the jaw, which has none)."""

    shares: Floats  # [25, 2]: of each AU of DRAWN, on the right and left half
    most: float
    """However many AUs bring it, a movement doesn't go much further than this."""
    vertices: NDArray[np.intp]
    displacement: Floats  # [V, 3], mm


def _movement(shares: Floats, displacement: Floats, most: float = 1.6) -> Movement:
    displacement[head_data.OF_PART[EYES]] = 0
    moved = np.flatnonzero(np.abs(displacement).max(1) > 0.005)
    return Movement(shares, most, moved, np.ascontiguousarray(displacement[moved]))


def _apart(displacement: Floats) -> Floats:
    """The displacement by one half's muscles, less where they would draw it across the middle."""
    inwards = displacement[:, 0] * MEAN[:, 0] < 0
    found = displacement.copy()
    found[:, 0] *= np.where(inwards, smoothstep(0, 16, np.abs(MEAN[:, 0])), 1)
    return found


def _jaw() -> Floats:
    """The jaw's drop, in which the tongue lies on the jaw as the lower teeth do."""
    moves = ACTIONS["jawOpen"].copy()
    teeth, tongue = (np.insert(MEAN[head_data.OF_PART[part]], 3, 1, axis=1) for part in (LOWER_TEETH, TONGUE))
    turn = np.linalg.lstsq(teeth, moves[head_data.OF_PART[LOWER_TEETH]], rcond=None)[0]
    moves[head_data.OF_PART[TONGUE]] = tongue @ turn
    return moves


def _of_half(action: str, half: int) -> Floats:
    """[N, 3]: what the right (0) or left (1) half's muscles do in a facial action."""
    sided = ACTIONS.get(action + ("Right", "Left")[half])
    moves = _apart(sided if sided is not None else ACTIONS[action] * (LEFT if half else 1 - LEFT)[:, None])
    moves[np.concatenate([head_data.OF_PART[LOWER_TEETH], head_data.OF_PART[TONGUE]])] = 0
    if action == "noseSneer":  # which lowers the brows as AU 4 does: half of it is enough
        moves *= 1 - 0.5 * smoothstep(2.0, 12.0, MEAN[:, 1:2])
    return moves


@cache
def movements() -> tuple[Movement, ...]:
    """What a face can do, but for blinks (`head_lids.shut_eyes`)."""
    names = dict.fromkeys(name for actions in _ACTIONS.values() for name in actions)
    found = []
    for name in names:
        share = np.array([_ACTIONS.get(au, {}).get(name, 0) for au in DRAWN], np.float32)
        if name == "jawOpen":
            found.append(_movement(np.stack([share / 2, share / 2], 1), _jaw()))
            continue
        for half, side in enumerate(("Right", "Left")):
            action = name.removesuffix("*")
            moves = ACTIONS[action + side].copy() if action == "jaw" else _of_half(action, half)
            found.append(_movement(share[:, None] * np.eye(2, dtype=np.float32)[half], moves, _MOST.get(action, 1.6)))
    for au, pulls in _PULLS.items():
        for half, sign in ((0, -1), (1, 1)):
            shares = np.zeros((len(DRAWN), 2), np.float32)
            shares[DRAWN.index(au), half] = 1
            found.append(_movement(shares, _apart(np.sum([_pull(pull, sign) for pull in pulls], 0))))
    return tuple(found)


def amounts(drawn: Floats) -> Floats:
    """How far each of `movements` goes: as far as the AUs together say, and less and less so beyond two thirds of its most."""
    shares, most = _shares()
    wanted, start = shares @ drawn.ravel(), most * np.float32(2 / 3)
    return np.where(wanted <= start, wanted, start + (most - start) * np.tanh((wanted - start) / (most - start)))


@cache
def _shares() -> tuple[Floats, Floats]:
    return np.stack([m.shares.ravel() for m in movements()]), np.array([m.most for m in movements()], np.float32)
