"""py-feat's Fex where it needs to know FG-Net: faces drawn from AUs, and pictures of video frames without FFmpeg."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import feat.data
import feat.utils.io
import pandas as pd
from feat.data import Fex as FeatFex
from feat.data import FexSeries as FeatFexSeries
from feat.pretrained import AU_LANDMARK_MAP
from feat.utils import (
    FEAT_EMOTION_COLUMNS,
    FEAT_FACEBOX_COLUMNS,
    FEAT_FACEPOSE_COLUMNS_6D,
    FEAT_GAZE_COLUMNS,
    FEAT_IDENTITY_COLUMNS,
    openface_2d_landmark_columns,
)

from fgnet_plugin.video import Video, torchcodec_works

AUS: list[str] = AU_LANDMARK_MAP["Feat"]
"""py-feat's 20 AU columns, ``AU01`` … ``AU43``."""
LANDMARKS: list[str] = openface_2d_landmark_columns
"""``x_0`` … ``x_67``, ``y_0`` … ``y_67``."""
FACEBOX: list[str] = FEAT_FACEBOX_COLUMNS
COLUMNS = {
    "au_columns": AUS,
    "emotion_columns": FEAT_EMOTION_COLUMNS,
    "facebox_columns": FEAT_FACEBOX_COLUMNS,
    "landmark_columns": LANDMARKS,
    "facepose_columns": FEAT_FACEPOSE_COLUMNS_6D,
    "gaze_columns": FEAT_GAZE_COLUMNS,
    "identity_columns": FEAT_IDENTITY_COLUMNS[1:],
}
"""The columns of a `Detectorv1`'s Fex by their kinds, as its metadata name them."""


class Fex(FeatFex):  # type: ignore[misc]  # py-feat has no types
    """What `Detector.detect` returns: py-feat's Fex, whose plots know FG-Net.

    AUs that the checkpoint does not know are NaN. Faces drawn from AUs (``plot_detections(faces="aus")``) show them as 0.
    """

    @property
    def _constructor(self) -> type[Fex]:
        return Fex

    @property
    def _constructor_sliced(self) -> Callable[..., FexSeries]:
        def series(*args: Any, **kwargs: Any) -> FexSeries:
            found: FexSeries = FexSeries(*args, **kwargs).__finalize__(self)
            return found

        return series

    def _prepare_plot_aus(self, row: pd.Series, muscles: object, gaze: object) -> tuple[Any, ...]:
        with _drawn_as_pyfeats(self):
            found: tuple[Any, ...] = super()._prepare_plot_aus(_unknown_as_absent(row), muscles, gaze)
            return found

    def plot_detections(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As py-feat's; video frames are decoded by PyAV where torchcodec can't."""
        with videos_decoded():
            figures: list[Any] = super().plot_detections(*args, **kwargs)
            return figures

    def iplot_detections(self, *args: Any, **kwargs: Any) -> Any:
        """As py-feat's; video frames are decoded by PyAV where torchcodec can't, and unknown AUs drawn as absent."""
        with videos_decoded():
            return FeatFex.iplot_detections(_unknown_as_absent(self), *args, **kwargs)


class FexSeries(FeatFexSeries):  # type: ignore[misc]  # py-feat has no types
    """A row or column of a `Fex`."""

    @property
    def _constructor(self) -> type[FexSeries]:
        return FexSeries

    @property
    def _constructor_expanddim(self) -> type[Fex]:
        return Fex

    def plot_detections(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As `Fex.plot_detections`, of one row."""
        return Fex(self).T.__finalize__(self).plot_detections(*args, **kwargs)


def _unknown_as_absent(rows: Any) -> Any:
    """A row or table with 0 in the place of AUs that are NaN."""
    known = rows.index if isinstance(rows, pd.Series) else rows.columns
    return rows.fillna({au: 0.0 for au in AUS if au in known})


@contextmanager
def _drawn_as_pyfeats(fex: Fex) -> Iterator[None]:
    """py-feat looks the face that it draws up by au_model, and has one for the 20 AUs of its own models."""
    name = fex.au_model
    if name is not None:
        fex.au_model = "xgb"
    try:
        yield
    finally:
        fex.au_model = name


@contextmanager
def videos_decoded() -> Iterator[None]:
    """Inside, py-feat's plots decode videos with PyAV where torchcodec lacks FFmpeg's libraries."""
    if torchcodec_works():
        yield
        return
    before = feat.data.decode_video, feat.utils.io.decode_video
    feat.data.decode_video = feat.utils.io.decode_video = Video
    try:
        yield
    finally:
        feat.data.decode_video, feat.utils.io.decode_video = before
