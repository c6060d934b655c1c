"""List the pictures and videos in a folder, and why other files are left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.images import SUFFIXES, picture_size

_VIDEOS = """
    .3g2 .3gp .asf .avi .divx .dv .f4v .flv .h264 .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogm
    .ogv .ts .vob .webm .wmv .y4m
"""
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())
"""Files of a folder with these suffixes are taken for videos."""


SUBFOLDER = "a subfolder, not searched"
"""The reason that `FolderListing.left_out` gives for subfolders that have files."""


@dataclass(frozen=True)
class FolderListing:
    """What is in a folder.

    Attributes:
        folder: as given.
        files: pictures and videos, in natural order: ``P2.jpg`` before ``P10.jpg``.
        left_out: {path: reason} of the other files; and, unless they were searched, of subfolders.
    """

    folder: str
    files: tuple[Path, ...]
    left_out: dict[Path, str]

    def note(self) -> str:
        """Say in a line what is left out, and why; an empty text where nothing is.

        Example:
            >>> list_folder("clips").note()  # doctest: +SKIP
            "clips: left out .DS_Store (hidden); a.csv, b.csv and 12 more (no picture or video); s1 (a subfolder, not searched)"
        """
        by_reason: dict[str, list[str]] = {}
        for path, reason in self.left_out.items():
            by_reason.setdefault(reason, []).append(os.path.relpath(path, self.folder))
        groups = [f"{_some(names)} ({reason})" for reason, names in by_reason.items()]
        return f"{self.folder}: left out {'; '.join(groups)}" if groups else ""


def list_folder(folder: Path | str, recursive: bool = False) -> FolderListing:
    """List what can be read in a folder.

    Files with the suffix of a picture or video are taken as they are: a damaged one is reported when it is read. Of others,
    the content decides. Hidden files are left out, such as ``._clip.mp4``, which macOS leaves behind and which is no video.

    Args:
        folder: to look in.
        recursive: also look in its subfolders, their files after its own. Links to folders are not followed.

    Raises:
        InputError: the folder can't be read.

    Example:
        >>> listing = list_folder("clips", recursive=True)  # doctest: +SKIP
        >>> detector.detect(listing.files)  # doctest: +SKIP
    """
    files: list[Path] = []
    left_out: dict[Path, str] = {}
    try:
        for path, reason in _entries(Path(folder), recursive):
            if reason:
                left_out[path] = reason
            else:
                files.append(path)
    except OSError as error:
        raise InputError(f"{folder}: this folder can't be read ({error.strerror})") from error
    return FolderListing(str(folder), tuple(files), left_out)


def natural_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Make a key that sorts names as people do: numbers in them by value, letters regardless of their case.

    Example:
        >>> sorted(["P10", "p9", "P1"], key=natural_order)
        ['P1', 'p9', 'P10']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)], name


def _entries(folder: Path, recursive: bool) -> Iterator[tuple[Path, str]]:
    """Yield a folder's files, each with the reason why it is left out, or an empty one."""
    inside = sorted(folder.iterdir(), key=lambda path: natural_order(path.name))
    subfolders = [path for path in inside if path.is_dir()]
    for path in inside:
        if path not in subfolders:
            yield path, _reason(path)
    for path in subfolders:
        try:
            if path.name.startswith("."):
                yield path, "a hidden folder"
            elif path.is_symlink():
                yield path, "a link to a folder"
            elif recursive:
                yield from _entries(path, recursive)
            elif any(path.iterdir()):
                yield path, SUBFOLDER
        except OSError as error:
            yield path, f"can't be read: {error.strerror}"


def _reason(path: Path) -> str:
    """Say why a file is left out; nothing of a picture or video."""
    if path.name.startswith("."):
        return "hidden"
    if not path.exists():
        return "a link to nothing"
    if not path.is_file():
        return "no file"
    try:
        if not path.stat().st_size:
            return "empty"
        if path.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES or picture_size(path) or _is_video(path):
            return ""
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return "no picture or video"


def _is_video(path: Path) -> bool:
    """Tell by its content whether a file is a video."""
    from fgnet_plugin.media.container import av, open_container

    if av is None:
        return False
    try:
        container, _ = open_container(path.absolute(), str(path))
    except InputError:
        return False
    container.close()
    return True


def _some(names: list[str], most: int = 3) -> str:
    """Name a few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
