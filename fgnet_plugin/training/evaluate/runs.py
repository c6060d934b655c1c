"""The trainings that are evaluated: what each is called, what it was trained on, and which of them are repeats of another."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fgnet_plugin.checkpoints import read_info
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.training import systems
from fgnet_plugin.training.baseline import is_baseline
from fgnet_plugin.training.callbacks import LOG
from fgnet_plugin.training.config import Csv
from fgnet_plugin.training.folds import published_folds, selection
from fgnet_plugin.weights import resolve

NOT_RECORDED = "choice of the best epoch not recorded"


@dataclass(frozen=True, eq=False)
class Run:
    """One training's checkpoint, and what its metadata says."""

    given: str
    """The folder or file as the user named it."""
    path: Path
    """The checkpoint."""
    digest: str
    """SHA-256 over its metadata and tensors."""
    aus: tuple[str, ...]
    image_size: int
    """Side of the aligned face, px."""
    system: str
    """What kind of model it is: runs of one system differ in data, fold and seed only."""
    trained_on: str
    samples: int | None
    """Training frames of a few-sample training; none: all there were."""
    selection: str
    """How its best epoch was chosen, in words."""
    published_choice: bool
    """Whether that was on the test frames, as the published code does."""
    fold: int | str | None
    """Number of the test fold, or the path of the test file."""
    seed: int | None
    recipe: Mapping[str, Any]
    """The settings of the training; empty where the checkpoint says nothing."""
    notes: tuple[str, ...] = ()
    """What a reader of its scores should know."""

    @property
    def csv(self) -> Csv | None:
        """Its CSV settings, where it was trained on such files."""
        return csv_settings(self.recipe)


def read_runs(given: Sequence[str], names: Sequence[tuple[str, str]], problems: list[str]) -> list[Run]:
    """The runs, in that order; one that is given twice counts once.

    Args:
        given: folders of trainings, or checkpoint files.
        names: (pattern, system) pairs that rename systems; a pattern such as ``runs/scratch*`` is compared with the path as
            given and with its last part; the last that fits counts.
        problems: gets a line for each that can't be read, and for each name that fits none.
    """
    runs: dict[str, Run] = {}
    for text in given:
        try:
            run = read_run(text, names)
        except ValueError as error:
            problems.append(str(error))
            continue
        runs.setdefault(run.digest, run)
    for pattern, _ in names:
        if not any(_fits(pattern, text) for text in given):
            problems.append(f"--name {pattern}=…: fits none of the runs")
    return list(runs.values())


def read_run(given: str, names: Sequence[tuple[str, str]] = ()) -> Run:
    """A run from its folder, checkpoint file or weights' name. Raises ValueError where there is none, or for other files."""
    path = systems._in_folder(Path(given)) if Path(given).is_dir() else resolve(given)
    found = read_metadata(path)
    recipe: dict[str, Any] = found.training.get("recipe") or {}
    config = csv_settings(recipe)
    renamed = [system for pattern, system in names if _fits(pattern, given)]
    fold = found.fold if config is None or config.fold is None else config.fold
    return Run(
        given=given,
        path=path,
        digest=found.digest,
        aus=found.aus,
        image_size=found.image_size,
        system=renamed[-1] if renamed else system_name(found, path),
        trained_on=_trained_on(found, config),
        samples=None if config is None else config.samples,
        selection=_selection(recipe, config),
        published_choice=config is not None and config.validation == "test",
        fold=config.test if fold is None and config is not None and config.test else fold,
        seed=recipe.get("trainer", {}).get("seed"),
        recipe=recipe,
        notes=_notes(path, recipe),
    )


@dataclass(frozen=True)
class Metadata:
    """What FG-Net's checkpoints and baselines both record."""

    aus: tuple[str, ...]
    image_size: int
    corpus: str
    fold: int | None
    training: dict[str, Any]
    digest: str
    converted: bool
    """Whether it was made of the authors' files."""


def read_metadata(path: Path) -> Metadata:
    """The metadata of a checkpoint or baseline, without its weights. Raises CheckpointError for any other file."""
    if not is_baseline(path):
        info = read_info(path)
        of_network = info.config.aus, info.config.image_size
        return Metadata(*of_network, info.corpus, info.fold, info.training, info.digest, bool(info.sources))
    try:
        with safe_open(path, "pt") as file:
            text = dict(file.metadata())
        fold = int(text["fold"]) if "fold" in text else None
        of_network = tuple(json.loads(text["aus"])), int(text["image_size"])
        return Metadata(*of_network, text["corpus"], fold, json.loads(text["training"]), text["digest"], False)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: a baseline with incomplete metadata ({error}); make it again") from error


def csv_settings(recipe: Mapping[str, Any]) -> Csv | None:
    """The settings ``data.csv`` of a recipe; settings of another version that this one lacks are left out."""
    values = (recipe.get("data") or {}).get("csv")
    if values is None:
        return None
    known = {field.name for field in dataclasses.fields(Csv)}
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
    return Csv(**kept)


def system_name(found: Metadata, path: Path) -> str:
    """What a run's system is called unless the user names it: baseline, or FG-Net with its size and what it started from."""
    recipe = found.training.get("recipe") or {}
    if not recipe:
        return "FG-Net, the authors' weights" if found.converted else path.stem
    own = str(recipe.get("export", {}).get("system") or "")
    model = recipe.get("model", {})
    if own or model.get("baseline"):
        return own or str(model["baseline"])
    if model.get("start_from"):
        return f"FG-Net from {Path(model['start_from']).stem}"
    size = f" {model['size']} px" if model.get("size") else ""
    return f"FG-Net{size} from scratch"


def repeated(runs: Sequence[Run]) -> list[str]:
    """A line for each pair of different runs that nothing tells apart: they would be averaged as if they were seeds."""
    found: dict[str, Run] = {}
    lines = []
    for run in runs:
        key = json.dumps([run.system, run.trained_on, run.samples, run.selection, run.fold, run.seed])
        if key in found:
            lines.append(
                f"{found[key].given} and {run.given} have the same system ({run.system}), data, fold and seed: "
                f"tell them apart with --name {run.given}=…, or leave one out"
            )
        found.setdefault(key, run)
    return lines


def _fits(pattern: str, given: str) -> bool:
    return any(fnmatch(text, pattern.rstrip("/")) for text in (given.rstrip("/"), Path(given).name))


def _trained_on(found: Metadata, config: Csv | None) -> str:
    if found.corpus:
        return found.corpus
    if config is not None:
        return config.folds.upper() if published_folds(config.folds) else Path(config.train).stem
    rendered = ((found.training.get("recipe") or {}).get("data") or {}).get("rendered")
    return f"rendered {', '.join(rendered['domains'])}" if rendered else "not recorded"


def _selection(recipe: Mapping[str, Any], config: Csv | None) -> str:
    if config is not None:
        # Folds may each have a validation file of their own, and are replicates all the same.
        return "best epoch chosen on a validation file" if config.val else selection(config)
    return "best epoch chosen on other rendered faces" if (recipe.get("data") or {}).get("rendered") else NOT_RECORDED


def _notes(path: Path, recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether the log beside a checkpoint ends before the recipe's last epoch."""
    log, epochs = path.with_name(LOG), recipe.get("optimiser", {}).get("epochs")
    if not log.is_file() or not epochs:
        return ()
    with log.open(newline="", encoding="utf-8") as file:
        reached = [int(row["epoch"]) for row in csv.DictReader(file) if (row.get("val_auc") or "") and row["epoch"].isdigit()]
    last = max(reached, default=0)
    return (f"not finished: {last} of {epochs} epochs",) if last < epochs else ()
