"""The action units (AUs) of each corpus that FG-Net was trained on, in channel order.

An AU is written as py-feat's columns are: ``"AU01"`` … ``"AU43"``. Facial Action Coding System, Ekman & Friesen 1978;
channel orders as in the published checkpoints of Yin et al., WACV 2024.
"""

from __future__ import annotations

from typing import NamedTuple

NOT_CODABLE = 9
"""What FACS coders write instead of a label where an AU can't be seen."""
NAMES: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    11: "nasolabial deepener",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    28: "lip suck",
    43: "eyes closed",
}
"""FACS number -> FACS name, for every AU that FG-Net's corpora or py-feat code."""


def au_name(number: int) -> str:
    """The column name of an AU. Raises ValueError for a number that is not in `NAMES`.

    >>> au_name(1)
    'AU01'
    """
    if number not in NAMES:
        raise ValueError(f"unknown action unit {number}; known are {', '.join(map(str, NAMES))}")
    return f"AU{number:02d}"


def au_number(name: str) -> int:
    """The FACS number of a column name. Raises ValueError for anything else.

    >>> au_number("AU12")
    12
    """
    digits = name.removeprefix("AU")
    if digits == name or not digits.isdigit() or au_name(int(digits)) != name:
        raise ValueError(f"{name!r} is not an action unit's name; names look like 'AU01'")
    return int(digits)


def _names(*numbers: int) -> tuple[str, ...]:
    return tuple(au_name(number) for number in numbers)


CORPUS_AUS: dict[str, tuple[str, ...]] = {
    "BP4D": _names(1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    "DISFA": _names(1, 2, 4, 6, 9, 12, 25, 26),
}
"""Corpus -> its AUs in the channel order of the published checkpoints."""

SHARED_AUS: tuple[str, ...] = _names(1, 2, 4, 6, 12)
"""The AUs that both corpora code, in either's order: what the paper tests across corpora."""


def corpus_aus(corpus: str) -> tuple[str, ...]:
    """The AUs of a corpus in channel order; the name's case does not matter. Raises ValueError for an unknown corpus."""
    try:
        return CORPUS_AUS[corpus.upper()]
    except KeyError:
        raise ValueError(f"unknown corpus {corpus!r}; published checkpoints exist for {', '.join(CORPUS_AUS)}") from None


class Centre(NamedTuple):
    """A place on the face where an AU shows, from the 68 landmarks (dlib's order)."""

    points: tuple[int, ...]
    """Landmarks whose mean it is."""
    down: float = 0.0
    """How far below that, as a multiple of the distance of the eyes' inner corners (points 39 and 42)."""


_RIGHT_EYE, _LEFT_EYE = tuple(range(36, 42)), tuple(range(42, 48))
_LIP_CORNERS = Centre((48,)), Centre((54,))
_LIPS = Centre((51,)), Centre((57,))

CENTRES: dict[int, tuple[Centre, Centre]] = {
    1: (Centre((21,)), Centre((22,))),
    2: (Centre((17,)), Centre((26,))),
    4: (Centre(tuple(range(17, 22))), Centre(tuple(range(22, 27)))),
    5: (Centre((37, 38)), Centre((43, 44))),
    6: (Centre(_RIGHT_EYE, 1.0), Centre(_LEFT_EYE, 1.0)),
    7: (Centre((38,)), Centre((43,))),
    9: (Centre((39,)), Centre((42,))),
    10: (Centre((50,)), Centre((52,))),
    11: (Centre((31, 48)), Centre((35, 54))),
    12: _LIP_CORNERS,
    14: _LIP_CORNERS,
    15: _LIP_CORNERS,
    17: (Centre((56,), 0.5), Centre((58,), 0.5)),
    20: _LIP_CORNERS,
    23: _LIPS,
    24: _LIPS,
    25: _LIPS,
    26: (Centre((56,)), Centre((58,))),
    28: _LIPS,
    43: (Centre(_RIGHT_EYE), Centre(_LEFT_EYE)),
}
"""FACS number -> the two centres of the AU's heatmap, right and left or upper and lower.

As the published code has them; 5, 11, 20, 28 and 43, which FG-Net's corpora do not code, are ours.
"""


def au_centres(name: str) -> tuple[Centre, Centre]:
    """The two centres of an AU's heatmap, by the AU's name.

    Raises ValueError for an unknown name and for an AU without centres.

    >>> au_centres("AU06")[1].down
    1.0
    """
    number = au_number(name)
    if number not in CENTRES:
        known = ", ".join(au_name(number) for number in CENTRES)
        raise ValueError(f"{name} has no place on the face to draw a heatmap at; known are {known}")
    return CENTRES[number]


def by_number(aus: set[str]) -> list[str]:
    """Names of AUs in the order of their numbers."""
    return sorted(aus, key=lambda au: int(au[2:]))


def facs_name(au: str) -> str:
    """The FACS name of ``"AU12"``; empty for one that `NAMES` lacks, such as OpenFace's AU45 (blink)."""
    return NAMES.get(int(au[2:]), "")
