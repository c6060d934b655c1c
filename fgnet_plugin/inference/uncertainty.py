"""How much the scores of a face change where its crop is shifted, scaled and mirrored a little, which should change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from fgnet_plugin.faces.crops import MIRRORED
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.faces_again import FACES, NEEDED, faces_again, model_for, write_of_faces
from fgnet_plugin.utils.tables import read_pieces

SHIFT, SCALE = 0.02, 0.04
"""Standard deviations of the shifts, as a share of the face's width from cheek to cheek, and of the logarithm of the size."""


def uncertainty(
    fex: pd.DataFrame,
    au_model: str | Path | AUModel,
    passes: int = 8,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> pd.DataFrame:
    """Read the AUs of each face of a table several times, its crop shifted, scaled and every second time mirrored.

    Args:
        fex: table of `Detector`, `OfflineDetector` or `fgnet detect`, with landmarks; its files must be there.
        au_model: the weights that made its scores, by name, file or loaded.
        passes: how often; each takes as long as FG-Net takes of a detection.
        seed: of shifts and scalings, which are the same for all faces.
        device: where FG-Net computes.

    Returns:
        With the index of `fex`: ``AU12_mean`` and ``AU12_spread``, mean and standard deviation over the passes, of each AU
        that the weights know; NaN where there is no face.

    Raises:
        InputError, FileNotFoundError: see `faces_again`.
        ValueError: fewer than two passes.

    A small spread does not mean that a score is right: what the network gets wrong in every crop alike is not in it.

    Example:
        >>> table = OfflineDetector().detect("video.mp4")  # doctest: +SKIP
        >>> uncertainty(table, "fgnet-rendered")["AU12_spread"]  # doctest: +SKIP
    """
    if passes < 2:
        raise ValueError(f"passes must be at least 2, got {passes}")
    model = model_for(fex, au_model, device)
    generator = np.random.default_rng(seed)
    shifts, sizes = generator.normal(0, SHIFT, (passes, 2)), np.exp(generator.normal(0, SCALE, passes))
    found: npt.NDArray[np.float32] = np.full((2, len(fex), len(model.aus)), np.nan, np.float32)
    for rows, image, points in faces_again(fex):
        crops = [_moved(points, torch.from_numpy(shift), float(size)) for shift, size in zip(shifts, sizes, strict=True)]
        plain, turned = torch.cat(crops[::2]), _mirrored(torch.cat(crops[1::2]), image.shape[2])
        scores = model.read([image, image.flip(2)], [plain, turned]).scores.view(passes, len(rows), -1).numpy()
        found[:, rows] = scores.mean(0), scores.std(0, ddof=1)
    columns = {f"{au}_{what}": found[k, :, i] for i, au in enumerate(model.aus) for k, what in enumerate(("mean", "spread"))}
    return pd.DataFrame(columns, index=fex.index)


def write_uncertainty(table: Path, model: AUModel, passes: int, sources: Mapping[str, str]) -> Path:
    """Write the `uncertainty` of a table's faces beside it, and return where: ``fex_uncertainty.csv`` for ``fex.csv``.

    Args:
        table: .csv or .parquet, with landmarks.
        model: the weights that made its scores.
        passes: see `uncertainty`.
        sources: what the column "input" says -> path.
    """
    fex = pd.concat(read_pieces(table, [*FACES, *NEEDED]), ignore_index=True)
    found = uncertainty(fex.assign(input=fex["input"].astype(str).map(sources)), model, passes)
    path = uncertainty_path(table)
    write_of_faces(fex, found, path)
    return path


def uncertainty_path(table: Path) -> Path:
    """Return where `write_uncertainty` writes.

    Example:
        >>> uncertainty_path(Path("fex.csv")).name
        'fex_uncertainty.csv'
    """
    return table.with_name(f"{table.stem}_uncertainty{table.suffix}")


def _moved(points: Tensor, shift: Tensor, size: float) -> Tensor:
    """Move landmarks [n, 68, 2], and with them the crop, which is laid out by them."""
    centre = points.mean(1, keepdim=True)
    width = (points[:, 16] - points[:, 0]).norm(dim=1)[:, None, None]
    return centre + (points - centre) * size + shift * width


def _mirrored(points: Tensor, width: int) -> Tensor:
    """Landmarks [n, 68, 2] of the mirrored frame."""
    points = points[:, list(MIRRORED)]
    return torch.stack([width - 1 - points[..., 0], points[..., 1]], -1)
