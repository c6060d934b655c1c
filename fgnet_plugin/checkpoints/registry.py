"""Look up named weights: their files on this machine, and how to get them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.utils.paths import cache_folder, data_folder

DRIVE_ADDRESS = "https://drive.google.com/uc?id={id}"


@dataclass(frozen=True)
class NamedWeights:
    """One entry of ``weights/manifest.json``."""

    name: str
    kind: str
    """"published" (converted from the authors' files), "bundled" (part of this package), or "pretrained" (part of this package
    as well, but generator and encoder only, from which a training starts)."""
    about: str
    licence: str
    corpus: str = ""
    file: str = ""
    """Name of the file in ``weights/``, for weights that come with the package."""
    files: dict[str, dict[str, str]] | None = None
    """The authors' files of published weights: ``{"model.pth": {"drive": Google Drive's id}, …}``."""

    @property
    def path(self) -> Path:
        """Path of the checkpoint, whether it exists or not."""
        return data_folder("weights") / self.file if self.file else cache_folder() / f"{self.name}.safetensors"

    @property
    def downloads(self) -> dict[Path, str]:
        """Path of each of the authors' files on this machine -> its web address; empty for other than published weights."""
        mirror, folder = os.environ.get("FGNET_MIRROR"), cache_folder() / "downloads"
        addresses = {}
        for name, file in (self.files or {}).items():
            # pSp's encoder.pt is one file for all published models.
            relative = name if name == "encoder.pt" else f"{self.name}/{name}"
            address = f"{mirror.rstrip('/')}/{relative}" if mirror else DRIVE_ADDRESS.format(id=file["drive"])
            addresses[folder / relative] = address
        return addresses

    def how_to_get(self) -> str:
        """Return instructions for a machine where the download does not work."""
        if self.file:
            return f"{self.name} comes with the package, but this version lacks {self.path}"
        lines = [f"to get {self.name} by hand:"]
        for step, (path, file) in enumerate(zip(self.downloads, (self.files or {}).values(), strict=True), start=1):
            lines.append(
                f"  {step}. open https://drive.google.com/file/d/{file['drive']}/view in a browser and save the file as"
            )
            lines.append(f"     {path}")
        files = " ".join(f'"{path}"' for path in self.downloads)
        lines.append(f"  {len(self.downloads) + 1}. run: fgnet weights convert {files} --corpus {self.corpus}")
        return "\n".join(lines)


def manifest() -> dict[str, NamedWeights]:
    """Return all named weights: name -> entry."""
    entries: dict[str, Any] = json.loads((data_folder("weights") / "manifest.json").read_text(encoding="utf-8"))
    return {name: NamedWeights(name=name, **entry) for name, entry in entries.items()}


def named(name: str) -> NamedWeights:
    """Return the entry of a name. Raises CheckpointError for an unknown name."""
    entries = manifest()
    if name not in entries:
        raise CheckpointError(f"no weights are called {name!r}; there are {', '.join(entries)}")
    return entries[name]


def resolve(name_or_path: str | Path) -> Path:
    """Return the file of a name or path. Raises CheckpointError, with how to get the file, where it does not exist."""
    path = Path(name_or_path)
    entries = manifest()
    if str(name_or_path) in entries:
        entry = entries[str(name_or_path)]
        if not entry.path.is_file():
            way = f"run: fgnet weights download {entry.name}\nor, " if entry.kind == "published" else ""
            raise CheckpointError(f"{entry.name} is not on this machine; {way}{entry.how_to_get()}")
        return entry.path
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, and no weights of that name (there are {', '.join(entries)})")
    return path
