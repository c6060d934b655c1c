"""The baseline that FG-Net is compared with: a ResNet that reads each AU off the whole face; its network and its file."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fgnet_plugin.checkpoints.published import raise_problems
from fgnet_plugin.checkpoints.safetensors_file import BASELINE_FORMAT, _digest, _stored
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import normalize
from fgnet_plugin.utils.files import atomic_write

BASELINE_FILE = "baseline.safetensors"
KINDS = ("resnet18", "resnet34", "resnet50")
SMALLEST = 32
"""Side of the smallest face that a ResNet, which halves it five times, can read, px."""


class Baseline(nn.Module):
    """torchvision's ResNet (He et al., CVPR 2016) from random weights, with one logit an AU.

    Raises ValueError for an unknown kind or too small a face, or where torchvision is not installed.
    """

    def __init__(self, kind: str, aus: Sequence[str], image_size: int) -> None:
        super().__init__()
        if kind not in KINDS or not aus or image_size < SMALLEST:
            raise ValueError(
                f"a baseline is one of {', '.join(KINDS)}, of at least one AU and faces of at least {SMALLEST} px; "
                f"got {kind}, {len(aus)} AUs and {image_size} px"
            )
        try:
            models = importlib.import_module("torchvision.models")
        except ImportError as error:
            raise ValueError('baselines need torchvision; run: pip install "fgnet-plugin[train]"') from error
        self.kind, self.aus, self.image_size = kind, tuple(aus), image_size
        self.resnet: nn.Module = getattr(models, kind)(weights=None, num_classes=len(self.aus))

    def forward(self, faces: Tensor) -> Tensor:
        """Logits [B, A] float32 of aligned faces [B, 3, S, S]: uint8, or floating point in [-1, 1]."""
        size = self.image_size
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, size, size):
            raise ValueError(f"faces must have shape [B, 3, {size}, {size}], got {list(faces.shape)}")
        return self.resnet(normalize(faces)).float()


def activations(logits: Tensor) -> Tensor:
    """Logits -> activations in [-1, 1], above 0 where the AU's probability exceeds one half: 2·sigmoid(logit) − 1."""
    return 2 * torch.sigmoid(logits) - 1


@dataclass(frozen=True)
class BaselineInfo:
    """What a baseline's metadata says."""

    kind: str
    aus: tuple[str, ...]
    image_size: int
    corpus: str = ""
    """What it was trained on."""
    fold: int | None = None
    """Test fold of the corpus, where there is one."""
    training: dict[str, Any] = field(default_factory=dict)
    """Summary of the training, its recipe included."""
    licence: str = ""
    digest: str = field(default="", compare=False)
    """SHA-256 over metadata and tensors, once it is in a file."""


def save_baseline(model: Baseline, path: Path | str, info: BaselineInfo, half: bool = False) -> Path:
    """Writes a baseline; a file that is there already is replaced only once the new one is complete.

    Raises ValueError where the metadata is of another network, OSError where the file can't be written.
    """
    path = Path(path)
    if (info.kind, info.aus, info.image_size) != (model.kind, model.aus, model.image_size):
        raise ValueError("the metadata is not that of the model")
    tensors = {name: _stored(name, value, half).cpu().contiguous() for name, value in model.state_dict().items()}
    metadata = {
        "format": BASELINE_FORMAT,
        "kind": info.kind,
        "aus": json.dumps(info.aus),
        "image_size": str(info.image_size),
        "corpus": info.corpus,
        "training": json.dumps(info.training),
        "licence": info.licence,
    }
    if info.fold is not None:
        metadata["fold"] = str(info.fold)
    metadata["digest"] = _digest(metadata, tensors.__getitem__, tensors)
    with atomic_write(path) as part:
        save_file(tensors, part, metadata)
    return path


def is_baseline(path: Path | str) -> bool:
    """Whether a file says that it holds a baseline; false for files that can't be read."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") == BASELINE_FORMAT
    except (SafetensorError, OSError):
        return False


def read_baseline(path: Path | str) -> BaselineInfo:
    """A baseline's metadata, without its weights. Raises CheckpointError as `load_baseline` does."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            return _info(path, dict(file.metadata() or {}))
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file, or truncated ({error})") from error


def _info(path: Path, metadata: Mapping[str, str]) -> BaselineInfo:
    if metadata.get("format") != BASELINE_FORMAT:
        raise CheckpointError(f"{path}: no baseline (its metadata lacks format = {BASELINE_FORMAT})")
    try:
        return BaselineInfo(
            kind=metadata["kind"],
            aus=tuple(json.loads(metadata["aus"])),
            image_size=int(metadata["image_size"]),
            corpus=metadata["corpus"],
            fold=int(metadata["fold"]) if "fold" in metadata else None,
            training=json.loads(metadata["training"]),
            licence=metadata["licence"],
            digest=metadata["digest"],
        )
    except KeyError as error:
        raise CheckpointError(f"{path}: its metadata lacks {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata can't be read ({error})") from error


def load_baseline(path: Path | str, device: torch.device | str = "cpu") -> tuple[Baseline, BaselineInfo]:
    """A baseline in evaluation mode, and its metadata.

    Raises CheckpointError, naming the file, where it is missing, truncated, damaged, or another kind of file.
    """
    path = Path(path)
    info = read_baseline(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file, or truncated ({error})") from error
    del metadata["digest"]
    if _digest(metadata, tensors.__getitem__, tensors) != info.digest:
        raise CheckpointError(f"{path}: damaged, its contents differ from what was written; make it again")
    model = Baseline(info.kind, info.aus, info.image_size).eval()
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # lists the tensors
        raise_problems(path, [line.strip() for line in str(error).splitlines()[1:]])
    return model.to(device), info
