"""Compare the tensors of a file with those of an architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from fgnet_plugin.errors import CheckpointError

_SHOWN = 8


def find_mismatches(
    tensors: Mapping[str, object], wanted: Mapping[str, tuple[int, ...]], prefix: str = "", exactly: bool = False
) -> list[str]:
    """List the tensors that are missing, of another shape or, with `exactly`, unknown.

    Args:
        tensors: name -> tensor of the file; what is no tensor counts as missing.
        wanted: name -> shape in the architecture.
        prefix: in front of the names.
        exactly: whether tensors that `wanted` lacks are listed.

    Returns:
        One line each.

    Example:
        >>> find_mismatches({}, {"weight": (3, 3)}, "generator: ")
        ['generator: weight is missing']
    """
    lines = [f"{prefix}{name} is missing" for name in wanted if not isinstance(tensors.get(name), Tensor)]
    if exactly:
        lines += [f"{prefix}{name} is not part of the architecture" for name in tensors if name not in wanted]
    for name, shape in wanted.items():
        tensor = tensors.get(name)
        if isinstance(tensor, Tensor) and tuple(tensor.shape) != shape:
            lines.append(f"{prefix}{name} has shape {list(tensor.shape)}, expected {list(shape)}")
    return lines


def raise_mismatches(path: Path, mismatches: Sequence[str]) -> None:
    """Raise one CheckpointError that lists the mismatches of a file, the first few in full; return if there are none."""
    if mismatches:
        more = [f"… and {len(mismatches) - _SHOWN} more"] if len(mismatches) > _SHOWN else []
        shown = "".join(f"\n  {line}" for line in [*mismatches[:_SHOWN], *more])
        raise CheckpointError(f"{path}: does not fit this architecture:{shown}")
