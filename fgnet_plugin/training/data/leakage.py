"""Whether faces that are tested on may have been trained on: the one place where training and test are compared.

- `shared_subjects`: the parts of one training, whose people must differ,
- `check_start_from`: the weights that a training starts from,
- `check_unseen`, `start_notes`: a trained run and a label file that it is to be tested on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.checkpoints.pretrained import is_pretrained, read_pretrained
from fgnet_plugin.checkpoints.registry import manifest, resolve
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.training.collectives import shared_error
from fgnet_plugin.training.config.detector import Csv, DetectorConfig
from fgnet_plugin.training.data.folds import folds_of, subject_of
from fgnet_plugin.training.published_folds import PUBLISHED, published_folds
from fgnet_plugin.utils.text import counted


class TrainedRun(Protocol):
    """What is known of a training whose weights are tested; see `evaluate.runs.Run`."""

    @property
    def given(self) -> str:
        """Its file or folder, as the user named it."""

    @property
    def csv(self) -> Csv | None:
        """Its CSV settings, where it was trained on such files."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Its settings."""

    @property
    def trained_on(self) -> str:
        """The corpus."""

    @property
    def fold(self) -> int | str | None:
        """Number of the test fold, or the path of the test file."""

    @property
    def started_on(self) -> tuple[str, ...]:
        """What the weights that it started from had been trained on."""


def shared_subjects(parts: Mapping[str, Iterable[str]]) -> list[str]:
    """Compares label files that must not show the same people.

    Args:
        parts: label file -> its subjects.

    Returns:
        A line for each two files with subjects in common.
    """
    return [
        f"{file} and {other} have subjects in common: {', '.join(shared)}. Take them out of one; or "
        "set data.csv.shared_subjects, if it is not known who is who"
        for (file, subjects), (other, others) in combinations(parts.items(), 2)
        if (shared := sorted(set(subjects) & set(others)))
    ]


def check_start_from(config: DetectorConfig) -> None:
    """Refuses ``model.start_from`` where its weights, or those that they were made of, may know the test subjects.

    Files record what they were trained on: a corpus' name, label files, a folder of faces. Where they don't, or a file in
    between is gone, nothing is known, and nothing refused. Which fold the weights left out is not looked at.

    Raises:
        ValueError: the weights were trained on the corpus that the data has test faces of, and
            ``model.start_from_same_corpus`` is off.
        CheckpointError: ``model.start_from`` is no file that a training can start from.
    """
    csv, model = config.data.csv, config.model
    if csv is None or not (csv.folds or csv.test) or not model.start_from or model.start_from_same_corpus:
        return
    ours = _names(csv, config.export.corpus)
    roots = [Path(name).parent for name in (csv.train, csv.test) if name] + ([Path(csv.image_root)] if csv.image_root else [])
    for trained_on in start_corpora(model.start_from):
        folder = Path(trained_on)
        if _names_in(trained_on) & ours or (folder.is_dir() and any(_within(root, folder) for root in roots)):
            raise shared_error(
                f"model.start_from: {model.start_from} was trained on {trained_on}, and data.csv has test faces of the same "
                "corpus: the weights may have seen the test subjects, and scores would be too good. Start from weights of "
                "another corpus, or from model.psp; or set model.start_from_same_corpus, if you know that they have not"
            )


def start_corpora(name_or_path: str) -> list[str]:
    """What weights were trained on, and what those that they started from were: names of corpora, label files, folders.

    Raises CheckpointError where nothing is known, because there is no such file, or it is neither a checkpoint nor one of
    pretrained parts.
    """
    found: dict[str, None] = {}
    seen: set[str] = set()
    while name_or_path and name_or_path not in seen:
        entry = manifest().get(name_or_path)
        found |= dict.fromkeys([entry.corpus] if entry is not None and entry.corpus else [])
        try:
            corpus, recipe = _metadata(resolve(name_or_path))
        except CheckpointError:
            if not found and not seen:
                raise
            break  # what it comes from is known as far as here
        seen.add(name_or_path)
        found |= dict.fromkeys(filter(None, [corpus, *_of_recipe(recipe)]))
        name_or_path = str(recipe.get("start_from") or _section(recipe, "model").get("start_from") or "")
    return list(found)


def _metadata(path: Path) -> tuple[str, dict[str, Any]]:
    """The corpus that a file names, and the settings of its training; empty where it has none."""
    if is_pretrained(path):
        corpus, training = "", read_pretrained(path).training
    else:
        info = read_info(path)
        corpus, training = info.corpus, info.training
    return corpus, _section(training, "recipe")


def _of_recipe(recipe: dict[str, Any]) -> Iterator[str]:
    data = _section(recipe, "data")
    csv = _section(data, "csv")
    if published_folds(str(csv.get("folds", ""))):
        yield str(csv["folds"]).upper()
    yield from (str(csv.get(part, "")) for part in ("train", "val"))
    yield str(data.get("folder", ""))


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _names(csv: Csv, corpus: str) -> set[str]:
    """What the corpus of these settings may be called in `start_corpora`: names, and the label files themselves."""
    names = {name.casefold() for name in (corpus, csv.folds if published_folds(csv.folds) else "") if name}
    files = [name for name in (csv.train, csv.test) if name]
    published = {name.casefold() for name in PUBLISHED}
    names |= published & {part.casefold() for file in files for part in Path(file).parts}
    return names | {_key(file) for file in files}


def _key(name: str) -> str:
    """A corpus' name, whatever its case, or a file's full path."""
    return str(Path(name).resolve()) if Path(name).is_file() else name.casefold()


def _names_in(trained_on: str) -> set[str]:
    """What names a corpus in text that does, or in a path: a corpus is often kept in a folder of its name."""
    return {_key(trained_on), *(part.casefold() for part in Path(trained_on).parts)}


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


class SeenError(Exception):
    """Faces that the run has been trained on, or may have been."""


def check_unseen(run: TrainedRun, name: str, path: Path, root: Path) -> tuple[str, ...]:
    """Compares a label file with what a run was trained on: images, and of the same corpus subjects too.

    Where the training's label files are not here, or not recorded, subjects of the same corpus are compared with the run's
    test fold.

    Args:
        run: the run.
        name: the corpus that the label file is of.
        path: the label file.
        root: the folder that its images' paths start from.

    Returns:
        Notes on what could not be checked.

    Raises:
        SeenError: some of the faces are known to be trained with; or they are of the same corpus, and it can't be told.
    """
    config, same = run.csv, name.lower() == run.trained_on.lower()
    if config is None:
        if (run.recipe.get("data") or {}).get("rendered"):
            return ()
        reason = "its training frames are not recorded"
    else:
        missing = _check_files(run, config, path, root, same)
        if not missing:
            return ()
        reason = f"{' and '.join(missing)}, which it was trained with, {'is' if len(missing) == 1 else 'are'} not here"
    if not same:
        return (f"could not be checked whether frames of {path} are among those that it was trained with: {reason}",)
    _, subjects = _who_is_in(path, root)
    tested = _tested_subjects(run)
    if tested is not None and subjects <= tested:
        return ()
    others = "" if tested is None else f"; not all subjects of {path} are in its test fold, {run.fold}"
    raise SeenError(
        f"{run.given} on {path}: it was trained on {run.trained_on}, too, and could not be checked for the same subjects: "
        f"{reason}{others}"
    )


def start_notes(run: TrainedRun, name: str) -> tuple[str, ...]:
    """A note where the weights that a run started from had been trained on the corpus that it is tested on."""
    saw = [text for text in run.started_on if name.casefold() in _names_in(text)]
    if not saw:
        return ()
    return (
        f"the weights that it started from had been trained on {', '.join(saw)}, perhaps on the very people that it is tested "
        f"on: scores on {name} may be too high",
    )


def _check_files(run: TrainedRun, config: Csv, path: Path, root: Path, same: bool) -> list[str]:
    """Those of the run's label files that are not here. Raises SeenError where one that is here has the same faces."""
    images, subjects = _who_is_in(path, root)
    missing = []
    for file in filter(None, (config.train, config.val)):
        if not Path(file).is_file():
            missing.append(file)
            continue
        seen, known = _who_is_in(Path(file), config.root_of(Path(file)))
        shared = sorted(subjects & known) if same and not config.shared_subjects else []
        if images & seen or shared:
            what = (
                f"{len(images & seen):,} of {counted(len(images), 'frame', form=',')}"
                if images & seen
                else f"the subjects {', '.join(shared)}"
            )
            raise SeenError(
                f"{run.given} on {path}: {what} are in {file}, which it was trained with; --within: its own test part"
            )
    return missing


def _tested_subjects(run: TrainedRun) -> frozenset[str] | None:
    """The subjects that a run was not trained on, as its fold says; None where it has none, or it is not known who is who."""
    config, fold = run.csv, run.fold
    if not isinstance(fold, int) or (config is not None and (not config.folds or config.shared_subjects)):
        return None
    try:
        folds = published_folds(run.trained_on) if config is None else folds_of(config.folds)
    except (ValueError, OSError):  # a file of folds that is not here
        return None
    return folds[fold] if folds and fold < len(folds) else None


def _who_is_in(path: Path, root: Path) -> tuple[set[str], set[str]]:
    """Images, as absolute paths, and subjects of a label file."""
    return _read_who(path, root, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)  # many runs share a training file
def _read_who(path: Path, root: Path, modified: int) -> tuple[set[str], set[str]]:
    wanted = ("image_path", "subject")
    table = pd.read_csv(path, usecols=lambda name: name in wanted, dtype=str, keep_default_na=False, index_col=False)
    rows = [row for row in table.to_dict("records") if row.get("image_path")]
    return {os.path.normpath(root.absolute() / row["image_path"]) for row in rows}, set(map(subject_of, rows))
