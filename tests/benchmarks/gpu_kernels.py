"""Each CUDA kernel's bandwidth beside a copy's, in the same run: part of ``make gpu``.

    python3 tests/benchmarks/gpu_kernels.py [--batch 32]

Bytes are the fewest that the operation must move: each input read once, each output written once; of a map that is resized,
the pixels that the resize reads. Beside it, plain torch's time for the same result; beside "whole layer, by taps" that of the
same layer with its convolution after the upsampling. FGNET_DEVICE=cpu rehearses it with plain
torch on both sides.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.ops import decode_heatmaps as decoding
from fgnet_plugin.ops import dispatch, ffhq_crop, gate_add_norm, noise_bias_act, relu_norm_add, upsample_conv_taps
from fgnet_plugin.ops import gather_patches as gathering

DEVICE = torch.device(os.environ.get("FGNET_DEVICE", "cuda"))
ON_GPU = DEVICE.type == "cuda"
ROTATED = 4  # input sets, so that a map is not read from the cache that the last call left it in


def milliseconds(calls: list[Callable[[], object]], replayed: bool = True, budget: float = 400.0) -> float:
    """Median milliseconds of a call by the device's own clock, over several input sets in turn, after warm-up.

    Python is too slow to launch the short ones one after the other: each call is replayed from a CUDA graph or, where it
    uploads something and can't be, queued while the device sleeps.
    """
    for call in calls:
        call()
    if not ON_GPU:
        return float("nan")
    if replayed:
        calls = [_recorded(call) for call in calls]
    found: list[float] = []
    while len(found) < 2 * len(calls) or sum(found) < budget:
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in calls]
        if not replayed:
            torch.cuda._sleep(40_000_000)  # clock cycles, some 20 ms
        for (start, end), call in zip(events, calls, strict=True):
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        found += [start.elapsed_time(end) for start, end in events]
    return statistics.median(found[len(calls) :])


def _recorded(call: Callable[[], object]) -> Callable[[], object]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def copy_rate() -> float:
    """Bytes a second, read and written, of a device-to-device copy that no cache holds."""
    size = 2**30 if ON_GPU else 2**20
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2e3 * size / milliseconds([lambda: target.copy_(source)])


@dataclass
class Case:
    """One kernel at one size."""

    name: str
    bytes: int
    ours: list[Callable[[], object]]
    torchs: list[Callable[[], object]]
    replayed: bool = True
    """Whether a CUDA graph can hold it: not what uploads something."""


def drawn(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(*size, device=DEVICE).to(dtype)
    return dispatch.channels_last(x) if x.ndim == 4 else x


def cases(batch: int, dtype: torch.dtype) -> list[Case]:
    """The kernels at the sizes of the published network that move the most."""
    config = FGNetConfig(("AU12",) * 1)
    sizes = dict(zip(config.map_sizes, config.generator_channels, strict=True))
    item, found = torch.empty(0, dtype=dtype).element_size(), []
    for side in (128, 256, 512):
        c = sizes[side]
        small = [(drawn(batch, c), drawn(1, 1, side, side), drawn(c), drawn(batch, c)) for _ in range(ROTATED)]
        maps = [drawn(batch, c, side + 1, side + 1, dtype=dtype) for _ in range(ROTATED)]
        inner = [dispatch.channels_last(x[:, :, :side, :side]) for x in maps]
        whole, wider = batch * c * side * side * item, batch * c * (side + 1) ** 2 * item
        found.append(_case(f"blur_noise_act {c}×{side}²", whole + wider, noise_bias_act.blur_noise_act, maps, small))
        plain = [operands[:3] for operands in small]
        found.append(_case(f"noise_bias_act {c}×{side}²", 2 * whole, noise_bias_act.noise_bias_act, inner, plain))
        if side < 512:  # whose reader gathers before it multiplies
            styled = noise_bias_act.noise_act_styled
            found.append(_case(f"noise_act_styled {c}×{side}²", 3 * whole, styled, inner, small))
        target = min(side, config.heatmap_size)
        x = [drawn(batch, c, target, target, dtype=dtype) for _ in range(ROTATED)]
        rest = [(drawn(c), drawn(c), drawn(c), other) for other in inner]
        read = min(2 * target, side) ** 2 if side != target else target**2
        moved = batch * c * item * (2 * target**2 + read)
        found.append(_case(f"relu_norm_add {c}×{target}² + {side}²", moved, relu_norm_add.relu_norm_add, x, rest))
    found += _trunk(batch, config)
    maps = [drawn(batch, 12, 128, 128, dtype=dtype) for _ in range(ROTATED)]
    found.append(_case("decode 12×128²", batch * 12 * 128**2 * (item + 4), decoding.decode_heatmaps, maps, [()] * ROTATED))
    rows, style = torch.arange(370, device=DEVICE, dtype=torch.int32), drawn(batch, sizes[512])
    maps = [drawn(batch, sizes[512], 512, 512, dtype=dtype) for _ in range(ROTATED)]
    gathered = [(rows, rows, style)] * ROTATED
    whole = batch * sizes[512] * 370**2 * item
    found.append(_case("gather_patches 370² of 512²", 2 * whole, gathering.gather_patches, maps, gathered))
    found += _taps(batch, dtype, sizes[32], sizes[64], 64) + _taps(batch, dtype, sizes[64], sizes[128], 128)
    found.append(_crop(batch, dtype))
    return found


def _taps(batch: int, dtype: torch.dtype, inputs: int, outputs: int, side: int) -> list[Case]:
    """The kernel beside its definition, of few faces, because that holds 25 maps of the result's size; and the whole layer, its
    taps before the upsampling beside after it, as the interpreter has it below `TAPS_FROM`.
    """
    item, half, few = torch.empty(0, dtype=dtype).element_size(), side // 2, min(batch, 4)
    weight = drawn(outputs, inputs, 5, 5, dtype=dtype)
    by_taps = upsample_conv_taps.taps_of(weight)
    x = [drawn(batch, inputs, half, half, dtype=dtype) for _ in range(ROTATED)]
    rest = [(drawn(outputs), drawn(outputs), drawn(outputs), drawn(batch, outputs, side, side, dtype=dtype)) for _ in x]
    products = [drawn(few, 25 * outputs, half, half, dtype=dtype) for _ in x]
    of_few = [(*small, dispatch.channels_last(other[:few])) for *small, other in rest]
    moved = outputs * item * (25 * half**2 + 2 * side**2)

    def before(given: Tensor, more: tuple[Tensor, ...]) -> Tensor:
        return upsample_conv_taps.taps_relu_norm_add(F.conv2d(given, by_taps), *more, kernels=True)

    def after(given: Tensor, more: tuple[Tensor, ...]) -> Tensor:
        up = F.interpolate(given, scale_factor=2.0, mode="bilinear", align_corners=True)
        return relu_norm_add.relu_norm_add(F.conv2d(up, weight, padding=2), *more, kernels=True)

    layer = Case(
        f"  whole layer, {inputs} in, by taps",
        batch * (moved + outputs * item * 25 * half**2 + inputs * item * half**2),
        [lambda given=given, more=more: before(given, more) for given, more in zip(x, rest, strict=True)],
        [lambda given=given, more=more: after(given, more) for given, more in zip(x, rest, strict=True)],
    )
    name = f"taps_relu_norm_add {outputs}×{side}²"
    return [_case(name, few * moved, upsample_conv_taps.taps_relu_norm_add, products, of_few), layer]


def _trunk(batch: int, config: FGNetConfig) -> list[Case]:
    """The encoder's trunk, float32 in every precision: its stem, and the sizes of most of its units."""
    side, (first, _, third, _) = config.image_size, config.encoder_channels
    found = []
    for c, of in ((first, side // 2), (third, side // 8)):
        maps = [drawn(batch, c, of, of) for _ in range(ROTATED)]
        small = [(drawn(batch, c), drawn(batch, c, of, of), drawn(c), drawn(c)) for _ in range(ROTATED)]
        moved = 4 * batch * c * 4 * of**2
        found.append(_case(f"gate_add_norm {c}×{of}² float32", moved, gate_add_norm.gate_add_norm, maps, small))
    maps = [drawn(batch, first, side, side) for _ in range(ROTATED)]
    of_channels = [(drawn(first), drawn(first), drawn(first), 2) for _ in range(ROTATED)]
    moved = 4 * batch * first * (2 * side**2 + (side // 2) ** 2)
    return [*found, _case(f"prelu_norm {first}×{side}² float32", moved, gate_add_norm.prelu_norm, maps, of_channels)]


def _crop(batch: int, dtype: torch.dtype, side: int = 400) -> Case:
    """Upright faces of 400 px from as many full HD frames: the square's pixels are read, the face's written."""
    height, width = (1080, 1920) if ON_GPU else (480, 640)
    photos = [
        [torch.randint(0, 256, (3, height, width), dtype=torch.uint8, device=DEVICE) for _ in range(batch)]
        for _ in range(ROTATED)
    ]
    square = torch.tensor([[width / 2, height / 2], [side / 2, 0.0], [0.0, side / 2]], dtype=torch.float64)
    squares = square.expand(batch, 3, 2).contiguous()

    def plain(pictures: list[Tensor]) -> Tensor:
        faces = ffhq_crop.ffhq_crop_reference(pictures, squares, 2, 256)
        return dispatch.channels_last(((faces / 255 - 0.5) / 0.5).to(dtype))

    moved = batch * 3 * (side**2 + 256**2 * torch.empty(0, dtype=dtype).element_size())
    ours = [lambda of=of: ffhq_crop.ffhq_crop(of, squares, 2, 256, dtype) for of in photos]
    return Case("ffhq_crop 3×256² of 1080p", moved, ours, [lambda of=of: plain(of) for of in photos], replayed=False)


def _case(name: str, moved: int, operation: Callable[..., object], maps: list[Tensor], rest: list[tuple[Any, ...]]) -> Case:
    both = list(zip(maps, rest, strict=True))
    return Case(
        name,
        moved,
        [lambda x=x, more=more: operation(x, *more, kernels=True) for x, more in both],
        [lambda x=x, more=more: operation(x, *more) for x, more in both],
    )


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32 if ON_GPU else 1)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if ON_GPU else "CPU (a rehearsal)"
    rate = copy_rate()
    print(f"{name}, torch {torch.__version__}, batch {options.batch}, {options.precision}; copy: {rate / 1e9:.0f} GB/s")
    print(f"{'kernel':34}{'MB':>8}{'ms':>9}{'GB/s':>8}{'of copy':>9}{'torch ms':>10}{'ratio':>7}")
    for case in cases(options.batch, getattr(torch, options.precision)):
        ours, torchs = (milliseconds(calls, case.replayed) for calls in (case.ours, case.torchs))
        speed = case.bytes / ours * 1e3
        moved = f"{case.name:34}{case.bytes / 1e6:8.0f}{ours:9.3f}{speed / 1e9:8.0f}{speed / rate:9.0%}"
        print(f"{moved}{torchs:10.3f}{torchs / ours:7.2f}", flush=True)


if __name__ == "__main__":
    main()
