"""Settings of the machine that trains, the same in all stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Trainer:
    """The machine, and where results go."""

    out: str
    """Folder of the training: its log, its last checkpoint, the exported weights."""
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    workers: int = 0
    """Processes that prepare batches; the result does not depend on it."""
    threads: int | None = None
    """Threads of the training itself on a CPU; none: as many as cores. The last digits of the result depend on it."""
    devices: int | None = 1
    """GPUs of each machine, or processes on a CPU, that train together; none: as many as the launcher has started
    processes, or without one all GPUs. torchrun and SLURM must start as many processes a machine."""
    nodes: int = 1
    """Machines that train together."""
    accumulate: int = 1
    """Micro-batches that a step's faces are taken in, one after another, to save memory. A network's BatchNorm then sees the
    statistics of a micro-batch at a time."""
    timeout_minutes: float = 30.0
    """How long a process waits for the others before it takes them for dead."""
    log_every: int = 50
    """Steps between rows of the log."""
    tensorboard: bool = False
    """Write the log for TensorBoard, too, into the folder ``tensorboard`` of `out`."""
    checkpoint_every: int = 200
    """Steps between checkpoints to resume from; one is written after each epoch, too."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        counts = ("threads", "devices", "nodes", "accumulate", "log_every", "checkpoint_every")
        values = {name: getattr(self, name) for name in counts}
        too_small = {name: value for name, value in values.items() if value is not None and value < 1}
        problems = [f"{name} must be at least 1, got {value}" for name, value in too_small.items()]
        if self.workers < 0:
            problems.append(f"workers must not be negative, got {self.workers}")
        if not self.timeout_minutes > 0:
            problems.append(f"timeout_minutes must be positive, got {self.timeout_minutes}")
        if problems:
            raise ValueError("\n".join(problems))
