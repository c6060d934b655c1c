"""How the aligned faces of a label file were made: what they were padded with, and where their landmarks come from.

`fgnet train prepare` says so in the last columns of labels.csv, and in the corpus' folder, for lists from elsewhere.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgnet_plugin.utils.text import plural

PREPARED = "prepared.jsonl"
"""In the corpus' folder, beside ``aligned_images``; its first line holds the settings of `fgnet train prepare`."""
MADE_BEFORE = {"padding": "reflect", "target_landmarks": "moved"}
"""What both were before they could be chosen, and the columns of labels.csv."""


def how_made(table: Mapping[str, Iterable[str]], images: Iterable[Path]) -> dict[str, str]:
    """Tell how the faces of a label file were made, as far as it is recorded.

    Args:
        table: column -> its cells.
        images: the file's images.

    Returns:
        Some of the keys of `MADE_BEFORE`.

    Raises:
        ValueError: faces of two kinds, or of a kind that is unknown.
    """
    found = {key: set(table[key]) - {""} for key in MADE_BEFORE if key in table}
    if not found:
        folders = {folder for image in images if (folder := _corpus_folder(image)) is not None}
        settings = [value for folder in folders if (value := _settings(folder / PREPARED)) is not None]
        found = {key: {str(value.get(key, before)) for value in settings} for key, before in MADE_BEFORE.items()}
    mixed = [f"{key} is {' and '.join(sorted(kinds))}" for key, kinds in found.items() if len(kinds) > 1]
    if mixed:
        raise ValueError(f"faces of several kinds: {'; '.join(mixed)}; train on one")
    return {key: kinds.pop() for key, kinds in found.items() if kinds}


@dataclass(frozen=True)
class Listed:
    """The images of a label file, and how they were made."""

    images: tuple[Path, ...]
    made: dict[str, str]
    """See `how_made`; empty where it is not recorded, or faces are of several kinds."""

    @classmethod
    def read(cls, path: Path, root: Path) -> Listed:
        """Read a label file, whose paths start from the folder `root`; rows without an image are left out."""
        with path.open(newline="", encoding="utf-8-sig") as file:
            try:
                rows = [row for row in csv.DictReader(file) if row.get("image_path")]
            except csv.Error as error:
                raise ValueError(f"{path}: not a CSV file ({error})") from error
        images = tuple(root / row["image_path"] for row in rows)
        columns = {key: [row[key] or "" for row in rows] for key in MADE_BEFORE if rows and key in rows[0]}
        try:
            return cls(images, how_made(columns, images))
        except ValueError:
            return cls(images, {})

    def present(self) -> str:
        """A hash over which of the images are there."""
        return hashlib.sha256(bytes(image.is_file() for image in self.images)).hexdigest()

    def notes(self, name: str, padding: str) -> tuple[str, ...]:
        """Tell of images that are not there, and of faces padded otherwise than those that a network was trained on."""
        notes = []
        missing = sum(not image.is_file() for image in self.images)
        if missing:
            are = plural(missing, "is", "are")
            notes.append(f"{missing:,} of the {len(self.images):,} frames in {name} {are} not there, and left out")
        ours = self.made.get("padding", "")
        if padding and ours and padding != ours:
            notes.append(f"faces in {name} have padding {ours}, those that it was trained on {padding}")
        return tuple(notes)


def _corpus_folder(image: Path) -> Path | None:
    """The folder that ``aligned_images`` is in."""
    at = [folder for folder in image.parents if folder.name == "aligned_images"]
    return at[-1].parent if at else None


def _settings(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        try:
            value = json.loads(file.readline())
        except ValueError:
            return None
    return value if isinstance(value, dict) else None
