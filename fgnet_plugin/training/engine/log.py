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
from fgnet_plugin.utils.files import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG = "metrics.csv"


class Log:
    """Writes ``metrics.csv``: a row every so many steps, and one for each validation; columns that don't apply are empty.

    Losses are means since the row before, over all processes. Only the first process writes.

    Args:
        folder: of the training.
        every: steps between rows.
        losses: the training's losses: columns.
        metrics: the validation's metrics: columns ``val_…``.
        steps_per_epoch: for the column ``epoch``.
        tensorboard: also write to the folder ``tensorboard``.
    """

    def __init__(
        self, folder: Path, every: int, losses: list[str], metrics: list[str], steps_per_epoch: int, tensorboard: bool = False
    ) -> None:
        self.path, self.every, self.losses, self.steps_per_epoch = folder / LOG, every, losses, steps_per_epoch
        self.columns = ["step", "epoch", "lr", *losses, *(f"val_{name}" for name in metrics)]
        self._sum: Tensor | None = None
        self._count = 0
        self.tensorboard = tensorboard
        self._writer: SummaryWriter | None = None
        if tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise shared_error('trainer.tensorboard needs tensorboard; run: pip install "fgnet-plugin[train]"')

    def state_dict(self) -> dict[str, Any]:
        """The running means of the losses; all processes must call it."""
        self._average_over_processes()
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on with what `state_dict` returned."""
        self._sum, self._count = state["sum"], state["count"]

    def open(self, step: int) -> None:
        """Starts the file, or takes out rows that a training going on after `step` is going to write again."""
        if not is_first():
            return
        rows = []
        if step and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                complete = (row for row in csv.DictReader(file) if None not in row.values())  # the last may have been cut off
                rows = [row for row in complete if int(row["step"]) <= step]
        with atomic_write(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=step + 1)

    def close(self) -> None:
        """Writes what TensorBoard still holds back."""
        if self._writer is not None:
            self._writer.close()

    def add_step(self, step: int, losses: dict[str, Tensor], rate: float) -> dict[str, float]:
        """Counts a step's losses, and adds a row where it is time.

        Args:
            step: how many steps are done, this one included.
            losses: of the step; rate: its learning rate.

        Returns:
            The row's losses; empty where none was written.

        Raises:
            ValueError: a loss is no longer finite.
        """
        values = torch.stack([losses[name].detach().float() for name in self.losses])
        self._sum = values if self._sum is None else self._sum.to(values) + values
        self._count += 1
        if step % self.every:
            return {}
        self._average_over_processes()
        means = dict(zip(self.losses, (self._sum / self._count).tolist(), strict=True))
        self._add(step, means | {"lr": rate})
        self._sum, self._count = None, 0
        if not all(map(math.isfinite, means.values())):
            diverged = ", ".join(f"{name} is {mean:.4g}" for name, mean in means.items())
            raise shared_error(
                f"{diverged} at step {step}: training has diverged; lower optimiser.lr, set optimiser.clip (where the stage "
                f"takes it), or use precision 32-true. {self.path.parent} keeps the best weights before it"
            )
        return means

    def add_validation(self, step: int, metrics: dict[str, float]) -> None:
        """Adds a validation's row."""
        self._add(step, {f"val_{name}": value for name, value in metrics.items()})

    def _average_over_processes(self) -> None:
        if self._sum is not None and world_size() > 1:
            self._sum = summed(self._sum.clone()) / world_size()

    def _add(self, step: int, values: dict[str, float]) -> None:
        if not is_first():
            return
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(
                {"step": step, "epoch": (step - 1) // self.steps_per_epoch + 1, **values}
            )
