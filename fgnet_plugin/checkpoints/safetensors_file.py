"""The one file format of this package: safetensors with typed metadata and a digest over both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

FORMAT = "fgnet-plugin/1"


BASELINE_FORMAT = "fgnet-plugin-baseline/1"


PRETRAINED_FORMAT = "fgnet-plugin-pretrained/1"


_OTHER_FORMATS = {
    BASELINE_FORMAT: "a baseline of `fgnet train detector`, not an FG-Net: training.models.systems.load_system reads it",
    PRETRAINED_FORMAT: "pretrained parts, not a whole FG-Net: a training starts from them with model.start_from",
}
"""Other files of this package -> what to tell who takes one for a checkpoint."""


_READ_BYTES = 128 * 2**20  # how much of a file is mapped into memory at a time while it is loaded


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    """A tensor as a file holds it: with `half` as float16, but for vectors, the average code, and what float16 can't hold."""
    tensor = tensor.detach()
    if not half or tensor.dtype != torch.float32 or tensor.ndim < 2 or name.endswith(("bias", "latent_average")):
        return tensor
    return tensor.to(torch.float16) if float(tensor.abs().max()) < torch.finfo(torch.float16).max else tensor


def _digest(metadata: Mapping[str, str], tensor: Callable[[str], Tensor], names: Any) -> str:
    """SHA-256 over the metadata and, in the order of their names, each tensor's name, dtype, shape and bytes."""
    sha = hashlib.sha256(json.dumps(dict(sorted(metadata.items()))).encode())
    for name in sorted(names):
        value = tensor(name)
        sha.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        sha.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _in_portions(tensors: Mapping[str, Tensor]) -> Iterator[list[str]]:
    portion: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        portion.append(name)
        size += tensor.nbytes
        if size >= _READ_BYTES:
            yield portion
            portion, size = [], 0
    yield portion
