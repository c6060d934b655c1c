"""Folds: which subjects a training is tested on. Those of the paper, or a user's own.

The folds are subject-exclusive: who is in a test fold is in no other. A user's folds are a CSV file with the columns
``subject`` and ``fold``, one subject a row, folds counted from 0. With a column ``repeat``, each repeat is a division of its
own, in which every subject is in one fold; folds are numbered through all of them (`make_folds.repeated_folds`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fgnet_plugin.training.data.bad_rows import bad_rows
from fgnet_plugin.training.published_folds import PUBLISHED, Folds, published_folds


def folds_of(name_or_path: str) -> Folds:
    """The folds that ``data.csv.folds`` names: ``bp4d``, ``disfa``, or the path of a CSV file (see `read_folds`).

    Raises:
        ValueError: see `read_folds`.
    """
    return published_folds(name_or_path) or read_folds(Path(name_or_path))


def read_folds(path: Path) -> Folds:
    """A user's folds.

    Args:
        path: a CSV file with a header and the columns ``subject`` and ``fold`` (0, 1, …); others are ignored.

    Raises:
        ValueError: no such file or columns; rows that are incomplete; subjects in two folds, with file, lines and folds; a
            number that no subject has; fewer than two folds. All of it together.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; folds are {', '.join(map(str.lower, PUBLISHED))}, or a CSV file subject,fold")
    rows: list[str] = []
    members: dict[tuple[str, str], dict[int, int]] = {}  # subject, repeat -> fold -> line
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            if not {"subject", "fold"} <= set(header):
                raise ValueError(f"{path}: needs the columns subject and fold, found {', '.join(header) or 'nothing'}")
            for row in reader:
                cells = dict(zip(header, map(str.strip, row), strict=False))
                if not any(cells.values()):
                    continue
                subject, fold = cells.get("subject", ""), cells.get("fold", "")
                if not subject:
                    rows.append(f"{path}:{reader.line_num}: subject is empty")
                if not (fold.isascii() and fold.isdigit()):
                    rows.append(f"{path}:{reader.line_num}: fold is {fold!r}; folds count 0, 1, …")
                elif subject:
                    members.setdefault((subject, cells.get("repeat", "")), {}).setdefault(int(fold), reader.line_num)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path}: not a CSV file ({error})") from error
    for (subject, _), found in members.items():
        if len(found) > 1:
            lines, places = (" and ".join(map(str, values)) for values in (found.values(), found))
            rows.append(f"{path}:{next(iter(found.values()))}: {subject} is in the folds {places} (lines {lines}); choose one")
    if rows:
        raise bad_rows(rows)
    used = sorted({fold for found in members.values() for fold in found})
    if used != list(range(len(used))):
        raise ValueError(f"{path}: folds must count 0, 1, … without a gap, found {', '.join(map(str, used))}")
    for repeat in dict.fromkeys(repeat for _, repeat in members) or [""]:
        within = {fold for (_, of), found in members.items() if of == repeat for fold in found}
        folds = [{subject for (subject, of), found in members.items() if of == repeat and fold in found} for fold in within]
        check_folds(folds, f"{path}, repeat {repeat}" if repeat else str(path))
    return tuple(frozenset(subject for (subject, _), found in members.items() if fold in found) for fold in used)


def check_folds(folds: Sequence[Iterable[str]], name: str = "folds") -> None:
    """Raises ValueError, naming all that is wrong: subjects in two folds, folds without a subject, fewer than two folds."""
    where: dict[str, list[int]] = {}
    for fold, subjects in enumerate(folds):
        for subject in sorted(set(subjects)):
            where.setdefault(subject, []).append(fold)
    filled = {fold for found in where.values() for fold in found}
    problems = [f"{name}: {s} is in the folds {' and '.join(map(str, found))}" for s, found in where.items() if len(found) > 1]
    problems += [f"{name}: fold {fold} has no subject; folds count 0, 1, …" for fold in range(len(folds)) if fold not in filled]
    if len(filled) < 2:
        problems.append(f"{name}: needs at least two folds, found {len(filled)}")
    if problems:
        raise ValueError("\n".join(problems))


def subjects_of_fold(name_or_path: str, fold: int | None, subjects: Iterable[str], corpus: str = "corpus") -> frozenset[str]:
    """Those subjects of a corpus that a fold is tested on.

    Args:
        name_or_path: see `folds_of`.
        fold: its number.
        subjects: of the corpus; some of those that the folds list may be missing.
        corpus: what to call it in messages.

    Raises:
        ValueError: no such fold; subjects that no fold lists, all together; nobody to test on, or nobody to train on.
    """
    folds = folds_of(name_or_path)
    if fold is None or not 0 <= fold < len(folds):
        raise ValueError(f"data.csv.fold must say which fold of {name_or_path} is tested, 0 to {len(folds) - 1}; got {fold}")
    present = set(subjects)
    unlisted = sorted(present - frozenset().union(*folds))
    if unlisted:
        raise ValueError(
            f"{corpus}: no fold of {name_or_path} lists the subjects {', '.join(unlisted)}; take their frames out, or give a "
            "file of folds with all subjects"
        )
    tested = frozenset(present & folds[fold])
    if not tested or not present - tested:
        whom = "nobody of fold" if not tested else "only subjects of fold"
        raise ValueError(f"{corpus}: shows {whom} {fold} of {name_or_path}; a training needs subjects in it and outside of it")
    return tested


def subject_of(row: Mapping[str, str]) -> str:
    """Who a label file's row shows: its ``subject``, or the folder below ``aligned_images``, or the image's own folder."""
    if row.get("subject"):
        return row["subject"]
    folders = Path(row["image_path"]).parts[:-1]
    after = folders.index("aligned_images") + 1 if "aligned_images" in folders else len(folders)
    return folders[after] if after < len(folders) else "/".join(folders)
