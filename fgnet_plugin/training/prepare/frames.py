"""What was found in a corpus as distributed: coded frames, and which file each is in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgnet_plugin.action_units import au_number, corpus_aus


@dataclass(frozen=True)
class CodedFrame:
    """One coded frame."""

    sequence: str
    """Where it belongs: ``F001/T1`` (subject and task) or ``SN001``."""
    number: int
    """As coded."""
    position: int
    """Its place in the sequence from 1, as OpenFace counts: of a video the number, of photos the place in their order."""
    file: Path | None
    """Photo or video; None where there is none."""
    labels: tuple[str, ...]
    """Cells of its row in labels.csv, one for each of `RawCorpus.columns`."""

    @property
    def name(self) -> str:
        """``F001/T1/02440``: the face's place below aligned_images, without the suffix."""
        return f"{self.sequence}/{self.number:05d}"


@dataclass(frozen=True)
class RawCorpus:
    """A corpus as distributed."""

    name: str
    """BP4D or DISFA: the folder that is written."""
    raw: Path
    columns: tuple[str, ...]
    """Of labels.csv, after image_path."""
    frames: tuple[CodedFrame, ...]
    """All coded frames, sequence by sequence."""
    settings: dict[str, str]
    """What else the faces depend on, such as the camera."""
    notes: tuple[str, ...] = ()
    """What a user should know of it."""
    uncoded: tuple[str, ...] = ()
    """Frames that a list asked for, and that have no codes: see `lists.only_listed`."""


def chosen_aus(corpus: str, aus: Sequence[str] | None) -> dict[int, str]:
    """FACS number -> column, by default of the published AUs. Raises ValueError for what is no AU, or one twice."""
    names = tuple(corpus_aus(corpus) if aus is None else aus)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"aus must be different AUs such as AU12, got {' '.join(names) or 'none'}")
    return {number: f"au{number}" for number in map(au_number, names)}


def walk(raw: Path, results: Path | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below `raw`, with the names of its files, both in order; the folder of `results`' faces is left out."""
    if not raw.is_dir():
        raise ValueError(f"{raw}: no such folder; it should hold the corpus as distributed, unpacked")
    seen = {raw.resolve(), *([(results / "aligned_images").resolve()] if results is not None else [])}
    for folder, folders, files in os.walk(raw, followlinks=True):
        new = []
        for name in sorted(folders):
            place = (Path(folder) / name).resolve()
            if place not in seen:  # links may lead in a circle
                seen.add(place)
                new.append(name)
        folders[:] = new
        yield Path(folder), sorted(name for name in files if not name.startswith("."))


def one_place(found: Sequence[Path], what: str, problems: list[str]) -> Path:
    """The only one of several places; where there are more, a problem is added."""
    if len(found) > 1:
        problems.append(f"{what} is there several times: {', '.join(map(str, found))}; leave one")
    return found[0]


def text_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, by number from 1, as cells. Raises ValueError for what is no text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: can't be read as text ({error})") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, [cell.strip() for cell in line.split(",")]


def whole_number(text: str) -> int | None:
    """A number without sign, else None."""
    return int(text) if text.isascii() and text.isdigit() else None
