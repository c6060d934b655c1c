"""Check which models a detector takes, and which go together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feat.detector import Detectorv1

from fgnet_plugin.inference.au_model import names
from fgnet_plugin.inference.offline import BUNDLED

SUPPORTED: Mapping[str, dict[str, Any]] = {
    **Detectorv1.SUPPORTED_MODELS,
    "face_model": {"options": [*Detectorv1.SUPPORTED_MODELS["face_model"]["options"], BUNDLED], "default": "retinaface"},
    "landmark_model": {
        "options": [*Detectorv1.SUPPORTED_MODELS["landmark_model"]["options"], BUNDLED],
        "default": "mobilefacenet",
    },
    "au_model": {"options": [*Detectorv1.SUPPORTED_MODELS["au_model"]["options"], *names()], "default": "xgb"},
}
"""`Detector.SUPPORTED_MODELS`: py-feat's table with the models of this package."""


def check_models(models: Mapping[str, str | Path | None], fgnet: bool) -> None:
    """Raise ValueError for unknown models, or ones that don't go together."""
    for argument, name in models.items():
        known = SUPPORTED[argument]["options"]
        # py-feat does not list these two, but takes them.
        if name in known or (argument, name) in (("landmark_model", None), ("identity_model", "arcface_r50")):
            continue
        if argument != "au_model" or not fgnet:
            files = ", and paths of checkpoints" if argument == "au_model" else ""
            raise ValueError(f"{argument} must be one of {', '.join(map(str, known))}{files}; got {str(name)!r}")
    face_model, landmark_model = models["face_model"], models["landmark_model"]
    if landmark_model == BUNDLED and face_model != BUNDLED:
        raise ValueError(f"landmark_model={BUNDLED!r} goes with face_model={BUNDLED!r}, not with {face_model!r}")
    if models["au_model"] is not None and landmark_model is None:
        raise ValueError(f"au_model={str(models['au_model'])!r} needs landmarks: landmark_model must not be None")
