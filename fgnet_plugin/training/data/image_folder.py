"""Aligned faces in a folder, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fgnet_plugin.training.data.csv_corpus import read_pixels
from fgnet_plugin.utils.text import counted

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LINES_SHOWN = 50


@dataclass(frozen=True)
class ImageCorpus:
    """A dataset of pictures: sample i is {"image": uint8 [3, size, size]}, always the same."""

    files: tuple[str, ...]
    size: int

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        pixels = np.ascontiguousarray(read_pixels(self.files[index], self.size).transpose(2, 0, 1))
        return {"image": torch.from_numpy(pixels)}


def image_corpora(folder: str, size: int, val_fraction: float, seed: int) -> tuple[ImageCorpus, ImageCorpus]:
    """Training and validation pictures of a folder and its subfolders, resized to `size` where they are larger.

    Raises ValueError: no folder, fewer than two pictures, or some that are no pictures, not square or too small, all named.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{folder}: no such folder")
    files = sorted(str(path) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    with ThreadPoolExecutor() as pool:
        problems = [problem for problem in pool.map(lambda file: _problem(file, size), files) if problem]
    if problems:
        more = [f"… and {len(problems) - LINES_SHOWN:,} more"] if len(problems) > LINES_SHOWN else []
        raise ValueError(
            "\n".join([f"{counted(len(problems), 'picture', form=',')} that can't be used:", *problems[:LINES_SHOWN], *more])
        )
    if len(files) < 2:
        raise ValueError(f"{folder}: holds {counted(len(files), 'picture')} ({', '.join(SUFFIXES)}), at least 2 are needed")
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
    aside = max(1, round(val_fraction * len(files)))
    return _corpus(files, order[aside:], size), _corpus(files, order[:aside], size)


def _corpus(files: Sequence[str], rows: Sequence[int], size: int) -> ImageCorpus:
    return ImageCorpus(tuple(files[i] for i in sorted(rows)), size)


def _problem(file: str, size: int) -> str | None:
    """What is wrong with a picture, which is read to its end."""
    try:
        with Image.open(file) as image:
            image.load()
            width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{file}: not an image, or damaged ({error})"
    if width != height:
        return f"{file} is {width} × {height} px: an aligned face is square"
    return f"{file} is {width} px wide, the network reads or generates {size} px" if width < size else None
