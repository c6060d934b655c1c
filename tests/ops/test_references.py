"""Each operation against the plain-torch reference that defines it."""

import pytest
import torch
import torch.nn.functional as F

from fgnet_plugin.network.sparse_last_layer import resized_pair
from fgnet_plugin.network.stylegan2_layers import StyledConv
from fgnet_plugin.ops.conv_of_upsampled import conv_of_upsampled, conv_of_upsampled_reference
from fgnet_plugin.ops.conv_transpose_blur import conv_transpose_blur, conv_transpose_blur_reference
from fgnet_plugin.ops.grouped_conv import grouped_conv2d, grouped_conv2d_reference
from fgnet_plugin.ops.modulated_conv import (
    demodulation,
    modulated_conv2d_reference,
    modulated_conv_act,
    normalized_style,
    scale_channels,
)
from fgnet_plugin.ops.noise_bias_act import noise_bias_act, noise_bias_act_reference
from fgnet_plugin.ops.resample import blur_upsample, resize, upsample2


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=[torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
def layout(request: pytest.FixtureRequest) -> torch.memory_format:
    return request.param


def assert_same(ours: torch.Tensor, reference: torch.Tensor, tolerance: float = 2e-6) -> None:
    assert ours.shape == reference.shape
    assert (ours - reference).abs().max() <= tolerance * reference.abs().max()


@pytest.mark.parametrize("upsample", [False, True])
def test_modulated_conv(upsample: bool, layout: torch.memory_format) -> None:
    """By its definition, each sample with its own weight, and then pointwise."""
    x = torch.randn(3, 10, 9, 7).to(memory_format=layout)
    weight, style, size = torch.randn(6, 10, 3, 3), torch.randn(3, 10), (18, 14) if upsample else (9, 7)
    noise, bias, post = torch.randn(1, 1, *size), torch.randn(6), torch.randn(3, 6)
    expected = noise_bias_act_reference(
        modulated_conv2d_reference(x, weight, style, upsample), torch.ones(3, 6), noise, bias, post
    )
    scaled, factors = scale_channels(x, style), demodulation(style, weight)
    for kernels in (False, True):
        ours = modulated_conv_act(scaled, weight, factors, noise, bias, post, upsample=upsample, kernels=kernels)
        assert_same(ours, expected)


@pytest.mark.parametrize("overwrite", [False, True])
def test_channels_are_scaled(overwrite: bool) -> None:
    x, style = torch.randn(2, 4, 8, 8), torch.randn(2, 4)
    given = x.clone()
    torch.testing.assert_close(scale_channels(given, style, overwrite), x * style[:, :, None, None])
    assert torch.equal(given, x) != overwrite


def test_prenormalisation_keeps_float16_in_range() -> None:
    """Large positive maps, kernels that do not cancel, strong styles."""
    x, weight = 60 * torch.rand(1, 512, 4, 4), torch.randn(32, 512, 3, 3) + 1
    style = 3e4 * torch.rand(1, 512)
    scale = 1 / (512 * 9) ** 0.5
    expected = modulated_conv2d_reference(x, weight, style * scale)
    plain, normal = (normalized_style(style, dtype) * scale for dtype in (torch.float32, torch.float16))
    overflown, half = (F.conv2d(scale_channels(x.half(), style), weight.half(), padding=1) for style in (plain, normal))
    assert not overflown.isfinite().all()
    assert_same(half.float() * demodulation(normal, weight)[:, :, None, None], expected, tolerance=5e-3)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("more", [False, True], ids=["plain", "post-mask"])
def test_noise_bias_act(overwrite: bool, more: bool) -> None:
    x, factors, noise, bias = torch.randn(2, 5, 6, 4), torch.rand(2, 5) + 0.1, torch.randn(1, 1, 6, 4), torch.randn(5)
    post, mask = (torch.randn(2, 5), torch.rand(6, 4)) if more else (None, None)
    expected = noise_bias_act_reference(x, factors, noise, bias, post, mask)
    given = x.clone()
    assert_same(noise_bias_act(given, factors, noise, bias, post, mask, overwrite=overwrite), expected)
    assert torch.equal(given, x) != overwrite


def test_blur_is_the_published_kernel() -> None:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / 16  # sum 4
    x = torch.randn(2, 3, 9, 9)
    expected = torch.stack([F.conv2d(c[None, None], kernel[None, None], padding=1)[0, 0] for c in x.flatten(0, 1)])
    assert_same(blur_upsample(x), expected.view(2, 3, 8, 8))
    image = torch.ones(1, 3, 6, 6)
    assert_same(upsample2(image)[:, :, 2:-2, 2:-2], torch.ones(1, 3, 8, 8))  # keeps brightness


@pytest.mark.parametrize(("groups", "size", "batch"), [(1, 16, 2), (4, 32, 1), (4, 16, 3), (4, 4, 2), (4, 2, 5)])
def test_grouped_conv(groups: int, size: int, batch: int, layout: torch.memory_format) -> None:
    x = torch.randn(batch, groups * 8, size, size).to(memory_format=layout)
    weight, bias = torch.randn(groups * 6, 8, 3, 3), torch.randn(groups * 6)
    assert_same(grouped_conv2d(x, weight, bias, groups), grouped_conv2d_reference(x, weight, bias, groups))


@pytest.mark.parametrize(("size", "kernel", "batch"), [(8, 5, 2), (16, 5, 2), (16, 3, 1), (32, 5, 1), (64, 3, 2)])
def test_upsampled_conv(size: int, kernel: int, batch: int, layout: torch.memory_format) -> None:
    x, bias = torch.randn(batch, 6, size, size).to(memory_format=layout), torch.randn(4)
    weight = torch.randn(4, 6, kernel, kernel).to(memory_format=layout)
    with torch.no_grad():
        assert_same(conv_of_upsampled(x, weight, bias), conv_of_upsampled_reference(x, weight, bias))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (128, 6), (150, 5), (161, 3)])
def test_upsampling_conv(height: int, width: int, layout: torch.memory_format) -> None:
    x = torch.randn(2, 5, height, width).to(memory_format=layout)
    weight = torch.randn(7, 5, 3, 3)
    with torch.no_grad():
        assert_same(conv_transpose_blur(x, weight), conv_transpose_blur_reference(x, weight))


def whole_pair(up: StyledConv, conv: StyledConv, x: torch.Tensor, rows: torch.Tensor, target: int) -> torch.Tensor:
    """Two layers of the generator, and the resize."""
    (style, up_demodulation), (post, demodulation) = up.factors(rows[:, 0]), conv.factors(rows[:, 1])
    return resize(conv(up(scale_channels(x, style), up_demodulation, post), demodulation), target)


def points_of_pair(up: StyledConv, conv: StyledConv, x: torch.Tensor, rows: torch.Tensor, target: int) -> torch.Tensor:
    """The same, where the resize reads."""
    (style, up_demodulation), (post, demodulation) = up.factors(rows[:, 0]), conv.factors(rows[:, 1])
    return resized_pair(up, conv, scale_channels(x, style), (up_demodulation, demodulation), post, target)


@pytest.mark.parametrize(("size", "target"), [(16, 8), (32, 8), (64, 8), (64, 32), (128, 16), (256, 32)])
@pytest.mark.parametrize("gradients", [False, True])
def test_last_map_at_its_points(size: int, target: int, gradients: bool) -> None:
    up = StyledConv(6, 5, size, 7, upsample=True)
    conv = StyledConv(5, 4, size, 7, upsample=False)
    for layer in (up, conv):
        torch.nn.init.constant_(layer.noise_strength, 0.5)
        torch.nn.init.normal_(layer.bias)
    x, rows = torch.randn(3, 6, size // 2, size // 2), torch.randn(3, 2, 7)
    with torch.no_grad():
        expected = whole_pair(up, conv, x, rows, target)
    with torch.set_grad_enabled(gradients):
        assert_same(points_of_pair(up, conv, x, rows, target), expected)
        if not gradients:
            for layer in (up, conv):
                layer.kernels = True
            assert_same(points_of_pair(up, conv, x, rows, target), expected)


def test_last_map_passes_the_same_gradients() -> None:
    up, conv = StyledConv(6, 5, 64, 7, upsample=True), StyledConv(5, 4, 64, 7, upsample=False)
    x, rows = torch.randn(2, 6, 32, 32, requires_grad=True), torch.randn(2, 2, 7, requires_grad=True)
    wanted = [x, rows, up.weight, up.bias, up.noise_strength, conv.weight, conv.bias, conv.noise_strength]
    probe = torch.randn(2, 4, 8, 8)
    full = torch.autograd.grad((whole_pair(up, conv, x, rows, 8) * probe).sum(), wanted)
    points = torch.autograd.grad((points_of_pair(up, conv, x, rows, 8) * probe).sum(), wanted)
    for ours, expected in zip(points, full, strict=True):
        assert_same(ours, expected, tolerance=1e-5)
