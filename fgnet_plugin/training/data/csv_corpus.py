"""Aligned faces on disk, listed in CSV files: one row a frame, AU columns, and landmarks in columns or in .npy files.

- ``image_path``: relative to a root folder, or absolute.
- ``AU01`` or ``au1``, …: 0 or 1, or intensities 0…5; empty, NaN or 9 (FACS: not codable) where unknown.
- the 68 landmarks in pixels of the image: ``x_0`` … ``x_67``, ``y_0`` … ``y_67``; or ``landmarks``, the path of an .npy file
  [68, 2]; or neither, and then such a file lies at the image's path with ``aligned_landmarks`` instead of
  ``aligned_images`` (the layout of FG-Net's published label files).
- ``subject``, optional: who it is; otherwise the folder below ``aligned_images``, or the image's own folder.

Other columns (``au1_intensity``, …) are ignored.

Who trains, who validates and who is tested: ``data.csv.train`` holds all frames where ``data.csv.folds`` says which subjects
are tested, and otherwise the training frames, beside the files ``val`` and ``test``. No subject is in two of the parts, unless
``shared_subjects`` allows it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from fgnet_plugin.action_units import NAMES, au_name
from fgnet_plugin.training.collectives import say
from fgnet_plugin.training.config.detector import Csv
from fgnet_plugin.training.data.bad_rows import bad_rows
from fgnet_plugin.training.data.csv_rows import read_row
from fgnet_plugin.training.data.folds import subject_of, subjects_of_fold
from fgnet_plugin.training.data.leakage import shared_subjects
from fgnet_plugin.training.data.made_faces import MADE_BEFORE, how_made
from fgnet_plugin.utils.text import plural


@dataclass(frozen=True, eq=False)
class CsvCorpus:
    """A dataset of frames: sample i is the i-th of them, always the same."""

    aus: tuple[str, ...]
    size: int
    """Side of the images, px."""
    images: tuple[str, ...]
    landmarks: Tensor
    """[N, 68, 2] float32, pixels of the image at that size."""
    labels: Tensor
    """[N, A] float32: 1, 0, or NaN where unknown."""
    subjects: tuple[str, ...]
    made: dict[str, str] = field(default_factory=dict)
    """How its faces were made: "padding" and "target_landmarks", as far as known; see `made_faces`."""
    missing: int = 0
    """Frames of the list that are not there, and were left out (``data.csv.skip_missing``)."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """{"image": uint8 [3, size, size], "landmarks": [68, 2], "labels": [A]}."""
        image = torch.from_numpy(read_pixels(self.images[index], self.size)).permute(2, 0, 1)
        return {"image": image, "landmarks": self.landmarks[index], "labels": self.labels[index]}

    def subset(self, rows: Sequence[int]) -> CsvCorpus:
        """Some of the frames, in that order."""
        images, subjects = (tuple(values[i] for i in rows) for values in (self.images, self.subjects))
        at = torch.as_tensor(rows, dtype=torch.int64)
        found = self.aus, self.size, images, self.landmarks[at], self.labels[at], subjects
        return CsvCorpus(*found, self.made, self.missing)


def csv_corpora(config: Csv, aus: tuple[str, ...], size: int, seed: int) -> tuple[CsvCorpus, CsvCorpus]:
    """Training frames, and those that the best epoch is chosen on (see `folds.selection`).

    Test frames are read, too, so that their bad rows are known before a training starts; `test_corpus` returns them.

    Args:
        config: which files, folds and settings.
        aus: in channel order.
        size: side of the network's faces, px.
        seed: of what is drawn: validation subjects, where no validation file is given, and few-sample subsets.

    Raises:
        ValueError: naming each bad row of all files by file and line; subjects that are in two files, or in no fold; too few
            subjects to set some aside; fewer frames than `samples`; no AU with both kinds of validation faces.
    """
    corpus, val_corpus, test = _parts(config, aus, size)
    if config.folds:
        corpus, test = _by_fold(corpus, config)
    name = config.val or config.train
    if config.validation == "test":
        assert test is not None  # Csv has seen to it
        val_corpus, name = test, config.test or config.train
    elif val_corpus is None:
        corpus, val_corpus = split(corpus, config.val_fraction, seed, config.train)
    if "padding" not in corpus.made:
        say(
            f"{config.train}: how faces at the border are padded is not recorded; taken for reflect (else set data.csv.padding)"
        )
    corpus = _few(corpus, config, seed)
    labels = val_corpus.labels
    if not bool(((labels == 1).any(0) & (labels == 0).any(0)).any()):
        raise ValueError(f"{name}: no AU is present in some validation frames and absent in others")
    return corpus, val_corpus


def all_training_frames(config: Csv, aus: tuple[str, ...], size: int, seed: int) -> CsvCorpus:
    """Training frames with none set aside for validation. Arguments and errors as those of `csv_corpora`."""
    corpus, _, _ = _parts(config, aus, size)
    return _few(_by_fold(corpus, config)[0] if config.folds else corpus, config, seed)


def _few(corpus: CsvCorpus, config: Csv, seed: int) -> CsvCorpus:
    """The frames of a few-sample training."""
    if config.samples is None:
        return corpus
    if config.samples > len(corpus):
        raise ValueError(f"data.csv.samples asks for {config.samples:,} frames, the training subjects have {len(corpus):,}")
    rows = torch.randperm(len(corpus), generator=torch.Generator().manual_seed(seed))[: config.samples]
    return corpus.subset(sorted(rows.tolist()))


def test_corpus(config: Csv, aus: tuple[str, ...], size: int) -> CsvCorpus | None:
    """The test frames: those of the fold's subjects, or of the test file; None where there is neither. See `csv_corpora`."""
    if config.folds:
        problems = _Problems()
        corpus = _read(Path(config.train), aus, size, config, problems, _tested_only(config))
        problems.raise_any()
        assert corpus is not None
        return corpus
    return read_csv(Path(config.test), aus, size, config) if config.test else None


test_corpus.__test__ = False  # type: ignore[attr-defined]  # pytest would run it in files that import it


def _parts(config: Csv, aus: tuple[str, ...], size: int) -> tuple[CsvCorpus, CsvCorpus | None, CsvCorpus | None]:
    """The files train, val and test. Raises ValueError for what is bad in any of them, or for subjects in two."""
    problems = _Problems()
    names = {key: getattr(config, key) for key in ("train", "val", "test") if key == "train" or getattr(config, key)}
    found = {key: _read(Path(name), aus, size, config, problems) for key, name in names.items()}
    parts = {key: corpus for key, corpus in found.items() if corpus is not None}
    if not config.shared_subjects:
        problems.files += shared_subjects({names[key]: corpus.subjects for key, corpus in parts.items()})
    for key in MADE_BEFORE:
        kinds = {names[part]: corpus.made[key] for part, corpus in parts.items() if key in corpus.made}
        if len(set(kinds.values())) > 1:
            problems.files.append(f"faces of several kinds: {key} is {', '.join(f'{v} in {n}' for n, v in kinds.items())}")
    problems.raise_any()
    return parts["train"], parts.get("val"), parts.get("test")


def _by_fold(corpus: CsvCorpus, config: Csv) -> tuple[CsvCorpus, CsvCorpus]:
    """The frames to train on, and those of the test fold."""
    tested = subjects_of_fold(config.folds, config.fold, corpus.subjects, config.train)
    rows = range(len(corpus))
    train = corpus.subset([i for i in rows if corpus.subjects[i] not in tested])
    return train, corpus.subset([i for i in rows if corpus.subjects[i] in tested])


def _only(subjects: frozenset[str]) -> Callable[[list[str]], frozenset[str]]:
    return lambda _: subjects


def _tested_only(config: Csv) -> Callable[[list[str]], frozenset[str]]:
    return lambda subjects: subjects_of_fold(config.folds, config.fold, subjects, config.train)


def split(corpus: CsvCorpus, fraction: float, seed: int, name: str = "corpus") -> tuple[CsvCorpus, CsvCorpus]:
    """Sets a fraction of the subjects aside: (the others' frames, theirs). Raises ValueError for fewer than two subjects."""
    subjects = sorted(set(corpus.subjects))
    if len(subjects) < 2:
        raise ValueError(f"{name}: all frames show one subject, {subjects[0]}; give data.csv.val, or a column subject")
    count = min(max(1, round(fraction * len(subjects))), len(subjects) - 1)
    drawn = torch.randperm(len(subjects), generator=torch.Generator().manual_seed(seed))[:count].tolist()
    aside = {subjects[i] for i in drawn}
    rows = range(len(corpus))
    rest = [i for i in rows if corpus.subjects[i] not in aside]
    return corpus.subset(rest), corpus.subset([i for i in rows if corpus.subjects[i] in aside])


def au_columns(path: Path) -> tuple[str, ...]:
    """The AUs that a file has columns for, in their order. Raises ValueError for none, or one twice."""
    found = tuple(filter(None, map(au_of, _table(path, rows=0).columns)))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{path}: needs columns such as au1 or AU01, each AU once; found {', '.join(found) or 'none'}")
    return found


def read_csv(path: Path, aus: tuple[str, ...], size: int, config: Csv, subjects: frozenset[str] | None = None) -> CsvCorpus:
    """A corpus, or some `subjects` of it, every row of which was checked, its image included.

    Raises ValueError listing all bad rows by line, or where there is none of the subjects.
    """
    problems = _Problems()
    corpus = _read(path, aus, size, config, problems, None if subjects is None else _only(subjects))
    problems.raise_any()
    assert corpus is not None
    return corpus


@dataclass
class _Problems:
    """What is wrong with files, and with their rows."""

    files: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    def raise_any(self) -> None:
        if self.files or self.rows:
            raise bad_rows(self.rows, self.files)


def _read(
    path: Path,
    aus: tuple[str, ...],
    size: int,
    config: Csv,
    problems: _Problems,
    whose: Callable[[list[str]], frozenset[str]] | None = None,
) -> CsvCorpus | None:
    """A corpus, or None with problems added; `whose` says which of the subjects are wanted."""
    try:
        table = _table(path)
    except ValueError as error:
        problems.files.append(str(error))
        return None
    columns = {au_of(column): column for column in table.columns}
    wrong = [f"{path}: no column for {au}" for au in aus if au not in columns]
    found = [au_of(column) for column in table.columns]
    wrong += [f"{path}: several columns for {au}" for au in aus if found.count(au) > 1]
    if "image_path" not in table.columns:
        wrong.append(f"{path}: no column image_path")
    if not table.any(axis=None):
        wrong.append(f"{path}: no rows")
    if wrong:
        problems.files.extend(wrong)
        return None
    table = table.rename(columns={column: au for au, column in columns.items() if au})
    root = config.root_of(path)
    lines = {line: row for line, row in enumerate(table.to_dict("records"), start=2) if any(row.values())}  # some are blank
    if whose is not None:
        wanted = whose([subject_of(row) for row in lines.values()])
        lines = {line: row for line, row in lines.items() if subject_of(row) in wanted}
        if not lines:
            problems.files.append(f"{path}: shows none of the subjects {', '.join(sorted(wanted))}")
            return None
    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(lambda row: read_row(row, aus, size, root, config), lines.values()))
    numbered = list(zip(lines, rows, strict=True))
    missing = [file for row in rows for file in row.missing[:1]]
    forgiven = config.skip_missing and len(missing) < len(rows)
    bad = [
        f"{path}:{line}: {problem}"
        for line, row in numbered
        for problem in (row.problems if forgiven else [*row.missing, *row.problems])
    ]
    if bad:
        problems.rows.extend(bad)
        return None
    if missing:
        are = plural(len(missing), "is", "are")
        say(f"{path}: {len(missing):,} of {len(rows):,} frames {are} not there and left out, such as {missing[0]}")
        rows = [row for row in rows if not row.missing]
    try:
        made = _made(path, config, how_made(table, (Path(row.image) for row in rows)))
    except ValueError as error:
        problems.files.append(f"{path}: {error}")
        return None
    return CsvCorpus(
        aus=aus,
        size=size,
        images=tuple(row.image for row in rows),
        landmarks=torch.from_numpy(np.stack([row.landmarks for row in rows])),
        labels=torch.from_numpy(np.stack([row.labels for row in rows])),
        subjects=tuple(row.subject for row in rows),
        made=made,
        missing=len(missing),
    )


def _made(path: Path, config: Csv, recorded: dict[str, str]) -> dict[str, str]:
    """How faces were made: as recorded, or else as the settings say. Raises ValueError where they contradict each other."""
    wanted = {key: value for key in MADE_BEFORE if (value := getattr(config, key))}
    wrong = [
        f"{key} is {recorded[key]}, but data.csv.{key} asks for {value}"
        for key, value in wanted.items()
        if recorded.get(key, value) != value
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}: prepare the corpus so (`fgnet train prepare`), or change the setting")
    return wanted | recorded


def _table(path: Path, rows: int | None = None) -> pd.DataFrame:
    """A CSV file as text, column by column. Raises ValueError where it is none."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more fields in a row than in the header
            return pd.read_csv(path, dtype=str, keep_default_na=False, nrows=rows, skip_blank_lines=False, index_col=False)
    except pd.errors.ParserWarning as error:
        raise ValueError(f"{path}: rows have more fields than the header; is there a comma at their end?") from error
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise ValueError(f"{path}: not a CSV file ({' '.join(str(error).split())})") from error


def au_of(column: str) -> str | None:
    """The AU that a column of a label file is about, such as ``AU01`` for "au1"; None for another column."""
    match = re.fullmatch(r"au0*(\d+)", str(column).strip(), re.IGNORECASE)
    return au_name(int(match[1])) if match and int(match[1]) in NAMES else None


def read_pixels(path: str, size: int) -> np.ndarray:
    """An image as uint8 [size, size, 3], RGB."""
    with Image.open(path) as image:
        face = image.convert("RGB")
        if face.size != (size, size):
            face = face.resize((size, size), Image.Resampling.BILINEAR)  # smooths where it shrinks
        return np.array(face)
