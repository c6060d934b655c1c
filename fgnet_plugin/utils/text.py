"""Words that follow a number in messages."""

from __future__ import annotations


def plural(number: float, one: str, many: str = "") -> str:
    """Choose the words for a number of things; `many` is by default `one` with an s.

    Example:
        >>> plural(1, "frame"), plural(0, "frame"), plural(2, "is", "are")
        ('frame', 'frames', 'are')
    """
    return one if number == 1 else many or f"{one}s"


def counted(number: float, one: str, many: str = "", form: str = "") -> str:
    """Say how many there are of something; `form` is the number's format, as in f-strings.

    Example:
        >>> counted(1, "person", "people"), counted(1200, "face is", "faces are", form=",")
        ('1 person', '1,200 faces are')
    """
    return f"{number:{form}} {plural(number, one, many)}"
