"""Trained systems of either kind, FG-Net or baseline, behind one interface: what evaluations compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from fgnet_plugin.checkpoints.fgnet import load, read_info
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNet
from fgnet_plugin.training.models import baseline
from fgnet_plugin.training.models.baseline import BASELINE_FILE

FGNET_FILE = "fgnet.safetensors"


@dataclass(frozen=True)
class SystemInfo:
    """Where a system comes from."""

    path: Path
    kind: Literal["fgnet", "baseline"]
    aus: tuple[str, ...]
    """In channel order."""
    image_size: int
    """Side of the faces that it reads, px."""
    corpus: str = ""
    """What it was trained on: "BP4D", …; empty where its file does not say."""
    fold: int | None = None
    """Test fold of that corpus, where there is one."""
    training: dict[str, Any] = field(default_factory=dict)
    """Summary of the training, as its file records it."""
    licence: str = ""
    digest: str = ""
    """SHA-256 over its metadata and tensors."""
    converted: bool = False
    """Whether it was made of the authors' files."""

    @property
    def recipe(self) -> dict[str, Any]:
        """All settings of the training; empty for weights that another program trained."""
        found = self.training.get("recipe", {})
        return dict(found) if isinstance(found, dict) else {}


class System(Protocol):
    """Detects AUs in aligned faces."""

    @property
    def aus(self) -> tuple[str, ...]:
        """The AUs in channel order."""

    @property
    def image_size(self) -> int:
        """Side of the faces that it reads, px."""

    @property
    def info(self) -> SystemInfo:
        """Where it comes from."""

    def predict(self, faces: Tensor, batch_size: int = 8) -> Tensor:
        """Activations [B, A] float32 on the CPU, in [-1, 1] and above 0 where the AU is present.

        Args:
            faces: uint8 [B, 3, S, S], RGB, aligned; S = image_size.
            batch_size: faces that go through the network at once.

        Raises:
            TypeError, ValueError: another dtype or shape.
        """


def load_system(name_or_path: str | Path, device: torch.device | str = "cpu") -> System:
    """A trained system, ready to detect.

    Args:
        name_or_path: a name from ``fgnet weights list``, the file of an FG-Net checkpoint or of a baseline, or the folder
            that a training wrote one of them to.
        device: where it goes.

    Raises:
        CheckpointError: no such name, file or folder; a folder without exported weights, or with those of two systems; a
            file that is neither kind, truncated or damaged.
    """
    info = read_system_info(name_or_path)
    return _Baseline(info, device) if info.kind == "baseline" else _FGNet(info, device)


def read_system_info(name_or_path: str | Path) -> SystemInfo:
    """Where a system comes from, of its file's metadata alone; arguments and errors as those of `load_system`."""
    path = _in_folder(Path(name_or_path)) if Path(name_or_path).is_dir() else resolve(name_or_path)
    if baseline.is_baseline(path):
        of = baseline.read_baseline(path)
        return SystemInfo(path, "baseline", of.aus, of.image_size, of.corpus, of.fold, of.training, of.licence, of.digest)
    info = read_info(path)
    net = info.config
    about = info.corpus, info.fold, info.training, info.licence, info.digest, bool(info.sources)
    return SystemInfo(path, "fgnet", net.aus, net.image_size, *about)


def _in_folder(folder: Path) -> Path:
    found = [folder / name for name in (FGNET_FILE, BASELINE_FILE) if (folder / name).is_file()]
    if not found:
        raise CheckpointError(
            f"{folder}: holds neither {FGNET_FILE} nor {BASELINE_FILE}; a training writes them after its first validation"
        )
    if len(found) > 1:
        raise CheckpointError(f"{folder}: holds {' and '.join(path.name for path in found)}; name one of the files")
    return found[0]


class _FGNet:
    def __init__(self, info: SystemInfo, device: torch.device | str) -> None:
        self.net: FGNet = load(info.path, device)
        self.aus, self.image_size, self.info = info.aus, info.image_size, info

    def predict(self, faces: Tensor, batch_size: int = 8) -> Tensor:
        _check_dtype(faces)
        return self.net.predict(faces, batch_size).activations.cpu()


class _Baseline:
    def __init__(self, info: SystemInfo, device: torch.device | str) -> None:
        self.net, _ = baseline.load_baseline(info.path, device)
        self.device = torch.device(device)
        self.aus, self.image_size, self.info = info.aus, info.image_size, info

    @torch.no_grad()
    def predict(self, faces: Tensor, batch_size: int = 8) -> Tensor:
        _check_dtype(faces)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        found = torch.empty(len(faces), len(self.aus))
        for start in range(0, len(faces), batch_size):
            logits = self.net(faces[start : start + batch_size].to(self.device))
            found[start : start + batch_size] = baseline.activations(logits).cpu()
        return found


def _check_dtype(faces: Tensor) -> None:
    if faces.dtype != torch.uint8:
        raise TypeError(f"faces must be uint8 in [0, 255], got {faces.dtype}")
