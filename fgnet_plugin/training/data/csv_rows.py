"""A row of a label file: its image, landmarks and labels, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from fgnet_plugin.action_units import NOT_CODABLE
from fgnet_plugin.training.collectives import is_first
from fgnet_plugin.training.config.detector import Csv
from fgnet_plugin.training.data.folds import subject_of

_X, _Y = [f"x_{i}" for i in range(68)], [f"y_{i}" for i in range(68)]
_ALIGNED = re.compile(r"(?<![^/\\])aligned_images(?=[/\\])")
"""A folder of that name; a file may be called so, too."""


@dataclass
class Row:
    """What a row says, and what is wrong with it."""

    image: str
    subject: str
    landmarks: np.ndarray
    labels: np.ndarray
    problems: list[str]
    missing: list[str] = field(default_factory=list)
    """Files that are not there."""


def read_row(row: dict[str, str], aus: tuple[str, ...], size: int, root: Path, config: Csv) -> Row:
    """Read a row of a label file, cell by name; AUs under their names.

    Args:
        row: the cells.
        aus: in channel order.
        size: side of the network's faces, px.
        root: folder that relative paths start from.
        config: further settings.
    """
    problems: list[str] = []
    missing: list[str] = []
    labels = np.array([_label(row[au], au, config.threshold, problems) for au in aus], dtype=np.float32)
    if not row["image_path"]:
        return Row("", "", np.empty(0), labels, [*problems, "image_path is empty"])
    image = root / row["image_path"]
    found = _image_size(image, problems, missing)
    if found and found != (size, size) and not config.resize:
        advice = "; data.csv.resize: true resizes it" if found[0] == found[1] else ""
        problems.append(f"{image} is {found[0]} × {found[1]} px, the network reads {size} × {size}{advice}")
    if found and found[0] != found[1] and config.resize:
        problems.append(f"{image} is {found[0]} × {found[1]} px: an aligned face is square")
    landmarks = _landmarks(row, image, root, problems, missing)
    if found and landmarks is not None:
        landmarks = (landmarks + 0.5) * (size / found[0]) - 0.5 if found[0] != size else landmarks
    return Row(str(image), subject_of(row), landmarks if landmarks is not None else np.empty(0), labels, problems, missing)


def _label(text: str, au: str, threshold: float, problems: list[str]) -> float:
    if text.strip().lower() in {"", "nan"}:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        problems.append(f"{au} is {text!r}, not a number")
        return np.nan
    if value == NOT_CODABLE:
        return np.nan
    if not 0 <= value <= 5:
        problems.append(f"{au} is {text}; labels are 0 or 1, intensities 0…5, 9 or NaN where unknown")
    return float(value >= threshold)


def _landmarks(row: dict[str, str], image: Path, root: Path, problems: list[str], missing: list[str]) -> np.ndarray | None:
    """[68, 2] float32, or None with a problem or a missing file added."""
    if "x_0" in row:
        try:
            points = np.array([[row[x] for x in _X], [row[y] for y in _Y]], dtype=np.float32).T
        except (KeyError, ValueError) as error:
            problems.append(f"landmark columns x_0 … x_67, y_0 … y_67 must all be there and be numbers ({error})")
            return None
        where = "the landmarks"
    else:
        beside = _ALIGNED.sub("aligned_landmarks", str(image))
        file = root / row["landmarks"] if row.get("landmarks") else Path(beside).with_suffix(".npy")
        where = str(file)
        if not file.is_file():
            missing.append(f"{file}: no landmarks (no such file)")
            return None
        try:
            points = np.load(file, allow_pickle=False).astype(np.float32)
        except (OSError, ValueError, EOFError) as error:
            problems.append(f"{file}: no landmarks ({error})")
            return None
    if points.shape != (68, 2) or not np.isfinite(points).all():
        problems.append(f"{where} must be 68 finite points, got shape {list(points.shape)}")
        return None
    return points


def _image_size(path: Path, problems: list[str], missing: list[str]) -> tuple[int, int] | None:
    """Width and height of an image that can be read to its end; of several processes, only the first reads so far."""
    try:
        with Image.open(path) as image:
            if is_first():
                image.load()
            return image.size
    except FileNotFoundError:
        missing.append(f"{path}: no such file")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        problems.append(f"{path}: not an image, or damaged ({error})")
    return None
