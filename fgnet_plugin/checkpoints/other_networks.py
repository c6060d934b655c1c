"""Read the weights of networks that are not part of FG-Net, from files that users have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fgnet_plugin.checkpoints.mismatches import find_mismatches, raise_mismatches
from fgnet_plugin.checkpoints.published import describe_contents, read_torch_file
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.utils import safetensors_file


def read_weights(path: Path | str, wanted: Mapping[str, tuple[int, ...]], what: str, origin: str) -> dict[str, Tensor]:
    """Read a state dict's tensors as float32, after a check of every one.

    Args:
        path: ``.safetensors``, or a file of ``torch.save``, of which nothing is executed.
        wanted: name -> shape; other tensors in the file are not looked at.
        what: the network, for messages: "torchvision's resnet18".
        origin: where to get the file, for the message that it is not there.

    Raises:
        CheckpointError: missing, truncated, of another network, or with NaN; the message names the file and the tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {origin}")
    content = safetensors_file.read_foreign(path) if path.suffix == ".safetensors" else read_torch_file(path)
    if not isinstance(content, dict) or not wanted.keys() & content.keys():
        raise CheckpointError(f"{path}: no weights of {what}; it holds {describe_contents(content)}")
    problems = find_mismatches(content, wanted)
    problems = problems or [f"{name} holds NaN or infinity" for name in wanted if not bool(content[name].isfinite().all())]
    raise_mismatches(path, problems)
    return {name: content[name].float() for name in wanted}
