"""Find the images and videos that a command line names."""

from __future__ import annotations

import glob
from pathlib import Path

import typer

from fgnet_plugin.errors import InputError


def find_inputs(inputs: list[str], recursive: bool = False) -> list[str]:
    """Expand folders and patterns to files in natural order, each once; warn of what is left out of a folder.

    Args:
        inputs: files, folders and patterns.
        recursive: also search the folders' subfolders.

    Raises InputError for a folder without pictures or videos and for a pattern that matches nothing, FileNotFoundError for all
    missing files.
    """
    from fgnet_plugin.media.folders import SUBFOLDER, list_folder, natural_order
    from fgnet_plugin.media.images import check_files

    files: list[str] = []
    for name in inputs:
        if Path(name).is_dir():
            listing = list_folder(name, recursive)
            note = listing.note() + ("; --recursive searches it" if SUBFOLDER in listing.left_out.values() else "")
            if not listing.files:
                raise InputError(f"{name}: no pictures or videos in this folder" + note.removeprefix(name))
            if note:
                typer.echo(f"warning: {note}", err=True)
            files += map(str, listing.files)
        elif Path(name).exists() or not glob.has_magic(name):
            files.append(name)
        else:
            every = glob.glob(name, recursive=True)  # noqa: PTH207  (pathlib refuses absolute patterns)
            matching = sorted((path for path in every if not Path(path).is_dir()), key=natural_order)
            if not matching:
                raise InputError(f"{name}: no file matches this pattern")
            files += matching
    files = list(dict.fromkeys(files))
    missing = [path for path in files if not Path(path).exists()]
    if missing:
        check_files(missing)
    return files
