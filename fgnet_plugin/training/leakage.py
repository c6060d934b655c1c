"""Whether the weights that a training starts from may have seen the faces that it is to be tested on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.checkpoints.pretrained import is_pretrained, read_pretrained
from fgnet_plugin.checkpoints.registry import manifest, resolve
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.training.collectives import shared_error
from fgnet_plugin.training.config.detector import Csv, DetectorConfig
from fgnet_plugin.training.published_folds import PUBLISHED, published_folds


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
        named = {_key(trained_on), *(part.casefold() for part in folder.parts)}
        if named & ours or (folder.is_dir() and any(_within(root, folder) for root in roots)):
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


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
