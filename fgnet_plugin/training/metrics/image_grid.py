"""Image grids to look at while a training runs."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fgnet_plugin.utils.files import atomic_write


def write_image_grid(faces: Tensor, path: Path, columns: int | None = None) -> None:
    """Writes faces uint8 [N, 3, S, S] as one PNG, row by row; by default about as many rows as columns."""
    count, _, height, width = faces.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    blank = faces.new_full((rows * columns - count, 3, height, width), 255)
    grid = torch.cat([faces, blank]).view(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2)
    with atomic_write(path) as part:
        Image.fromarray(grid.reshape(rows * height, columns * width, 3).numpy()).save(part, format="PNG")
