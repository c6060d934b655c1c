"""Frames to scores on a GPU without waiting for it: ``make gpu``. FGNET_DEVICE=cpu rehearses the same tests without one."""

import copy
import pickle
import threading

import pytest
import torch
from gpu_device import DEVICE, MARKS, ON_GPU
from photos import read_photo
from torch import Tensor

from fgnet_plugin.alignment import align_faces
from fgnet_plugin.faces.finder import FaceFinder
from fgnet_plugin.inference.au_model import AUModel, Reading, default_precision
from fgnet_plugin.ops.transfer import to_device

pytestmark = [*MARKS, pytest.mark.usefixtures("plain_float32")]


@pytest.fixture(scope="module")
def model() -> AUModel:
    return AUModel("fgnet-rendered", DEVICE, batch_size=4, precision="float32")


@pytest.fixture(scope="module")
def batches() -> list[tuple[list[Tensor], list[Tensor]]]:
    """Frames and landmarks: one face; four (brightened, mirrored, cut off, large) and a frame without; none at all."""
    photo = read_photo("skimage/astronaut")
    points = FaceFinder().find([photo])[0].landmarks
    mirrored = points * torch.tensor([-1.0, 1.0]) + torch.tensor([photo.shape[2] - 1.0, 0.0])
    order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), *range(45, 41, -1), 47, 46]
    order += [*range(39, 35, -1), 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
    cut = photo[:, :, : int(points[0, :, 0].mean()) + 20]
    large = torch.nn.functional.interpolate(photo[None].float(), scale_factor=4)[0].to(torch.uint8)
    several = [photo.float() * 0.8, photo.flip(2), cut, large, photo]
    of_several = [points, mirrored[:, order], points, 4 * points + 1.5, points[:0]]
    return [([photo], [points]), (several, of_several), ([photo], [points[:0]])]


@pytest.fixture(scope="module")
def expected(batches: list[tuple[list[Tensor], list[Tensor]]]) -> list[Reading]:
    cpu = AUModel("fgnet-rendered")
    return [cpu.read(*batch) for batch in batches]


def assert_agrees(found: Reading, expected: Reading, tolerance: float = 2e-3) -> None:
    assert found.read.tolist() == expected.read.tolist()
    assert found.scores.device.type == "cpu"
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=tolerance, equal_nan=True)


def test_scores_are_those_of_the_cpu(
    model: AUModel, batches: list[tuple[list[Tensor], list[Tensor]]], expected: list[Reading]
) -> None:
    assert model.overlaps == ON_GPU
    for batch, of_cpu in zip(batches, expected, strict=True):
        found = model.read(*batch)
        assert_agrees(found, of_cpu)
        assert found.prediction.heatmaps.device.type == DEVICE.type
        torch.testing.assert_close(found.prediction.heatmaps.cpu(), of_cpu.prediction.heatmaps, rtol=0, atol=2e-2)


def test_the_default_precision_keeps_the_decisions(
    batches: list[tuple[list[Tensor], list[Tensor]]], expected: list[Reading]
) -> None:
    model = AUModel("fgnet-rendered", DEVICE)
    assert model.precision == default_precision(DEVICE)
    found, activations = model.read(*batches[1]).prediction, expected[1].prediction.activations
    clear = activations.abs() > 0.02
    assert clear.any()
    assert torch.equal((found.activations.cpu() > 0)[clear], (activations > 0)[clear])


def test_submit_does_not_wait_for_the_device(
    model: AUModel, batches: list[tuple[list[Tensor], list[Tensor]]], expected: list[Reading]
) -> None:
    for batch in batches:
        model.read(*batch)  # what is kept between calls (kernels, graphs, tables) is made in the first
    begun = []
    if ON_GPU:
        torch.cuda.set_sync_debug_mode("error")
    try:
        begun = [model.submit(*batch) for batch in (*batches, *batches)]
    finally:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("default")
    for pending, of_cpu in zip(begun, expected * 2, strict=True):
        assert_agrees(pending.result(), of_cpu)


def test_alignment_does_not_wait_for_the_device(batches: list[tuple[list[Tensor], list[Tensor]]]) -> None:
    frames, points = batches[1]
    there = [frame.to(torch.uint8).to(DEVICE) for frame in frames]
    before = align_faces(there, points, 256, rounded=False)
    if ON_GPU:
        torch.cuda.set_sync_debug_mode("error")
    try:
        found = align_faces(there, points, 256, rounded=False)
    finally:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.faces, before.faces)


@pytest.mark.skipif(not ON_GPU, reason="a CPU has no streams")
def test_the_default_stream_goes_on_beside_fg_net(
    model: AUModel, batches: list[tuple[list[Tensor], list[Tensor]]], expected: list[Reading]
) -> None:
    model.read(*batches[1])
    float(torch.ones(1000, device=DEVICE).sum())  # CUDA loads a kernel at its first use, and waits for the device then
    assert model._streams is not None
    with model._streams.computing():
        torch.cuda._sleep(2_000_000_000)  # cycles: about a second, in which everything below but the last line is over
    begun = model.submit(*batches[1])
    total = float(torch.ones(1000, device=DEVICE).sum())  # as py-feat's models do: this waits for the default stream
    still_busy = not model._streams.compute.query()
    assert (total, still_busy) == (1000.0, True)
    assert_agrees(begun.result(), expected[1])


def test_memory_is_not_given_away_too_early(
    model: AUModel, batches: list[tuple[list[Tensor], list[Tensor]]], expected: list[Reading]
) -> None:
    """Many batches in flight, frames and results dropped at once, other streams taking and overwriting what is free."""
    (frames, points), of_cpu = batches[1], expected[1]
    small = points[:1]
    begun = []
    for i in range(12):
        begun.append(model.submit([frame.clone() for frame in frames], points))
        model.submit([torch.full_like(frames[0], 17.0 * i)], small)  # never asked for
        for frame in frames:
            torch.full(frame.shape, 255, dtype=torch.uint8, device=DEVICE)
    for pending in begun:
        reading = pending.result()
        assert_agrees(reading, of_cpu)
        heatmaps = reading.prediction.heatmaps
        del reading
        assert (heatmaps.cpu() - of_cpu.prediction.heatmaps).abs().max() < 2e-2


def test_frames_that_the_device_is_still_writing(
    model: AUModel, batches: list[tuple[list[Tensor], list[Tensor]]], expected: list[Reading]
) -> None:
    (frame,), points = batches[0]
    there = to_device(frame, DEVICE)
    written = torch.zeros_like(there)
    if ON_GPU:
        torch.cuda._sleep(200_000_000)  # on the current stream, before the frame is there
    written.copy_(there)
    assert_agrees(model.submit([written], points).result(), expected[0])
    assert_agrees(model.submit([written.float()], points).result(), expected[0])


def test_two_threads_share_a_model(
    model: AUModel, batches: list[tuple[list[Tensor], list[Tensor]]], expected: list[Reading]
) -> None:
    found: dict[int, list[Reading]] = {}

    def work(i: int) -> None:
        found[i] = [model.read(*batches[i]) for _ in range(5)]

    jobs = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    for i in range(2):
        assert len(found[i]) == 5
        for reading in found[i]:
            assert_agrees(reading, expected[i])


def test_a_model_can_be_copied_and_pickled(
    model: AUModel, batches: list[tuple[list[Tensor], list[Tensor]]], expected: list[Reading]
) -> None:
    model.read(*batches[0])  # graphs are there now
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_agrees(other.read(*batches[0]), expected[0])


def test_adam_is_fused_on_the_gpu_only() -> None:
    for module in ("lightning", "pydantic"):
        pytest.importorskip(module)
    from fgnet_plugin.training.engine.stage import fused

    assert fused([torch.zeros(2, device=DEVICE)]) == (True if ON_GPU else None)
