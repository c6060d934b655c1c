"""Training FG-Net: mean squared error of the unclamped heatmaps, all three parts together (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.checkpoints import CheckpointInfo, save
from fgnet_plugin.network import FGNet, decode, normalize
from fgnet_plugin.training.config import DetectorConfig
from fgnet_plugin.training.evaluation import AUMetrics
from fgnet_plugin.training.loading import Corpus, StepSampler
from fgnet_plugin.training.mirror import mirror
from fgnet_plugin.training.stage import Batch, Stage
from fgnet_plugin.training.strict_yaml import plain
from fgnet_plugin.training.targets import heatmap_loss, heatmap_targets

LANDMARKS = 68


class DetectorStage(Stage):
    """FG-Net in training; what it learns is exported to ``out/fgnet.safetensors`` whenever validation finds it better.

    Args:
        net: the network. Its ToRGB layers take no part and stay as they are.
        config: the settings.
        corpus, val_corpus: samples are dicts with "image" uint8 [3, S, S], "landmarks" [68, 2] in pixels of it, and
            "labels" [A] 1, 0 or NaN (unknown), in the order of ``net.aus``.
        sampler: of the corpus.
        licence: of the weights that the network starts from.
    """

    monitor, maximise = "auc", True
    net: FGNet
    average: FGNet | None

    def __init__(
        self, net: FGNet, config: DetectorConfig, corpus: Corpus, val_corpus: Corpus, sampler: StepSampler, licence: str = ""
    ) -> None:
        net.generator.to_rgb.requires_grad_(False)
        super().__init__(net, corpus, val_corpus, sampler, config.optimiser, config.trainer, plain(config))
        self.config, self.licence = config, licence
        self.guide: nn.Linear | None = None
        if config.guide.labels or config.guide.landmarks:
            self.guide = nn.Linear(net.config.n_layers * net.config.style_dim, len(net.aus) + 2 * LANDMARKS)
        self.metrics = AUMetrics(net.aus)
        self._losses: list[Tensor] = []

    @property
    def trained(self) -> FGNet:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch: over known labels only."""
        images, landmarks, labels = batch["image"], batch["landmarks"], without_unknown(batch["labels"])
        if self.config.data.flip:
            which = (torch.rand(len(images)) < 0.5).to(images.device)
            images, landmarks = mirror(images, landmarks, which)
        with _codes(self.net) as codes:
            loss, _ = self.loss(self.net, images, landmarks, labels)
        if self.guide is not None:
            loss = loss + self.guide_loss(self.guide(codes[0].flatten(1)).float(), landmarks, labels, images.shape[-1])
        self.log("loss", loss, prog_bar=True, logger=False)
        return loss

    def loss(self, net: FGNet, images: Tensor, landmarks: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and heatmaps [B, A, H, H], of images uint8 [B, 3, S, S] with landmarks in their pixels."""
        heatmaps = net(normalize(images)).float()
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 would round the points to half a pixel
            size = net.config.heatmap_size
            targets, known = heatmap_targets(landmarks.float(), labels, net.aus, size, image_size=images.shape[-1])
            return heatmap_loss(heatmaps, targets, known), heatmaps

    def guide_loss(self, read: Tensor, landmarks: Tensor, labels: Tensor, size: int) -> Tensor:
        """Loss of what the guide reads, [B, A + 2·68]: logits of the AUs, and landmarks with the face's corners at ±1."""
        logits, points = read[:, : labels.shape[1]], read[:, labels.shape[1] :]
        known = ~labels.isnan()
        entropy = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
        mean_entropy = torch.where(known, entropy, 0.0).sum() / known.sum().clamp(min=1)
        error = F.mse_loss(points, ((landmarks + 0.5) * (2 / size) - 1).flatten(1))
        return self.config.guide.labels * mean_entropy + self.config.guide.landmarks * error

    def on_validation_epoch_start(self) -> None:
        """Forgets the last validation."""
        self.metrics.reset()
        self._losses = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gathers the activations of a batch."""
        labels = without_unknown(batch["labels"])
        loss, heatmaps = self.loss(self.trained, batch["image"], batch["landmarks"], labels)
        self.metrics.update(decode(heatmaps), labels)
        self._losses.append(loss)

    def on_validation_epoch_end(self) -> None:
        """Evaluates them."""
        self.figures = {"loss": torch.stack(self._losses).mean().item()} | self.metrics.compute()
        self.log_dict({"val_auc": self.figures["auc"], "val_f1": self.figures["f1"]}, prog_bar=True, logger=False)

    def figure_names(self) -> list[str]:
        """Loss, mean F1 and AUC, and each AU's."""
        return ["loss", "f1", "auc", *(f"{measure}/{au}" for au in self.net.aus for measure in ("f1", "auc"))]

    def export(self, figures: dict[str, float], step: int) -> None:
        """Writes ``fgnet.safetensors``, which `fgnet_plugin.load` reads."""
        training: dict[str, Any] = {"by": "fgnet train detector", "step": step, "validation": figures, "recipe": self.recipe}
        settings = self.config.export
        licence = " ".join(filter(None, (settings.licence, self.licence)))
        info = CheckpointInfo(self.net.config, corpus=settings.corpus, training=training, licence=licence)
        save(self.trained, Path(self.machine.out) / "fgnet.safetensors", info, half=settings.half)


def without_unknown(labels: Tensor) -> Tensor:
    """Labels with FACS' 9, "not codable", as NaN."""
    return labels.masked_fill(labels == 9, torch.nan)


@contextmanager
def _codes(net: FGNet) -> Iterator[list[Tensor]]:
    """Gathers the latent codes [B, rows, style_dim] that the encoder hands on inside the block."""
    codes: list[Tensor] = []
    hook = net.encoder.register_forward_hook(lambda module, inputs, output: codes.append(output))
    try:
        yield codes
    finally:
        hook.remove()
