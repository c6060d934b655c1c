"""AUs of the left and of the right half of a face: each half is made a whole face with its own mirror image, and read.

The halves of FG-Net's heatmaps do not tell sides: in training both had one label. docs/measures_calibration.md has the figures.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.action_units import au_name
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.faces_again import faces_again, model_for
from fgnet_plugin.utils.text import counted

SIDED = tuple(au_name(number) for number in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 20, 43))
"""AUs that either half of a face can show without the other; FACS codes them L or R."""
MOST_TURNED = 0.2
"""Largest difference of the distances from the nose's bridge to the eyes' outer corners, over their sum: about 20° of yaw."""
_MIDDLE = (27, 28, 29, 33, 51, 57)  # bridge, under the nose, lips: landmarks on the middle line


def sides(
    fex: pd.DataFrame, au_model: str | Path | AUModel, *, most_turned: float = MOST_TURNED, device: str | torch.device = "cpu"
) -> pd.DataFrame:
    """Read the AUs of the left and the right half of each face of a table.

    Args:
        fex: table of `Detector`, `OfflineDetector` or `fgnet detect`, with landmarks; its files must be there.
        au_model: the weights, by name, file or loaded.
        most_turned: faces that are turned further are NaN, with a warning; see `MOST_TURNED`.
        device: where FG-Net computes.

    Returns:
        With the index of `fex`: ``AU12_left`` and ``AU12_right`` in [0, 1] of each AU in `SIDED` that the weights know. Left
        is the person's, which is right in a picture that is not mirrored. A mirrored face swaps them.

    Raises:
        InputError: see `faces_again`; weights that know no AU of `SIDED`.
        FileNotFoundError: files that are missing.

    Example:
        >>> table = OfflineDetector().detect("smirk.jpg")  # doctest: +SKIP
        >>> sides(table, "fgnet-rendered")[["AU12_left", "AU12_right"]]  # doctest: +SKIP
    """
    model = model_for(fex, au_model, device)
    aus = [au for au in model.aus if au in SIDED]
    if not aus:
        raise InputError(f"{model.name} knows no AU that shows on one side: it knows {', '.join(model.aus)}")
    channels = [model.aus.index(au) for au in aus]
    found: npt.NDArray[np.float32] = np.full((2, len(fex), len(aus)), np.nan, np.float32)
    turned = 0
    for rows, image, points in faces_again(fex):
        frontal = turn(points) <= most_turned
        turned += int((~frontal).sum())
        rows, points = rows[frontal.numpy()], points[frontal]
        reading = model.read([image], [points])
        if not len(reading.read):
            continue
        on_face = reading.aligned.points_to_face(points[reading.read].float())
        faces = reading.aligned.network_input().float()
        halves = torch.cat(whole_faces(faces, on_face[:, list(_MIDDLE), 0].mean(1)))
        scores = model.predict(halves).scores.cpu()[:, channels].numpy()
        found[:, rows[reading.read.numpy()]] = scores.reshape(2, len(faces), -1)
    if turned:
        warnings.warn(f"{counted(turned, 'face is', 'faces are')} turned too far to compare the halves: NaN", stacklevel=2)
    columns = {f"{au}_{side}": found[k, :, i] for i, au in enumerate(aus) for k, side in enumerate(("left", "right"))}
    return pd.DataFrame(columns, index=fex.index)


def whole_faces(faces: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
    """Make whole faces of the person's left halves and of the right ones.

    Args:
        faces: [n, 3, S, S], floating point.
        middle: [n] x of the middle line, in pixels.

    Returns:
        Two tensors of the shape of `faces`, symmetric.
    """
    size = faces.shape[-1]
    identity = torch.eye(2, 3, dtype=faces.dtype, device=faces.device).repeat(len(faces), 1, 1)
    identity[:, 0, 2] = ((2 * middle.to(faces) + 1) / size - 1).clamp(-0.5, 0.5)  # the middle line goes to the middle
    centred = F.grid_sample(
        faces, F.affine_grid(identity, list(faces.shape), align_corners=False), padding_mode="border", align_corners=False
    )
    left, right = centred[..., size // 2 :], centred[..., : size // 2]  # as one sees it, the person's left is to the right
    return torch.cat([left.flip(-1), left], -1), torch.cat([right, right.flip(-1)], -1)


def turn(points: Tensor) -> Tensor:
    """Measure how far faces are turned aside by their landmarks [n, 68, 2]: [n] in [0, 1]; see `MOST_TURNED`."""
    right, left = ((points[:, corner] - points[:, 27]).norm(dim=1) for corner in (36, 45))
    return (right - left).abs() / (right + left)
