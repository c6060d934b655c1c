"""py-feat's AU models "xgb" and "svm"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from feat.au_detectors.StatLearning.SL_test import SVMClassifier, XGBClassifier
from feat.pretrained import load_model_weights

_CLASSES = {"xgb": XGBClassifier, "svm": SVMClassifier}


def load_xgb_svm(name: str) -> Any:
    """Load py-feat's AU model "xgb" or "svm"."""
    weights = load_model_weights("au", name)
    model = _CLASSES[name]()
    model.load_weights(classifiers=weights.pop("au_classifiers"), **weights)
    return model


class SeveralModels:
    """Several of py-feat's AU models in the place of one, on the same features.

    Args:
        first: whose AUs py-feat gets; None for NaN.
        others: name -> model.

    Attributes:
        others_aus: name -> AUs of the last batch.
    """

    def __init__(self, first: Any, others: Mapping[str, Any]) -> None:
        self.first, self.others = first, others
        self.others_aus: dict[str, Any] = {}

    def detect_au(self, frame: Any, landmarks: Any) -> Any:
        """Compute the AUs of all models as py-feat's models do, and return those of the first."""
        self.others_aus = {name: model.detect_au(frame=frame, landmarks=landmarks) for name, model in self.others.items()}
        first = next(iter(self.others_aus.values()))
        return np.full_like(first, np.nan) if self.first is None else self.first.detect_au(frame=frame, landmarks=landmarks)
