"""Checkpoints: one safetensors file a model, with its architecture, AUs and origin in the metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgnet_plugin import published
from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.weights import resolve

FORMAT = "fgnet-plugin/1"
BASELINE_FORMAT = "fgnet-plugin-baseline/1"
PRETRAINED_FORMAT = "fgnet-plugin-pretrained/1"
_OTHER_FORMATS = {
    BASELINE_FORMAT: "a baseline of `fgnet train detector`, not an FG-Net: fgnet_plugin.training.systems.load_system reads it",
    PRETRAINED_FORMAT: "pretrained parts, not a whole FG-Net: a training starts from them with model.start_from",
}
"""Other files of this package -> what to tell who takes one for a checkpoint."""
PUBLISHED_LICENCE = (
    "Weights by the authors of FG-Net (ihp-lab/FG-Net), trained on a corpus whose licence covers research only; "
    "generator and encoder pretrained on FFHQ (CC BY-NC-SA 4.0)."
)
_READ_BYTES = 128 * 2**20  # how much of a file is mapped into memory at a time while it is loaded


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
    model._arrange(precision, channels_last, device.type)
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


def convert_published(
    model_pth: Path | str,
    encoder_pt: Path | str,
    corpus: str,
    out: Path | str,
    *,
    fold: int | None = None,
    half: bool = False,
    config: FGNetConfig | None = None,
) -> Path:
    """The authors' two files -> one checkpoint, exact (unless `half`), with the trained output channels only.

    Args:
        model_pth: FG-Net's ``model.pth`` for that corpus.
        encoder_pt: pSp's ``encoder.pt``, for the average latent code.
        corpus: ``"BP4D"`` or ``"DISFA"``: says which AUs the channels are.
        out: the file to write.
        fold: test fold, where known.
        half: store float16: 650 MB instead of 1.3 GB.
        config: an architecture other than the published one.

    Raises:
        ValueError: unknown corpus.
        CheckpointError: a file is missing, truncated, another kind of file, or holds code; nothing is written.
    """
    model_pth, encoder_pt = Path(model_pth), Path(encoder_pt)
    config = FGNetConfig(aus=corpus_aus(corpus)) if config is None else config
    average = published.read_latent_average(encoder_pt, config)
    parts = published.read_model(model_pth, config)
    state, broken = {"encoder.latent_average": average}, []
    for name, tensor in published.assemble(parts, config):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            broken.append(f"{name} holds NaN or infinity")
        state[name] = _stored(name, tensor, half)  # halved one by one: both sizes together would need more memory
    published.raise_problems(model_pth, broken)
    del parts
    files = {"model.pth": model_pth, "encoder.pt": encoder_pt}
    info = CheckpointInfo(
        config=config,
        corpus=corpus.upper(),
        fold=fold,
        training={"by": "the authors of FG-Net", "paper": "Yin et al., WACV 2024, arXiv 2308.12380"},
        licence=PUBLISHED_LICENCE,
        sources={name: sha256(file) for name, file in files.items()},
    )
    return save(state, out, info)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _usual_mode() -> int:
    """Permissions of a new file."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


_MODE = _usual_mode()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, moved to `path` when the block ends well and removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with suppress(OSError):  # some file systems know no permissions
            part.chmod(_MODE)  # safetensors makes files that only their owner can read
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):
            raise OSError(f"{path}: can't be written ({error})") from error
        raise


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
