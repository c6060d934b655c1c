"""Which faces a run has been trained on: a test of them would say nothing."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import pandas as pd

from fgnet_plugin.training.config.detector import Csv
from fgnet_plugin.training.data import csv_corpus
from fgnet_plugin.training.data.folds import folds_of
from fgnet_plugin.training.evaluate.runs import Run
from fgnet_plugin.training.published_folds import published_folds


class SeenError(Exception):
    """Faces that the run has been trained on, or may have been."""


def check_unseen(run: Run, name: str, path: Path, root: Path) -> tuple[str, ...]:
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


def start_notes(run: Run, name: str) -> tuple[str, ...]:
    """A note where the weights that a run started from had been trained on the corpus that it is tested on."""
    # A label file or a folder of faces is often kept in a folder of the corpus' name.
    saw = [text for text in run.started_on if name.casefold() in {part.casefold() for part in (text, *Path(text).parts)}]
    if not saw:
        return ()
    return (
        f"the weights that it started from had been trained on {', '.join(saw)}, perhaps on the very people that it is tested "
        f"on: scores on {name} may be too high",
    )


def _check_files(run: Run, config: Csv, path: Path, root: Path, same: bool) -> list[str]:
    """Those of the run's label files that are not here. Raises SeenError where one that is here has the same faces."""
    images, subjects = _who_is_in(path, root)
    missing = []
    for file in filter(None, (config.train, config.val)):
        if not Path(file).is_file():
            missing.append(file)
            continue
        seen, known = _who_is_in(Path(file), root_of(config, Path(file)))
        shared = sorted(subjects & known) if same and not config.shared_subjects else []
        if images & seen or shared:
            what = f"{len(images & seen):,} of {len(images):,} frames" if images & seen else f"the subjects {', '.join(shared)}"
            raise SeenError(
                f"{run.given} on {path}: {what} are in {file}, which it was trained with; --within: its own test part"
            )
    return missing


def _tested_subjects(run: Run) -> frozenset[str] | None:
    """The subjects that a run was not trained on, as its fold says; None where it has none, or it is not known who is who."""
    config, fold = run.csv, run.fold
    if not isinstance(fold, int) or (config is not None and (not config.folds or config.shared_subjects)):
        return None
    try:
        folds = published_folds(run.trained_on) if config is None else folds_of(config.folds)
    except (ValueError, OSError):  # a file of folds that is not here
        return None
    return folds[fold] if folds and fold < len(folds) else None


def root_of(config: Csv, path: Path) -> Path:
    """The folder that relative paths in a label file start from."""
    return Path(config.image_root) if config.image_root else path.parent


def _who_is_in(path: Path, root: Path) -> tuple[set[str], set[str]]:
    """Images, as absolute paths, and subjects of a label file."""
    return _read_who(path, root, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)  # many runs share a training file
def _read_who(path: Path, root: Path, modified: int) -> tuple[set[str], set[str]]:
    wanted = ("image_path", "subject")
    table = pd.read_csv(path, usecols=lambda name: name in wanted, dtype=str, keep_default_na=False, index_col=False)
    rows = [row for row in table.to_dict("records") if row.get("image_path")]
    return {os.path.normpath(root.absolute() / row["image_path"]) for row in rows}, set(map(csv_corpus._subject, rows))
