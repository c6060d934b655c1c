"""py-feat's statistical AU models "xgb" and "svm": one loaded, or several in the place of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from feat.au_detectors.StatLearning.SL_test import SVMClassifier, XGBClassifier
from feat.pretrained import load_model_weights

_STATISTICAL = {"xgb": XGBClassifier, "svm": SVMClassifier}


def load_statistical(name: str) -> Any:
    """py-feat's AU model "xgb" or "svm", loaded."""
    weights = load_model_weights("au", name)
    model = _STATISTICAL[name]()
    model.load_weights(classifiers=weights.pop("au_classifiers"), **weights)
    return model


class Several:
    """Several of py-feat's AU models in the place of one, on the same features."""

    def __init__(self, first: Any, others: Mapping[str, Any]) -> None:
        self.first, self.others = first, others
        self.found: dict[str, Any] = {}

    def detect_au(self, frame: Any, landmarks: Any) -> Any:
        """As py-feat's models: the AUs of the first, NaN where there is none; those of the others are then in `found`."""
        self.found = {name: model.detect_au(frame=frame, landmarks=landmarks) for name, model in self.others.items()}
        first = next(iter(self.found.values()))
        return np.full_like(first, np.nan) if self.first is None else self.first.detect_au(frame=frame, landmarks=landmarks)
