"""The log, and what is kept of a training: a checkpoint to resume from, and the best weights so far."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from fgnet_plugin.training.collectives import shared_error, summed, world_size
from fgnet_plugin.training.engine.stage import Stage
from fgnet_plugin.utils.files import atomic_write

LAST = "last.ckpt"
LOG = "metrics.csv"


class Log(pl.Callback):
    """``metrics.csv``: a row every so many steps, and one for each validation; columns that don't apply are empty.

    Losses are means since the row before, over all processes. When a training is resumed, rows that it is going to write
    again are taken out first. The trainer's loggers, where it has any, are given the same.
    """

    def __init__(self, folder: Path, every: int, losses: list[str], figures: list[str]) -> None:
        self.path, self.every, self.losses = folder / LOG, every, losses
        self.columns = ["step", "epoch", "lr", *losses, *(f"val_{name}" for name in figures)]
        self._sum: Tensor | None = None
        self._count = 0

    def state_dict(self) -> dict[str, Any]:
        """The running means of the losses."""
        self._share()
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on with it."""
        self._sum, self._count = state["sum"], state["count"]

    def on_train_start(self, trainer: pl.Trainer, stage: pl.LightningModule) -> None:
        """Starts the file, or brings it back to where the training stands."""
        if not trainer.is_global_zero:
            return
        rows = []
        if trainer.global_step and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                complete = (row for row in csv.DictReader(file) if None not in row.values())  # the last may have been cut off
                rows = [row for row in complete if int(row["step"]) <= trainer.global_step]
        with atomic_write(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)

    def on_train_batch_end(self, trainer: pl.Trainer, stage: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Adds a row where it is time."""
        # Of a micro-batch: divided by their number.
        losses = torch.stack([outputs[name].detach().float() for name in self.losses])
        self._sum = losses if self._sum is None else self._sum.to(losses) + losses
        if (batch_idx + 1) % stage.sampler.accumulate:
            return
        self._count += 1
        if trainer.global_step % self.every == 0:
            self._share()
            means = dict(zip(self.losses, (self._sum / self._count).tolist(), strict=True))
            self._add(trainer, stage, means | {"lr": trainer.optimizers[0].param_groups[0]["lr"]})
            self._sum, self._count = None, 0
            if not all(map(math.isfinite, means.values())):
                found = ", ".join(f"{name} is {mean:.4g}" for name, mean in means.items())
                clip = "set optimiser.clip, " if stage.automatic_optimization else ""
                raise shared_error(
                    f"{found} at step {trainer.global_step}: training has diverged; lower optimiser.lr, "
                    f"{clip}or use precision 32-true. {self.path.parent} keeps the best weights before it"
                )

    def on_validation_end(self, trainer: pl.Trainer, stage: Any) -> None:
        """Adds the validation's row."""
        self._add(trainer, stage, {f"val_{name}": value for name, value in stage.figures.items()})

    def _share(self) -> None:
        """Makes each process' sum the mean of all."""
        if self._sum is not None and world_size() > 1:
            self._sum = summed(self._sum.clone()) / world_size()

    def _add(self, trainer: pl.Trainer, stage: Stage, values: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        for logger in trainer.loggers:
            logger.log_metrics(values, step)
        row = {"step": step, "epoch": (step - 1) // stage.sampler.steps_per_epoch + 1, **values}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)


class Keep(pl.Callback):
    """``last.ckpt`` every so many steps and after each validation; the stage's export whenever validation is best so far."""

    def __init__(self, folder: Path, every: int) -> None:
        self.path, self.every = folder / LAST, every
        self.best: float | None = None
        self.best_step = 0

    def state_dict(self) -> dict[str, Any]:
        """The best validation so far."""
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from it."""
        self.best, self.best_step = state["best"], state["best_step"]

    def on_train_batch_end(self, trainer: pl.Trainer, stage: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Saves where it is time, unless a validation comes next, which saves too."""
        step = trainer.global_step
        if (batch_idx + 1) % stage.sampler.accumulate:
            return
        if step % self.every == 0 and step % stage.validation_steps:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, stage: Any) -> None:
        """Exports weights that are better than all before, then saves."""
        value = stage.figures[stage.monitor]
        better = self.best is None or (value > self.best if stage.maximise else value < self.best)
        if better and not math.isnan(value):
            self.best, self.best_step = value, trainer.global_step
            if trainer.is_global_zero:
                stage.export(stage.figures, trainer.global_step)
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.path)  # writes nothing; the processes wait for each other in it
            return
        with atomic_write(self.path) as part:
            trainer.save_checkpoint(part)


def steps_done(last: Path) -> int:
    """How many steps a checkpoint has been trained for. Raises ValueError where it is none; executes nothing in it."""
    try:
        checkpoint = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
        return int(checkpoint["global_step"])
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{last}: not a checkpoint of a training, or damaged ({reason}); delete it to start anew") from error
