"""FG-Net fused for detection: the same results, in every mode; and tracing of the network."""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import SMALL
from networks import learnt, share
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from fgnet_plugin import load, save
from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.network import FGNet, FGNetConfig, interpreter, normalize
from fgnet_plugin.network.fold_batchnorm import affine, exact, fold
from fgnet_plugin.network.sparse_last_layer import LastMap
from fgnet_plugin.ops.resample import resize

WHOLE = dataclasses.replace(SMALL, generator_size=64, generator_channels=(32, 32, 32, 32, 24))
"""Its last map is computed as a whole and resized: 64 px, heatmaps of 16."""
TINY = dataclasses.replace(WHOLE, mapping_layers=1, encoder_units=(1, 1, 1, 1), generator_channels=(16, 16, 16, 16, 16))
"""Few layers, because tracing takes long; of its last map only what is read is computed."""


@pytest.fixture(params=["last_map", "whole_map", "taps"])
def net(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FGNet:
    if request.param == "taps":  # as the channels of the published sizes have it
        monkeypatch.setattr(interpreter, "TAPS_FROM", 1)
    return learnt(WHOLE if request.param == "whole_map" else SMALL)


@pytest.fixture(autouse=True)
def _no_grad(request: pytest.FixtureRequest) -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize(
    ("kernels", "dtype", "tolerance", "count"),
    [
        (True, torch.float32, 1e-5, 1),
        (False, torch.float32, 1e-5, 3),
        (True, torch.float64, 1e-12, 3),
        (False, torch.float64, 1e-12, 1),
    ],
)
def test_fused_and_not_fused_agree(
    kernels: bool, dtype: torch.dtype, tolerance: float, count: int, net: FGNet, small_faces: Tensor
) -> None:
    net, faces = net.to(dtype), normalize(small_faces[:count]).to(dtype)
    expected = net(faces)
    assert expected.std() > 0.01
    fused = copy.deepcopy(net).fuse(kernels)
    assert (net.kernels, fused.kernels) == (False, kernels)
    for model in (net, fused):
        heatmaps, activations = model.detect(faces)
        assert heatmaps.dtype == dtype
        assert heatmaps.is_contiguous()
        assert share(heatmaps, expected) < tolerance
        assert (activations - expected.clamp(-1, 1).mean((2, 3))).abs().max() < max(tolerance, 1e-6)
        assert share(model(faces), expected) < tolerance
        assert share(model.predict(small_faces[:count], batch_size=2).heatmaps, expected.float()) < 1e-5


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_as_near_to_float32_as_without(precision: str, net: FGNet, small_faces: Tensor) -> None:
    expected = net.predict(small_faces[:2]).heatmaps
    half = net.prepare(precision)
    usual = share(half.predict(small_faces[:2]).heatmaps, expected)
    found = share(half.fuse(kernels=True).predict(small_faces[:2]).heatmaps, expected)
    assert 0 < found < 2 * usual < 0.2


@pytest.mark.parametrize("net", ["whole_map", "taps"], indirect=True)
def test_every_constant_counts(net: FGNet, small_faces: Tensor) -> None:
    """What `fuse` keeps is read: with any one of it changed, so are the results."""
    fused = net.fuse(kernels=True)
    expected = fused.predict(small_faces[:1]).heatmaps
    # The last map's patches hold their share of its layers' noise.
    copied = ("layers.9.scaled_noise", "layers.10.scaled_noise") if net.generator.last_map is not None else ()
    for name, buffer in fused.named_buffers():
        if (
            name.endswith(copied)
            or not buffer.is_floating_point()
            or name.endswith((".noise", "latent_average"))
            or "norm" in name
        ):
            continue
        before = buffer.clone()
        buffer.mul_(1.5).add_(0.1)
        assert share(fused.predict(small_faces[:1]).heatmaps, expected) > 1e-6, name
        buffer.copy_(before)
    assert torch.equal(fused.predict(small_faces[:1]).heatmaps, expected)


def test_what_does_not_depend_on_the_faces_is_gone(net: FGNet, small_faces: Tensor) -> None:
    gone = ("to_rgb", ".norm2", "stem.1", "interpreter.blocks.0.norm")
    names = {name for name, _ in net.named_parameters()}
    fused = net.fuse(kernels=True)
    assert {part for part in gone if any(part in name for name in names)} == set(gone)
    assert not [name for name, _ in fused.named_parameters() if any(part in name for part in gone)]
    assert (net.generator.last_map is None) == (net.config == WHOLE)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("patches", "sides"):
            patch.setattr(f"fgnet_plugin.network.sparse_last_layer.{name}", None)
        patch.setattr("fgnet_plugin.network.stylegan2_layers.demodulation", None)
        patch.setattr("fgnet_plugin.network.interpreter.affine", None)
        assert fused.predict(small_faces[:1]).heatmaps.isfinite().all()


def test_a_second_time_changes_nothing(net: FGNet, small_faces: Tensor) -> None:
    expected = net.fuse(kernels=True).predict(small_faces[:2]).heatmaps
    assert net.fuse(kernels=False) is net
    assert torch.equal(net.predict(small_faces[:2]).heatmaps, expected)


def test_a_fused_model_moves_as_a_whole(net: FGNet) -> None:
    moved = net.fuse(kernels=True).to("meta")
    assert {value.device.type for value in [*moved.parameters(), *moved.buffers()]} == {"meta"}
    last_map = moved.generator.last_map
    if isinstance(last_map, LastMap):
        patches, order = last_map.patches()
        assert {value.device.type for patch in patches for value in vars(patch).values()} | {order.device.type} == {"meta"}


def test_the_fused_model_of_a_file(small_checkpoint: Path, small_net: FGNet, small_faces: Tensor, tmp_path: Path) -> None:
    fused = load(small_checkpoint, fuse=True)
    assert fused.fused
    assert not small_net.fused
    assert share(fused.predict(small_faces).heatmaps, small_net.predict(small_faces).heatmaps) < 1e-5
    with pytest.raises(ValueError, match=r"fused for detection.*load it again"):
        save(fused, tmp_path / "again.safetensors", read_info(small_checkpoint))
    assert not (tmp_path / "again.safetensors").exists()


@pytest.mark.parametrize(
    "use",
    [
        lambda net: net.train(),
        lambda net: net.requires_grad_(),
        lambda net: net.prepare("bfloat16"),
        lambda net: net.load_state_dict(net.state_dict()),
        lambda net: net.generator.image([], torch.zeros(1)),
        lambda net: torch.enable_grad()(net)(torch.zeros(1, 3, 64, 64)),
        lambda net: torch.enable_grad()(net.detect)(torch.zeros(1, 3, 64, 64)),
    ],
)
def test_training_a_fused_model_is_refused(use: Callable[[FGNet], object]) -> None:
    with pytest.raises(ValueError, match=r"fused for detection.*load it again"):
        use(FGNet(SMALL).fuse())


def test_a_model_in_training_is_fused_for_evaluation(small_net: FGNet, small_faces: Tensor) -> None:
    expected = small_net.predict(small_faces).heatmaps
    fused = small_net.train().fuse()
    assert not any(module.training for module in fused.modules())
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    assert share(fused(normalize(small_faces)), expected) < 1e-5


@pytest.mark.parametrize("with_map", [True, False])
def test_taps_are_applied_before_the_upsampling(with_map: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks that upsample before a 5×5 convolution, from so many channels on; for so many faces at once."""
    torch.manual_seed(0)
    block = interpreter.Block(32, 24, 5, True, 0.1).eval()
    x, other, seen, usual = torch.randn(7, 32, 6, 8), torch.randn(7, 24, 12, 16), [], interpreter.taps_relu_norm_add
    expected = block(x, other if with_map else None)
    monkeypatch.setattr(
        interpreter, "taps_relu_norm_add", lambda x, *more, **options: seen.append(list(x.shape)) or usual(x, *more, **options)
    )
    each = 25 * 24 * 6 * 8
    for threshold, most, batches in ((33, 2**29, []), (32, 2**29, [7]), (1, 3 * each, [3, 3, 1]), (1, 1, [1] * 7)):
        monkeypatch.setattr(interpreter, "TAPS_FROM", threshold)
        monkeypatch.setattr(interpreter, "MOST_PRODUCTS", most)
        found = interpreter.FusedBlock(block)(x, other if with_map else None)
        assert seen == [[n, 25 * 24, 6, 8] for n in batches]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        seen.clear()
    for sized in (interpreter.Block(512, 24, 3, True, 0.1), interpreter.Block(512, 24, 5, False, 0.1)):
        assert not interpreter.FusedBlock(sized).by_taps


@pytest.mark.parametrize(("threshold", "least", "most"), [(interpreter.TAPS_FROM, 81, 82), (10**9, 214, 215)])
def test_arithmetic_of_the_published_interpreter(
    threshold: int, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In GFLOP a face, as docs/performance.md has it."""
    monkeypatch.setattr(interpreter, "TAPS_FROM", threshold)
    config = FGNetConfig(tuple(f"AU{au:02}" for au in range(1, 13)))
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        net = interpreter.Interpreter(config).eval()
        net.fuse(kernels=True)
        net([torch.zeros(1, c, n, n) for n, c in zip(config.map_sizes, config.generator_channels, strict=True)])
    assert least < counted.get_total_flops() / 1e9 < most


def test_large_maps_go_to_the_interpreter_at_their_size(small_net: FGNet, small_faces: Tensor) -> None:
    styles = small_net.generator.mapping(small_net.encoder(normalize(small_faces[:2])))
    whole = small_net.generator(styles, max_size=16)
    left = small_net.fuse(kernels=True).generator(styles, max_size=16)
    assert [len(m[0, 0]) for m in left] == [4, 8, 16, 32, 64, 16]  # the last is computed where it is read
    for full, small in zip(left, whole, strict=True):
        torch.testing.assert_close(resize(full, len(small[0, 0])), small)


def test_under_autocast_the_interpreter_adds_maps_of_one_dtype(
    net: FGNet, small_faces: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces, seen = normalize(small_faces[:2]), []

    class Noted(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if "relu_norm_add" in str(func):
                seen.append({value.dtype for value in (args[0], args[-1]) if value is not None})
                assert {value.dtype for value in args[1:4]} == {torch.float32}
            return func(*args, **(kwargs or {}))

    expected = net(faces)
    with torch.autocast("cpu", torch.bfloat16), Noted():
        assert share(net.fuse(kernels=True)(faces), expected) < 0.03
    assert seen == [{torch.bfloat16}] * net.config.n_maps


def test_fresh_noise_needs_no_kernels(small_net: FGNet, small_faces: Tensor) -> None:
    styles = small_net.generator.mapping(small_net.encoder(normalize(small_faces[:2])))
    torch.manual_seed(0)
    expected, fixed = small_net.generator(styles, fresh_noise=True)[-1], small_net.generator(styles)[-1]
    fused = small_net.fuse(kernels=True).generator
    torch.manual_seed(0)
    torch.testing.assert_close(fused(styles, fresh_noise=True)[-1], expected)
    assert not torch.equal(expected, fixed)


def test_folding_a_batch_norm() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 3, padding=1).to(memory_format=torch.channels_last), nn.BatchNorm2d(5)
    norm(torch.randn(4, 5, 6, 6) * 3 + 1)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, norm = torch.randn(2, 3, 8, 8), norm.eval()
    expected = norm(conv(x))
    scale, shift = affine(norm)
    torch.testing.assert_close(conv(x) * scale[:, None, None] + shift[:, None, None], expected)
    fold(conv, norm)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(conv(x), expected)


def test_an_apple_gpu_which_has_no_float64_is_spared_it() -> None:
    value = SimpleNamespace(device=torch.device("mps"), to=lambda device, dtype: (device, dtype))
    assert exact(value) == ("cpu", torch.float64)  # type: ignore[arg-type]
    assert exact(torch.ones(2, device="meta")).device.type == "meta"


def test_the_constant_input_is_left_alone(net: FGNet, small_faces: Tensor) -> None:
    """A single face is no reason to scale the generator's constant in place."""
    before = net.generator.constant.clone()
    net.predict(small_faces[:1])
    net.fuse(kernels=True).predict(small_faces[:1])
    assert torch.equal(net.generator.constant, before)


def test_tracing(small_faces: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile takes the fused network as one graph, and torch.export exports it."""
    monkeypatch.setattr(interpreter, "TAPS_FROM", 1)
    faces, fused = normalize(small_faces[:3]), learnt(TINY).fuse(kernels=True)
    expected = fused.detect(faces)
    compiled = torch.compile(fused.detect, backend="eager", fullgraph=True, dynamic=False)(faces)
    exported = torch.export.export(fused, (faces,))
    ours = "noise_bias_act", "noise_act_styled", "relu_norm_add", "taps_relu_norm_add", "gate_add_norm", "prelu_norm"
    assert {f"fgnet.{name}.default" for name in ours} <= {str(node.target) for node in exported.graph.nodes}
    for heatmaps in (compiled[0], exported.module()(faces), fused(faces)):
        assert share(heatmaps, expected[0]) < 1e-5
    torch.testing.assert_close(compiled[1], expected[1], atol=1e-5, rtol=0)
    assert share(fused.predict(small_faces[:3]).heatmaps, F.hardtanh(expected[0], -9, 9)) < 1e-5
