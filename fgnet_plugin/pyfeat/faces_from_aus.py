"""Faces that py-feat draws from AUs: without a download, and with AUs that a checkpoint does not know."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import feat
import feat.plotting
import numpy as np
from feat.plotting import PLSAULandmarkModel
from feat.utils.blendshape_to_au import DLIB68_FROM_MP478

from fgnet_plugin.pyfeat.hub import missing, reachable, weights_available

_MODELS: dict[str, Any] = feat.plotting._PLS_LMK_MODELS
"""Where py-feat keeps the models that it has loaded."""
_VERSION = "v2"  # of 20 AUs
_MESH = Path(feat.__file__).parent / "resources" / "au_to_mesh_pls_v4.npz"
_VERTICES = 478


@cache
def from_mesh_model() -> PLSAULandmarkModel:
    """Make a model from 20 AUs to 68 landmarks of the AU-to-mesh model that py-feat's wheel carries.

    Its 478 vertices are MediaPipe's, of which py-feat takes 68 for dlib's landmarks. Their y axis points up.
    """
    with np.load(_MESH, allow_pickle=False) as file:
        points = np.asarray(DLIB68_FROM_MP478)
        columns = np.concatenate([points, _VERTICES + points])
        sign = np.repeat(np.array([1, -1], np.float32), len(points))
        coef, intercept = file["coef"][:, columns] * sign, file["intercept"][columns] * sign
        return PLSAULandmarkModel(coef, intercept, [str(au) for au in file["au_columns"]], "au_to_mesh_pls_v4")


@contextmanager
def face_model_available() -> Iterator[None]:
    """Let py-feat load the model that draws a face from 20 AUs.

    Where its hub can't be reached and the model is not on this machine, it is `from_mesh_model`, with a warning.
    """
    if _VERSION in _MODELS:  # loaded before, so that the hub need not be asked
        yield
    elif not missing({"faces": "aus"}) or reachable():
        with weights_available({"faces": "aus"}):
            yield
    else:
        warnings.warn(
            "faces are drawn with the AU-to-mesh model of py-feat's package: au_to_landmarks is not on this machine, and "
            "py-feat's hub can't be reached",
            stacklevel=5,
        )
        _MODELS[_VERSION] = from_mesh_model()
        try:
            yield
        finally:
            del _MODELS[_VERSION]


def drawable(plot_face: Any) -> Any:
    """Wrap `feat.plotting.plot_face`, so that unknown AUs (NaN) are drawn as absent, with a warning, and also offline."""

    def plot(au: Any = None, model: Any = None, *args: Any, **kwargs: Any) -> Any:
        if au is not None and not isinstance(au, str):
            au = np.asarray(au, float)
            if np.isnan(au).any():
                warnings.warn("AUs that are not known are drawn as absent", stacklevel=2)
                au = np.nan_to_num(au, nan=0.0)
        if model is not None:
            return plot_face(au, model, *args, **kwargs)
        with face_model_available():
            return plot_face(au, None, *args, **kwargs)

    plot.__doc__, plot.__name__ = plot_face.__doc__, plot_face.__name__
    return plot
