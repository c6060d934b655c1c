"""What training FG-Net and training the baseline share: how they are validated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fgnet_plugin.action_units import NOT_CODABLE
from fgnet_plugin.alignment import Padding
from fgnet_plugin.training.collectives import summed
from fgnet_plugin.training.config.detector import DetectorConfig
from fgnet_plugin.training.config.yaml_dataclass import plain
from fgnet_plugin.training.data.csv_corpus import CsvCorpus
from fgnet_plugin.training.data.flip import mirror
from fgnet_plugin.training.data.loading import Corpus, StepSampler
from fgnet_plugin.training.engine.stage import Batch, Stage
from fgnet_plugin.training.metrics.au_metrics import AUMetrics


@dataclass(frozen=True)
class Chosen:
    """What a training before this one, with subjects set aside, has chosen for it (``data.csv.validation: refit``)."""

    epochs: int
    metrics: dict[str, float]
    """Of that training's validation."""
    faces: int
    """That it validated on."""


class AUStage(Stage):
    """A network that learns AUs: loss, F1 and AUC over the validation faces; the mean AUC or F1 says what the best weights are.

    Args:
        net: the network.
        aus: the AUs in channel order.
        config: the settings.
        corpus, val_corpus: see `Stage`; samples are dicts with "image" uint8 [3, S, S], "landmarks" [68, 2] in pixels of it,
            and "labels" [A] 1, 0 or NaN (unknown), in the order of `aus`.
        sampler: of the corpus.
        chosen: without `val_corpus`, where the number of epochs comes from.
    """

    maximise = True

    def __init__(
        self,
        net: nn.Module,
        aus: tuple[str, ...],
        config: DetectorConfig,
        corpus: Corpus,
        val_corpus: Corpus | None,
        sampler: StepSampler,
        chosen: Chosen | None = None,
    ) -> None:
        for name in config.model.freeze:
            net.get_submodule(name).requires_grad_(False)
        super().__init__(net, corpus, val_corpus, sampler, config.optimiser, config.trainer, plain(config))
        self.config, self.aus, self.chosen = config, aus, chosen
        self.monitor = "auc" if config.data.csv is None else config.data.csv.chosen_by
        self.au_metrics = AUMetrics(aus)
        self._losses: list[Tensor] = []

    def training_mode(self) -> None:
        """Puts the network into training mode, but for parts in ``model.freeze``: their BatchNorm keeps its statistics."""
        super().training_mode()
        for name in self.config.model.freeze:
            self.net.get_submodule(name).eval()

    @property
    def fold(self) -> int | None:
        """The corpus' fold that is left out for testing, where there is one: recorded in exported files."""
        return None if self.config.data.csv is None else self.config.data.csv.fold

    @property
    def padding(self) -> Padding:
        """How the corpus' faces were padded, or else ours: recorded in exported files."""
        return "constant" if self._made.get("padding") == "constant" else "reflect"

    @property
    def _made(self) -> dict[str, str]:
        return self.corpus.made if isinstance(self.corpus, CsvCorpus) else {}

    def validate(self, batch: Batch, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, a mean over known labels, and activations [B, A] in [-1, 1], of a batch by `trained`.

        The labels [B, A] are 1, 0 or NaN.
        """
        raise NotImplementedError

    def faces(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images and landmarks of a training batch, half of the faces mirrored where `data.flip` says so."""
        images, landmarks = batch["image"], batch["landmarks"]
        if not self.config.data.flip:
            return images, landmarks
        return mirror(images, landmarks, (self.uniform(len(images)) < 0.5).to(images.device))

    def label_weight(self, batch: Batch, labels: Tensor) -> Tensor:
        """`weight` of a mean over the known labels, 1 or 0 and not NaN, of a training batch."""
        of_step = without_unknown(batch.get("step_labels", batch["labels"]))
        return self.weight((~labels.isnan()).sum(), (~of_step.isnan()).sum())

    def validation_step(self, batch: Batch) -> None:
        """Gathers the activations of a batch."""
        labels = without_unknown(batch["labels"])
        loss, activations = self.validate(batch, labels)
        self.au_metrics.update(activations, labels)
        known = (~labels.isnan()).sum()
        self._losses.append(torch.stack([loss.float() * known, known.float()]))

    def validation_metrics(self) -> dict[str, float]:
        """Loss, F1 and AUC."""
        total, known = summed(torch.stack(self._losses).sum(0)).tolist()
        metrics = {"loss": total / known if known else math.nan} | self.au_metrics.compute()
        self.au_metrics.reset()
        self._losses = []
        return metrics

    def metric_names(self) -> list[str]:
        """Loss, mean F1 and AUC, and each AU's."""
        return ["loss", "f1", "auc", *(f"{measure}/{au}" for au in self.aus for measure in ("f1", "auc"))]

    def summary(self, metrics: dict[str, float], step: int) -> dict[str, Any]:
        """What an exported file records of the training."""
        chosen, count = self.chosen, 0 if self.val_corpus is None else len(self.val_corpus)
        corpora = {"train": self.corpus, "validation": self.val_corpus}
        missing = {name: of.missing for name, of in corpora.items() if isinstance(of, CsvCorpus) and of.missing}
        summary = {
            "by": "fgnet train detector",
            "step": step,
            "validation": metrics if chosen is None else chosen.metrics,
            "validation_faces": count if chosen is None else chosen.faces,
            "recipe": self.recipe,
        }
        summary |= {"faces": self._made} if self._made else {}
        summary |= {"missing_frames": missing} if missing else {}
        return summary | ({} if chosen is None else {"refit_epochs": chosen.epochs})


def without_unknown(labels: Tensor) -> Tensor:
    """Labels with FACS' 9, "not codable", as NaN."""
    return labels.masked_fill(labels == NOT_CODABLE, torch.nan)


def known_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits [B, A], the mean over the labels that are known (not NaN); 0 where none is."""
    known = ~labels.isnan()
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
    return torch.where(known, entropy, 0.0).sum() / known.sum().clamp(min=1)
