"""The action units (AUs) of each corpus that FG-Net was trained on, in channel order.

An AU is written as py-feat's columns are: ``"AU01"`` … ``"AU43"``. Facial Action Coding System, Ekman & Friesen 1978;
channel orders as in the published checkpoints of Yin et al., WACV 2024.
"""

from __future__ import annotations

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


def corpus_aus(corpus: str) -> tuple[str, ...]:
    """The AUs of a corpus in channel order; the name's case does not matter. Raises ValueError for an unknown corpus."""
    try:
        return CORPUS_AUS[corpus.upper()]
    except KeyError:
        raise ValueError(f"unknown corpus {corpus!r}; published checkpoints exist for {', '.join(CORPUS_AUS)}") from None
