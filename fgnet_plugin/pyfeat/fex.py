"""A subclass of py-feat's Fex whose plots work with FG-Net's AUs, and decode videos with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import feat.data
import feat.utils.io
import pandas as pd
from feat.data import Fex as FeatFex
from feat.data import FexSeries as FeatFexSeries

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import AUS, EMOTIONS, FACEBOX, GAZE, IDENTITY, LANDMARKS, POSE
from fgnet_plugin.media.video import Video
from fgnet_plugin.pyfeat.faces_from_aus import face_model_available

COLUMNS = {
    "au_columns": AUS,
    "emotion_columns": EMOTIONS,
    "facebox_columns": FACEBOX,
    "landmark_columns": LANDMARKS,
    "facepose_columns": POSE,
    "gaze_columns": GAZE,
    "identity_columns": IDENTITY,
}
"""The columns of a `Detectorv1`'s Fex by their kinds, as its metadata name them."""


def columns_of(table: pd.DataFrame) -> dict[str, list[str]]:
    """List the columns of each kind that a table has; see `COLUMNS`."""
    present = set(table.columns)
    return {kind: [name for name in names if name in present] for kind, names in COLUMNS.items()}


class Fex(FeatFex):  # type: ignore[misc]  # py-feat has no types
    """What `Detector.detect` returns: py-feat's Fex, whose plots know FG-Net.

    AUs that the checkpoint does not know are NaN. Faces drawn from AUs (``plot_detections(faces="aus")``) show them as 0, and
    `predict`, `regress`, `clean`, `decompose` and `distance`, and `dropna` of a subset, go by the known ones.
    """

    def _known(self) -> Fex:
        """Leave out AUs without any value."""
        unknown = [au for au in AUS if au in self.columns and self[au].isna().all()]
        return self.drop(columns=unknown) if unknown else self

    def _parse_features_labels(self, X: Any, y: Any) -> Any:  # noqa: N803  (py-feat's names)
        features, labels = super()._parse_features_labels(X, y)
        return features._known() if isinstance(features, Fex) else features, labels

    def clean(self, *args: Any, **kwargs: Any) -> Fex:
        """Clean signals as py-feat does; unknown AUs stay NaN. Without filters, no sampling frequency is needed."""
        known = self._known()
        if known.sampling_freq is None and not (kwargs.get("low_pass") or kwargs.get("high_pass") or len(args) > 3):
            known = known.copy()
            known.sampling_freq = 1.0
        cleaned = FeatFex.clean(known, *args, **kwargs).reindex(columns=self.columns).__finalize__(self)
        return cleaned.set_axis(self.index)

    def decompose(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Decompose as py-feat does, without unknown AUs."""
        parts: dict[str, Any] = FeatFex.decompose(self._known(), *args, **kwargs)
        return parts

    def distance(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Compute the distances between rows as py-feat does, without unknown AUs."""
        return FeatFex.distance(self._known(), *args, **kwargs)

    def dropna(self, *args: Any, **kwargs: Any) -> Any:
        """Drop rows or columns as pandas does; of a `subset`, AUs that the checkpoint does not know don't count."""
        subset = kwargs.get("subset")
        if subset is not None and not isinstance(subset, str) and len(self):
            known = set(self._known().columns)
            kwargs["subset"] = [name for name in subset if name not in AUS or name in known]
        return super().dropna(*args, **kwargs)

    @property
    def _constructor(self) -> type[Fex]:
        return Fex

    @property
    def _constructor_sliced(self) -> Callable[..., FexSeries]:
        def series(*args: Any, **kwargs: Any) -> FexSeries:
            made: FexSeries = FexSeries(*args, **kwargs).__finalize__(self)
            return made

        return series

    def _prepare_plot_aus(self, row: pd.Series, muscles: object, gaze: object) -> tuple[Any, ...]:
        with _xgb_face_model(self):
            prepared: tuple[Any, ...] = super()._prepare_plot_aus(_unknown_as_absent(row), muscles, gaze)
            return prepared

    def plot_detections(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Plot the faces as py-feat does, also of several videos at once; PyAV decodes their frames.

        Returns:
            A figure for each frame. Where inputs share numbers of frames, those of the first input come first.

        ``faces="aus"`` is drawn with a model from py-feat's hub, or where that can't be reached, of py-feat's package.
        """
        # py-feat takes rows with the same frame number for faces of one picture.
        parts = self._by_input() if self._shared_frame() is not None else [self]
        from_aus = "aus" in (*args[:1], kwargs.get("faces"))
        with videos_from_pyav(), face_model_available() if from_aus else nullcontext():
            return [figure for part in parts for figure in FeatFex.plot_detections(part, *args, **kwargs)]

    def iplot_detections(self, *args: Any, **kwargs: Any) -> Any:
        """Plot the faces interactively as py-feat does; PyAV decodes video frames, and unknown AUs are drawn as absent.

        Raises:
            InputError: several inputs share a number of a frame, such as two videos; choose one.
        """
        frame = self._shared_frame()
        if frame is not None:
            names = ", ".join(dict.fromkeys(self["input"].astype(str)))
            raise InputError(
                f"frame {frame} belongs to several inputs ({names}), and the figure shows one: choose it, as in "
                "fex[fex['input'] == '…'].iplot_detections()"
            )
        with videos_from_pyav():
            return FeatFex.iplot_detections(_unknown_as_absent(self), *args, **kwargs)

    def _shared_frame(self) -> Any:
        """Find the first frame number that rows of several inputs share, or None."""
        if not {"input", "frame"} <= set(self.columns):
            return None
        inputs = pd.DataFrame(self)[["input", "frame"]].astype({"input": str}).groupby("frame", sort=False)["input"].nunique()
        shared = inputs.index[inputs > 1]
        return shared[0] if len(shared) else None

    def _by_input(self) -> list[Fex]:
        """Split the rows by input, in the order in which inputs appear."""
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
        """Plot one row; see `Fex.plot_detections`."""
        return Fex(self).T.__finalize__(self).plot_detections(*args, **kwargs)


def _unknown_as_absent(rows: Any) -> Any:
    """Replace NaN by 0 in the AUs of a row or table."""
    known = rows.index if isinstance(rows, pd.Series) else rows.columns
    return rows.fillna({au: 0.0 for au in AUS if au in known})


@contextmanager
def _xgb_face_model(fex: Fex) -> Iterator[None]:
    """Give the Fex the au_model by which py-feat finds the face that it draws from 20 AUs."""
    name = fex.au_model
    if name is not None:
        fex.au_model = "xgb"
    try:
        yield
    finally:
        fex.au_model = name


@contextmanager
def videos_from_pyav() -> Iterator[None]:
    """Let py-feat's plots decode videos with PyAV, which brings its FFmpeg libraries along; torchcodec does not."""
    before = feat.data.decode_video, feat.utils.io.decode_video
    feat.data.decode_video = feat.utils.io.decode_video = Video
    try:
        yield
    finally:
        feat.data.decode_video, feat.utils.io.decode_video = before
