"""Where the 68 landmarks of a photo come from: our finder, files, or anything that can be called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgnet_plugin.comparison.openface import missing_landmark_columns, read_landmarks
from fgnet_plugin.errors import InputError
from fgnet_plugin.training.data.bad_rows import bad_rows
from fgnet_plugin.training.prepare.frames import CodedFrame, walk

if TYPE_CHECKING:
    from fgnet_plugin.faces.finder import FaceFinder

_SEQUENCE = re.compile(r"(?<![A-Z0-9])([FM]\d{3})[/_](T\d+)(?!\d)|(SN\d{3})(?!\d)", re.IGNORECASE)
_SMALLEST = 8  # the finder looks for faces from this part of the photo's shorter side on: twice as fast as looking for all


class LandmarkSource(Protocol):
    """Anything that finds faces; each process that prepares frames gets a copy, made with `pickle`."""

    def __call__(self, photo: Tensor, frame: CodedFrame) -> Tensor | npt.NDArray[Any] | Sequence[Any]:
        """The faces of a photo, uint8 RGB [3, H, W]: [n, 68, 2] in its pixels, the surest first, n may be 0; or [68, 2].

        A ValueError says why there are none: it goes into the report.
        """


class FinderLandmarks:
    """`fgnet_plugin.faces.finder.FaceFinder`: every photo by itself.

    Args:
        smallest_face: see there; by default an eighth of the photo's shorter side, 30 px at least: faces of both corpora are
            several times as large.
    """

    def __init__(self, smallest_face: float | None = None) -> None:
        self.smallest_face = smallest_face
        self.name = f"FaceFinder(smallest_face={smallest_face})"
        self._finder: FaceFinder | None = None

    def __call__(self, photo: Tensor, frame: CodedFrame) -> Tensor:
        """See `LandmarkSource`."""
        if self._finder is None:
            from fgnet_plugin.faces.finder import FaceFinder

            self._finder = FaceFinder()
        self._finder.smallest_face = self.smallest_face or max(30.0, min(photo.shape[1:]) / _SMALLEST)
        return self._finder.find([photo])[0].landmarks

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_finder": None}


class StoredLandmarks:
    """Landmarks in files, in pixels of the photos.

    Args:
        folder: holds, anywhere in it,

            - .npy files [68, 2] laid out as the frames: ``F001/T1/2440.npy``, ``SN001/17.npy`` (leading zeros or not), or
            - CSV files of OpenFace's FeatureExtraction, one for each sequence: ``F001_T1.csv`` or ``F001/T1.csv``,
              ``SN001.csv`` or ``LeftVideoSN001_comp.csv``, with ``frame``, ``success``, ``x_0`` … ``x_67``, ``y_0`` … ``y_67``.
              OpenFace counts the photos of a folder from 1, in the order of their names, and so is it read.

    Raises:
        ValueError: no such folder, nothing in it, two files for one sequence, CSV files without those columns.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.name = f"files in {self.folder.resolve()}"
        places: dict[str, set[Path]] = {}
        problems: list[str] = []
        for place, files in walk(self.folder):
            for name in files:
                file = place / name
                known = place if file.suffix == ".npy" else file if file.suffix == ".csv" else None
                relative = known.relative_to(self.folder).with_suffix("") if known else Path()
                if known and (sequence := _sequence(relative)):
                    places.setdefault(sequence, set()).add(known)
        for sequence, found in places.items():
            if len(found) > 1:
                problems.append(
                    f"{sequence} has landmarks in {' and '.join(sorted(map(str, found)))}; leave one (or one camera)"
                )
            problems += [problem for file in found if file.suffix == ".csv" for problem in _lacking(file)]
        if problems:
            raise bad_rows([], sorted(problems))
        if not places:
            raise ValueError(f"{self.folder}: no landmarks such as F001/T1/2440.npy, SN001/17.npy, or OpenFace's F001_T1.csv")
        self._places = {sequence: found.pop() for sequence, found in places.items()}
        self._read: tuple[str, dict[int, Any]] = ("", {})

    def __call__(self, photo: Tensor, frame: CodedFrame) -> npt.NDArray[Any]:
        """See `LandmarkSource`."""
        place = self._places.get(frame.sequence)
        if place is None:
            raise ValueError(f"no landmarks: {self.folder} has none for {frame.sequence}")
        if self._read[0] != frame.sequence:
            try:
                table: dict[int, Any] = read_landmarks(place) if place.suffix == ".csv" else _numbered(place)
            except InputError as error:
                raise ValueError(f"unusable landmarks: {error}") from error
            self._read = frame.sequence, table
        found = self._read[1].get(frame.position if place.suffix == ".csv" else frame.number)
        if found is None:
            raise ValueError(f"no landmarks: {place} has none for frame {frame.number}")
        if not isinstance(found, Path):
            return np.asarray(found)
        try:
            return np.asarray(np.load(found, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"unusable landmarks: {found} can't be read ({error})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read": ("", {})}


def as_points(found: Any) -> Tensor:
    """What a `LandmarkSource` gave as float32 [n, 68, 2] on the CPU. Raises ValueError for other shapes, NaN or infinity."""
    array = found if isinstance(found, Tensor) else torch.from_numpy(np.asarray(found, np.float32))
    points = array.detach().cpu().float() if len(array) else torch.empty(0, 68, 2)
    points = points[None] if points.shape == (68, 2) else points
    if points.ndim != 3 or points.shape[1:] != (68, 2):
        raise ValueError(f"unusable landmarks: shape {list(points.shape)}, wanted is [n, 68, 2]")
    if not bool(points.isfinite().all()):
        raise ValueError("unusable landmarks: not all are finite numbers")
    return points


def _sequence(relative: Path) -> str | None:
    """``F001/T1`` or ``SN001``, as the end of a path says."""
    matches = list(_SEQUENCE.finditer(relative.as_posix()))
    if not matches:
        return None
    subject, task, alone = matches[-1].groups()
    return (alone or f"{subject}/{task}").upper()


def _numbered(folder: Path) -> dict[int, Path]:
    return {int(file.stem): file for file in folder.glob("*.npy") if file.stem.isascii() and file.stem.isdigit()}


def _lacking(file: Path) -> list[str]:
    """Say which columns an OpenFace file lacks."""
    lacking = missing_landmark_columns(file)
    shown = ", ".join(lacking[:5]) + (" …" if lacking[5:] else "")
    return [f"{file}: no table of OpenFace's FeatureExtraction: lacks the columns {shown}"] if lacking else []
