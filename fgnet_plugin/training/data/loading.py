"""Batches whose contents depend on the seed and the step only, so that a training can go on in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Sampler

from fgnet_plugin.utils.text import counted


class Corpus(Protocol):
    """What is trained on: a map-style dataset of labelled faces whose samples are a function of their index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


class StepSampler(Sampler[list[int]]):
    """The indices of each training step.

    Args:
        samples: length of the corpus.
        batch_size: faces a step, over all processes; the last step of an epoch may have fewer.
        epochs: how often the corpus is gone through, each time in another order.
        batches_per_epoch: cut each epoch after so many.
        seed: of the order.
        fresh: never shuffle and never come back: epochs go on where the last one ended. `samples` are one epoch's then,
            and the corpus must have `samples` × `epochs`.

    One process, which takes a step's faces all at once, gets them all; see `divide`.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        epochs: int,
        batches_per_epoch: int | None = None,
        seed: int = 0,
        fresh: bool = False,
    ) -> None:
        self.samples, self.batch_size, self.epochs, self.seed, self.fresh = samples, batch_size, epochs, seed, fresh
        self.steps_per_epoch = min(-(-samples // batch_size), batches_per_epoch or samples)
        self.start = 0
        """The step that iterating begins with."""
        self.parts, self.rank, self.accumulate = 1, 0, 1

    def divide(self, parts: int, rank: int, accumulate: int = 1) -> None:
        """Yields one process' share of each step from now on.

        A step is `accumulate` micro-batches one after another, of each of which every process has an equal share: its
        first, 1 + parts-th, … face and so on. Where an epoch's last step can't be divided, some of the epoch's first faces
        come again.

        Args:
            parts: processes; rank: which of them this one is, from 0.
            accumulate: micro-batches a step.

        Raises:
            ValueError: batch_size can't be divided by `parts` × `accumulate`.
        """
        if self.batch_size % (parts * accumulate):
            raise ValueError(
                f"optimiser.batch_size is the whole step's: {counted(self.batch_size, 'face')} can't be divided among "
                f"{counted(parts, 'process', 'processes')} with trainer.accumulate {accumulate}; "
                f"make it a multiple of {parts * accumulate}"
            )
        self.parts, self.rank, self.accumulate = parts, rank, accumulate

    def __len__(self) -> int:
        """Steps of the whole training, wherever iterating begins."""
        return self.epochs * self.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        order, of_epoch = torch.empty(0, dtype=torch.int64), -1
        for step in range(self.start, len(self)):
            epoch, position = divmod(step, self.steps_per_epoch)
            if epoch != of_epoch:
                order, of_epoch = self._order(epoch), epoch
            yield self._share(order[position * self.batch_size : (position + 1) * self.batch_size], order).tolist()

    def _share(self, batch: Tensor, order: Tensor) -> Tensor:
        """The process' part of a step, micro-batch by micro-batch."""
        missing = -len(batch) % (self.parts * self.accumulate)
        if missing:
            batch = torch.cat([batch, order[torch.arange(missing) % len(order)]])
        return batch.view(self.accumulate, -1, self.parts)[:, :, self.rank].flatten()

    def _order(self, epoch: int) -> Tensor:
        if self.fresh:
            return torch.arange(self.samples) + epoch * self.samples
        return torch.randperm(self.samples, generator=torch.Generator().manual_seed(step_seed(self.seed, epoch)))


def micro_batches(share: dict[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
    """Divides a process' share of a step into so many batches.

    Where there are several, each of them also has what the whole share's faces are labelled with: "step_labels" beside
    "labels" and so on, of everything but images.
    """
    if count == 1:
        yield share
        return
    whole = {f"step_{name}": values for name, values in share.items() if name != "image"}
    parts = {name: values.chunk(count) for name, values in share.items()}
    for i in range(count):
        yield {name: values[i] for name, values in parts.items()} | whole


def step_seed(seed: int, step: int, part: int = 0) -> int:
    """A seed for one step (or epoch) of a training: different seeds, steps and parts of a step give different ones."""
    return (seed * 1_000_003 + step + part * 0x5851F42D4C957F2D) % 2**63
