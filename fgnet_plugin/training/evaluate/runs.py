"""The trainings that are evaluated: what each is called, what it was trained on, and which of them are repeats of another."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from fgnet_plugin.training.config.detector import Csv, selection
from fgnet_plugin.training.config.yaml_dataclass import differences
from fgnet_plugin.training.engine.log import LOG
from fgnet_plugin.training.evaluate.recipes import comparable, csv_settings, started_on, trained_on
from fgnet_plugin.training.models.systems import SystemInfo, read_system_info
from fgnet_plugin.utils.text import counted

_NO_CHOICE = "choice of the best epoch not recorded"


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
    validation_frames: int | None = None
    """Frames whose labels its best epoch was chosen with, beside those that it was trained on; none: not recorded."""
    started_on: tuple[str, ...] = ()
    """What the weights that it started from had been trained on: names of corpora, label files, folders of faces."""
    padding: str = ""
    """How the faces that it was trained on were padded; empty: not recorded."""
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
    found = read_system_info(given)
    recipe, path = found.recipe, found.path
    config, started = csv_settings(recipe), started_on(recipe)
    renamed = [system for pattern, system in names if _fits(pattern, given)]
    fold = found.fold if config is None or config.fold is None else config.fold
    return Run(
        given=given,
        path=path,
        digest=found.digest,
        aus=found.aus,
        image_size=found.image_size,
        system=renamed[-1] if renamed else system_name(found),
        trained_on=trained_on(found.corpus, recipe),
        samples=None if config is None else config.samples,
        selection=_selection(recipe, config),
        published_choice=config is not None and config.validation == "test",
        fold=config.test if fold is None and config is not None and config.test else fold,
        seed=recipe.get("trainer", {}).get("seed"),
        recipe=recipe,
        validation_frames=found.training.get("validation_faces"),
        started_on=started,
        padding=str((found.training.get("faces") or {}).get("padding", "constant" if found.converted else "")),
        notes=(*_unfinished(path, recipe), *_started(recipe, started), *_faces(found.training)),
    )


def system_name(found: SystemInfo) -> str:
    """What a run's system is called unless the user names it: baseline, or FG-Net with its size and what it started from."""
    recipe = found.recipe
    if not recipe:
        return "FG-Net, the authors' weights" if found.converted else found.path.stem
    own = str(recipe.get("export", {}).get("system") or "")
    model = recipe.get("model", {})
    if own or model.get("baseline"):
        weights = model.get("baseline_weights")
        return own or str(model["baseline"]) + (f" from {Path(weights).stem}" if weights else "")
    if model.get("start_from"):
        return f"FG-Net from {Path(model['start_from']).stem}"
    size = f" {model['size']} px" if model.get("size") else ""
    if model.get("psp"):  # its decoder is StyleGAN2's generator, where `stylegan2` names no file
        return f"FG-Net{size} from published StyleGAN2 and pSp"
    return f"FG-Net{size} from {'published StyleGAN2' if model.get('stylegan2') else 'scratch'}"


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


def mixed(runs: Sequence[Run]) -> list[str]:
    """A line for runs that would be one group, though their settings differ in more than fold and seed."""
    found: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        key = json.dumps([run.system, run.trained_on, run.samples, run.selection])
        found.setdefault(key, {}).setdefault(json.dumps(comparable(run.recipe), sort_keys=True), []).append(run)
    lines = []
    for first, *others in (list(kinds.values()) for kinds in found.values()):
        for other in others:
            changed = differences(comparable(first[0].recipe), comparable(other[0].recipe))
            lines.append(
                f"{_listed(other)} would be averaged with {_listed(first)}, as {other[0].system} trained on "
                f"{other[0].trained_on}, but had other settings ({'; '.join(changed)}): tell them apart with "
                f"--name {other[0].given}=…"
            )
    return lines


def _listed(runs: Sequence[Run], most: int = 3) -> str:
    names = [run.given for run in runs]
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def _fits(pattern: str, given: str) -> bool:
    return any(fnmatch(text, pattern.rstrip("/")) for text in (given.rstrip("/"), Path(given).name))


def _selection(recipe: Mapping[str, Any], config: Csv | None) -> str:
    if config is not None:
        # Folds may each have a validation file of their own, and are replicates all the same.
        return "best epoch chosen on a validation file" if config.val else selection(config)
    return "best epoch chosen on other rendered faces" if (recipe.get("data") or {}).get("rendered") else _NO_CHOICE


def _started(recipe: Mapping[str, Any], started: Sequence[str]) -> tuple[str, ...]:
    """What a run started from, and what that had been trained on."""
    file = recipe.get("model", {}).get("start_from")
    if not file:
        return ()
    told = (
        f"which had been trained on {', '.join(started)}" if started else "of which no corpus is known that it was trained on"
    )
    return (f"started from {file}, {told}",)


def _unfinished(path: Path, recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether the log beside a checkpoint ends before the recipe's last epoch."""
    log, epochs = path.with_name(LOG), recipe.get("optimiser", {}).get("epochs")
    config = csv_settings(recipe)
    if not log.is_file() or not epochs or (config is not None and config.validation == "refit"):  # written at its end only
        return ()
    with log.open(newline="", encoding="utf-8") as file:
        reached = [int(row["epoch"]) for row in csv.DictReader(file) if (row.get("val_auc") or "") and row["epoch"].isdigit()]
    last = max(reached, default=0)
    return (f"not finished: {last} of {counted(epochs, 'epoch')}",) if last < epochs else ()


def _faces(training: Mapping[str, Any]) -> tuple[str, ...]:
    """How the faces that it was trained on were made, where not as ours are by default; and how many were not there."""
    made, missing = training.get("faces") or {}, training.get("missing_frames") or {}
    notes = []
    if made.get("padding") == "constant":
        notes.append("trained on faces padded with black at the border of their photos, as published")
    if made.get("target_landmarks") == "measured":
        notes.append("its targets' landmarks were measured again on the aligned faces, in whole pixels, as published")
    notes += [
        f"{counted(count, f'listed {part} frame was', f'listed {part} frames were', ',')} not there, and left out"
        for part, count in missing.items()
    ]
    return tuple(notes)
