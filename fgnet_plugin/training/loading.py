"""Batches whose contents depend on the seed and the step only, so that a training can go on in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler


class Corpus(Protocol):
    """What is trained on: a map-style dataset of labelled faces whose samples are a function of their index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


class StepSampler(Sampler[list[int]]):
    """The indices of each training step.

    Args:
        samples: length of the corpus.
        batch_size: faces a step; the last step of an epoch may have fewer.
        epochs: how often the corpus is gone through, each time in another order.
        batches_per_epoch: cut each epoch after so many.
        seed: of the order.
        fresh: never shuffle and never come back: epochs go on where the last one ended. `samples` are one epoch's then,
            and the corpus must have `samples` × `epochs`.
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

    def __len__(self) -> int:
        """Steps of the whole training, wherever iterating begins."""
        return self.epochs * self.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        order, of_epoch = torch.empty(0, dtype=torch.int64), -1
        for step in range(self.start, len(self)):
            epoch, position = divmod(step, self.steps_per_epoch)
            if epoch != of_epoch:
                order, of_epoch = self._order(epoch), epoch
            yield order[position * self.batch_size : (position + 1) * self.batch_size].tolist()

    def _order(self, epoch: int) -> Tensor:
        if self.fresh:
            return torch.arange(self.samples) + epoch * self.samples
        return torch.randperm(self.samples, generator=torch.Generator().manual_seed(step_seed(self.seed, epoch)))


class TrainingLoader(DataLoader[dict[str, Tensor]]):
    """A loader that Lightning can put back to where a checkpoint was written.

    Args:
        corpus, sampler: see there.
        workers: processes; the batches are the same for any number.
        steps_done: how many steps the model has been trained for (workers are ahead of that).
    """

    def __init__(self, corpus: Corpus, sampler: StepSampler, workers: int, steps_done: Callable[[], int]) -> None:
        # The loader draws a seed for its workers: from a generator of its own, so that the model's is left alone.
        super().__init__(
            corpus,  # type: ignore[arg-type]
            batch_sampler=sampler,
            num_workers=workers,
            worker_init_fn=single_threaded,
            generator=torch.Generator().manual_seed(sampler.seed),
        )
        self.steps, self.steps_done = sampler, steps_done

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint records of it."""
        return {"step": self.steps_done()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where `state_dict` was called."""
        self.steps.start = state["step"]


def step_seed(seed: int, step: int) -> int:
    """A seed for one step (or epoch) of a training: different seeds and steps give different ones."""
    return (seed * 1_000_003 + step) % 2**63


def single_threaded(worker: int) -> None:
    """Makes a loader's worker process use one thread, as there are several of them and the trainer wants the cores.

    numba is left alone: the renderer's loops use no threads of it, and asking it to limit them starts them, which hangs in a
    process forked from one that has used OpenMP.
    """
    torch.set_num_threads(1)
    try:
        import cv2

        cv2.setNumThreads(1)
    except ImportError:
        pass
