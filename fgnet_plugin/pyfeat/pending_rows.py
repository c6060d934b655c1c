"""Rows of a batch whose scores are still being computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import AUS, LANDMARKS
from fgnet_plugin.inference.inputs import Item, full_resolution_frames
from fgnet_plugin.utils.deferred import Deferred

Scores = npt.NDArray[np.floating[Any]]
"""[F, 20], in the order of `AUS`."""


def pending_rows(
    rows: pd.DataFrame, scores: Deferred[Scores] | None, others: Mapping[str, Deferred[Scores]]
) -> Deferred[pd.DataFrame]:
    """Complete the rows of a batch once their AUs are computed; what a GPU holds for them is then let go.

    Args:
        rows: from py-feat, a row for each face or frame without one.
        scores: of the detector's FG-Net, None where its AU model is py-feat's.
        others: AU model -> the scores of those beside the detector's, which become columns ``MODEL:AU12``.
    """

    def wait() -> pd.DataFrame:
        if scores is not None:
            rows[AUS] = scores.result()
        without_face = rows["FaceRectX"].isna().to_numpy()[:, None]
        extra = [
            pd.DataFrame(np.where(without_face, np.nan, other.result()), columns=[f"{name}:{au}" for au in AUS])
            for name, other in others.items()
        ]
        return pd.concat([rows, *extra], axis=1).copy()  # in one piece, to which pandas adds columns more quickly

    return Deferred(wait)


def submit_faces(model: AUModel, rows: pd.DataFrame, counts: Sequence[int], batch_data: Item) -> Deferred[Scores]:
    """Start to read a batch's faces with FG-Net.

    Args:
        model: FG-Net.
        rows: with py-feat's landmarks, in pixels of the original frames.
        counts: how many rows each frame has.
        batch_data: the frames, see `full_resolution_frames`.
    """
    points = torch.from_numpy(rows[LANDMARKS].to_numpy(np.float64).reshape(-1, 2, 68).swapaxes(1, 2).copy())
    frames = full_resolution_frames(batch_data)
    landmarks = [frame.to_pixels(part) for frame, part in zip(frames, torch.split(points, list(counts)), strict=True)]
    reading = model.submit([frame.image for frame in frames], landmarks)
    known, shape = [AUS.index(au) for au in model.aus], (len(points), len(AUS))

    def wait() -> Scores:
        scores = np.full(shape, np.nan, np.float32)
        scores[:, known] = reading.result().scores.numpy()
        return scores

    return Deferred(wait)
