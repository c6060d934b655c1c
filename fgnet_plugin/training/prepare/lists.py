"""Lists of frames, such as FG-Net's published label files: only these are prepared, and their labels are compared."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from fgnet_plugin.training.data.bad_rows import bad_rows
from fgnet_plugin.training.prepare.frames import RawCorpus, whole_number
from fgnet_plugin.utils.text import counted

_SHOWN = 5


def only_listed(corpus: RawCorpus, lists: Sequence[Path]) -> RawCorpus:
    """Leave the frames of a corpus that lists name.

    Args:
        corpus: see `read_bp4d`, `read_disfa`.
        lists: CSV files with a column ``image_path``, such as ``BP4D/aligned_images/F001/T1/02440.jpg``: what is below
            ``aligned_images`` counts. Columns that the corpus has, too, are compared with its codes; others are ignored.

    Returns:
        The corpus with these frames, each once, in its own order. Its notes say how many listed frames are not coded, and
        of how many the labels differ; `RawCorpus.uncoded` names the former.

    Raises:
        ValueError: no such file or column; rows without such a path, all together; not one frame that is coded.
    """
    problems: list[str] = []
    files: list[str] = []
    listed: dict[str, dict[str, str]] = {}
    for path in lists:
        try:
            listed |= _read(path, problems)
        except ValueError as error:
            files.append(str(error))
    if files or problems:
        raise bad_rows(problems, files)
    frames = tuple(frame for frame in corpus.frames if frame.name in listed)
    if not frames:
        names = ", ".join(map(str, lists))
        of_list = counted(len(listed), "frame", form=",")
        raise ValueError(f"{names}: none of the {of_list} is coded in {corpus.raw}; is it a list of {corpus.name}?")
    coded = {frame.name for frame in frames}
    uncoded = tuple(name for name in listed if name not in coded)
    differing = [
        frame.name
        for frame in frames
        if any(listed[frame.name].get(column, cell) != cell for column, cell in zip(corpus.columns, frame.labels, strict=True))
    ]
    notes = [f"{counted(len(corpus.frames) - len(frames), 'coded frame is', 'coded frames are', ',')} not listed, and left out"]
    if uncoded:
        notes.append(f"{counted(len(uncoded), 'listed frame is', 'listed frames are', ',')} not coded here: {_some(uncoded)}")
    if differing:
        have = counted(len(differing), "listed frame has", "listed frames have", ",")
        notes.append(
            f"{have} other labels in the list than in the codes: {_some(differing)}; labels.csv has"
            " the codes', and the list can be trained on as it is"
        )
    return dataclasses.replace(corpus, frames=frames, uncoded=uncoded, notes=(*corpus.notes, *notes))


def _read(path: Path, problems: list[str]) -> dict[str, dict[str, str]]:
    """Frame -> the cells of its row; rows that name none go to `problems`."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    found: dict[str, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        try:
            if "image_path" not in (reader.fieldnames or ()):
                raise ValueError(f"{path}: no column image_path; found {', '.join(reader.fieldnames or ()) or 'nothing'}")
            for row in reader:
                folders = Path(row["image_path"] or "").parts
                below = folders[folders.index("aligned_images") + 1 :] if "aligned_images" in folders else folders
                number = whole_number(Path(below[-1]).stem) if len(below) > 1 else None
                if number is None:
                    problems.append(
                        f"{path}:{reader.line_num}: image_path is {row['image_path']!r}, not such as F001/T1/02440.jpg"
                    )
                else:
                    found["/".join([*below[:-1], f"{number:05d}"])] = row
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path}: not a CSV file ({error})") from error
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
