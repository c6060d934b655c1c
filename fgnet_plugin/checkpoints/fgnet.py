"""Save, load and verify FG-Net checkpoints: safetensors files with architecture, AUs and origin in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.alignment import Padding
from fgnet_plugin.alignment.region import PADDINGS
from fgnet_plugin.checkpoints.mismatches import find_mismatches, raise_mismatches
from fgnet_plugin.checkpoints.published import UNTRAINED
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.utils import safetensors_file

_OTHER_FORMATS = {
    safetensors_file.BASELINE: (
        "a baseline of `fgnet train detector`, not an FG-Net: training.models.systems.load_system reads it"
    ),
    safetensors_file.PRETRAINED: "pretrained parts, not a whole FG-Net: a training starts from them with model.start_from",
}
"""Other files of this package -> the message for users who take one for a checkpoint."""


@dataclass(frozen=True)
class CheckpointInfo:
    """Metadata of a checkpoint.

    Example:
        >>> from fgnet_plugin.checkpoints.registry import resolve
        >>> info = read_info(resolve("fgnet-rendered"))
        >>> info.config.image_size, info.padding
        (128, 'reflect')
    """

    config: FGNetConfig
    corpus: str
    """Training corpus: "BP4D", "DISFA", …"""
    fold: int | None = None
    """Test fold of the corpus, where known."""
    training: dict[str, Any] = field(default_factory=dict)
    """Summary of the training."""
    licence: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    """File name -> SHA-256 of the files it was converted from."""
    padding: Padding = "reflect"
    """How the faces that it was trained on were padded at the border of their photos: detection does it likewise."""
    digest: str = ""
    """SHA-256 over metadata and tensors, by which `verify` knows the file."""

    @property
    def weak_aus(self) -> tuple[str, ...]:
        """Of a student (`training.students`), the AUs on which it agrees too little with its teacher; else none."""
        return tuple(au for au in self.config.aus if au in self.training.get("weak_aus", ()))

    def to_metadata(self) -> dict[str, str]:
        """Return the safetensors metadata, without the digest: a flat dict of strings."""
        metadata = {
            "format": safetensors_file.CHECKPOINT,
            "config": self.config.to_json(),
            "aus": json.dumps(self.config.aus),
            "corpus": self.corpus,
            "training": json.dumps(self.training),
            "licence": self.licence,
            "sources": json.dumps(self.sources),
            "padding": self.padding,
        }
        return metadata if self.fold is None else metadata | {"fold": str(self.fold)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> CheckpointInfo:
        """Invert `to_metadata`. Raises KeyError or ValueError for missing or unreadable values."""
        return cls(
            config=FGNetConfig.from_json(metadata["config"]),
            corpus=metadata["corpus"],
            fold=int(metadata["fold"]) if "fold" in metadata else None,
            training=json.loads(metadata["training"]),
            licence=metadata["licence"],
            sources=json.loads(metadata["sources"]),
            padding=_padding(metadata),
            digest=metadata["digest"],
        )


def _padding(metadata: Mapping[str, str]) -> Padding:
    """Read how faces were padded; of files that don't say, the authors' had black borders, and ours were mirrored."""
    found = metadata.get("padding") or ("constant" if json.loads(metadata["sources"]) else "reflect")
    if found not in PADDINGS:
        raise ValueError(f"padding is {found!r}, not one of {', '.join(PADDINGS)}")
    return found


def save(model: FGNet | Mapping[str, Tensor], path: Path | str, info: CheckpointInfo, half: bool = False) -> Path:
    """Write a checkpoint; an existing file is replaced only by a complete new one.

    Args:
        model: the model, or its state dict.
        path: the file, by convention ``.safetensors``.
        info: its metadata; the digest is computed.
        half: store weights as float16, at half the size; vectors and the average latent code stay float32.

    Raises:
        ValueError: the model's config is not the one in `info`; or the model was fused for detection.
        OSError: the file can't be written; nothing is left behind.

    Example:
        >>> from fgnet_plugin.network import small_config
        >>> net = FGNet(small_config(("AU06", "AU12"), width=32))
        >>> path = save(net, "smile.safetensors", CheckpointInfo(net.config, corpus="my study"))
        >>> load(path).aus
        ('AU06', 'AU12')
    """
    if isinstance(model, FGNet) and model.config != info.config:
        raise ValueError("the metadata's config is not that of the model")
    if isinstance(model, FGNet) and model.fused:
        raise ValueError("this model was fused for detection and can't be saved; load it again, without fuse, and save that")
    state = model.state_dict() if isinstance(model, FGNet) else model
    return safetensors_file.write(Path(path), state, info.to_metadata(), half)


def load(
    name_or_path: str | Path,
    device: torch.device | str = "cpu",
    precision: Precision = "float32",
    channels_last: bool | None = None,
    fuse: bool = False,
) -> FGNet:
    """Load a model, ready to detect.

    Args:
        name_or_path: a name from ``fgnet weights list`` (``"fgnet-bp4d"``, ``"fgnet-disfa"``, ``"fgnet-rendered"``), or
            the path of a checkpoint file.
        device: device of the model.
        precision, channels_last: see `FGNet.prepare`.
        fuse: make the model faster on GPUs, for detection only: see `FGNet.fuse`.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: unknown name or missing file (the message says how to get it); a file that is not a checkpoint, is
            truncated, or has tensors that don't fit its architecture.

    Example:
        >>> net = load("fgnet-bp4d")  # doctest: +SKIP
        >>> net.predict(faces).scores  # doctest: +SKIP
    """
    path, device = resolve(name_or_path), torch.device(device)
    config = read_info(path).config
    with torch.device("meta"):
        model = FGNet(config).eval()
    model.prepare(precision, channels_last, device)
    # As Module.to_empty does, but for torch.empty_like, which would import torch's symbolic mathematics for a second or two.
    model._apply(  # type: ignore[no-untyped-call]
        lambda tensor: torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=device)
    )
    targets = model.state_dict()
    shapes = {name: tuple(target.shape) for name, target in targets.items()}
    found = {name: tensor for name, tensor in safetensors_file.read_shapes(path).items() if name not in UNTRAINED.values()}
    raise_mismatches(path, find_mismatches(found, shapes, exactly=True))
    safetensors_file.copy_tensors(path, targets)
    return model.fuse() if fuse else model


def read_info(path: Path | str) -> CheckpointInfo:
    """Read the metadata of a checkpoint. Raises CheckpointError where it is missing, truncated or another kind of file.

    Example:
        >>> from fgnet_plugin.checkpoints.registry import resolve
        >>> read_info(resolve("fgnet-rendered")).config.aus[:4]
        ('AU01', 'AU02', 'AU04', 'AU06')
    """
    path = Path(path)
    metadata = safetensors_file.read_metadata(path)
    file_format = metadata.get("format", "")
    if file_format != safetensors_file.CHECKPOINT:
        other = f"not a checkpoint of this package (its metadata lacks format = {safetensors_file.CHECKPOINT})"
        raise CheckpointError(f"{path}: {_OTHER_FORMATS.get(file_format, other)}")
    with safetensors_file.reading(path):
        return CheckpointInfo.from_metadata(metadata)


def verify(path: Path | str) -> CheckpointInfo:
    """Read a whole checkpoint and compare it with the digest that was recorded when it was written.

    Returns:
        Its metadata.

    Raises:
        CheckpointError: any byte differs, or the file is not a checkpoint.

    Example:
        >>> from fgnet_plugin.checkpoints.registry import resolve
        >>> verify(resolve("fgnet-rendered")).corpus
        'rendered heads'
    """
    info = read_info(path)
    safetensors_file.verify_digest(Path(path))
    return info
