"""Training the landmark network: distance of the points where there is a face, and whether there is one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.faces.landmark_net import FORMAT, WEIGHTS, LandmarkNet
from fgnet_plugin.training.collectives import gathered
from fgnet_plugin.training.config.detector import LandmarksConfig
from fgnet_plugin.training.config.yaml_dataclass import plain
from fgnet_plugin.training.data.flip import mirror
from fgnet_plugin.training.data.loading import Corpus, StepSampler
from fgnet_plugin.training.engine.stage import Batch, Stage
from fgnet_plugin.utils import safetensors_file

SMOOTH_BELOW = 0.02
"""Smooth-L1 loss is quadratic for errors below this, in crop units (2 is the crop's side)."""
WING_WIDTH, WING_CURVATURE = 0.1, 0.02
"""The wing loss (Feng et al., CVPR 2018): its logarithmic part's width and curvature, in crop units."""
CONFIDENCE_WEIGHT = 0.05
"""Weight of the confidence's cross-entropy beside the points' loss."""


class LandmarkStage(Stage):
    """The landmark network in training; exported to ``out/face-landmarks.safetensors``, float16.

    Args:
        net: the network.
        config: the settings.
        corpus, val_corpus: samples are dicts with "image" uint8 [3, S, S], "landmarks" [68, 2] in pixels of it, and "face",
            1 or 0: where 0, the landmarks mean nothing.
        sampler: of the corpus.
    """

    monitor, maximise = "error", False
    net: LandmarkNet
    average: LandmarkNet | None

    def __init__(
        self, net: LandmarkNet, config: LandmarksConfig, corpus: Corpus, val_corpus: Corpus, sampler: StepSampler
    ) -> None:
        super().__init__(net, corpus, val_corpus, sampler, config.optimiser, config.trainer, plain(config))
        self.config = config
        self._errors: list[Tensor] = []
        self._right: list[Tensor] = []

    @property
    def trained(self) -> LandmarkNet:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a batch."""
        images, landmarks, face = batch["image"], batch["landmarks"], batch["face"] > 0.5
        if self.config.flip:
            images, landmarks = mirror(images, landmarks, (self.uniform(len(images)) < 0.5).to(images.device))
        points, confidence = self.net(images.float() / 127.5 - 1)
        error = (points.float() - crop_units(landmarks, images.shape[-1]))[face]
        faces_of_step = batch.get("step_face", batch["face"]) > 0.5
        loss = point_loss(error, self.config.loss) * self.weight(face.sum(), faces_of_step.sum())
        return loss + CONFIDENCE_WEIGHT * F.binary_cross_entropy_with_logits(confidence.float(), face.float())

    def validation_step(self, batch: Batch) -> None:
        """Gathers a batch's errors."""
        images, face = batch["image"], batch["face"] > 0.5
        points, confidence = self.trained(images.float() / 127.5 - 1)
        truth = crop_units(batch["landmarks"], images.shape[-1])
        self._errors.append(relative_error(points.float()[face], truth[face]).cpu())
        self._right.append(((confidence > 0) == face).float().cpu())

    def validation_metrics(self) -> dict[str, float]:
        """Mean and 90th percentile of the faces' errors, and the confidence's accuracy."""
        errors, right = gathered(torch.cat(self._errors)), gathered(torch.cat(self._right))
        self._errors, self._right = [], []
        return {
            "error": errors.mean().item(),
            "error_90": errors.quantile(0.9).item() if len(errors) else float("nan"),
            "confidence_accuracy": right.mean().item(),
        }

    def metric_names(self) -> list[str]:
        """Mean and 90th percentile of the faces' errors, as parts of the inter-ocular distance; how often "a face" is right."""
        return ["error", "error_90", "confidence_accuracy"]

    def export(self, metrics: dict[str, float], step: int) -> None:
        """Writes ``face-landmarks.safetensors``."""
        training = {"by": "fgnet train landmarks", "step": step, "validation": metrics, "recipe": self.recipe}
        metadata = {"format": FORMAT, "training": json.dumps(training)}
        safetensors_file.write(Path(self.machine.out) / WEIGHTS, self.trained.state_dict(), metadata, half=True)


def crop_units(landmarks: Tensor, size: int) -> Tensor:
    """Landmarks in pixel indices of a crop of that size -> units in which the crop's corners are (-1, -1) and (1, 1)."""
    return (landmarks + 0.5) * (2 / size) - 1


def point_loss(error: Tensor, kind: str) -> Tensor:
    """Mean loss of errors [F, 68, 2] in crop units: "smooth-l1" or "wing"; 0 where there is no face."""
    if not len(error):
        return error.sum()
    if kind == "smooth-l1":
        return F.smooth_l1_loss(error, torch.zeros_like(error), beta=SMOOTH_BELOW)
    size = error.abs()
    width, bend = WING_WIDTH, WING_CURVATURE
    offset = width - width * torch.log1p(size.new_tensor(width / bend))
    return torch.where(size < width, width * torch.log1p(size / bend), size - offset).mean()


def relative_error(points: Tensor, truth: Tensor) -> Tensor:
    """Each face's mean distance [F] of points [F, 68, 2] from the truth, as a part of its outer eye corners' distance."""
    between = (truth[:, 45] - truth[:, 36]).norm(dim=-1)
    return (points - truth).norm(dim=-1).mean(1) / between
