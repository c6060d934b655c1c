"""DISFA as distributed.

Videos are called ``LeftVideoSN001_comp.avi`` and ``RightVideoSN001_comp.avi`` (in ``Videos_LeftCamera`` … or anywhere),
intensities are in ``…/SN001_au1.txt`` (below ``ActionUnit_Labels/SN001`` or anywhere): a line ``frame,intensity`` for each
frame, counted from 1, intensities 0 to 5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fgnet_plugin.training.data.bad_rows import bad_rows
from fgnet_plugin.training.prepare.frames import CodedFrame, RawCorpus, chosen_aus, one_place, text_lines, walk, whole_number
from fgnet_plugin.utils.text import counted

_LABELS = re.compile(r"(SN\d{3})_au(\d+)\.txt", re.IGNORECASE)
_VIDEO = re.compile(r"(Left|Right)Video(SN\d{3})(?:_comp)?\.(?:avi|mp4|mkv|mov)", re.IGNORECASE)
PRESENT = 2
"""An AU of at least this intensity counts as present."""


def read_disfa(
    raw: Path, aus: Sequence[str] | None = None, out: Path | None = None, camera: Literal["left", "right"] = "left"
) -> RawCorpus:
    """The coded frames of DISFA.

    Args:
        raw: folder of the corpus; labels and videos may lie anywhere in it.
        aus: which AUs; by default the published ones in their order.
        out: where results go: not searched.
        camera: whose videos.

    Returns:
        All coded frames. Labels are 0 or 1 (an intensity of at least 2) in columns ``au1``, …, and then the intensities in
        ``au1_intensity``, ….

    Raises:
        ValueError: no labels; files that are there several times; an AU's file that is missing, or lacks frames that the
            others have; and, together, every bad line.
    """
    if camera not in ("left", "right"):
        raise ValueError(f"camera must be left or right, got {camera!r}")
    columns = chosen_aus("DISFA", aus)
    coded, videos = _find(raw, out, camera)
    if not coded:
        raise ValueError(f"{raw}: no labels found; they are files such as ActionUnit_Labels/SN001/SN001_au1.txt. Unpack first")
    files: list[str] = []
    rows: list[str] = []
    frames: list[CodedFrame] = []
    for subject, of_au in sorted(coded.items()):
        missing = [str(number) for number in columns if number not in of_au]
        if missing:
            files.append(f"{raw}: {subject} has no file for the AUs {', '.join(missing)}")
            continue
        paths = [one_place(of_au[number], f"{subject}_au{number}.txt", files) for number in columns]
        video = one_place(videos[subject], f"{subject}'s video", files) if subject in videos else None
        intensities = [_intensities(path, files, rows) for path in paths]
        numbers = sorted(set().union(*intensities))
        for path, values in zip(paths, intensities, strict=True):
            lacking = [number for number in numbers if number not in values]
            if lacking and values:
                shown = ", ".join(map(str, lacking[:10])) + (" …" if lacking[10:] else "")
                files.append(
                    f"{path}: lacks {counted(len(lacking), 'frame', form=',')} that other AUs of {subject} have: {shown}"
                )
        if not files and not rows:
            for number in numbers:
                of_frame = [values[number] for values in intensities]
                cells = (*(str(int(value >= PRESENT)) for value in of_frame), *map(str, of_frame))
                frames.append(CodedFrame(subject, number, number, video, cells))
    if files or rows:
        raise bad_rows(rows, files)
    names = (*columns.values(), *(f"{column}_intensity" for column in columns.values()))
    return RawCorpus("DISFA", raw, names, tuple(frames), {"camera": camera})


def _find(raw: Path, out: Path | None, camera: str) -> tuple[dict[str, dict[int, list[Path]]], dict[str, list[Path]]]:
    """Subject -> AU -> files of labels; subject -> videos of that camera."""
    coded: dict[str, dict[int, list[Path]]] = {}
    videos: dict[str, list[Path]] = {}
    for folder, files in walk(raw, out / "DISFA" if out else None):
        for name in files:
            if match := _LABELS.fullmatch(name):
                coded.setdefault(match[1].upper(), {}).setdefault(int(match[2]), []).append(folder / name)
            elif (match := _VIDEO.fullmatch(name)) and match[1].lower() == camera:
                videos.setdefault(match[2].upper(), []).append(folder / name)
    return coded, videos


def _intensities(path: Path, files: list[str], rows: list[str]) -> dict[int, int]:
    """Frame -> intensity; what is wrong goes to `files` or `rows`."""
    found: dict[int, int] = {}
    try:
        lines = list(text_lines(path))
    except ValueError as error:
        files.append(str(error))
        return found
    if not lines:
        files.append(f"{path}: is empty")
    for line, cells in lines:
        numbers = [whole_number(cell) for cell in cells]
        frame, intensity = numbers if len(numbers) == 2 else (None, None)
        if frame is None or intensity is None:
            rows.append(f"{path}:{line}: must be frame,intensity, got {','.join(cells)!r}")
        elif frame < 1:
            rows.append(f"{path}:{line}: frames count from 1, got {frame}")
        elif intensity > 5:
            rows.append(f"{path}:{line}: intensities are 0 to 5, got {intensity}")
        elif frame in found:
            rows.append(f"{path}:{line}: frame {frame} is there twice")
        else:
            found[frame] = intensity
    return found
