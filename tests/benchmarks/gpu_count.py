"""FLOP, bytes and launches of detection by the network's parts, counted on meta tensors, and the time that a chip needs.

    python3 tests/benchmarks/gpu_count.py [--batch 32] [--precision bfloat16] [--plain] [--most 20]

Needs no GPU. A bound, not a forecast: each operation takes the longest of its arithmetic at the rate of a matrix product, its
bytes (inputs read once, outputs written once) at the rate of a copy, and a launch; nothing overlaps. The rates by default are
round numbers for an H100; `make gpu` takes those that it measures, and prints the bound beside the times.
"""

import argparse
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.ops.decode_heatmaps import decode_heatmaps

# Operations that move nothing: other views of the same memory, and memory that is not written yet
_FREE = {
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "chunk", "detach", "empty", "empty_like", "empty_strided",
    "expand", "new_empty", "new_empty_strided", "permute", "select", "slice", "split", "split_with_sizes", "squeeze", "t",
    "transpose", "unbind", "unfold", "unsqueeze", "view",
}  # fmt: skip


@dataclass(frozen=True)
class Chip:
    """What a GPU does in a second, and how long a launch takes."""

    half: float = 550e12
    """FLOP of products in 16 bits."""
    tf32: float = 300e12
    """FLOP of products in TF32, which float32 convolutions are by default."""
    memory: float = 2.7e12
    """Bytes, read and written."""
    launch: float = 2e-6
    """Seconds, in a CUDA graph."""


@dataclass(frozen=True)
class Operation:
    """One operation: where, what, and how much of it."""

    part: str
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    flop: float
    bytes: float

    def seconds(self, chip: Chip) -> float:
        """The least time that it takes."""
        rate = chip.tf32 if self.dtype == torch.float32 else chip.half
        return max(self.flop / rate, self.bytes / chip.memory, chip.launch)


class Counter(TorchDispatchMode):
    """Lists the operations that reach a device."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.operations = "", list[Operation]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.device.type == "meta"]
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and leaf.device.type == "meta"]
        if packet.__name__ not in _FREE and written:
            flop = flop_registry[packet](*args, **(kwargs or {}), out_val=result) if packet in flop_registry else 0
            moved = _moved(packet.__name__, read, written)
            shape, dtype = tuple(written[0].shape), written[0].dtype
            self.operations.append(Operation(self.part, packet.__name__, shape, dtype, flop, moved))
        return result


def _moved(name: str, read: list[Tensor], written: list[Tensor]) -> float:
    total = sum(map(_size, written))
    if name in ("index_select", "gather_patches"):  # of the map, what is selected
        return 2 * total
    if name == "index_fill_":  # a few rows
        return 0
    if name == "relu_norm_add" and len(read) == 5:  # of a map that is resized, two pixels a side for each of the result
        *others, feature_map = read
        share = min(4 * written[0].shape[2] * written[0].shape[3] / (feature_map.shape[2] * feature_map.shape[3]), 1)
        return total + sum(map(_size, others)) + share * _size(feature_map)
    return total + sum(map(_size, read))


def _size(x: Tensor) -> int:
    """Bytes of a tensor, without what an expanded one repeats."""
    elements = 1
    for size, stride in zip(x.shape, x.stride(), strict=True):
        elements *= size if stride else 1
    return elements * x.element_size()


def count(
    batch: int, precision: Precision = "bfloat16", fused: bool = True, config: FGNetConfig | None = None
) -> list[Operation]:
    """List the operations of detection in a batch of faces, in their order.

    Args:
        batch: faces.
        precision: see `FGNet.prepare`.
        fused: with `FGNet.fuse` and the kernels, or neither.
        config: by default the published sizes with BP4D's AUs.
    """
    config = config or FGNetConfig(corpus_aus("BP4D"))
    # Autocast, which the network switches off in places, is not there on meta devices.
    with torch.device("meta"), torch.no_grad(), mock.patch("torch.autocast", return_value=nullcontext()):
        net = FGNet(config).eval().prepare(precision, device="cuda")
        net = net.fuse(kernels=True) if fused else net
        faces = torch.empty(batch, 3, config.image_size, config.image_size)
        with Counter() as counter:
            counter.part = "encoder"
            codes = net.encoder(faces, rows=config.n_layers)
            counter.part = "mapping"
            styles = net.generator.mapping(codes)
            counter.part = "generator"
            maps = net.generator(styles, max_size=config.heatmap_size)
            counter.part = "interpreter"
            heatmaps = net.interpreter(maps)
            counter.part = "decode"
            decode_heatmaps(heatmaps, kernels=fused)
    return counter.operations


def bounds(operations: list[Operation], chip: Chip) -> dict[str, float]:
    """Sum the least seconds of each part."""
    found: dict[str, float] = defaultdict(float)
    for operation in operations:
        found[operation.part] += operation.seconds(chip)
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--plain", action="store_true", help="neither fused nor with kernels")
    parser.add_argument("--most", type=int, default=20, help="operations that take the longest, to list")
    for name, rate in vars(Chip()).items():
        parser.add_argument(f"--{name}", type=float, default=rate)
    options = parser.parse_args()
    chip = Chip(options.half, options.tf32, options.memory, options.launch)
    operations = count(options.batch, options.precision, not options.plain)
    print(f"{'':14}{'GFLOP a face':>14}{'GB':>8}{'launches':>10}{'bound, ms':>11}")
    for part, seconds in bounds(operations, chip).items():
        of_part = [operation for operation in operations if operation.part == part]
        print_row(part, of_part, options.batch, seconds)
    total = sum(bounds(operations, chip).values())
    print_row("all", operations, options.batch, total)
    print(f"at most {options.batch / total:.0f} faces/s")
    for operation in sorted(operations, key=lambda operation: -operation.seconds(chip))[: options.most]:
        what = f"{operation.part} {operation.name} {list(operation.shape)} {operation.dtype}"
        moved = f"{operation.flop / 1e9:8.0f} GFLOP{operation.bytes / 1e6:8.0f} MB"
        print(f"{operation.seconds(chip) * 1e3:8.3f} ms{moved}  {what}")


def print_row(name: str, operations: list[Operation], batch: int, seconds: float) -> None:
    flop, moved = (sum(getattr(operation, what) for operation in operations) for what in ("flop", "bytes"))
    print(f"{name:14}{flop / 1e9 / batch:14.1f}{moved / 1e9:8.2f}{len(operations):10}{seconds * 1e3:11.2f}")


if __name__ == "__main__":
    main()
