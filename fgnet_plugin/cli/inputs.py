"""Find the images and videos that a command line names."""

from __future__ import annotations

import glob
from pathlib import Path

from fgnet_plugin.errors import InputError

_VIDEOS = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv", ".3gp"})


def find_inputs(inputs: list[str]) -> list[str]:
    """Expand folders and patterns to files in order, each once.

    Raises InputError for a folder without pictures or videos and for a pattern that matches nothing, FileNotFoundError for all
    missing files.
    """
    from fgnet_plugin.media.images import check_files

    files: list[str] = []
    for name in inputs:
        if Path(name).is_dir():
            inside = sorted(str(path) for path in Path(name).iterdir() if _is_media(path))
            if not inside:
                raise InputError(f"{name}: no pictures or videos in this folder")
            files += inside
        elif Path(name).exists() or not glob.has_magic(name):
            files.append(name)
        else:
            every = glob.glob(name, recursive=True)  # noqa: PTH207  (pathlib refuses absolute patterns)
            matching = sorted(path for path in every if not Path(path).is_dir())
            if not matching:
                raise InputError(f"{name}: no file matches this pattern")
            files += matching
    files = list(dict.fromkeys(files))
    missing = [path for path in files if not Path(path).exists()]
    if missing:
        check_files(missing)
    return files


def _is_media(path: Path) -> bool:
    """Tell whether a file of a folder is a picture or video; macOS leaves hidden ones, such as ._clip.mp4, that are not."""
    from fgnet_plugin.media.images import SUFFIXES

    return path.suffix.lower() in SUFFIXES | _VIDEOS and path.is_file() and not path.name.startswith(".")
