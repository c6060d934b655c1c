"""The recordings that a student learns from, and those that are set aside to measure its agreement with its teacher."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.design import from_pattern
from fgnet_plugin.media.folders import list_folder
from fgnet_plugin.media.images import check_file
from fgnet_plugin.utils.files import sha256


@dataclass(frozen=True)
class StudyRecording:
    """A picture or video of a study."""

    path: str
    subject: str
    """Who is filmed; the recording's own path where that is not known."""
    digest: str
    """SHA-256 of the file."""
    held_out: bool
    """Whether the student does not learn from it."""

    @property
    def key(self) -> str:
        """Its name in the work folder, which says nothing about whose it is."""
        return self.digest[:16]


def list_paths(on: str | Path | Sequence[str | Path]) -> list[str]:
    """List the pictures and videos of folders, with their subfolders, and of files.

    Raises:
        InputError, FileNotFoundError: a folder without any; a file that is not there.

    Warns:
        UserWarning: files of a folder that are left out.
    """
    files: list[str] = []
    for place in [on] if isinstance(on, (str, Path)) else on:
        if not Path(place).is_dir():
            check_file(place, "recording")
            files.append(str(place))
            continue
        listing = list_folder(place, recursive=True)
        if not listing.files:
            raise InputError(f"{place}: no pictures or videos in this folder; give the folder of the study's recordings")
        if listing.left_out:
            warnings.warn(listing.note(), stacklevel=2)
        files += map(str, listing.files)
    if not files:
        raise InputError("no recordings were given")
    return list(dict.fromkeys(files))


def divide(paths: Sequence[str], subject: str | None, held_out: float, seed: int) -> list[StudyRecording]:
    """Say of each recording whose it is, and set the recordings of some people aside.

    Args:
        paths: of recordings.
        subject: pattern for the paths with a group ``(?P<subject>…)``, see `measures.from_pattern`; or "bids". Without,
            each recording counts as a person of its own.
        held_out: share of the people; at least one, and of four or more at least two.
        seed: of the choice.

    Returns:
        Recordings in the order of `paths`.

    Raises:
        InputError: a pattern that does not fit; recordings of one person only.

    Warns:
        UserWarning: recordings that are there twice, of which the first is taken.
    """
    people = dict.fromkeys(paths, "")
    if subject is None:
        people = {path: path for path in paths}
    else:
        factors = from_pattern(list(paths), subject)
        if "subject" not in factors:
            raise InputError(f"the pattern {subject!r} has no group (?P<subject>…), which says who is filmed")
        people = {path: str(who) for path, who in factors["subject"].items()}
        if empty := [path for path, who in people.items() if not who]:
            raise InputError(f"the pattern {subject!r} finds no subject in {', '.join(empty[:3])}")
    first: dict[str, str] = {}
    for path in paths:
        digest = sha256(Path(path))
        if digest in first:
            warnings.warn(f"{path} is the same file as {first[digest]}: left out", stacklevel=2)
        else:
            first[digest] = path
    names = sorted({people[path] for path in first.values()})
    if len(names) < 2:
        what = "one recording" if len(first) == 1 else f"{len(first)} recordings of one person"
        raise InputError(
            f"there is only {what}: nobody is left to measure the student on whom it did not learn from. Add recordings of "
            "other people; or, if it is only for this person, give parts of the recording as files of their own"
        )
    count = min(max(round(held_out * len(names)), 2 if len(names) > 3 else 1), len(names) - 1)
    aside = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]}
    return [StudyRecording(path, people[path], digest, people[path] in aside) for digest, path in first.items()]
