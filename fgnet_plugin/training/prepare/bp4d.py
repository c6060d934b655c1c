"""BP4D as distributed.

Photos lie in ``…/F001/T1/2440.jpg`` (below ``Sequences(2D+3D)``, ``2D+3D`` or anywhere; three or more digits), occurrence codes
in ``…/F001_T1.csv`` (below ``AUCoding/AU_OCC``, ``AUCoding`` or anywhere): a first row with the AUs' numbers after a first
cell of any content, then a row a frame: its number, and 0, 1 or 9 (not known) for each AU.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fgnet_plugin.media.images import SUFFIXES
from fgnet_plugin.training.data.bad_rows import bad_rows
from fgnet_plugin.training.prepare.frames import CodedFrame, RawCorpus, chosen_aus, one_place, text_lines, walk, whole_number
from fgnet_plugin.utils.text import counted

_CODES = re.compile(r"([FM]\d{3})_(T\d+)\.csv", re.IGNORECASE)
_PHOTOS = re.compile(r"([FM]\d{3})/(T\d+)", re.IGNORECASE)
_CODING = {"au_occ", "aucoding"}
"""Folders that codes are taken from, where files elsewhere have the same names (such as OpenFace's)."""


def read_bp4d(raw: Path, aus: Sequence[str] | None = None, out: Path | None = None) -> RawCorpus:
    """The coded frames of BP4D.

    Args:
        raw: folder of the corpus; codes and photos may lie anywhere in it.
        aus: which AUs; by default the published ones in their order.
        out: where results go: not searched.

    Returns:
        Frames of which at least one of the AUs is coded 0 or 1. Labels are 0, 1 or 9.

    Raises:
        ValueError: no codes; files or folders that are there several times; and, together, every bad line of the codes.
    """
    columns = chosen_aus("BP4D", aus)
    coded, folders = _find(raw, out)
    if not coded:
        raise ValueError(f"{raw}: no AU codes found; they are files such as AUCoding/AU_OCC/F001_T1.csv. Unpack archives first")
    files: list[str] = []
    rows: list[str] = []
    frames: list[CodedFrame] = []
    for sequence, found in sorted(coded.items()):
        inside = [path for path in found if _CODING & {part.lower() for part in path.relative_to(raw).parts}]
        codes = one_place(inside or found, f"{sequence}'s code file", files)
        places = [folder for folder, _ in folders.get(sequence, [])]
        photos: dict[int, Path] = {}
        if places:
            place = one_place(places, f"{sequence}'s folder of photos", files)
            photos = _photos(place, dict(folders[sequence])[place], files)
        position = {number: i for i, number in enumerate(sorted(photos), start=1)}
        for number, labels in _codes(codes, columns, files, rows).items():
            frames.append(CodedFrame(sequence, number, position.get(number, 0), photos.get(number), labels))
    if files or rows:
        raise bad_rows(rows, files)
    known = tuple(frame for frame in frames if set(frame.labels) != {"9"})
    notes = []
    if len(known) < len(frames):
        notes.append(f"{counted(len(frames) - len(known), 'frame is', 'frames are', ',')} left out: 9 for all of the AUs")
    without = sorted(folders.keys() - coded.keys())
    if without:
        notes.append(
            f"no codes for {counted(len(without), 'folder')} of photos: {', '.join(without[:10])}{' …' if without[10:] else ''}"
        )
    return RawCorpus("BP4D", raw, tuple(columns.values()), known, {}, tuple(notes))


def _find(raw: Path, out: Path | None) -> tuple[dict[str, list[Path]], dict[str, list[tuple[Path, list[str]]]]]:
    """Sequence -> files of codes; sequence -> folders with photos, and the photos' names."""
    coded: dict[str, list[Path]] = {}
    folders: dict[str, list[tuple[Path, list[str]]]] = {}
    for folder, files in walk(raw, out / "BP4D" if out else None):
        for name in files:
            if match := _CODES.fullmatch(name):
                coded.setdefault(f"{match[1]}/{match[2]}".upper(), []).append(folder / name)
        if match := _PHOTOS.fullmatch("/".join(folder.parts[-2:])):
            photos = [name for name in files if Path(name).suffix.lower() in SUFFIXES and Path(name).stem.isdigit()]
            if photos:
                folders.setdefault(match[0].upper(), []).append((folder, photos))
    return coded, folders


def _photos(folder: Path, names: Sequence[str], problems: list[str]) -> dict[int, Path]:
    photos: dict[int, Path] = {}
    for name in names:
        number = int(Path(name).stem)
        if number in photos:
            problems.append(f"{folder}: {photos[number].name} and {name} are both frame {number}; leave one")
        photos[number] = folder / name
    return photos


def _codes(path: Path, columns: dict[int, str], files: list[str], rows: list[str]) -> dict[int, tuple[str, ...]]:
    """Frame -> codes; what is wrong goes to `files` or `rows`."""
    try:
        lines = list(text_lines(path))
    except ValueError as error:
        files.append(str(error))
        return {}
    if not lines:
        files.append(f"{path}: is empty")
        return {}
    first, header = lines[0]
    numbers = [whole_number(cell) for cell in header[1:]]
    if None in numbers or len(set(numbers)) < len(numbers) or not set(columns) <= set(numbers):
        wanted = ", ".join(map(str, columns))
        rows.append(f"{path}:{first}: the first row must have AU numbers after its first cell, each once, {wanted} among them")
        return {}
    places = [numbers.index(number) + 1 for number in columns]
    found: dict[int, tuple[str, ...]] = {}
    for line, cells in lines[1:]:
        frame = whole_number(cells[0])
        bad = sorted({cells[place] for place in places if len(cells) == len(header)} - {"0", "1", "9"})
        if len(cells) != len(header):
            rows.append(f"{path}:{line}: {counted(len(cells), 'cell')}, the first row has {len(header)}")
        elif frame is None:
            rows.append(f"{path}:{line}: the frame's number is {cells[0]!r}")
        elif bad:
            rows.append(f"{path}:{line}: codes are 0, 1 or 9, found {', '.join(map(repr, bad))}")
        elif frame in found:
            rows.append(f"{path}:{line}: frame {frame} is there twice")
        else:
            found[frame] = tuple(cells[place] for place in places)
    return found
