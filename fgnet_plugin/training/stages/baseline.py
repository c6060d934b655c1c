"""Training the baseline: cross-entropy of one logit an AU, with FG-Net's own data, optimiser and validation."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from fgnet_plugin.training.config.detector import DetectorConfig
from fgnet_plugin.training.data.loading import Corpus, StepSampler
from fgnet_plugin.training.engine.stage import Batch
from fgnet_plugin.training.models.baseline import BASELINE_FILE, Baseline, BaselineInfo, activations, save_baseline
from fgnet_plugin.training.stages.au_base import AUStage, Chosen, known_entropy, without_unknown


class BaselineStage(AUStage):
    """A baseline in training; exported to ``out/baseline.safetensors`` whenever validation finds it better.

    Args:
        net: the network.
        config, corpus, val_corpus, sampler, chosen: see `AUStage`; landmarks are not looked at.
        licence: of the weights that the network starts from.

    Raises:
        ValueError: an auxiliary head (``guide``) is set, which reads a latent code that the baseline lacks.
    """

    net: Baseline
    average: Baseline | None

    def __init__(
        self,
        net: Baseline,
        config: DetectorConfig,
        corpus: Corpus,
        val_corpus: Corpus | None,
        sampler: StepSampler,
        licence: str = "",
        chosen: Chosen | None = None,
    ) -> None:
        if config.guide.labels or config.guide.landmarks:
            raise ValueError("guide reads FG-Net's latent code, which a baseline lacks: leave out guide, or model.baseline")
        super().__init__(net, net.aus, config, corpus, val_corpus, sampler, chosen)
        self.licence = licence

    def backbone(self) -> list[nn.Parameter]:
        """See `Stage.backbone`."""
        last = {id(parameter) for parameter in self.net.last_layer.parameters()}
        return [parameter for parameter in self.net.parameters() if id(parameter) not in last]

    @property
    def trained(self) -> Baseline:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a batch: over known labels only."""
        images, _ = self.faces(batch)
        labels = without_unknown(batch["labels"])
        return known_entropy(self.net(images), labels) * self.label_weight(batch, labels)

    def validate(self, batch: Batch, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `AUStage.validate`."""
        logits = self.trained(batch["image"])
        return known_entropy(logits, labels), activations(logits)

    def export(self, metrics: dict[str, float], step: int) -> None:
        """Writes ``baseline.safetensors``, which `systems.load_system` reads."""
        info = BaselineInfo(
            self.net.kind,
            self.net.aus,
            self.net.image_size,
            corpus=self.config.export.corpus,
            fold=self.fold,
            training=self.summary(metrics, step),
            licence=" ".join(filter(None, (self.config.export.licence, self.licence))),
            imagenet=self.net.imagenet,
            sizes=self.net.sizes,
        )
        save_baseline(self.trained, Path(self.machine.out) / BASELINE_FILE, info, half=self.config.export.half)
