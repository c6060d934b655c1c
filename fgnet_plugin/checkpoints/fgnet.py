"""Checkpoints: one safetensors file a model, with its architecture, AUs and origin in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgnet_plugin.checkpoints import published
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.checkpoints.safetensors_file import _OTHER_FORMATS, FORMAT, _digest, _in_portions, _stored
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.utils.files import atomic_write


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint's metadata says."""

    config: FGNetConfig
    corpus: str
    """What it was trained on: "BP4D", "DISFA", …"""
    fold: int | None = None
    """Test fold of the corpus, where known."""
    training: dict[str, Any] = field(default_factory=dict)
    """Summary of the training."""
    licence: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    """File name -> SHA-256 of the files it was converted from."""
    digest: str = ""
    """SHA-256 over metadata and tensors, by which `verify` knows the file."""

    def to_metadata(self) -> dict[str, str]:
        """As safetensors metadata: a flat dict of strings."""
        metadata = {
            "format": FORMAT,
            "config": self.config.to_json(),
            "aus": json.dumps(self.config.aus),
            "corpus": self.corpus,
            "training": json.dumps(self.training),
            "licence": self.licence,
            "sources": json.dumps(self.sources),
        }
        return metadata if self.fold is None else metadata | {"fold": str(self.fold)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None) -> CheckpointInfo:
        """The inverse of `to_metadata`. Raises ValueError where the metadata is not ours."""
        if metadata and metadata.get("format") in _OTHER_FORMATS:
            raise ValueError(_OTHER_FORMATS[metadata["format"]])
        if not metadata or metadata.get("format") != FORMAT:
            raise ValueError(f"not a checkpoint of this package (its metadata lacks format = {FORMAT})")
        try:
            return cls(
                config=FGNetConfig.from_json(metadata["config"]),
                corpus=metadata["corpus"],
                fold=int(metadata["fold"]) if "fold" in metadata else None,
                training=json.loads(metadata["training"]),
                licence=metadata["licence"],
                sources=json.loads(metadata["sources"]),
                digest=metadata["digest"],
            )
        except KeyError as error:
            raise ValueError(f"its metadata lacks {error}") from error


def save(model: FGNet | Mapping[str, Tensor], path: Path | str, info: CheckpointInfo, half: bool = False) -> Path:
    """Writes a checkpoint; a file that is there already is replaced only once the new one is complete.

    Args:
        model: the model, or its state dict.
        path: the file, by convention ``.safetensors``.
        info: its metadata; the digest is computed.
        half: store weights as float16 (half the size; vectors and the average latent code stay float32).

    Raises:
        ValueError: the model's config is not the one in `info`; or the model was fused for detection.
        OSError: the file can't be written; nothing is left behind.
    """
    path = Path(path)
    if isinstance(model, FGNet) and model.config != info.config:
        raise ValueError("the metadata's config is not that of the model")
    if isinstance(model, FGNet) and model.fused:
        raise ValueError("this model was fused for detection and can't be saved; load it again, without fuse, and save that")
    state = model.state_dict() if isinstance(model, FGNet) else model
    # Contiguous in the usual layout, and on the CPU: what safetensors stores.
    tensors = {name: _stored(name, tensor, half).cpu().contiguous() for name, tensor in state.items()}
    metadata = info.to_metadata()
    metadata["digest"] = _digest(metadata, lambda name: tensors[name], tensors)
    with atomic_write(path) as part:
        save_file(tensors, part, metadata)
    return path


def load(
    name_or_path: str | Path,
    device: torch.device | str = "cpu",
    precision: Precision = "float32",
    channels_last: bool | None = None,
    fuse: bool = False,
) -> FGNet:
    """A model, ready to detect.

    Args:
        name_or_path: a name from ``fgnet weights list`` (``"fgnet-bp4d"``, ``"fgnet-disfa"``, ``"fgnet-rendered"``), or
            the path of a checkpoint file.
        device: where it goes.
        precision, channels_last: see `FGNet.prepare`.
        fuse: for detection only, and faster on GPUs: see `FGNet.fuse`.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: no such name or file (the message says how to get it); a file that is no checkpoint, is
            truncated, or whose tensors don't fit its architecture.

    Example:
        >>> net = load("fgnet-bp4d")  # doctest: +SKIP
        >>> net.predict(faces).scores  # doctest: +SKIP
    """
    path, device = resolve(name_or_path), torch.device(device)
    config = read_info(path).config
    with torch.device("meta"):
        model = FGNet(config).eval()
    model.prepare(precision, channels_last, device)
    model.to_empty(device=device)
    targets = model.state_dict()
    with safe_open(path, "pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    problems = [f"{name} is missing" for name in targets if name not in found]
    problems += [f"{name} is not part of the architecture" for name in found if name not in targets]
    problems += [
        f"{name} has shape {list(found[name])}, expected {list(target.shape)}"
        for name, target in targets.items()
        if name in found and found[name] != tuple(target.shape)
    ]
    published.raise_problems(path, problems)
    for names in _in_portions(targets):
        with safe_open(path, "pt") as file:  # reopened, so that what was copied leaves memory
            for name in names:
                targets[name].copy_(file.get_tensor(name))
    return model.fuse() if fuse else model


def read_info(path: Path | str) -> CheckpointInfo:
    """The metadata of a checkpoint file. Raises CheckpointError where it is missing, truncated or another kind of file."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            return CheckpointInfo.from_metadata(file.metadata())
    except SafetensorError as error:
        hint = "; the authors' .pth and .pt files go through `fgnet weights convert`" if path.suffix in {".pth", ".pt"} else ""
        raise CheckpointError(f"{path}: not a safetensors file, or truncated ({error}){hint}") from error
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def verify(path: Path | str) -> CheckpointInfo:
    """Reads a whole checkpoint and compares it with the digest that was recorded when it was written.

    Returns:
        Its metadata.

    Raises:
        CheckpointError: any byte differs, or the file is no checkpoint.
    """
    path, info = Path(path), read_info(path)
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
        recorded = metadata.pop("digest")
        if _digest(metadata, file.get_tensor, file.keys()) != recorded:
            raise CheckpointError(f"{path}: damaged, its contents differ from what was written; fetch or convert it again")
    return info
