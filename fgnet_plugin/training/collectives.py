"""Sums, gradients and messages of processes that train together."""

from __future__ import annotations

import torch
import torch.distributed as dist
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@torch.no_grad()
def average_gradients(net: nn.Module) -> None:
    """Makes a network's gradients the mean over all processes."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


@torch.no_grad()
def summed(values: Tensor) -> Tensor:
    """Values added up over all processes; each gets the sum."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


@rank_zero_only
def say(text: str) -> None:
    """Prints a line, in the first process only."""
    print(text, flush=True)


def shared_error(message: str) -> BaseException:
    """What to raise where all processes come upon the same error: the first says it, the others end without a word."""
    return ValueError(message) if is_first() else SystemExit(1)


def is_first() -> bool:
    """Whether this is the first of the processes that train together, or the only one; known before they have met."""
    return getattr(rank_zero_only, "rank", 0) == 0


def gathered(values: Tensor) -> Tensor:
    """Values [n, …] on the CPU of all processes together, [n of all, …]: those of the first come first."""
    if world_size() == 1:
        return values
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    return torch.cat([part.cpu() for part in gather_all_tensors(values.to(device))])
