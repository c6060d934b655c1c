"""What `Detector.forward` returns, in two steps: FG-Net's part is begun, and later waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.pyfeat.datasets import Item, frames_at_hand
from fgnet_plugin.pyfeat.fex import AUS, LANDMARKS

Aus = np.ndarray[Any, Any]
"""[F, 20] float, in py-feat's order."""
Later = Callable[[], Aus]


class BegunRows:
    """The rows of a batch, whose AUs may still be on their way.

    Args:
        rows: a row for each face or frame without one, from py-feat.
        own: the AUs of the detector's FG-Net, None where its AU model is py-feat's.
        others: AU model -> the AUs of those beside the detector's own.
    """

    def __init__(self, rows: pd.DataFrame, own: Later | None, others: Mapping[str, Later]) -> None:
        self._rows, self._own, self._others = rows, own, dict(others)

    def finish(self) -> pd.DataFrame:
        """The rows, complete. To be called once: what a GPU holds for them is then let go."""
        rows = self._rows
        empty = rows["FaceRectX"].isna().to_numpy()
        if self._own is not None:
            rows[AUS] = self._own()
        for name, later in self._others.items():
            values = np.where(empty[:, None], np.nan, later())
            rows = pd.concat([rows, pd.DataFrame(values, columns=[f"{name}:{au}" for au in AUS])], axis=1)
        self._own, self._others = None, {}
        return rows.copy()  # in one piece, which pandas takes columns to more quickly


def begin_reading(model: AUModel, rows: pd.DataFrame, counts: Sequence[int], batch_data: Item) -> Later:
    """Begins to read a batch's faces with FG-Net; what is returned waits for their AUs.

    Args:
        model: FG-Net.
        rows: with py-feat's landmarks, in pixels of the original frames.
        counts: how many rows each frame has.
        batch_data: the frames, see `frames_at_hand`.
    """
    points = torch.from_numpy(rows[LANDMARKS].to_numpy(np.float64).reshape(-1, 2, 68).swapaxes(1, 2).copy())
    frames = frames_at_hand(batch_data)
    landmarks = [frame.to_pixels(of_frame) for frame, of_frame in zip(frames, torch.split(points, list(counts)), strict=True)]
    pending = model.begin([frame.image for frame in frames], landmarks)
    known = [AUS.index(au) for au in model.aus]

    def later() -> Aus:
        found = np.full((len(points), len(AUS)), np.nan, np.float32)
        found[:, known] = pending.result().scores.numpy()
        return found

    return later
