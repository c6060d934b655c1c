"""Look again at the faces of a table: their frames, and the landmarks that the table has of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import LANDMARKS, known_aus
from fgnet_plugin.media.frames_of_rows import frames_of_rows
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.made_by import MadeBy
from fgnet_plugin.utils.tables import write_pieces

FACES = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]
NEEDED = ["input", "frame", *LANDMARKS, "FrameHeight", "FrameWidth"]
"""The columns of a table by which its faces are found again."""


def faces_again(fex: pd.DataFrame) -> Iterator[tuple[npt.NDArray[np.intp], Tensor, Tensor]]:
    """Yield each frame of a table in which there are faces.

    Args:
        fex: with ``input``, ``frame`` and the landmarks ``x_0`` … ``y_67``.

    Yields:
        Places [n] of the faces' rows in the table, the frame, uint8 [3, H, W], and landmarks [n, 68, 2] in its pixels.

    Raises:
        InputError: missing columns; another file than the table is about.
        FileNotFoundError: files that are missing.
    """
    check_places(fex)
    points = torch.from_numpy(fex[LANDMARKS].to_numpy(np.float64).reshape(-1, 2, 68).swapaxes(1, 2).copy())
    rows = points.isfinite().all((1, 2)).nonzero()[:, 0].numpy()
    sizes = fex[["FrameHeight", "FrameWidth"]].to_numpy()[rows].tolist() if {"FrameHeight", "FrameWidth"} <= set(fex) else None
    inputs, frames = fex["input"].iloc[rows].astype(str).tolist(), fex["frame"].iloc[rows].astype(int).tolist()
    for chosen, image in frames_of_rows(inputs, frames, sizes):
        yield rows[chosen], image, points[rows[chosen]]


def check_places(fex: pd.DataFrame) -> None:
    """Raise InputError for a table that does not say where its faces are."""
    if missing := [name for name in ("input", "frame", *LANDMARKS) if name not in fex]:
        raise InputError(
            f"the table has no column {missing[0]}: to look at its faces again, input, frame and landmarks are needed"
        )


def scores_again(fex: pd.DataFrame, model: AUModel) -> Floats:
    """Let a model read the faces of a table: scores [rows, A] of its AUs, NaN without a face. Raises as `faces_again`."""
    scores = np.full((len(fex), len(model.aus)), np.nan)
    for rows, image, points in faces_again(fex):
        scores[rows] = model.read([image], [points]).scores.numpy()
    return scores


def model_for(fex: pd.DataFrame, au_model: str | Path | AUModel, device: str | torch.device) -> AUModel:
    """Load the model that looks at the faces again; warn if the table says that its scores are of another."""
    model = au_model if isinstance(au_model, AUModel) else AUModel(au_model, device, fetch=False)
    model = model.showing(known_aus(fex))
    made = MadeBy.of_table(fex)
    if made is not None and made.weights != model.digest:
        warnings.warn(
            f"the scores of the table are of other weights than {model.name}, which looks at its faces now", stacklevel=3
        )
    return model


def write_of_faces(fex: pd.DataFrame, found: pd.DataFrame, path: Path) -> None:
    """Write what was found of the faces of a table, .csv or .parquet, behind the columns that say which face it is."""
    named = fex[[name for name in ("input", "frame", *FACES) if name in fex]]
    with atomic_write(path) as part:
        write_pieces([named.join(found)], part, path.suffix)
