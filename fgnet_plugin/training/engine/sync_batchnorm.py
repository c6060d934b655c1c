"""BatchNorm whose statistics are those of the whole step's faces, when several processes train together."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes, on any device: torch's own SyncBatchNorm refuses a CPU's tensors.

    Each process must have as many faces, of one size. Without a process group, and in evaluation, it is `nn.BatchNorm2d`.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """[B, C, h, w] -> the same shape."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean: Tensor = _Sum.apply(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance: Tensor = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)


def sync_batchnorm(model: nn.Module) -> None:
    """Has a model's BatchNorm layers share their statistics among processes; names in its state dict stay as they are.

    With NCCL they become torch's SyncBatchNorm, elsewhere `SyncedBatchNorm2d`.
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is not nn.BatchNorm2d:
                continue
            if dist.get_backend() == "nccl":
                layer: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(child)  # type: ignore[no-untyped-call]
            else:
                sizes = child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                layer = SyncedBatchNorm2d(*sizes)
                layer._parameters.update(child._parameters)
                layer._buffers.update(child._buffers)
            setattr(parent, name, layer.train(child.training))


class _Sum(torch.autograd.Function):
    """The sum over processes; the gradient of all processes' losses together flows back to each."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient
