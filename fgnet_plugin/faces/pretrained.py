"""Read the weights of the face networks that come with the package."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.utils.paths import data_folder
from fgnet_plugin.utils.safetensors_file import FACE_NETWORK, read_metadata, read_tensors

Network = TypeVar("Network", bound=nn.Module)


def load_bundled(network: Network, name: str, device: torch.device | str) -> Network:
    """Fill a network with bundled weights, ready for inference, in float32.

    Raises:
        CheckpointError: the file is missing, damaged or another network's.
    """
    path = data_folder("weights") / name
    if not path.is_file():
        raise CheckpointError(f"the weights {name} come with the package, but this installation lacks {path}")
    if read_metadata(path).get("format") != FACE_NETWORK:
        raise CheckpointError(f"{path} holds no face network of this version of the package")
    network.load_state_dict(read_tensors(path))  # float16 becomes the network's float32
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last).to(device)
