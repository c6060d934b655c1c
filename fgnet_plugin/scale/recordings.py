"""The inputs of a dataset, each with a name of its own that does not depend on the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fgnet_plugin.inference.final_table import TableOptions

_LONGEST = 60  # letters of a file's stem in the name


@dataclass(frozen=True)
class Recording:
    """A picture or video."""

    key: str
    """Its name in the dataset: the file's stem, and a hash of its path."""
    path: str
    shown: str
    """What the column "input" says."""
    size: int
    """Bytes; 0 where it can't be told."""

    def in_shard(self, shard: tuple[int, int] | None) -> bool:
        """Tell whether it belongs to shard i of n, which count from 1."""
        return shard is None or int(self.key[-12:], 16) % shard[1] == shard[0] - 1


def list_recordings(paths: Sequence[str], relative_to: str | Path | None = None) -> list[Recording]:
    """Name the recordings; the largest come first, so that none is left over at the end.

    Args:
        paths: of pictures and videos, each once.
        relative_to: a folder; names then depend on the paths below it, and stay the same where it lies elsewhere.

    Raises ValueError for a path given twice, or that is not below `relative_to`.
    """
    shown = TableOptions(relative_to=relative_to).shown
    found = [_recording(path, shown(path), relative_to is not None) for path in paths]
    seen = set[str]()
    for one in found:
        if one.key in seen:
            raise ValueError(f"{one.path} is given twice")
        seen.add(one.key)
    return sorted(found, key=lambda one: (-one.size, one.key))


def _recording(path: str, shown: str, relative: bool) -> Recording:
    name = shown if relative else Path(path).absolute().as_posix()
    stem = re.sub(r"[^\w.-]+", "_", Path(path).stem)[:_LONGEST]
    key = f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    try:
        size = Path(path).stat().st_size
    except OSError:
        size = 0
    return Recording(key, path, shown, size)
