"""Pretrained parts: one safetensors file with a generator, and perhaps an encoder, that detectors start from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fgnet_plugin.checkpoints.published import misfits, raise_problems
from fgnet_plugin.checkpoints.safetensors_file import PRETRAINED_FORMAT, _digest, _stored
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.config import ANY_AU
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.utils.files import atomic_write

PARTS = ("generator", "encoder", "discriminator", "moments")


@dataclass(frozen=True)
class Pretrained:
    """What a file of pretrained parts holds."""

    architecture: dict[str, Any]
    """The fields of `FGNetConfig` without its AUs."""
    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Some of "generator", "encoder" (state dicts of the network's parts), "discriminator", "moments": name -> tensor, on the
    CPU, float32 where floating-point. Empty where only the metadata was read."""
    training: dict[str, Any] = field(default_factory=dict)
    """Summary of the training."""
    licence: str = ""

    def config(self, aus: tuple[str, ...] = ANY_AU) -> FGNetConfig:
        """The architecture for these AUs."""
        return FGNetConfig(aus=aus, **self.architecture)


def save_pretrained(
    path: Path | str,
    config: FGNetConfig,
    parts: Mapping[str, nn.Module | Mapping[str, Tensor]],
    training: dict[str, Any],
    licence: str = "",
    half: bool = False,
) -> Path:
    """Writes pretrained parts; a file that is there already is replaced only once the new one is complete.

    Args:
        path: the file, by convention ``.safetensors``.
        config: the architecture that the parts belong to; its AUs are not recorded.
        parts: any of "generator", "encoder", "discriminator", "moments": modules, or dicts of tensors.
        training: summary of the training, as JSON knows it.
        licence: of the weights.
        half: store float16 (half the size); vectors and the average latent code stay float32.

    Raises:
        ValueError: an unknown or empty part, or no part at all.
        OSError: the file can't be written; nothing is left behind.
    """
    path = Path(path)
    states = {part: value.state_dict() if isinstance(value, nn.Module) else value for part, value in parts.items()}
    if not states or not set(states) <= set(PARTS) or not all(states.values()):
        raise ValueError(f"parts must be some of {', '.join(PARTS)}, each with tensors, got {', '.join(states) or 'none'}")
    tensors = {
        f"{part}.{name}": _stored(name, tensor, half).cpu().contiguous().clone()
        for part, state in states.items()
        for name, tensor in state.items()
    }
    architecture = {key: value for key, value in dataclasses.asdict(config).items() if key != "aus"}
    metadata = {
        "format": PRETRAINED_FORMAT,
        "architecture": json.dumps(architecture),
        "training": json.dumps(training),
        "licence": licence,
    }
    metadata["digest"] = _digest(metadata, lambda name: tensors[name], tensors)
    with atomic_write(path) as part_file:
        save_file(tensors, part_file, metadata)
    return path


def is_pretrained(path: Path | str) -> bool:
    """Whether a file says that it holds pretrained parts; false for files that can't be read."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") == PRETRAINED_FORMAT
    except (SafetensorError, OSError):
        return False


def read_pretrained(path: Path | str) -> Pretrained:
    """The metadata of a file of pretrained parts, without the tensors. Raises CheckpointError as `load_pretrained` does."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != PRETRAINED_FORMAT:
            raise CheckpointError(f"{path}: holds no pretrained parts (its metadata lacks format = {PRETRAINED_FORMAT})")
        found = Pretrained(
            architecture=json.loads(metadata["architecture"]),
            training=json.loads(metadata["training"]),
            licence=metadata["licence"],
        )
        found.config()
        return found
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file, or truncated ({error})") from error
    except CheckpointError:
        raise
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: its metadata can't be read ({error!r})") from error


def load_pretrained(path: Path | str) -> Pretrained:
    """Pretrained parts.

    Returns:
        Metadata and tensors; the generator's and the encoder's fit the architecture.

    Raises:
        CheckpointError: no such file, another kind of file, truncated, damaged (its contents differ from what was written),
            or tensors that don't fit the architecture; the message names the file and lists the tensors.
    """
    path = Path(path)
    found = read_pretrained(path)
    parts: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata())
            recorded = metadata.pop("digest", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or unreadable ({error})") from error
    if _digest(metadata, tensors.__getitem__, tensors) != recorded:
        raise CheckpointError(f"{path}: damaged, its contents differ from what was written; make or fetch it again")
    for full_name, tensor in tensors.items():
        part, _, name = full_name.partition(".")
        parts.setdefault(part, {})[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
    with torch.device("meta"):
        net = FGNet(found.config())
    problems = []
    for part, module in (("generator", net.generator), ("encoder", net.encoder)):
        if part in parts:
            wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
            problems += misfits(parts[part], wanted, f"{part}: ", exactly=True)
    raise_problems(path, problems)
    return dataclasses.replace(found, parts=parts)


@torch.no_grad()
def style_moments(generator: Generator, count: int = 4096) -> dict[str, Tensor]:
    """Mean [style_dim] of the styles, as ``style_mean``, of `count` random latent codes, always the same ones."""
    first = generator.mapping.layers[0].weight
    assert isinstance(first, Tensor)
    codes = torch.randn(count, first.shape[1], generator=torch.Generator().manual_seed(0))
    styles = generator.mapping(codes.to(first.device)).float()
    return {"style_mean": styles.mean(0)}
