"""Detection by CUDA graphs, and the network fused, on a GPU: ``make gpu``. FGNET_DEVICE=cpu rehearses it without one.

FGNET_COMPILE=1 adds torch.compile, which takes minutes and needs Triton and a C compiler.
"""

import os
import warnings

import pytest
import torch
from conftest import SMALL
from gpu_device import DEVICE, MARKS, ON_GPU
from networks import learnt, share
from torch import Tensor

from fgnet_plugin.network import FGNet, interpreter, normalize
from fgnet_plugin.network.cuda_graphs import Replayed

pytestmark = [*MARKS, pytest.mark.usefixtures("plain_float32")]


@pytest.fixture(params=[True, False], ids=["taps", "direct"], autouse=True)
def _taps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the channels of the published sizes have it, or those of small ones; the products of four faces at once."""
    monkeypatch.setattr(interpreter, "TAPS_FROM", 1 if request.param else 10**9)
    monkeypatch.setattr(interpreter, "MOST_PRODUCTS", 4 * 25 * 32 * 8 * 8)


@pytest.fixture(params=["float32", "bfloat16", "float16"])
def net(request: pytest.FixtureRequest, _taps: None) -> FGNet:
    if request.param == "float16" and not ON_GPU:
        pytest.skip("float16 on a CPU is tested in test_fuse.py")
    return fused(request.param, None if ON_GPU else True)


def fused(precision: str, kernels: bool | None) -> FGNet:
    return learnt(SMALL).to(DEVICE).prepare(precision).fuse(kernels)  # type: ignore[arg-type]


@pytest.fixture
def faces(small_faces: Tensor) -> Tensor:
    return normalize(small_faces).repeat(3, 1, 1, 1).to(DEVICE)  # 24


def tolerance(net: FGNet) -> float:
    """Share of the range by which two ways to compute the same may differ; two faces differ by 0.06."""
    return {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}[net.interpreter.readout.weight.dtype]


@torch.no_grad()
def test_the_fused_network_agrees_with_the_plain_one(net: FGNet, faces: Tensor) -> None:
    """On the GPU, with our kernels and without."""
    expected, _ = learnt(SMALL).detect(faces[:8].cpu())
    precision = str(net.interpreter.readout.weight.dtype).removeprefix("torch.")
    assert net.kernels
    for model in (net, fused(precision, False)):
        heatmaps, activations = model.detect(faces[:8])
        difference = share(heatmaps, expected)
        print(f"\n{precision}, kernels {model.kernels}: {difference:.1e} of the range")
        assert heatmaps.device.type == DEVICE.type
        assert difference < tolerance(net)
        torch.testing.assert_close(activations, heatmaps.clamp(-1, 1).mean((2, 3)), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_graphs_agree_with_calls(net: FGNet, faces: Tensor) -> None:
    detect = Replayed(net, max_batch=8)
    for count in (1, 2, 3, 8, 5, 1, 24, 0):
        part = faces[:count].flip(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a fallback would warn
            heatmaps, activations = detect(part)
        assert detect.graphs == ON_GPU
        assert heatmaps.shape == (count, 3, 16, 16)
        for start in range(0, count, 8):
            expected = net.detect(part[start : start + 8])
            assert share(heatmaps[start : start + 8], expected[0]) < tolerance(net)
            torch.testing.assert_close(activations[start : start + 8], expected[1], atol=2 * tolerance(net), rtol=0)


@torch.no_grad()
def test_a_replay_reads_its_batch_and_keeps_the_last_result(net: FGNet, faces: Tensor) -> None:
    detect = Replayed(net, max_batch=4)
    first = detect(faces[:4])
    kept = [value.clone() for value in first]
    other = detect(-faces[:4])
    again = detect(faces[:4])
    assert all(torch.equal(value, before) for value, before in zip(first, kept, strict=True))
    assert all(torch.equal(value, before) for value, before in zip(again, kept, strict=True))
    assert share(other[0], first[0]) > 0.02


@torch.no_grad()
def test_a_replay_does_not_wait_for_the_device(net: FGNet, faces: Tensor) -> None:
    detect = Replayed(net, max_batch=8)
    for count in (8, 3):
        detect(faces[:count])  # records
    if ON_GPU:
        torch.cuda.set_sync_debug_mode("error")
    try:
        found = [detect(faces[:count]) for count in (8, 3, 11)]
    finally:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("default")
    assert detect.graphs == ON_GPU
    assert [len(heatmaps) for heatmaps, _ in found] == [8, 3, 11]


@torch.no_grad()
def test_the_network_itself_does_not_wait_for_the_device(net: FGNet, faces: Tensor) -> None:
    net.detect(faces[:2])  # what is kept between calls is made in the first
    if ON_GPU:
        torch.cuda.set_sync_debug_mode("error")
    try:
        heatmaps, _ = net.detect(faces[:2])
    finally:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("default")
    assert heatmaps.isfinite().all()


@pytest.mark.skipif(not ON_GPU, reason="only a GPU has streams")
@torch.no_grad()
def test_streams_take_turns(net: FGNet, faces: Tensor) -> None:
    detect, streams = Replayed(net, max_batch=8), [torch.cuda.Stream() for _ in range(3)]
    expected = [detect(part)[0].clone() for part in faces.split(8)]
    torch.cuda.synchronize()
    found: list[Tensor] = []
    for i in range(12):
        with torch.cuda.stream(streams[i % 3]):
            found.append(detect(faces[8 * (i % 3) : 8 * (i % 3) + 8])[0])
    torch.cuda.synchronize()
    for i, heatmaps in enumerate(found):
        assert torch.equal(heatmaps, expected[i % 3]), i


@pytest.mark.skipif(not ON_GPU, reason="only a GPU has memory of its own")
@torch.no_grad()
def test_memory_is_bounded(net: FGNet, faces: Tensor) -> None:
    """However often graphs are dropped and recorded, and hardly more than the largest batch needs."""
    detect, reserved = Replayed(net, max_batch=16, kept=2), []
    for _ in range(4):
        for count in (16, 8, 4, 2, 1):
            detect(faces[:count])
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved())
    print(f"\nreserved after each round: {[round(size / 2**20) for size in reserved]} MiB")
    assert len(detect._recent) == 2
    assert max(reserved[1:]) <= 1.2 * reserved[0] + 32 * 2**20


@pytest.mark.skipif(os.environ.get("FGNET_COMPILE") != "1", reason="takes minutes: FGNET_COMPILE=1 asks for it")
@torch.no_grad()
def test_the_compiled_network_agrees(net: FGNet, faces: Tensor) -> None:
    detect = Replayed(net, max_batch=2, compile=True)
    for count in (1, 3):
        heatmaps, _ = detect(faces[:count])
        assert share(heatmaps, net.detect(faces[:count])[0]) < tolerance(net)
    assert detect.graphs == ON_GPU
