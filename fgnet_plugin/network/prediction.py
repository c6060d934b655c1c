"""What the network says of aligned faces: heatmaps, activations, and scores made of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SCORE_SLOPE = 16.0
"""Slope of the logistic that turns an activation into a score; see `scores`."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result for a batch of B faces: A action units each.

    Example:
        >>> heatmaps = torch.tensor([0.1, -0.1]).view(1, 2, 1, 1).expand(1, 2, 64, 64)  # of one face
        >>> found = Prediction(("AU06", "AU12"), heatmaps, heatmaps.mean((2, 3)))
        >>> dict(zip(found.aus, found.present[0].tolist()))
        {'AU06': True, 'AU12': False}
    """

    aus: tuple[str, ...]
    """Names of the AUs, in channel order: ``"AU01"``, …"""
    heatmaps: Tensor
    """[B, A, H, H] float32, about [-1, 1], unclamped: positive where the face speaks for the AU, negative where against it."""
    activations: Tensor
    """[B, A] float32 in [-1, 1]: mean of the clamped heatmap."""

    @property
    def scores(self) -> Tensor:
        """[B, A] float32 in [0, 1]: see the function `scores`."""
        return scores(self.activations)

    @property
    def present(self) -> Tensor:
        """[B, A] bool, the published decision: activation > 0."""
        return self.activations > 0

    def to(self, device: torch.device | str) -> Prediction:
        """Copy the prediction to another device."""
        return Prediction(self.aus, self.heatmaps.to(device), self.activations.to(device))


def scores(activations: Tensor) -> Tensor:
    """Turn activations in [-1, 1] into scores in [0, 1]: ``sigmoid(16 · activation)``.

    Monotone, and exactly 0.5 at activation 0, so that ``score > 0.5`` is the published decision. A heatmap that equals its
    training target has an activation of ±0.23 to ±0.29, depending on the AU (most of a target is zero): the slope puts
    these at 0.02 and 0.98, and ±0.1 at 0.17 and 0.83. A score is no calibrated probability.

    Example:
        >>> scores(torch.tensor([-0.25, -0.1, 0.0, 0.1, 0.25])).round(decimals=2)
        tensor([0.0200, 0.1700, 0.5000, 0.8300, 0.9800])
    """
    return torch.sigmoid(SCORE_SLOPE * activations)
