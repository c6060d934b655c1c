"""A corpus of one's own: pictures or videos, and a table that says who they show and which AUs people coded.

The table is the one that `comparison.agreement.compare` takes as labels: a CSV file with a row for each coded picture or frame,
``input`` (or ``image``, ``image_path``: a path from the table's folder on, or an absolute one), ``frame`` (of videos, from 0),
``subject``, and AU columns of 1, 0, or empty, -1 or 9 where not coded.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fgnet_plugin.action_units import au_name
from fgnet_plugin.training.data.bad_rows import bad_rows
from fgnet_plugin.training.prepare.frames import CodedFrame, RawCorpus, whole_number
from fgnet_plugin.utils.text import counted

VIDEOS = ".avi", ".mp4", ".mkv", ".mov"
_INPUTS = "input", "image", "image_path"
_AU = re.compile(r"au_?0*(\d+)", re.IGNORECASE)
_CODES = {"1": "1", "1.0": "1", "0": "0", "0.0": "0", "9": "9", "9.0": "9", "-1": "9", "-1.0": "9", "": "9"}
_FORM = "wanted are input, subject and AU columns such as AU12, and frame where there are videos"


def read_own(table: Path, name: str = "own") -> RawCorpus:
    """Read the coded frames of a corpus of one's own.

    Args:
        table: see this module; UTF-8.
        name: of the folder that is written.

    Returns:
        Frames of which at least one AU is coded. Labels are 0, 1 or 9.

    Raises:
        ValueError: no such table or columns; and, together, every bad row: no file or person named, a video without a frame,
            codes that are none, a frame that is there twice.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"name must be a word, as the folder that is written is called by it, got {name!r}")
    if not table.is_file():
        raise ValueError(f"{table}: no such file; {_FORM}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = [cell.strip() for cell in reader.fieldnames or ()]
            reader.fieldnames = header
            lines = [
                (reader.line_num, {key: (row[key] or "").strip() for key in header})
                for row in reader
                if any((row[key] or "").strip() for key in header)
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table}: not a CSV file ({error})") from error
    columns = {column: au_name(int(match[1])) for column in header if (match := _AU.fullmatch(column))}
    inputs = [column for column in _INPUTS if column in header]
    if not columns or not inputs or "subject" not in header or len(set(columns.values())) < len(columns):
        raise ValueError(f"{table}: has the columns {', '.join(header) or 'of no header'}; {_FORM}, each once")
    problems: list[str] = []
    frames: dict[str, CodedFrame] = {}
    for line, row in lines:
        wrong, frame = _frame(table.parent, row, inputs[0], list(columns))
        if frame is not None and frame.name in frames:
            wrong.append(f"{row[inputs[0]]}, frame {frame.number}, is there twice")
        problems += [f"{table}:{line}: {problem}" for problem in wrong]
        if frame is not None:
            frames[frame.name] = frame
    if problems:
        raise bad_rows(problems)
    known = tuple(frame for frame in frames.values() if set(frame.labels) != {"9"})
    if not known:
        raise ValueError(f"{table}: not one frame with a coded AU")
    left_out = len(frames) - len(known)
    notes = (f"{counted(left_out, 'frame is', 'frames are', ',')} left out: no AU is coded there",) if left_out else ()
    return RawCorpus(name, table.parent, tuple(columns.values()), known, {}, notes)


def _frame(folder: Path, row: Mapping[str, str], column: str, aus: Sequence[str]) -> tuple[list[str], CodedFrame | None]:
    """What is wrong with a row; and the frame, if it can be told which one it is."""
    wrong = [f"{au} is {row[au]!r}; codes are 1, 0, or empty, -1 or 9" for au in aus if row[au] not in _CODES]
    given, subject = row[column], row["subject"]
    wrong += [f"{what} is empty" for what, cell in ((column, given), ("subject", subject)) if not cell]
    number = whole_number(row.get("frame", "").removesuffix(".0") or "0")
    if number is None:
        wrong.append(f"the frame's number is {row['frame']!r}; frames count from 0")
    elif Path(given).suffix.lower() in VIDEOS and not row.get("frame"):
        wrong.append(f"{given} is a video: which frame is it? Frames count from 0")
    if wrong or number is None:
        return wrong, None
    place = folder / given
    # The face's file is called by the picture's whole path, so that a table that has grown finds the faces of before.
    sequence = f"{_word(subject)}/{_word(Path(given).as_posix())}"
    labels = tuple(_CODES[row[au]] for au in aus)
    return [], CodedFrame(sequence, number, number + 1, place if place.is_file() else None, labels)


def _word(text: str) -> str:
    return re.sub(r"[^\w-]+", "_", text)
