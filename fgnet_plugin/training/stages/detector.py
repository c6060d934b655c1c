"""Training FG-Net: mean squared error of the unclamped heatmaps, all three parts together (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, save
from fgnet_plugin.network import FGNet, decode, normalize
from fgnet_plugin.training.config.detector import DetectorConfig
from fgnet_plugin.training.data.augment import change_looks
from fgnet_plugin.training.data.heatmap_targets import heatmap_loss, heatmap_targets
from fgnet_plugin.training.data.loading import Corpus, StepSampler
from fgnet_plugin.training.engine.stage import Batch
from fgnet_plugin.training.models.systems import FGNET_FILE
from fgnet_plugin.training.stages.au_base import AUStage, Chosen, known_entropy, without_unknown

LANDMARKS = 68


class DetectorStage(AUStage):
    """FG-Net in training; what it learns is exported to ``out/fgnet.safetensors`` whenever validation finds it better.

    Args:
        net: the network. Its ToRGB layers take no part and stay as they are.
        config: the settings.
        corpus, val_corpus, sampler, chosen: see `AUStage`.
        licence: of the weights that the network starts from.
    """

    net: FGNet
    average: FGNet | None

    def __init__(
        self,
        net: FGNet,
        config: DetectorConfig,
        corpus: Corpus,
        val_corpus: Corpus | None,
        sampler: StepSampler,
        licence: str = "",
        chosen: Chosen | None = None,
    ) -> None:
        net.generator.to_rgb.requires_grad_(False)
        super().__init__(net, net.aus, config, corpus, val_corpus, sampler, chosen)
        self.licence = licence
        self.guide: nn.Linear | None = None  # the auxiliary head; checkpoints know it by its section's name
        if config.guide.labels or config.guide.landmarks:
            self.guide = nn.Linear(net.config.n_layers * net.config.style_dim, len(net.aus) + 2 * LANDMARKS)

    @property
    def trained(self) -> FGNet:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def backbone(self) -> Iterator[nn.Parameter]:
        """See `Stage.backbone`."""
        return chain(self.net.encoder.parameters(), self.net.generator.parameters())

    def use_channels_last(self) -> None:
        """Nothing: `FGNet.prepare` has set the layout, which differs between its weights."""

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a batch: over known labels only."""
        (images, landmarks), labels = self.faces(batch), without_unknown(batch["labels"])
        weight = self.label_weight(batch, labels)
        with torch.autocast(images.device.type, enabled=False):
            faces = change_looks(normalize(images), self.config.data.looks)
        with _codes(self.net) as codes:
            loss = self.loss(self.net, faces, landmarks, labels)[0] * weight
        if self.guide is not None:
            read = self.guide(codes[0].flatten(1)).float()
            loss = loss + self.head_loss(read, landmarks, labels, images.shape[-1], weight)
        return loss

    def loss(self, net: FGNet, images: Tensor, landmarks: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and heatmaps [B, A, H, H], of images [B, 3, S, S], uint8 or in [-1, 1], with landmarks in their pixels."""
        heatmaps = net(normalize(images)).float()
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 would round the points to half a pixel
            size = net.config.heatmap_size
            targets, known = heatmap_targets(landmarks.float(), labels, net.aus, size, image_size=images.shape[-1])
            return heatmap_loss(heatmaps, targets, known), heatmaps

    def head_loss(self, read: Tensor, landmarks: Tensor, labels: Tensor, size: int, weight: Tensor | float = 1.0) -> Tensor:
        """Loss of what the auxiliary head reads, [B, A + 2·68]: logits of the AUs, and landmarks with the face's corners at ±1.

        The `weight` is `label_weight`, for the AUs' part.
        """
        logits, points = read[:, : labels.shape[1]], read[:, labels.shape[1] :]
        error = F.mse_loss(points, ((landmarks + 0.5) * (2 / size) - 1).flatten(1))
        return self.config.guide.labels * weight * known_entropy(logits, labels) + self.config.guide.landmarks * error

    def validate(self, batch: Batch, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `AUStage.validate`."""
        loss, heatmaps = self.loss(self.trained, batch["image"], batch["landmarks"], labels)
        return loss, decode(heatmaps)

    def export(self, metrics: dict[str, float], step: int) -> None:
        """Writes ``fgnet.safetensors``, which `fgnet_plugin.load` reads."""
        settings = self.config.export
        licence = " ".join(filter(None, (settings.licence, self.licence)))
        training = self.summary(metrics, step)
        info = CheckpointInfo(
            self.net.config, settings.corpus, fold=self.fold, training=training, licence=licence, padding=self.padding
        )
        save(self.trained, Path(self.machine.out) / FGNET_FILE, info, half=settings.half)


@contextmanager
def _codes(net: FGNet) -> Iterator[list[Tensor]]:
    """Gathers the latent codes [B, rows, style_dim] that the encoder hands on inside the block."""
    codes: list[Tensor] = []
    hook = net.encoder.register_forward_hook(lambda module, inputs, output: codes.append(output))
    try:
        yield codes
    finally:
        hook.remove()
