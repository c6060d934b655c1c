"""The CUDA kernels on a GPU, against their definitions in float64: ``make gpu``.

FGNET_DEVICE=cpu rehearses it: the kernels' text then runs on the CPU (cuda_on_cpu.py), at a few shapes.
"""

from collections.abc import Iterator

import pytest
import torch
from gpu_device import BRIEF, DEVICE, MARKS, ON_GPU
from torch import Tensor

from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.ops import (
    decode_heatmaps,
    dispatch,
    gate_add_norm,
    gather_patches,
    noise_bias_act,
    nvrtc,
    relu_norm_add,
    upsample_conv_taps,
)

pytestmark = [*MARKS, pytest.mark.usefixtures("_launches")]

# ‖found - expected‖ / ‖expected‖: float32 sums against float64, and the worst that one rounding of a single value does.
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}

_PUBLISHED = list(zip(FGNetConfig(("AU12",)).map_sizes, FGNetConfig(("AU12",)).generator_channels, strict=True))
_SMALL = [(4, 64), (8, 64), (16, 48), (32, 32), (64, 16)]
_ODD = [(1, 1), (3, 7), (5, 24), (9, 6), (17, 40), (33, 8), (31, 500)]
SIZES = [*_SMALL[:3], *_ODD[:5]] if BRIEF else (_PUBLISHED + _SMALL + _ODD)
BATCHES = (1, 3) if BRIEF else (1, 3, 32)


@pytest.fixture(scope="module", autouse=True)
def _launches() -> Iterator[None]:
    torch.manual_seed(0)
    if ON_GPU:
        nvrtc.make_all(torch.cuda.current_device())
        yield
        return
    pytest.importorskip("ziglang", reason="compiles the kernels for the CPU")
    import cuda_on_cpu

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nvrtc, "launch", cuda_on_cpu.launch)
        yield


@pytest.fixture(params=list(TOLERANCE), ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(params=SIZES, ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Side and channels."""
    return request.param


def batches(side: int, channels: int) -> list[int]:
    """Batches whose maps stay under 2 GB of float64; the largest of the published sizes goes past 2³¹ bytes in one map."""
    return [b for b in BATCHES if b == 1 or b * side * side * channels <= 2**28]


def drawn(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random, never zeros, which would hide wrong indices."""
    x = torch.randn(*size, device=DEVICE).to(dtype)
    return dispatch.channels_last(x) if x.ndim == 4 else x


def assert_close(found: Tensor, expected: Tensor) -> None:
    error = (found.double() - expected).norm() / expected.norm()
    few = 10 if found.numel() < 64 else 1  # sums that cancel don't average out
    assert error < few * TOLERANCE[found.dtype], float(error)  # NaN is not


def doubled(*values: Tensor | None) -> list[Tensor]:
    return [value.double() for value in values if value is not None]


@torch.no_grad()
def test_noise_bias_act(shape: tuple[int, int], dtype: torch.dtype) -> None:
    side, c = shape
    for b in batches(*shape):
        x, factors, noise, bias, post = (
            drawn(b, c, side, side, dtype=dtype),
            drawn(b, c),
            drawn(side, side),
            drawn(c),
            drawn(b, c),
        )
        found = noise_bias_act.noise_bias_act_cuda(x, factors, noise, bias, post, noise)
        assert_close(found, noise_bias_act.noise_bias_act_reference(*doubled(x, factors, noise, bias, post, noise)))


@torch.no_grad()
def test_operations_of_two_results(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """The generator's maps with and without the next style, and the passes of the encoder's trunk."""
    side, c = shape
    for b in batches(*shape):
        x, other, both = drawn(b, c, side, side, dtype=dtype), drawn(b, c, side, side, dtype=dtype), (drawn(b, c), drawn(b, c))
        slope, scale, shift, noise = drawn(c), drawn(c), drawn(c), drawn(side, side)
        cases = [
            (
                noise_bias_act.noise_act_styled_cuda,
                noise_bias_act.noise_act_styled_reference,
                (x, both[0], noise, scale, both[1]),
            ),
            (gate_add_norm.gate_add_norm_cuda, gate_add_norm.gate_add_norm_reference, (x, both[0], other, scale, shift)),
        ]
        for kernel, reference, given in cases:
            for found, expected in zip(kernel(*given), reference(*doubled(*given)), strict=True):
                assert_close(found, expected)
        for stride in (1, 2):
            given = x, slope, scale, shift
            results = gate_add_norm.prelu_norm_cuda(*given, stride)
            for found, expected in zip(results, gate_add_norm.prelu_norm_reference(*doubled(*given), stride), strict=True):
                assert_close(found, expected)


@torch.no_grad()
def test_blur_noise_act(shape: tuple[int, int], dtype: torch.dtype) -> None:
    side, c = shape
    for b in batches(*shape):
        x = drawn(b, c, side + 1, side + 1, dtype=dtype)
        factors, noise, bias, post = drawn(b, c), drawn(side, side), drawn(c), drawn(b, c)
        found = noise_bias_act.blur_noise_act_cuda(x, factors, noise, bias, post)
        assert_close(found, noise_bias_act.blur_noise_act_reference(*doubled(x, factors, noise, bias, post)))


@torch.no_grad()
def test_relu_norm_add(shape: tuple[int, int], dtype: torch.dtype) -> None:
    side, c = shape
    target = min(side, 128)
    for b in batches(*shape):
        x, bias, scale, shift = drawn(b, c, target, target, dtype=dtype), drawn(c), drawn(c), drawn(c)
        other = drawn(b, c, side, side, dtype=dtype)
        found = relu_norm_add.relu_norm_add_cuda(x, bias, scale, shift, other)
        # Where torch reads, in float32: in float64 the last point of a resize can round to another pixel
        at = relu_norm_add.relu_norm_add_reference(*doubled(x, bias, scale, shift))
        resized = torch.nn.functional.interpolate(other.float(), size=(target, target), mode="bilinear", align_corners=True)
        assert_close(found, at + (resized if side != target else other).double())
        assert_close(relu_norm_add.relu_norm_add_cuda(x, bias, scale, shift, None), at)


@torch.no_grad()
def test_taps_relu_norm_add(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Products of a map of half the side, as the interpreter has them."""
    side, c = max(min(shape[0], 128) // 2, 1), shape[1]
    for b in batches(5 * side, c):
        products, bias, scale, shift = drawn(b, 25 * c, side, side, dtype=dtype), drawn(c), drawn(c), drawn(c)
        other = drawn(b, c, 2 * side, 2 * side, dtype=dtype)
        for more in (other, None):
            found = upsample_conv_taps.taps_relu_norm_add_cuda(products, bias, scale, shift, more)
            for one in range(b):  # the definition holds 25 maps of the result's size
                given = doubled(products[one : one + 1], bias, scale, shift, None if more is None else more[one : one + 1])
                assert_close(found[one : one + 1], upsample_conv_taps.taps_relu_norm_add_reference(*given))


@torch.no_grad()
def test_gather_patches(shape: tuple[int, int], dtype: torch.dtype) -> None:
    side, c = shape
    for b in batches(*shape):
        x, style = drawn(b, c, side, side, dtype=dtype), drawn(b, c)
        rows, columns = (torch.randint(-1, side, (n,), device=DEVICE).int() for n in (side, side + 3))
        found = gather_patches.gather_patches_cuda(x, rows, columns, style)
        expected = gather_patches.gather_patches_reference(x.float(), rows, columns, style)
        assert torch.equal(found, expected.to(dtype))


@torch.no_grad()
@pytest.mark.parametrize("maps", [1, 8, 12, 32, 44])
@pytest.mark.parametrize("side", [5, 16] if BRIEF else [5, 16, 128])
def test_decode(side: int, maps: int, dtype: torch.dtype) -> None:
    for b in BATCHES:
        x = drawn(b, maps, side, side, dtype=dtype)
        heatmaps, sums = decode_heatmaps.decode_heatmaps_cuda(x)
        torch.testing.assert_close(heatmaps, x.float(), rtol=0, atol=0)
        expected = x.double().clamp(-1, 1).mean((2, 3))
        torch.testing.assert_close(sums.double().sum(1) / side**2, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_same_input_gives_the_same_bits() -> None:
    """No race, no order of additions that changes."""
    x, both, one = drawn(3, 48, 17, 17, dtype=torch.bfloat16), drawn(3, 48), drawn(48)
    first = noise_bias_act.blur_noise_act_cuda(x, both, drawn(16, 16) * 0, one, both)
    sums = decode_heatmaps.decode_heatmaps_cuda(x[:, :44])[1]
    for _ in range(20):
        assert torch.equal(noise_bias_act.blur_noise_act_cuda(x, both, drawn(16, 16) * 0, one, both), first)
        assert torch.equal(decode_heatmaps.decode_heatmaps_cuda(x[:, :44])[1], sums)


@pytest.mark.skipif(not ON_GPU, reason="the choice goes by the device")
def test_kernels_are_chosen_on_a_gpu() -> None:
    assert dispatch.choose(DEVICE, torch.float32)
    assert not dispatch.choose(DEVICE, torch.float64)
    x, one = drawn(1, 16, 8, 8), torch.ones(16, device=DEVICE)
    with torch.no_grad():
        found = relu_norm_add.relu_norm_add(x, one, one, one, kernels=True)
    torch.testing.assert_close(found, relu_norm_add.relu_norm_add_reference(x, one, one, one))
