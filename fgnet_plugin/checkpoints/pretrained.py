"""Save and load pretrained parts: a safetensors file with a generator, and perhaps an encoder, that detectors start from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fgnet_plugin.checkpoints.mismatches import find_mismatches, raise_mismatches
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.config import ANY_AU
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.utils import safetensors_file

PARTS = ("generator", "encoder", "discriminator", "moments")
_CODES_AT_ONCE = 10_000


@dataclass(frozen=True)
class Pretrained:
    """Contents of a file of pretrained parts."""

    architecture: dict[str, Any]
    """Fields of `FGNetConfig` without its AUs."""
    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Some of "generator", "encoder" (state dicts of the network's parts), "discriminator", "moments": name -> tensor, on the
    CPU, float32 where floating-point. Empty where only the metadata was read."""
    training: dict[str, Any] = field(default_factory=dict)
    """Summary of the training."""
    licence: str = ""

    def config(self, aus: tuple[str, ...] = ANY_AU) -> FGNetConfig:
        """Return the architecture for these AUs."""
        return FGNetConfig(aus=aus, **self.architecture)


def save_pretrained(
    path: Path | str,
    config: FGNetConfig,
    parts: Mapping[str, nn.Module | Mapping[str, Tensor]],
    training: dict[str, Any],
    licence: str = "",
    half: bool = False,
) -> Path:
    """Write pretrained parts; an existing file is replaced only by a complete new one.

    Args:
        path: the file, by convention ``.safetensors``.
        config: the architecture that the parts belong to; its AUs are not recorded.
        parts: any of "generator", "encoder", "discriminator", "moments": modules, or dicts of tensors.
        training: summary of the training; its values must be those of JSON.
        licence: of the weights.
        half: store float16, at half the size; vectors and the average latent code stay float32.

    Raises:
        ValueError: an unknown or empty part, or no part at all.
        OSError: the file can't be written; nothing is left behind.
    """
    states = {part: value.state_dict() if isinstance(value, nn.Module) else value for part, value in parts.items()}
    if not states or not set(states) <= set(PARTS) or not all(states.values()):
        raise ValueError(f"parts must be some of {', '.join(PARTS)}, each with tensors, got {', '.join(states) or 'none'}")
    tensors = {
        f"{part}.{name}": tensor.detach().clone()  # safetensors refuses tensors that share memory
        for part, state in states.items()
        for name, tensor in state.items()
    }
    architecture = {key: value for key, value in dataclasses.asdict(config).items() if key != "aus"}
    metadata = {
        "format": safetensors_file.PRETRAINED,
        "architecture": json.dumps(architecture),
        "training": json.dumps(training),
        "licence": licence,
    }
    return safetensors_file.write(Path(path), tensors, metadata, half)


def is_pretrained(path: Path | str) -> bool:
    """Return whether a file says that it holds pretrained parts; false for files that can't be read."""
    return safetensors_file.has_format(Path(path), safetensors_file.PRETRAINED)


def read_pretrained(path: Path | str) -> Pretrained:
    """Read the metadata of pretrained parts, without the tensors. Raises CheckpointError as `load_pretrained` does."""
    path = Path(path)
    metadata = safetensors_file.read_metadata(path)
    if metadata.get("format") != safetensors_file.PRETRAINED:
        lacking = f"its metadata lacks format = {safetensors_file.PRETRAINED}"
        raise CheckpointError(f"{path}: holds no pretrained parts ({lacking})")
    with safetensors_file.reading(path):
        info = Pretrained(
            architecture=json.loads(metadata["architecture"]),
            training=json.loads(metadata["training"]),
            licence=metadata["licence"],
        )
        info.config()  # raises for an invalid architecture
    return info


def load_pretrained(path: Path | str) -> Pretrained:
    """Load pretrained parts.

    Returns:
        Metadata and tensors; the generator's and the encoder's fit the architecture.

    Raises:
        CheckpointError: no such file, another kind of file, truncated, damaged (its contents differ from what was written),
            or tensors that don't fit the architecture; the message names the file and lists the tensors.
    """
    path = Path(path)
    info = read_pretrained(path)
    parts: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in safetensors_file.read_tensors(path).items():
        part, _, name = full_name.partition(".")
        parts.setdefault(part, {})[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
    with torch.device("meta"):
        net = FGNet(info.config())
    problems = []
    for part, module in (("generator", net.generator), ("encoder", net.encoder)):
        if part in parts:
            wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
            problems += find_mismatches(parts[part], wanted, f"{part}: ", exactly=True)
    raise_mismatches(path, problems)
    return dataclasses.replace(info, parts=parts)


@torch.no_grad()
def style_moments(generator: Generator, count: int = 100_000) -> dict[str, Tensor]:
    """Return the mean [style_dim] of the styles of `count` random latent codes, always the same ones, as ``style_mean``.

    The default is how many pSp's published training takes the mean of.
    """
    first = generator.mapping.layers[0].weight
    assert isinstance(first, Tensor)
    random, total = torch.Generator().manual_seed(0), first.new_zeros(first.shape[1], dtype=torch.float32)
    for start in range(0, count, _CODES_AT_ONCE):
        codes = torch.randn(min(_CODES_AT_ONCE, count - start), first.shape[1], generator=random)
        total += generator.mapping(codes.to(first.device)).float().sum(0)
    return {"style_mean": total / count}
