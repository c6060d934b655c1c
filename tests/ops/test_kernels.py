"""The text of the CUDA kernels, run on the CPU (cuda_on_cpu.py), against the operations' definitions in plain torch."""

from collections.abc import Sequence

import cuda_on_cpu
import pytest
import torch
from pairwise import pairwise
from torch import Tensor

from fgnet_plugin.ops import (
    conv_of_upsampled,
    decode_heatmaps,
    dispatch,
    gate_add_norm,
    gather_patches,
    noise_bias_act,
    nvrtc,
    relu_norm_add,
    upsample_conv_taps,
)

# (B, C, H, W): channels that come in whole 16 bytes and others; sizes that no block or strip divides; single rows and columns
SHAPES = [
    (2, 16, 7, 9),
    (1, 48, 33, 20),
    (3, 6, 5, 5),
    (1, 512, 8, 8),
    (2, 32, 4, 4),
    (1, 1, 1, 40),
    (1, 24, 31, 1),
    (2, 7, 16, 2),
]
# Of the largest value: rounding of the result, and of one float32 operation after the other.
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}

pytestmark = pytest.mark.filterwarnings("ignore:.*fill_uninitialized_memory")


ORDERS = ("ascending", "descending")


@pytest.fixture
def order(request: pytest.FixtureRequest) -> str:
    """In which the threads of a block take turns: a case's own, or ascending."""
    return getattr(request, "param", "ascending")


@pytest.fixture(autouse=True)
def _on_cpu(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches go to the CPU; memory that nothing wrote is NaN."""
    torch.manual_seed(0)

    def launch(*arguments: object) -> None:
        cuda_on_cpu.launch(*arguments, descending=order == "descending")  # type: ignore[arg-type]

    monkeypatch.setattr(nvrtc, "launch", launch)
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: _poisoned(torch.ones_like(*a, **k)))
    monkeypatch.setattr(Tensor, "new_empty", lambda self, *size, **k: _poisoned(self.new_ones(size, **k)))


def _poisoned(x: Tensor) -> Tensor:
    return x.fill_(float("nan"))


def covering(names: str, *axes: Sequence[object]) -> pytest.MarkDecorator:
    """Cases of these parameters that meet every pair of shape, type, order of threads and whatever `axes` there are."""
    cases = pairwise(*axes, list(TOLERANCE), ORDERS)
    ids = ["-".join(map(str, case)) for case in cases]
    return pytest.mark.parametrize(f"{names}, dtype, order", cases, indirect=["order"], ids=ids)


def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    worst = (found.float() - expected).abs().max() / expected.abs().max()
    assert worst <= TOLERANCE[found.dtype], worst  # NaN is not


@covering("shape, more", SHAPES, [False, True])
def test_noise_bias_act(shape: tuple[int, ...], dtype: torch.dtype, more: bool) -> None:
    b, c, h, w = shape
    x, factors, noise, bias = drawn(shape, dtype), torch.rand(b, c) + 0.5, torch.randn(1, 1, h, w), torch.randn(c)
    post, mask = (torch.randn(b, c), (torch.rand(h, w) > 0.3).float()) if more else (None, None)
    found = noise_bias_act.noise_bias_act_cuda(x, factors, noise, bias, post, mask)
    assert_close(found, noise_bias_act.noise_bias_act_reference(x.float(), factors, noise, bias, post, mask))


@covering("shape", SHAPES)
def test_noise_act_styled(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    b, c, h, w = shape
    given = torch.rand(b, c) + 0.5, torch.randn(1, 1, h, w), torch.randn(c), torch.randn(b, c)
    x = drawn(shape, dtype)
    both = noise_bias_act.noise_act_styled_cuda(x, *given)
    for found, expected in zip(both, noise_bias_act.noise_act_styled_reference(x.float(), *given), strict=True):
        assert_close(found, expected)


@covering("shape, more", SHAPES, [False, True])
def test_blur_noise_act(shape: tuple[int, ...], dtype: torch.dtype, more: bool) -> None:
    b, c, h, w = shape
    x = drawn((b, c, h + 1, w + 1), dtype)
    factors, noise, bias = torch.rand(b, c) + 0.5, torch.randn(1, 1, h, w), torch.randn(c)
    post = torch.randn(b, c) if more else None
    found = noise_bias_act.blur_noise_act_cuda(x, factors, noise, bias, post)
    assert_close(found, noise_bias_act.blur_noise_act_reference(x.float(), factors, noise, bias, post))


@covering("shape, source", SHAPES, [None, (1, 1), (2, 2), (3, 5), (8, 8)])
def test_relu_norm_add(shape: tuple[int, ...], dtype: torch.dtype, source: tuple[int, int] | None) -> None:
    """The added map has the same size, 2 to 8 times the size, or another one; at a side of 1 px torch reads the first pixel."""
    b, c, h, w = shape
    x, bias, scale, shift = drawn(shape, dtype), torch.randn(c), torch.randn(c), torch.randn(c)
    other = None if source is None else drawn((b, c, source[0] * h, source[1] * w), dtype)
    found = relu_norm_add.relu_norm_add_cuda(x, bias, scale, shift, other)
    expected = relu_norm_add.relu_norm_add_reference(x.float(), bias, scale, shift, None if other is None else other.float())
    assert_close(found, expected)


@covering("shape, more", [*SHAPES, (2, 8, 1, 1), (1, 500, 3, 2)], [False, True])
def test_taps_relu_norm_add(shape: tuple[int, ...], dtype: torch.dtype, more: bool) -> None:
    b, c, h, w = shape
    x, bias, scale, shift = drawn((b, 25 * c, h, w), dtype), torch.randn(c), torch.randn(c), torch.randn(c)
    other = drawn((b, c, 2 * h, 2 * w), dtype) if more else None
    found = upsample_conv_taps.taps_relu_norm_add_cuda(x, bias, scale, shift, other)
    given = [None if value is None else value.double() for value in (x, bias, scale, shift, other)]  # 100 products a pixel
    assert_close(found, upsample_conv_taps.taps_relu_norm_add_reference(*given))


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 2), (2, 1), (3, 5), (8, 8), (13, 6)])
def test_taps_are_the_convolution_of_the_upsampled_map(h: int, w: int) -> None:
    """By the definition, and by the kernel: each of the 25 taps is another one."""
    x, weight, bias = torch.randn(2, 3, h, w), torch.randn(8, 3, 5, 5), torch.randn(8)
    products = torch.nn.functional.conv2d(x, upsample_conv_taps.taps_of(weight))
    conv = conv_of_upsampled.conv_of_upsampled_reference(x, weight, bias)
    one, zero = torch.ones(8), torch.zeros(8)
    expected = torch.relu(conv)
    for found in (
        upsample_conv_taps.taps_relu_norm_add_reference(products, bias, one, zero),
        upsample_conv_taps.taps_relu_norm_add(products, bias, one, zero),  # gradients are on: plain torch
        upsample_conv_taps.taps_relu_norm_add_cuda(products, bias, one, zero, None),
    ):
        assert (found - expected).abs().max() < 1e-6 * expected.abs().max()


@pytest.mark.parametrize(("source", "target"), [(1024, 128), (512, 128), (256, 128), (64, 32), (7, 13), (16, 16)])
def test_resize_reads_the_pixels_that_torch_reads(source: int, target: int) -> None:
    """A ramp along each side, exact in float32: one pixel further would be a whole step off."""
    ramp = torch.arange(source, dtype=torch.float32).square()
    for line in (ramp.view(1, 1, -1, 1).expand(1, 4, -1, 2), ramp.view(1, 1, 1, -1).expand(1, 4, 2, -1)):
        line = dispatch.channels_last(line)
        x = dispatch.channels_last(torch.zeros(1, 4, *(min(n, target) for n in line.shape[2:])))
        one, zero = torch.ones(4), torch.zeros(4)
        found = relu_norm_add.relu_norm_add_cuda(x, zero, one, zero, line)
        expected = relu_norm_add.relu_norm_add_reference(x, zero, one, zero, line)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)


@covering("shape", SHAPES)
def test_gate_add_norm(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, shortcut, gate = drawn(shape, dtype), drawn(shape, dtype), torch.rand(shape[:2])
    scale, shift = torch.randn(2, shape[1])
    both = gate_add_norm.gate_add_norm_cuda(x, gate, shortcut, scale, shift)
    expected = gate_add_norm.gate_add_norm_reference(x.float(), gate, shortcut.float(), scale, shift)
    for found, wanted in zip(both, expected, strict=True):
        assert_close(found, wanted)


@covering("shape, stride", SHAPES, [1, 2, 3])
def test_prelu_norm(shape: tuple[int, ...], dtype: torch.dtype, stride: int) -> None:
    """The kept pixels are those that a shortcut of that stride reads, also where it does not divide the size."""
    x, (slope, scale, shift) = drawn(shape, dtype), torch.randn(3, shape[1])
    both = gate_add_norm.prelu_norm_cuda(x, slope, scale, shift, stride)
    for found, wanted in zip(both, gate_add_norm.prelu_norm_reference(x.float(), slope, scale, shift, stride), strict=True):
        assert_close(found, wanted)


@covering("shape, count", SHAPES, [(1, 1), (5, 9), (33, 4)])
def test_gather_patches(shape: tuple[int, ...], dtype: torch.dtype, count: tuple[int, int]) -> None:
    """Any rows and columns, some more than once, some beyond the map."""
    x, style = drawn(shape, dtype), torch.randn(shape[:2])
    rows, columns = (torch.randint(-1, side, (n,)).int() for side, n in zip(shape[2:], count, strict=True))
    found = gather_patches.gather_patches_cuda(x, rows, columns, style)
    expected = gather_patches.gather_patches_reference(x.float(), rows, columns, style)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, expected.to(dtype))  # one product in float32, rounded once
    one = torch.zeros(1, dtype=torch.int32)
    assert (gather_patches.gather_patches_cuda(x, one - 1, one, style) == 0).all()


@covering("shape", [(2, 12, 16, 16), (1, 8, 33, 20), (3, 1, 5, 5), (1, 44, 17, 16), (1, 32, 16, 16)])
def test_decode(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = drawn(shape, dtype) * 1.5
    heatmaps, sums = decode_heatmaps.decode_heatmaps_cuda(x)
    expected, activations = decode_heatmaps.decode_heatmaps_reference(x)
    assert heatmaps.is_contiguous()
    torch.testing.assert_close(heatmaps, expected, rtol=0, atol=0)
    torch.testing.assert_close(sums.sum(1) / (shape[2] * shape[3]), activations, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_nan_stays_nan(dtype: torch.dtype) -> None:
    """A broken face shows, as it does in plain torch."""
    x, one = drawn((2, 16, 4, 4), dtype), torch.ones(16)
    x[0, 3, 2, 1] = float("nan")
    both = torch.ones(2, 16)
    assert noise_bias_act.noise_bias_act_cuda(x, both, torch.zeros(4, 4), one, None, None).isnan().sum() == 1
    assert noise_bias_act.blur_noise_act_cuda(x, both, torch.zeros(3, 3), one, None).isnan().any()
    assert relu_norm_add.relu_norm_add_cuda(x, one, one, one, None).isnan().sum() == 1
    for found in (
        *noise_bias_act.noise_act_styled_cuda(x, both, torch.zeros(4, 4), one, both),
        *gate_add_norm.gate_add_norm_cuda(x, both, torch.zeros_like(x), one, one),
        *gate_add_norm.prelu_norm_cuda(x, one, one, one, 1),
    ):
        assert found.isnan().sum() == 1
    products = drawn((1, 25 * 8, 5, 5), dtype)
    products[0, 12 * 8 + 3, 2, 2] = float("nan")  # the middle tap's: what is interpolated from that pixel
    found = upsample_conv_taps.taps_relu_norm_add_cuda(products, *(3 * [one[:8]]), None).isnan()
    assert torch.equal(found, upsample_conv_taps.taps_relu_norm_add_reference(products.float(), *(3 * [one[:8]])).isnan())
    assert found.any()
    heatmaps, sums = decode_heatmaps.decode_heatmaps_cuda(x)
    assert heatmaps.isnan().sum() == 1
    assert sums.isnan().sum() == 1


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_rounding_is_to_nearest_even(dtype: torch.dtype) -> None:
    """As torch's: every 16-bit pattern between two values of the result, ties, the largest finite ones, infinities."""
    values = torch.randn(1 << 14) * torch.logspace(-12, 6, 1 << 14)
    ties = torch.tensor([1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8, 1.0 + 2.0**-11, 1.0 + 3 * 2.0**-11, -65504.0, 65519.9, 1e38, -1e38])
    wide = torch.cat([values, ties, -ties, torch.zeros(8)]).view(1, 1, -1, 8).transpose(1, 3)  # [1, 8, N, 1], channels last
    # relu(-|v|) · 1 + shift writes the shift: a float32 operand that is rounded once
    for row in wide[:, :, -64:, 0].transpose(1, 2).reshape(-1, 8):
        x = torch.zeros(1, 8, 1, 1, dtype=dtype).contiguous(memory_format=torch.channels_last)
        found = relu_norm_add.relu_norm_add_cuda(x, torch.zeros(8), torch.ones(8), row.contiguous(), None)
        torch.testing.assert_close(found.flatten(), row.to(dtype), rtol=0, atol=0)


def test_small_operands_of_another_size_are_refused() -> None:
    """The kernels read by shape: what is too short would be read beyond its end."""
    x = drawn((2, 16, 4, 4), torch.float32)
    good = torch.ones(2, 16), torch.zeros(4, 4), torch.ones(16)
    with pytest.raises(ValueError, match="demodulation must have 32 values"):
        noise_bias_act.noise_bias_act_cuda(x, torch.ones(16), *good[1:], None, None)
    with pytest.raises(ValueError, match="noise must have 16 values"):
        noise_bias_act.noise_bias_act_cuda(x, good[0], torch.zeros(2, 4), good[2], None, None)
    with pytest.raises(ValueError, match="noise must have 9 values"):
        noise_bias_act.blur_noise_act_cuda(x, *good, None)
    with pytest.raises(ValueError, match="shift must have 16 values"):
        relu_norm_add.relu_norm_add_cuda(x, good[2], good[2], torch.ones(4), None)
    with pytest.raises(ValueError, match=r"feature_map must be \[2, 16, h, w\] of torch.float32"):
        relu_norm_add.relu_norm_add_cuda(x, good[2], good[2], good[2], x.half())
    with pytest.raises(ValueError, match="products must have 25 times as many channels as the result, got 16"):
        upsample_conv_taps.taps_relu_norm_add_cuda(x, good[2], good[2], good[2], None)
    products = drawn((1, 400, 4, 4), torch.float32)
    with pytest.raises(ValueError, match="bias must have 16 values"):
        upsample_conv_taps.taps_relu_norm_add_cuda(products, good[2][:8], good[2], good[2], None)
    with pytest.raises(ValueError, match=r"feature_map must be \[1, 16, 8, 8\] of torch.float32"):
        upsample_conv_taps.taps_relu_norm_add_cuda(products, good[2], good[2], good[2], drawn((1, 16, 4, 4), torch.float32))
    with pytest.raises(ValueError, match="gate must have 32 values"):
        gate_add_norm.gate_add_norm_cuda(x, good[2], x, good[2], good[2])
    with pytest.raises(ValueError, match=r"shortcut must be \[2, 16, 4, 4\] of torch.float32 on cpu, got \[2, 16, 2, 4\]"):
        gate_add_norm.gate_add_norm_cuda(x, good[0], x[:, :, ::2], good[2], good[2])
    with pytest.raises(ValueError, match="slope must have 16 values"):
        gate_add_norm.prelu_norm_cuda(x, good[0], good[2], good[2], 2)
    with pytest.raises(ValueError, match="style must have 32 values"):
        noise_bias_act.noise_act_styled_cuda(x, *good, good[2])
    index = torch.zeros(3, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"columns must be int32 \[n\] on cpu, got torch.int64 \[3\]"):
        gather_patches.gather_patches_cuda(x, index, index.long(), good[0])
    with pytest.raises(ValueError, match="style must have 32 values"):
        gather_patches.gather_patches_cuda(x, index, index, good[2])
    with pytest.raises(nvrtc.UnsupportedOperand, match="takes float32, bfloat16, float16, got"):
        noise_bias_act.noise_bias_act_cuda(x.double(), *good, None, None)


def test_the_emulation_finds_what_it_is_there_for() -> None:
    """A kernel that is told of one pixel too many reads or writes beyond the end."""
    x, c = drawn((1, 16, 4, 4), torch.float32), 16
    out, vector = torch.empty_like(x), torch.ones(c)
    with pytest.raises(AssertionError, match="wrote beyond"):
        cuda_on_cpu.launch(
            "noise_bias_act_float32_wide", x, (1, 1), (4, 64), x, vector, torch.zeros(17), vector, None, None, out, 17, c
        )
