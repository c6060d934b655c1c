"""What training FG-Net and training the landmark network share: optimiser, running average, batches, exact resumption."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fgnet_plugin import __version__
from fgnet_plugin.training.config import RENDERER, Optimiser, Trainer
from fgnet_plugin.training.loading import Corpus, StepSampler, TrainingLoader, single_threaded, step_seed
from fgnet_plugin.training.strict_yaml import differences

Batch = dict[str, Tensor]

_FREE_TO_CHANGE = ("trainer.out", "trainer.workers", "trainer.checkpoint_every", "trainer.progress")
"""Settings that the result does not depend on: they are not recorded, and may differ when a training is resumed."""


class Stage(pl.LightningModule):
    """A network in training.

    To Lightning, all epochs are one, with a validation after each of ours: resuming is then always the same case. A step's
    random numbers are seeded by its number, so that none have to be kept.

    Args:
        net: what is trained; parameters that don't require gradients stay as they are.
        corpus, val_corpus: labelled faces.
        sampler: of the corpus.
        optimiser, trainer: settings.
        recipe: all settings, as JSON knows them: recorded in checkpoints, but for those of the machine.
    """

    monitor: str
    """Which of the validation's figures decides what the best weights are."""
    maximise: bool

    def __init__(
        self,
        net: nn.Module,
        corpus: Corpus,
        val_corpus: Corpus,
        sampler: StepSampler,
        optimiser: Optimiser,
        trainer: Trainer,
        recipe: dict[str, Any],
    ) -> None:
        super().__init__()
        self.net = net
        self.average = copy.deepcopy(net).requires_grad_(False) if optimiser.ema is not None else None
        self.corpus, self.val_corpus, self.sampler = corpus, val_corpus, sampler
        self.settings, self.machine = optimiser, trainer
        self.recipe = _without(recipe, _FREE_TO_CHANGE) | {"code": {"version": __version__, "renderer": RENDERER}}
        self.figures: dict[str, float] = {}
        """The last validation's: `monitor` is one of them."""

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return len(self.sampler)

    @property
    def trained(self) -> nn.Module:
        """The weights that are validated and exported: the running average, where one is kept."""
        return self.net if self.average is None else self.average

    def export(self, figures: dict[str, float], step: int) -> None:
        """Writes the weights in `trained` as the file that this training is for."""
        raise NotImplementedError

    def figure_names(self) -> list[str]:
        """The validation's figures: columns of the log."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        """AdamW over all that requires gradients, and its schedule."""
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        adamw = torch.optim.AdamW(parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(adamw, lambda step: rate_factor(self.settings, step, self.steps))
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> TrainingLoader:
        """Batches from where the training stands."""
        return TrainingLoader(self.corpus, self.sampler, self.machine.workers, lambda: self.global_step)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation faces in their order."""
        return DataLoader(
            self.val_corpus,  # type: ignore[arg-type]
            batch_size=self.settings.batch_size,
            num_workers=self.machine.workers,
            worker_init_fn=single_threaded,
            generator=torch.Generator(),  # see TrainingLoader
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes a step's dropout and augmentation depend on the seed and its number only."""
        torch.manual_seed(step_seed(self.machine.seed, self.global_step))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step, after which the running average moves (before anything is written to a checkpoint)."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None and self.settings.ema is not None:
            # Over the first steps the average is shorter, so that the random weights of the start are soon forgotten.
            decay = min(self.settings.ema, (self.global_step + 1) / (self.global_step + 10))
            _move(self.average.state_dict(), self.net.state_dict(), 1 - decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Records the settings."""
        checkpoint["recipe"] = json.dumps(self.recipe)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses to go on with other settings. Raises ValueError."""
        changed = differences(json.loads(checkpoint["recipe"]), self.recipe)
        if changed:
            raise ValueError("\n  ".join(["this training was begun with other settings; resume it with the same:", *changed]))


def _without(recipe: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Settings less some of those in its sections."""
    return {
        section: {key: value for key, value in values.items() if f"{section}.{key}" not in keys}
        if isinstance(values, dict)
        else values
        for section, values in recipe.items()
    }


@torch.no_grad()
def _move(average: dict[str, Tensor], to: dict[str, Tensor], weight: float) -> None:
    """Moves weights and BatchNorm statistics a part of the way; counters go all of it."""
    floating = [name for name, value in average.items() if value.is_floating_point()]
    torch._foreach_lerp_([average[name] for name in floating], [to[name] for name in floating], weight)
    for name in average.keys() - set(floating):
        average[name].copy_(to[name])


def rate_factor(settings: Optimiser, step: int, steps: int) -> float:
    """The learning rate at a step, as a multiple of ``settings.lr``."""
    if settings.schedule == "one-cycle":
        rise = max(1.0, 0.3 * steps)
        if step < rise:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * step / rise)) / 2
        return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise)))) / 2
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    if settings.schedule == "none":
        return 1.0
    return (1 + math.cos(math.pi * min(1.0, (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)))) / 2
