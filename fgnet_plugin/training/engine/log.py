"""The training's log: ``metrics.csv`` and, where asked for, TensorBoard."""

from __future__ import annotations

import csv
import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fgnet_plugin.training.collectives import is_first, shared_error, summed, world_size
from fgnet_plugin.training.engine.stage import Stage
from fgnet_plugin.utils.files import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG = "metrics.csv"


class Log:
    """Writes ``metrics.csv``: a row every so many steps, and one for each validation; columns that don't apply are empty.

    Losses are means since the row before, over all processes. Only the first process writes.

    Args:
        stage: what is trained; its settings say where to write, how often, and whether to TensorBoard's files, too.

    Raises:
        ValueError: tensorboard is wanted and not installed.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage, self.path, self.losses = stage, Path(stage.machine.out) / LOG, stage.loss_names()
        self.columns = ["step", "epoch", "lr", *self.losses, *(f"val_{name}" for name in stage.metric_names())]
        self._sum: Tensor | None = None
        self._count = 0
        self._writer: SummaryWriter | None = None
        if stage.machine.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise shared_error('trainer.tensorboard needs tensorboard; run: pip install "fgnet-plugin[train]"')

    def state_dict(self) -> dict[str, Any]:
        """The running means of the losses; all processes must call it."""
        self._average_over_processes()
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on with what `state_dict` returned."""
        self._sum, self._count = state["sum"], state["count"]

    def open(self) -> None:
        """Starts the file, or takes out rows that a training that goes on is going to write again."""
        if not is_first():
            return
        step, rows = self.stage.step, []
        if step and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                complete = (row for row in csv.DictReader(file) if None not in row.values())  # the last may have been cut off
                rows = [row for row in complete if int(row["step"]) <= step]
        with atomic_write(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
        if self.stage.machine.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=step + 1)

    def close(self) -> None:
        """Writes what TensorBoard still holds back."""
        if self._writer is not None:
            self._writer.close()

    def add_step(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Counts the losses of the step just taken, and adds a row where it is time.

        Returns:
            The row's losses; empty where none was written.

        Raises:
            ValueError: a loss is no longer finite.
        """
        values = torch.stack([losses[name].detach().float() for name in self.losses])
        self._sum = values if self._sum is None else self._sum.to(values) + values
        self._count += 1
        if self.stage.step % self.stage.machine.log_every:
            return {}
        self._average_over_processes()
        means = dict(zip(self.losses, (self._sum / self._count).tolist(), strict=True))
        self._add(means | {"lr": self.stage.optimisers[0].param_groups[0]["lr"]})
        self._sum, self._count = None, 0
        if not all(map(math.isfinite, means.values())):
            diverged = ", ".join(f"{name} is {mean:.4g}" for name, mean in means.items())
            raise shared_error(
                f"{diverged} at step {self.stage.step}: training has diverged; lower optimiser.lr, set optimiser.clip (if the "
                f"stage takes it), or use precision 32-true. {self.path.parent} keeps the best weights before it"
            )
        return means

    def add_validation(self, metrics: dict[str, float]) -> None:
        """Adds a validation's row."""
        self._add({f"val_{name}": value for name, value in metrics.items()})

    def _average_over_processes(self) -> None:
        if self._sum is not None and world_size() > 1:
            self._sum = summed(self._sum.clone()) / world_size()

    def _add(self, values: dict[str, float]) -> None:
        if not is_first():
            return
        step = self.stage.step
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            epoch = (step - 1) // self.stage.sampler.steps_per_epoch + 1
            csv.DictWriter(file, self.columns).writerow({"step": step, "epoch": epoch, **values})
