"""Read the weights of the face networks that come with the package."""

from __future__ import annotations

from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.utils.paths import data_folder

Network = TypeVar("Network", bound=nn.Module)


def load_bundled(network: Network, name: str, device: torch.device | str) -> Network:
    """Fill a network with bundled weights, ready for inference, in float32.

    Raises:
        CheckpointError: the file is missing, damaged or another network's.
    """
    path = data_folder("weights") / name
    if not path.is_file():
        raise CheckpointError(f"the weights {name} come with the package, but this installation lacks {path}")
    try:
        network.load_state_dict(load_file(path))  # float16 becomes the network's float32
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is damaged, or of another version of this package: {reason} …") from error
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last).to(device)
