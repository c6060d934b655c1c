"""What the settings of a training, as its checkpoint records them, say to an evaluation."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgnet_plugin.checkpoints import read_info
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.training.config import Csv, Guide, Model, Optimiser, Rendered
from fgnet_plugin.training.folds import published_folds
from fgnet_plugin.training.pretrained import is_pretrained, read_pretrained
from fgnet_plugin.training.strict_yaml import plain
from fgnet_plugin.weights import manifest, resolve

NOT_RECORDED = "not recorded"
_PATHS = "train", "folds", "image_root", "start_from", "stylegan2", "psp"
# Each run's own; and the number of frames, by which groups are told apart anyway.
_OF_FOLD = "fold", "val", "test", "samples"


def csv_settings(recipe: Mapping[str, Any]) -> Csv | None:
    """The settings ``data.csv`` of a recipe; settings of another version that this one lacks are left out."""
    values = (recipe.get("data") or {}).get("csv")
    if values is None:
        return None
    known = {field.name for field in dataclasses.fields(Csv)}
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
    return Csv(**kept)


def trained_on(corpus: str, recipe: Mapping[str, Any]) -> str:
    """What a network was trained on: the corpus that its file names, or else what its recipe says."""
    config = csv_settings(recipe)
    if corpus:
        return corpus
    if config is not None:
        return config.folds.upper() if published_folds(config.folds) else Path(config.train).stem
    data = recipe.get("data") or {}
    if data.get("folder"):
        return f"pictures in {data['folder']}"
    return f"rendered {', '.join(data['rendered']['domains'])}" if data.get("rendered") else NOT_RECORDED


def comparable(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What runs of one group must have in common: a recipe without seed, fold, the fold's own files, and the machine.

    Settings that a recipe of an older version lacks have their defaults.
    """
    if not recipe:
        return {}
    kinds = {"model": Model, "optimiser": Optimiser, "guide": Guide}
    found = {name: _filled(kind, recipe.get(name)) for name, kind in kinds.items()}
    found["trainer"] = {"precision": (recipe.get("trainer") or {}).get("precision", "32-true")}
    data = dict(recipe.get("data") or {})
    found["data"] = {"flip": data.get("flip", False)}
    if data.get("csv"):
        csv = _filled(Csv, data["csv"])
        # Where folds say who is tested, the training file holds all frames; otherwise each fold has one of its own.
        own = _OF_FOLD if csv["folds"] else (*_OF_FOLD, "train")
        found["data"]["csv"] = {key: value for key, value in csv.items() if key not in own}
    if data.get("rendered"):
        found["data"]["rendered"] = _filled(Rendered, data["rendered"])
        found["code"] = {"renderer": (recipe.get("code") or {}).get("renderer")}
    return found


def _filled(kind: Any, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """A section of a recipe with all its settings; paths that name the same file are the same."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            found[field.name] = plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = plain(field.default_factory())
    found |= values or {}
    return {key: os.path.normpath(value) if key in _PATHS and value else value for key, value in found.items()}


@dataclass(frozen=True)
class Start:
    """Weights that a training started from."""

    file: str
    """``model.start_from``."""
    trained_on: str

    def saw(self, corpus: str) -> bool:
        """Whether it was trained on a corpus of that name, or on pictures in a folder of that name."""
        names = {self.trained_on.lower(), *Path(self.trained_on.removeprefix("pictures in ").lower()).parts}
        return corpus.lower() in names


def starts_of(recipe: Mapping[str, Any]) -> tuple[Start, ...]:
    """The weights that a training started from, those that they were started from, and so on, as far as files tell."""
    found: list[Start] = []
    file = (recipe.get("model") or {}).get("start_from") or ""
    while file and file not in [start.file for start in found]:
        corpus, of_start = _read(file)
        found.append(Start(file, trained_on(corpus, of_start)))
        # A detector's recipe has it in a section, an encoder's has none.
        file = (of_start.get("model") or {}).get("start_from") or of_start.get("start_from") or ""
    return tuple(found)


def _read(name: str) -> tuple[str, dict[str, Any]]:
    """Corpus and recipe of weights; as far as the list of named weights knows, where the file is not here."""
    try:
        path = resolve(name)
        if is_pretrained(path):
            return "", read_pretrained(path).training.get("recipe") or {}
        info = read_info(path)
        return info.corpus, info.training.get("recipe") or {}
    except (CheckpointError, OSError):
        entries = manifest()
        return entries[name].corpus if name in entries else "", {}
