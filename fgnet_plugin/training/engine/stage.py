"""A network in training: what all stages share."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from fgnet_plugin.training.collectives import shared_error, summed
from fgnet_plugin.training.config.detector import RENDERER, Optimiser
from fgnet_plugin.training.config.trainer import Trainer
from fgnet_plugin.training.config.yaml_dataclass import differences
from fgnet_plugin.training.data.loading import Corpus, StepSampler, step_seed
from fgnet_plugin.utils.text import counted
from fgnet_plugin.utils.threads import single_threaded, stop_opencv_threads
from fgnet_plugin.version import __version__

Batch = dict[str, Tensor]

_FREE_TO_CHANGE = (
    *("trainer.out", "trainer.workers", "trainer.checkpoint_every", "trainer.progress", "trainer.tensorboard"),
    *("trainer.devices", "trainer.nodes", "trainer.accumulate", "trainer.timeout_minutes"),
)
"""Settings that the result does not depend on, or only as it does on the machine: they are not recorded, and may differ when
a training is resumed."""


class Stage(nn.Module):
    """A network in training.

    A step's batch and its random numbers are functions of the seed and the step's number, so that a training can go on
    from any step.

    Several processes may train together, and take a step in several micro-batches (`StepSampler.divide`). The gradients of
    their losses are averaged: a loss that is a mean over anything but faces needs `weight`.

    Args:
        net: what is trained; parameters that don't require gradients stay as they are.
        corpus, val_corpus: labelled faces. Without the latter nothing is validated, and the last step's weights are exported.
        sampler: of the corpus.
        optimiser, trainer: settings.
        recipe: all settings, as JSON knows them: recorded in checkpoints, but for those of the machine.
    """

    monitor: str
    """Which of the validation's metrics decides what the best weights are."""
    maximise: bool
    uses_ddp: ClassVar[bool] = True
    """Whether `training_step` gives the one loss of a step, whose gradients DDP can average among processes."""

    def __init__(
        self,
        net: nn.Module,
        corpus: Corpus,
        val_corpus: Corpus | None,
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
        self.step = 0
        """How many steps have been taken."""
        self.micro_batch = 0
        """Which of its step's micro-batches is being trained on."""
        self.device = torch.device("cpu")
        self.optimisers: list[torch.optim.Optimizer] = []

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

    def export(self, metrics: dict[str, float], step: int) -> None:
        """Writes the weights in `trained` as the file that this training is for."""
        raise NotImplementedError

    def loss_names(self) -> list[str]:
        """What `take_step` returns for the log: its columns, of which the first is "loss"."""
        return ["loss"]

    def metric_names(self) -> list[str]:
        """The validation's metrics: columns of the log."""
        raise NotImplementedError

    def setup(self, device: torch.device) -> None:
        """Moves to the device that is to train, and makes the optimisers for it."""
        self.device = device
        self.to(device)
        if device.type == "cuda":
            self.use_channels_last()
        self.optimisers = self.make_optimisers()

    def use_channels_last(self) -> None:
        """Stores weights in channels-last layout, in which a GPU's tensor cores read feature maps."""
        for net in (self.net, self.average):
            if net is not None:
                net.to(memory_format=torch.channels_last)

    def make_optimisers(self) -> list[torch.optim.Optimizer]:
        """AdamW over all that requires gradients, the `backbone` at its own rate."""
        settings, parameters = self.settings, [parameter for parameter in self.parameters() if parameter.requires_grad]
        slower = {id(parameter) for parameter in self.backbone()} if settings.backbone_lr_factor != 1 else set()
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter in parameters if (id(parameter) in slower) == slow], "lr": settings.lr * factor}
            for slow, factor in ((False, 1.0), (True, settings.backbone_lr_factor))
        ]
        groups = [group for group in groups if group["params"]]
        return [torch.optim.AdamW(groups, settings.lr, weight_decay=settings.weight_decay, fused=fused(parameters))]

    def backbone(self) -> Iterable[nn.Parameter]:
        """The weights that ``optimiser.backbone_lr_factor`` is for."""
        return ()

    def training_mode(self) -> None:
        """Puts what is trained into training mode."""
        self.net.train()

    def before_training(self) -> None:
        """Does what has to be done once, before the first step that is taken."""

    def set_learning_rates(self) -> None:
        """Sets the rates of the step that comes next."""
        factor = rate_factor(self.settings, self.step, self.steps)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def take_step(self, micro_batches: Sequence[Batch], fabric: Fabric, forward: Any) -> dict[str, Tensor]:
        """Takes a step along the mean of its micro-batches' gradients.

        Args:
            micro_batches: of this process.
            fabric: runs the training.
            forward: this stage as `Fabric.setup_module` has wrapped it.

        Returns:
            The losses of `loss_names`, means over the micro-batches.
        """
        (optimiser,) = self.optimisers
        optimiser.zero_grad()
        losses = []
        for k, batch in enumerate(micro_batches):
            self.begin_micro_batch(k)
            with fabric.no_backward_sync(forward, enabled=k < len(micro_batches) - 1):
                loss = forward(batch) / len(micro_batches)
                fabric.backward(loss)
            losses.append(loss.detach())
        if self.settings.clip:
            nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], self.settings.clip)
        optimiser.step()
        return {"loss": torch.stack(losses).sum()}

    def forward(self, batch: Batch) -> Tensor:
        """`training_step` in the settings' precision."""
        with self.autocast():
            return self.training_step(batch)

    def autocast(self) -> torch.autocast:
        """The settings' precision. Casts are not kept, for some are made without gradients, and weights change."""
        enabled = self.machine.precision == "bf16-mixed"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a micro-batch."""
        raise NotImplementedError

    @torch.no_grad()
    def move_average(self) -> None:
        """Moves the running average towards the weights after a step.

        Over the first steps the average is shorter, so that the random weights of the start are soon forgotten. torch's
        `AveragedModel` would start at the first step's weights, and average BatchNorm's counters as if they were statistics.
        """
        if self.average is None or self.settings.ema is None:
            return
        decay = min(self.settings.ema, (self.step + 1) / (self.step + 10))
        averages, values = self.average.state_dict(), self.net.state_dict()
        floating = [name for name, value in averages.items() if value.is_floating_point()]
        torch._foreach_lerp_([averages[name] for name in floating], [values[name] for name in floating], 1 - decay)
        for name in averages.keys() - set(floating):
            averages[name].copy_(values[name])

    def validation_step(self, batch: Batch) -> None:
        """Gathers what `validation_metrics` needs of a batch."""
        raise NotImplementedError

    def validation_metrics(self) -> dict[str, float]:
        """The metrics of `metric_names` over the faces of all processes; forgets what has been gathered."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Batch]:
        """Each step's faces, from where the training stands."""
        self.sampler.start = self.step
        stop_opencv_threads()
        return DataLoader(
            cast(Dataset[Batch], self.corpus),
            batch_sampler=self.sampler,
            num_workers=self.machine.workers,
            worker_init_fn=single_threaded,
            generator=torch.Generator(),  # the seed of its workers is not to be drawn from the model's numbers
            pin_memory=self.device.type == "cuda",
        )

    def val_dataloader(self) -> Iterable[Batch]:
        """The process' share of the validation faces: all of them in their order, or every n-th of them."""
        if self.val_corpus is None:
            return ()
        faces, parts, count = cast(Dataset[Batch], self.val_corpus), self.sampler.parts, len(self.val_corpus)
        if count < parts:
            raise shared_error(f"{counted(count, 'validation face')} can't be divided among {parts} processes")
        stop_opencv_threads()
        return DataLoader(
            faces if parts == 1 else Subset(faces, range(self.sampler.rank, count, parts)),
            batch_size=self.settings.batch_size // (parts * self.sampler.accumulate),
            num_workers=self.machine.workers,
            worker_init_fn=single_threaded,
            generator=torch.Generator(),  # see train_dataloader
            pin_memory=self.device.type == "cuda",
            persistent_workers=self.machine.workers > 0,  # from one validation to the next
        )

    def begin_micro_batch(self, k: int) -> None:
        """Makes a micro-batch's random numbers depend on the seed, the step, and which part of it this is."""
        self.micro_batch = k
        part = k * self.sampler.parts + self.sampler.rank
        torch.manual_seed(step_seed(self.machine.seed, self.step, part))

    def uniform(self, count: int) -> Tensor:
        """[count] random numbers in [0, 1), one for each face of this micro-batch, however many share the step."""
        sampler, random = self.sampler, torch.Generator().manual_seed(step_seed(self.machine.seed, self.step))
        of_step = torch.rand(sampler.accumulate, count, sampler.parts, generator=random)
        torch.rand(count)  # dropout, in the first part of a step, is not to draw the same numbers again
        return of_step[self.micro_batch, :, sampler.rank]

    def weight(self, count: Tensor, of_step: Tensor) -> Tensor:
        """What to multiply a mean by, so that averaged over processes and micro-batches it is the mean over the whole step.

        Args:
            count: how many values of this micro-batch the mean is over, a scalar; it may be 0.
            of_step: how many there are in all of this process' micro-batches of the step.

        Returns:
            A scalar: 1 where one process takes its steps at once.
        """
        parts = self.sampler.parts * self.sampler.accumulate
        if parts == 1:
            return count.new_ones((), dtype=torch.float32)
        return count * parts / summed(of_step.float().clone()).clamp(min=1)

    def check_recipe(self, begun: dict[str, Any]) -> None:
        """Refuses to go on with other settings than a training was begun with. Raises ValueError."""
        changed = differences(begun, self.recipe)
        if changed:
            raise shared_error("\n  ".join(["this training was begun with other settings; resume it with the same:", *changed]))


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
