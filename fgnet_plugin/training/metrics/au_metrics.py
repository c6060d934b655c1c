"""How well activations tell faces with an AU from those without: F1 and area under the ROC curve, AU by AU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_f1_score

from fgnet_plugin.training.collectives import gathered


class AUMetrics:
    """Gathers activations and labels batch by batch; unknown labels (NaN) count for nothing.

    Example:
        >>> metrics = AUMetrics(("AU06", "AU12"))
        >>> labels = torch.tensor([[1, 0], [0, 1], [1, torch.nan]])
        >>> metrics.update(torch.tensor([[0.2, -0.1], [-0.2, 0.1], [0.1, 0.3]]), labels)
        >>> metrics.compute()
        {'f1': 1.0, 'auc': 1.0, 'f1/AU06': 1.0, 'auc/AU06': 1.0, 'f1/AU12': 1.0, 'auc/AU12': 1.0}
    """

    def __init__(self, aus: Sequence[str]) -> None:
        self.aus = tuple(aus)
        self._activations: list[Tensor] = []
        self._labels: list[Tensor] = []

    def update(self, activations: Tensor, labels: Tensor) -> None:
        """Adds faces: activations [B, A] in [-1, 1], see `network.decode`; labels [B, A] 1, 0 or NaN."""
        self._activations.append(activations.detach().float().cpu())
        self._labels.append(labels.detach().float().cpu())

    def reset(self) -> None:
        """Forgets all faces."""
        self._activations, self._labels = [], []

    def compute(self) -> dict[str, float]:
        """Metrics of all faces so far, of all processes that train together: each of them must call it.

        Returns:
            ``{"f1": mean, "auc": mean, "f1/AU01": …, "auc/AU01": …, …}`` in [0, 1]. F1 is at the published decision,
            activation > 0. An AU that no face has is without F1, and one without a face of each kind is without AUC:
            NaN, and left out of the means.
        """
        activations, labels = gathered(torch.cat(self._activations)), gathered(torch.cat(self._labels))
        of_each: dict[str, float] = {}
        for au, activation, label in zip(self.aus, activations.t(), labels.t(), strict=True):
            known = ~label.isnan()
            # torchmetrics takes values outside [0, 1] for logits: bring activations there, and the decision to 0.5.
            score, truth = (activation[known] + 1) / 2, label[known] > 0.5
            has_both = bool(truth.any()) and not bool(truth.all())
            of_each[f"f1/{au}"] = binary_f1_score(score, truth.long()).item() if truth.any() else math.nan
            of_each[f"auc/{au}"] = binary_auroc(score, truth.long()).item() if has_both else math.nan
        return {name: _mean([v for k, v in of_each.items() if k.startswith(f"{name}/")]) for name in ("f1", "auc")} | of_each


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
