"""The published splits of BP4D and DISFA by subject."""

from __future__ import annotations

Folds = tuple[frozenset[str], ...]
"""The test subjects of each fold; the others train."""


def _subjects(prefix: str, numbers: str) -> frozenset[str]:
    return frozenset(prefix + number for number in numbers.split())


PUBLISHED: dict[str, tuple[frozenset[str], frozenset[str], frozenset[str]]] = {
    "BP4D": (
        _subjects("F", "001 002 008 009 010 016 018 023") | _subjects("M", "001 004 007 008 012 014"),
        _subjects("F", "003 005 011 013 020 022") | _subjects("M", "002 005 010 011 013 016 017 018"),
        _subjects("F", "004 006 007 012 014 015 017 019 021") | _subjects("M", "003 006 009 015"),
    ),
    "DISFA": (
        _subjects("SN", "001 002 009 010 016 026 027 030 032"),
        _subjects("SN", "006 011 012 013 018 021 024 028 031"),
        _subjects("SN", "003 004 005 007 008 017 023 025 029"),
    ),
}
"""Corpus -> the test subjects of FG-Net's three folds: 41 subjects of BP4D, 27 of DISFA."""


def published_folds(corpus: str) -> Folds | None:
    """The paper's folds of a corpus, whose name's case does not matter; None for another corpus."""
    return PUBLISHED.get(corpus.upper())
