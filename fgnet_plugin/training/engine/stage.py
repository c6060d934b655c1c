"""What training FG-Net and training the landmark network share: optimiser, running average, batches, exact resumption."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from fgnet_plugin.training.collectives import shared_error, summed
from fgnet_plugin.training.config.detector import RENDERER, Optimiser, Trainer
from fgnet_plugin.training.config.yaml_dataclass import differences
from fgnet_plugin.training.data.loading import Corpus, StepSampler, TrainingLoader, step_seed
from fgnet_plugin.utils.threads import single_threaded
from fgnet_plugin.version import __version__

Batch = dict[str, Tensor]

_FREE_TO_CHANGE = (
    *("trainer.out", "trainer.workers", "trainer.checkpoint_every", "trainer.progress", "trainer.tensorboard"),
    *("trainer.devices", "trainer.nodes", "trainer.accumulate", "trainer.timeout_minutes"),
)
"""Settings that the result does not depend on, or only as it does on the machine: they are not recorded, and may differ when
a training is resumed."""


class Stage(pl.LightningModule):
    """A network in training.

    To Lightning, all epochs are one, with a validation after each of ours: resuming is then always the same case. A step's
    random numbers are seeded by its number, so that none have to be kept.

    Several processes may train together, and take a step in several micro-batches (`StepSampler.divide`). The gradients of
    their losses are averaged: a loss that is a mean over anything but faces needs `weight`.

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
        self.micro_batch = 0
        """Which of its step's micro-batches is being trained on."""
        self.figures: dict[str, float] = {}
        """The last validation's: `monitor` is one of them."""

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return len(self.sampler)

    @property
    def validation_steps(self) -> int:
        """Steps from one validation to the next."""
        return self.sampler.steps_per_epoch * self.settings.validate_every

    @property
    def trained(self) -> nn.Module:
        """The weights that are validated and exported: the running average, where one is kept."""
        return self.net if self.average is None else self.average

    def export(self, figures: dict[str, float], step: int) -> None:
        """Writes the weights in `trained` as the file that this training is for."""
        raise NotImplementedError

    def loss_names(self) -> list[str]:
        """What a training step returns for the log: its columns, of which the first is "loss"."""
        return ["loss"]

    def figure_names(self) -> list[str]:
        """The validation's figures: columns of the log."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        """AdamW over all that requires gradients, and its schedule."""
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        options: dict[str, Any] = {"lr": self.settings.lr, "weight_decay": self.settings.weight_decay}
        adamw = torch.optim.AdamW(parameters, **options, fused=fused(parameters))
        schedule = torch.optim.lr_scheduler.LambdaLR(adamw, lambda step: rate_factor(self.settings, step, self.steps))
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_model(self) -> None:
        """Weights in channels-last layout on a GPU, whose tensor cores read feature maps so; on a CPU they stay as they are."""
        if self.trainer.strategy.root_device.type == "cuda":
            for net in (self.net, self.average):
                if net is not None:
                    net.to(memory_format=torch.channels_last)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning's clipping by norm; its own refuses a fused optimiser in bfloat16, as if a scaler had to be undone."""
        if gradient_clip_val:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def train_dataloader(self) -> TrainingLoader:
        """Batches from where the training stands."""
        pin = self.device.type == "cuda"
        return TrainingLoader(self.corpus, self.sampler, self.machine.workers, lambda: self.global_step, pin_memory=pin)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The process' share of the validation faces: all of them in their order, or every n-th of them."""
        faces, parts, count = cast(Dataset[Batch], self.val_corpus), self.sampler.parts, len(self.val_corpus)
        if count < parts:
            raise shared_error(f"{count} validation faces can't be divided among {parts} processes")
        return DataLoader(
            faces if parts == 1 else Subset(faces, range(self.sampler.rank, count, parts)),
            batch_size=self.settings.batch_size // (parts * self.sampler.accumulate),
            num_workers=self.machine.workers,
            worker_init_fn=single_threaded,
            generator=torch.Generator(),  # see TrainingLoader
            pin_memory=self.device.type == "cuda",
            persistent_workers=self.machine.workers > 0,  # from one validation to the next
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes a step's dropout depend on the seed, its number, and which part of it this is."""
        self.micro_batch = batch_idx % self.sampler.accumulate
        part = self.micro_batch * self.sampler.parts + self.sampler.rank
        torch.manual_seed(step_seed(self.machine.seed, self.global_step, part))

    def uniform(self, count: int) -> Tensor:
        """[count] random numbers in [0, 1), one for each face of this micro-batch, however many share the step."""
        sampler, random = self.sampler, torch.Generator().manual_seed(step_seed(self.machine.seed, self.global_step))
        of_step = torch.rand(sampler.accumulate, count, sampler.parts, generator=random)
        torch.rand(count)  # dropout, in the first part of a step, is not to draw the same numbers again
        return of_step[self.micro_batch, :, sampler.rank]

    def weight(self, here: Tensor, of_step: Tensor) -> Tensor:
        """What to multiply a mean by, so that averaged over processes and micro-batches it is the mean over the whole step.

        Args:
            here: how many values of this micro-batch the mean is over, a scalar; it may be 0.
            of_step: how many there are in all of this process' micro-batches of the step.

        Returns:
            A scalar: 1 where one process takes its steps at once.
        """
        parts = self.sampler.parts * self.sampler.accumulate
        if parts == 1:
            return here.new_ones((), dtype=torch.float32)
        return here * parts / summed(of_step.float().clone()).clamp(min=1)

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
        checkpoint["accumulate"] = self.sampler.accumulate

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses to go on with other settings. Raises ValueError."""
        changed = differences(json.loads(checkpoint["recipe"]), self.recipe)
        if changed:
            raise shared_error("\n  ".join(["this training was begun with other settings; resume it with the same:", *changed]))
        _recount(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"], checkpoint.get("accumulate", 1), self.sampler)


def fused(parameters: Iterable[Tensor]) -> bool | None:
    """What to tell Adam of torch: True where one kernel can move all weights, on CUDA devices; else None, torch's default."""
    devices = {parameter.device.type for parameter in parameters}
    return True if devices == {"cuda"} else None


def _without(recipe: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Settings less some of those in its sections."""
    return {
        section: {key: value for key, value in values.items() if f"{section}.{key}" not in keys}
        if isinstance(values, dict)
        else values
        for section, values in recipe.items()
    }


def _recount(progress: dict[str, dict[str, int]], accumulate: int, sampler: StepSampler) -> None:
    """Turns Lightning's count of micro-batches, so many a step, into that of a sampler with another number of them."""
    for counts in (progress["total"], progress["current"]):
        not_completed = counts["processed"] - counts["completed"]  # a batch is not while its checkpoint is written
        for name in ("ready", "started", "processed", "completed"):
            whole = counts[name] + (not_completed if name == "completed" else 0)
            counts[name] = whole // accumulate * sampler.accumulate - (not_completed if name == "completed" else 0)


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
