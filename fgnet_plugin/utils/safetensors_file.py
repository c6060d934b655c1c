"""The file format of all weights: safetensors whose metadata name the kind of file and hold a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.utils.files import atomic_write

CHECKPOINT = "fgnet-plugin/1"
PRETRAINED = "fgnet-plugin-pretrained/1"
BASELINE = "fgnet-plugin-baseline/1"
FACE_NETWORK = "fgnet-plugin-face-network/1"
"""Values of the metadata's "format": what a file holds, and the version of its layout."""

_PORTION_BYTES = 128 * 2**20  # how much of a file is mapped into memory at a time while it is loaded


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], half: bool = False) -> Path:
    """Write tensors, their metadata and the digest of both; an existing file is replaced only by a complete new one.

    Args:
        path: the file, by convention ``.safetensors``.
        tensors: name -> tensor, on any device and in any memory layout.
        metadata: with the key "format"; the key "digest" is added.
        half: store weights as `as_stored` does.

    Returns:
        `path`.

    Raises:
        OSError: the file can't be written; nothing is left behind.

    Example:
        >>> write(Path("w.safetensors"), {"w": torch.ones(2)}, {"format": "example/1"})  # doctest: +SKIP
    """
    # Contiguous in the usual layout, and on the CPU: what safetensors stores.
    stored = {name: as_stored(name, tensor, half).cpu().contiguous() for name, tensor in tensors.items()}
    digest = _digest(metadata, stored.__getitem__, stored)
    with atomic_write(path) as part:
        save_file(stored, part, {**metadata, "digest": digest})
    return path


def as_stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    """Return a tensor as a file holds it: with `half` as float16, except vectors, the average latent code and large values."""
    tensor = tensor.detach()
    if not half or tensor.dtype != torch.float32 or tensor.ndim < 2 or name.endswith(("bias", "latent_average")):
        return tensor
    return tensor.to(torch.float16) if float(tensor.abs().max()) < torch.finfo(torch.float16).max else tensor


def read_metadata(path: Path) -> dict[str, str]:
    """Read a file's metadata. Raises CheckpointError where it is missing, truncated or no safetensors file."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    with reading(path), safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def has_format(path: Path, file_format: str) -> bool:
    """Return whether a file's metadata name this format; false for files that can't be read."""
    try:
        return read_metadata(path).get("format") == file_format
    except CheckpointError:
        return False


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file, on the CPU, and compare them with the digest.

    Args:
        path: a file that `read_metadata` reads.

    Raises:
        CheckpointError: truncated, or the contents differ from what was written.
    """
    with reading(path), safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    _compare_digest(path, tensors.__getitem__, tensors)
    return tensors


def read_foreign(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file of another program. Raises CheckpointError: truncated, or another kind of file."""
    with reading(path), safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)


def verify_digest(path: Path) -> None:
    """Compare a whole file, tensor by tensor, with its digest. Raises CheckpointError where any byte differs."""
    with reading(path), safe_open(path, "pt") as file:
        _compare_digest(path, file.get_tensor, file.keys())


def read_shapes(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors as meta tensors, which have shapes but no values."""
    with reading(path), safe_open(path, "pt") as file:
        return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118


def copy_tensors(path: Path, targets: Mapping[str, Tensor]) -> None:
    """Copy tensors of a file to those of the same names and shapes, without having the whole file in memory."""
    for names in _portions(targets):
        with reading(path), safe_open(path, "pt") as file:  # reopened, so that what was copied leaves memory
            for name in names:
                targets[name].copy_(file.get_tensor(name))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors while a file or its metadata are read into a CheckpointError that names the file."""
    try:
        yield
    except CheckpointError:
        raise
    except SafetensorError as error:
        hint = "; the authors' .pth and .pt files go through `fgnet weights convert`" if path.suffix in {".pth", ".pt"} else ""
        raise CheckpointError(f"{path}: not a safetensors file, or truncated ({error}){hint}") from error
    except KeyError as error:
        raise CheckpointError(f"{path}: its metadata lacks {error}") from error
    except (ValueError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: can't be read ({error})") from error


def _digest(metadata: Mapping[str, str], tensor: Callable[[str], Tensor], names: Iterable[str]) -> str:
    """Return the SHA-256 over the metadata and, in the order of their names, each tensor's name, dtype, shape and bytes."""
    sha = hashlib.sha256(json.dumps(dict(sorted(metadata.items()))).encode())
    for name in sorted(names):
        value = tensor(name)
        sha.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        sha.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _compare_digest(path: Path, tensor: Callable[[str], Tensor], names: Iterable[str]) -> None:
    metadata = read_metadata(path)
    recorded = metadata.pop("digest", "")
    if _digest(metadata, tensor, names) != recorded:
        raise CheckpointError(f"{path}: damaged, its contents differ from what was written; fetch or make it again")


def _portions(tensors: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Yield names of tensors that take about `_PORTION_BYTES` together."""
    portion: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        portion.append(name)
        size += tensor.nbytes
        if size >= _PORTION_BYTES:
            yield portion
            portion, size = [], 0
    yield portion
