"""What is kept of a training: a checkpoint to resume from, and the best weights so far."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import torch

from fgnet_plugin.training.collectives import is_first
from fgnet_plugin.training.engine.log import Log
from fgnet_plugin.training.engine.stage import Stage
from fgnet_plugin.utils.files import atomic_write

LAST = "last.ckpt"


class Checkpoint:
    """``last.ckpt``, and the stage's export whenever a validation is the best so far.

    Batches and random numbers are functions of the seed and the step, so that the step stands for them. The names in the
    file are those of Lightning's checkpoints, which earlier versions wrote: those can be resumed, too.

    Args:
        stage, log: what is saved.
    """

    def __init__(self, stage: Stage, log: Log) -> None:
        self.stage, self.log, self.path = stage, log, Path(stage.machine.out) / LAST
        self.best: float | None = None
        self.best_step = 0

    def save(self) -> None:
        """Writes the file, in the first process; all of them must call it."""
        stage = self.stage
        state = {
            "global_step": stage.step,
            "state_dict": stage.state_dict(),
            "optimizer_states": [optimiser.state_dict() for optimiser in stage.optimisers],
            "callbacks": {"Log": self.log.state_dict(), "Keep": {"best": self.best, "best_step": self.best_step}},
            "recipe": json.dumps(stage.recipe),
        }
        if is_first():
            with atomic_write(self.path) as part:
                torch.save(state, part)

    def load(self) -> None:
        """Puts everything back to where it was saved. Raises ValueError where the training was begun with other settings."""
        state, stage = _read(self.path, mmap=False), self.stage  # the file is going to be replaced
        stage.check_recipe(json.loads(state["recipe"]))
        stage.step = int(state["global_step"])
        stage.load_state_dict(state["state_dict"])
        for optimiser, saved in zip(stage.optimisers, state["optimizer_states"], strict=True):
            optimiser.load_state_dict(saved)
        self.log.load_state_dict(state["callbacks"]["Log"])
        best = state["callbacks"]["Keep"]
        self.best, self.best_step = best["best"], best["best_step"]

    def export_best(self, metrics: dict[str, float]) -> None:
        """Exports the weights where a validation has found them better than all before."""
        value = metrics[self.stage.monitor]
        better = self.best is None or (value > self.best if self.stage.maximise else value < self.best)
        if better and not math.isnan(value):
            self.best, self.best_step = value, self.stage.step
            if is_first():
                self.stage.export(metrics, self.stage.step)

    def export_last(self) -> None:
        """Exports the weights as they are, of a training that nothing validates."""
        if is_first():
            self.stage.export({}, self.stage.step)


def steps_done(last: Path) -> int:
    """How many steps a checkpoint has been trained for. Raises ValueError where it is none; executes nothing in it."""
    return int(_read(last)["global_step"])


def _read(last: Path, mmap: bool = True) -> dict[str, Any]:
    try:
        checkpoint: dict[str, Any] = torch.load(last, map_location="cpu", weights_only=True, mmap=mmap)
        int(checkpoint["global_step"])
    except Exception as error:
        # torch's own message tells how to run the code in such a file.
        reason = "it holds more than tensors and plain values, or is no torch file; nothing in it was executed"
        if not isinstance(error, pickle.UnpicklingError):
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{last}: not a checkpoint of a training, or damaged ({reason}); delete it to start anew") from error
    return checkpoint
