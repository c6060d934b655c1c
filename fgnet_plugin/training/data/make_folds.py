"""Make files of folds: repeated subject-exclusive folds of one corpus, or each of several corpora left out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fgnet_plugin.training.data.csv_corpus import au_columns, au_of
from fgnet_plugin.training.data.folds import subject_of
from fgnet_plugin.utils.files import atomic_write


def repeated_folds(subjects: Sequence[str], folds: int, repeats: int, seed: int) -> pd.DataFrame:
    """Draw subject-exclusive folds of equal sizes, again and again.

    How subjects are split moves F1 by several hundredths (arXiv 2604.02162): the spread over repeats says by how many.

    Returns:
        Columns ``subject``, ``fold`` (numbered through all repeats), ``repeat``: a row for each subject and repeat.

    Raises:
        ValueError: fewer than two folds, no repeat, or fewer subjects than folds.

    Example:
        >>> len(repeated_folds(["a", "b", "c", "d"], folds=2, repeats=3, seed=0))
        12
    """
    people = sorted(set(subjects))
    if folds < 2 or repeats < 1 or len(people) < folds:
        raise ValueError(
            f"needs at least 2 folds, 1 repeat, and a subject for each fold; got {folds}, {repeats} and {len(people)} subjects"
        )
    generator = np.random.default_rng(seed)
    rows = []
    for repeat in range(repeats):
        places = np.arange(len(people)) % folds + repeat * folds
        rows += list(zip(people, generator.permutation(places).tolist(), [repeat] * len(people), strict=True))
    return pd.DataFrame(rows, columns=["subject", "fold", "repeat"])


def write_repeated_folds(labels: Path, out: Path, folds: int, repeats: int, seed: int) -> Path:
    """Write `repeated_folds` of a label file's subjects to a CSV file, for ``data.csv.folds``."""
    table = _read(labels)
    return _write(repeated_folds([subject_of(row) for row in table.to_dict("records")], folds, repeats, seed), out)


def leave_one_corpus_out(corpora: Mapping[str, Path], out: Path) -> tuple[Path, Path]:
    """Join label files to one, with a fold for each corpus: the test of a network that has been trained on the others.

    Args:
        corpora: name -> label file, whose paths start from the file's own folder.
        out: folder for ``labels.csv`` (the AUs that all have, absolute paths, subjects as ``corpus/subject``) and
            ``folds.csv``.

    Raises:
        ValueError: fewer than two corpora, no AU that all have, or a file that can't be read.
    """
    if len(corpora) < 2:
        raise ValueError("leaving one corpus out takes at least two: NAME=labels.csv NAME=labels.csv")
    known = [au_columns(path) for path in corpora.values()]
    shared = [au for au in known[0] if all(au in aus for aus in known)]
    if not shared:
        raise ValueError(f"{', '.join(map(str, corpora.values()))}: no AU that all label")
    parts, folds = [], []
    for fold, (name, path) in enumerate(corpora.items()):
        table, root = _read(path), path.resolve().parent
        columns = {au: column for column in table if (au := au_of(column))}
        part = pd.DataFrame({"image_path": [str(root / image) for image in table["image_path"]]})
        part["subject"] = [f"{name}/{subject_of(row)}" for row in table.to_dict("records")]
        for au in shared:
            part[au] = table[columns[au]].to_numpy()
        points = [column for column in table if column == "landmarks" or column.startswith(("x_", "y_"))]
        for column in points:
            part[column] = [str(root / value) for value in table[column]] if column == "landmarks" else table[column].to_numpy()
        parts.append(part)
        folds += [(subject, fold, name) for subject in dict.fromkeys(part["subject"])]
    joined = pd.concat(parts, ignore_index=True).fillna("")
    return _write(joined, out / "labels.csv"), _write(
        pd.DataFrame(folds, columns=["subject", "fold", "corpus"]), out / "folds.csv"
    )


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    if "image_path" not in table:
        raise ValueError(f"{path}: no column image_path")
    return table


def _write(table: pd.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")
    return path
