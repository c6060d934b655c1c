"""py-feat's Fex where it needs to know FG-Net: faces drawn from AUs, and pictures of video frames without FFmpeg."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import feat.data
import feat.plotting
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

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.video import Video, torchcodec_works
from fgnet_plugin.pyfeat.hub import weights_at_hand

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
        """As py-feat's, also of several videos at once; frames are decoded by PyAV where torchcodec can't.

        Returns:
            A figure for each frame. Where inputs share numbers of frames, those of the first input come first.

        Raises:
            DownloadError: ``faces="aus"`` needs a model from py-feat's hub, which is neither on this machine nor reachable.
        """
        # py-feat takes rows of the same frame number for faces of one picture
        parts = self._by_input() if self._shared_frame() is not None else [self]
        from_aus = "aus" in (*args[:1], kwargs.get("faces"))
        with videos_decoded(), _face_from_aus_at_hand() if from_aus else nullcontext():
            return [figure for part in parts for figure in FeatFex.plot_detections(part, *args, **kwargs)]

    def iplot_detections(self, *args: Any, **kwargs: Any) -> Any:
        """As py-feat's; video frames are decoded by PyAV where torchcodec can't, and unknown AUs drawn as absent.

        Raises:
            InputError: several inputs share a number of a frame, such as two videos; choose one.
        """
        frame = self._shared_frame()
        if frame is not None:
            names = ", ".join(dict.fromkeys(self["input"].astype(str)))
            raise InputError(
                f"frame {frame} is there of several inputs ({names}), and the figure shows one: choose it, as in "
                "fex[fex['input'] == '…'].iplot_detections()"
            )
        with videos_decoded():
            return FeatFex.iplot_detections(_unknown_as_absent(self), *args, **kwargs)

    def _shared_frame(self) -> Any:
        """The first number of a frame that rows of several inputs have, or None."""
        if not {"input", "frame"} <= set(self.columns):
            return None
        inputs = pd.DataFrame(self)[["input", "frame"]].astype({"input": str}).groupby("frame", sort=False)["input"].nunique()
        shared = inputs.index[inputs > 1]
        return shared[0] if len(shared) else None

    def _by_input(self) -> list[Fex]:
        """The rows of each input, in the order in which inputs appear."""
        inputs = self["input"].astype(str).to_numpy()
        return [self[inputs == name] for name in dict.fromkeys(inputs)]


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
def _face_from_aus_at_hand() -> Iterator[None]:
    """Inside, py-feat has the model that draws a face from 20 AUs; DownloadError, not half a minute of retries, without."""
    if "v2" in getattr(feat.plotting, "_PLS_LMK_MODELS", {}):  # loaded before: the hub need not be asked whether it answers
        yield
        return
    with weights_at_hand({"faces": "aus"}):
        yield


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
