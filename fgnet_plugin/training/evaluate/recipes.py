"""What the settings of a training, as its checkpoint records them, say to an evaluation."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.training.config.detector import AuxiliaryHead, Csv, Model, Optimiser, Rendered
from fgnet_plugin.training.config.yaml_dataclass import plain
from fgnet_plugin.training.data.leakage import start_corpora
from fgnet_plugin.training.published_folds import published_folds

NOT_RECORDED = "not recorded"
_PATHS = "train", "folds", "image_root", "start_from", "stylegan2", "psp", "baseline_weights"
# Each run's own; the number of frames, by which groups are told apart anyway; and what is only a permission.
_OF_RUN = "fold", "val", "test", "samples", "shared_subjects"
_PERMISSION = "start_from_same_corpus"


def csv_settings(recipe: Mapping[str, Any]) -> Csv | None:
    """The settings ``data.csv`` of a recipe; settings of another version that this one lacks are left out."""
    values = (recipe.get("data") or {}).get("csv")
    if values is None:
        return None
    known = {field.name for field in dataclasses.fields(Csv)}
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
    return Csv(**kept)


def rendered_settings(recipe: Mapping[str, Any]) -> Rendered | None:
    """The settings ``data.rendered`` of a recipe; settings of another version that this one lacks are left out."""
    values = (recipe.get("data") or {}).get("rendered")
    if values is None:
        return None
    known = {field.name for field in dataclasses.fields(Rendered)}
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
    return Rendered(**kept)


def trained_on(corpus: str, recipe: Mapping[str, Any]) -> str:
    """What a network was trained on: the corpus that its file names, or else what its recipe says."""
    config = csv_settings(recipe)
    if corpus:
        return corpus
    if config is not None:
        return config.folds.upper() if published_folds(config.folds) else Path(config.train).stem
    rendered = (recipe.get("data") or {}).get("rendered")
    return f"rendered {', '.join(rendered['domains'])}" if rendered else NOT_RECORDED


def comparable(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What runs of one group must have in common: a recipe without seed, fold, the fold's own files, and the machine.

    Settings that a recipe of an older version lacks have their defaults.
    """
    if not recipe:
        return {}
    kinds = {"model": Model, "optimiser": Optimiser, "guide": AuxiliaryHead}
    found = {name: _filled(kind, recipe.get(name)) for name, kind in kinds.items()}
    found["model"].pop(_PERMISSION, None)
    found["trainer"] = {"precision": (recipe.get("trainer") or {}).get("precision", "32-true")}
    data = dict(recipe.get("data") or {})
    found["data"] = {"flip": data.get("flip", False)}
    if data.get("csv"):
        csv = _filled(Csv, data["csv"])
        # Where folds say who is tested, the training file holds all frames; otherwise each fold has one of its own.
        own = _OF_RUN if csv["folds"] else (*_OF_RUN, "train")
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


def started_on(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """What the weights that a training started from had been trained on, as far as files tell: see `leakage.start_corpora`."""
    file = (recipe.get("model") or {}).get("start_from")
    try:
        return tuple(start_corpora(file)) if file else ()
    except CheckpointError:  # it is not here
        return ()
