"""Atomic writes and checksums of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

SUMMARY_FILES = "long.csv", "wide.csv", "events.csv", "exclusions.csv", "codebook.csv", "settings.json"
"""What `fgnet summarize` writes into a folder; the last says how the others were made."""


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _usual_mode() -> int:
    """Compute the permissions of a new file."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


_MODE = _usual_mode()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it is moved to `path` when the block succeeds and removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with suppress(OSError):  # some file systems know no permissions
            part.chmod(_MODE)  # safetensors makes files that only their owner can read
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):
            raise OSError(f"{path}: can't be written ({error})") from error
        raise
