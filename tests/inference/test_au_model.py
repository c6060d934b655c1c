"""FG-Net on whole frames: what is begun and waited for; what an NVIDIA GPU's streams are told, played through without one."""

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photos import read_photo
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fgnet_plugin.alignment import align, align_faces
from fgnet_plugin.faces.finder import FaceFinder
from fgnet_plugin.inference import au_model, cuda_streams
from fgnet_plugin.inference.au_model import AUModel, Reading, default_precision, half_precision
from fgnet_plugin.network.cuda_graphs import Replayed
from fgnet_plugin.ops import antialias, transfer
from fgnet_plugin.utils.deferred import Deferred


@pytest.fixture(scope="module")
def model() -> AUModel:
    return AUModel("fgnet-rendered")


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return read_photo("skimage/astronaut")


@pytest.fixture(scope="module")
def landmarks(photo: Tensor) -> Tensor:
    return FaceFinder().find([photo])[0].landmarks


def several(photo: Tensor, landmarks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Frames with no face, one face, two faces of which the first can't be read, and one beyond the border."""
    two = torch.cat([torch.full_like(landmarks, float("nan")), landmarks])
    cut = photo[:, :, : int(landmarks[0, :, 0].mean())]
    frames = [photo, photo, photo.float(), cut]
    return frames, [landmarks[:0], landmarks, two, landmarks]


def same(found: Reading, expected: Reading) -> None:
    assert found.read.tolist() == expected.read.tolist()
    torch.testing.assert_close(found.scores, expected.scores, equal_nan=True)
    torch.testing.assert_close(found.prediction.heatmaps, expected.prediction.heatmaps)
    torch.testing.assert_close(found.aligned.faces, expected.aligned.faces, rtol=0, atol=0)


def test_a_reading_that_was_begun_is_what_read_gives(model: AUModel, photo: Tensor, landmarks: Tensor) -> None:
    frames, points = several(photo, landmarks)
    expected = model.read(frames, points)
    assert expected.read.tolist() == [0, 2, 3]
    assert expected.scores.isnan().all(1).tolist() == [False, True, False, False]
    begun = [model.submit([frame], [of_frame]) for frame, of_frame in zip(frames, points, strict=True)]
    found = [pending.result() for pending in reversed(begun)][::-1]  # in whatever order they are asked for
    assert begun[1].result() is found[1]
    torch.testing.assert_close(torch.cat([reading.scores for reading in found]), expected.scores, equal_nan=True)
    assert not model.overlaps
    assert expected.scores.is_inference() is False


def test_a_reading_is_finished_once() -> None:
    calls: list[int] = []
    pending = Deferred(lambda: calls.append(1) or "reading")  # type: ignore[func-returns-value]
    assert calls == []
    assert [pending.result(), pending.result(), calls] == ["reading", "reading", [1]]


def test_the_precision_follows_the_device() -> None:
    expected = {(6, 1): "float32", (7, 0): "float16", (7, 5): "float16", (8, 0): "bfloat16", (9, 0): "bfloat16"}
    assert {capability: half_precision(capability) for capability in [*expected, (12, 0)]} == expected | {(12, 0): "bfloat16"}
    assert [default_precision(device) for device in ("cpu", "mps")] == ["float32", "float32"]
    with pytest.raises(ValueError, match="unknown precision 'half'"):
        AUModel("fgnet-rendered", precision="half")  # type: ignore[arg-type]
    assert AUModel("fgnet-rendered", precision="bfloat16").precision == "bfloat16"


class Played:
    """torch.cuda's streams and events, which write down what they are told; the work itself is done at once, on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.current, self.names = "default", iter(["upload", "compute"])
        told = self

        class Stream:
            def __init__(self, device: torch.device) -> None:
                self.name = next(told.names)

            def wait_stream(self, other: Any) -> None:
                told.log.append(f"{self.name} waits for {other.name}")

        class Event:
            def __init__(self, blocking: bool) -> None:
                self.at = -1

            def record(self, stream: Stream) -> None:
                self.at = len(told.log)
                told.log.append(f"event on {stream.name}")

            def synchronize(self) -> None:
                assert self.at >= 0
                told.log.append(f"CPU waits for {self.at}")

        @contextmanager
        def stream(which: Stream) -> Iterator[None]:
            before, told.current = told.current, which.name
            yield
            told.current = before

        def current_stream(device: torch.device) -> Stream:
            found = Stream.__new__(Stream)
            found.name = told.current
            return found

        def to_device(tensor: Tensor, device: torch.device) -> Tensor:
            assert tensor.dtype == torch.uint8
            told.log.append(f"up on {told.current}")
            return tensor.clone()

        for name, value in (("Stream", Stream), ("Event", Event), ("stream", stream), ("current_stream", current_stream)):
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(Tensor, "record_stream", lambda _, stream: self.log.append(f"kept for {stream.name}"))
        monkeypatch.setattr(cuda_streams, "to_device", to_device)
        monkeypatch.setattr(cuda_streams, "pinned_like", torch.empty_like)


def test_what_the_streams_are_told(model: AUModel, photo: Tensor, landmarks: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers; uploads on their own stream; the CPU waits for a batch's scores only, and only when they are wanted."""
    frames, points = several(photo, landmarks)
    expected = model.read(frames, points)
    cuda = copy.copy(model)
    played = Played(monkeypatch)
    cuda._streams = cuda_streams.Streams(torch.device("cpu"))
    seen: list[tuple[str, int]] = []

    in_parts = Replayed(model.net, 2)  # without a GPU: plain calls

    def replayed(faces: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((played.current, len(faces)))
        return in_parts(faces)

    cuda._replayed = replayed  # type: ignore[assignment]
    assert cuda.overlaps
    first, second, nothing = (
        cuda.submit(frames, points),
        cuda.submit(frames[1:2], points[1:2]),
        cuda.submit(frames[:1], points[:1]),
    )
    sent = ["up on upload"] * 3 + ["kept for compute"] * 3 + ["compute waits for upload", "event on compute"]
    again = [*sent[2:4], *sent[6:]]
    assert played.log == sent + again + sent[7:]  # without a face nothing is sent
    assert seen == [("compute", 3), ("compute", 1)]
    played.log.clear()
    same(first.result(), expected)
    assert played.log == [f"CPU waits for {len(sent) - 1}"] + ["kept for default"] * 5
    same(second.result(), model.read(frames[1:2], points[1:2]))
    assert played.log[6] == f"CPU waits for {len(sent) + len(again) - 1}"
    empty = nothing.result()
    assert (empty.scores.shape, len(empty.prediction.heatmaps)) == ((0, len(model.aus)), 0)


def test_a_frame_on_the_device_is_waited_for_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch)

    class Frame:
        """A frame of the GPU, as far as `Streams` looks at it."""

        device = torch.device("cuda", 0)

        def record_stream(self, stream: Any) -> None:
            played.log.append(f"kept for {stream.name}")

        def to(self, device: torch.device, non_blocking: bool) -> str:
            return f"moved on {played.current}"

    lanes = cuda_streams.Streams(torch.device("cuda", 0))
    found = lanes.send([Frame(), torch.zeros(3, 2, 2, dtype=torch.uint8)])  # type: ignore[list-item]
    assert found[0] == "moved on compute"
    assert played.log[-2:] == ["compute waits for default", "kept for compute"]
    with pytest.raises(RuntimeError), lanes.computing():
        raise RuntimeError


def test_only_copies_from_pinned_memory_go_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Here:
        """A tensor of the CPU, as far as `to_device` looks at it."""

        device = torch.device("cpu")

        def __init__(self, name: str) -> None:
            self.name = name

        def is_pinned(self) -> bool:
            return self.name == "pinned"

        def copy_(self, other: "Here") -> "Here":
            calls.append(f"{self.name} = {other.name}")
            return self

        def to(self, device: torch.device, **options: bool) -> None:
            calls.append(f"{self.name} to {device} {options}")

    monkeypatch.setattr(transfer, "pinned_like", lambda tensor: Here(f"pinned like {tensor.name}"))
    for name, device in (("frame", "cuda:1"), ("pinned", "cuda:1"), ("frame", "mps")):
        transfer.to_device(Here(name), torch.device(device))  # type: ignore[arg-type]
    assert calls == [
        "pinned like frame = frame",
        "pinned like frame to cuda:1 {'non_blocking': True}",
        "pinned to cuda:1 {'non_blocking': True}",
        "frame to mps {}",
    ]


class NoCopies(TorchDispatchMode):
    """Refuses what would make the CPU wait for a device, which "meta" plays: copies between it and the CPU."""

    allowed = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim or tensor.device.type == "meta"}
        result = func(*args, **(kwargs or {}))
        devices |= {leaf.device.type for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and tensors}
        assert self.allowed or len(devices) < 2, f"{func} copies between {' and '.join(sorted(devices))}"
        return result


@pytest.mark.parametrize("size", [256, 64, 100])
def test_alignment_never_waits_for_the_device(
    size: int, photo: Tensor, landmarks: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of faces inside a photo, large ones, and ones across its border: every copy to the device goes through `to_device`."""
    large = torch.nn.functional.interpolate(photo[None].float(), scale_factor=5)[0].to(torch.uint8)
    frames, points = several(photo, landmarks)
    frames, points = [*frames[:2], frames[3], large], [*points[:2], points[3], landmarks * 5]
    expected = align_faces(frames, points, size, rounded=False)
    copies: list[int] = []

    def to_device(tensor: Tensor, device: torch.device) -> Tensor:
        copies.append(tensor.numel())
        mode.allowed = True
        try:
            return tensor.to(device)
        finally:
            mode.allowed = False

    there = [frame.to("meta") for frame in frames]
    with NoCopies() as mode:
        with pytest.raises(AssertionError, match="copies between"):
            align_faces(there, points, size, rounded=False)  # it would be seen
        for module in (align, antialias):
            monkeypatch.setattr(module, "to_device", to_device)
        found = align_faces(there, points, size, rounded=False)
    assert (found.faces.device.type, found.faces.shape) == ("meta", expected.faces.shape)
    assert found.photo.shape == expected.photo.shape
    assert copies


def test_a_model_can_be_copied_and_pickled(model: AUModel, photo: Tensor, landmarks: Tensor) -> None:
    expected = model.read([photo], [landmarks])
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same(other.read([photo], [landmarks]), expected)
        assert other._lock is not model._lock


def test_compile_goes_through_torch_compile(
    monkeypatch: pytest.MonkeyPatch, small_checkpoint: Path, photo: Tensor, landmarks: Tensor
) -> None:
    made: list[tuple[int, bool]] = []

    class Compiled:
        def __init__(self, net: Any, max_batch: int, compile: bool = False) -> None:  # noqa: A002
            self.net = net
            made.append((max_batch, compile))

        def __call__(self, faces: Tensor) -> tuple[Tensor, Tensor]:
            prediction = self.net.predict(faces)
            return prediction.heatmaps, prediction.activations

    monkeypatch.setattr(au_model, "Replayed", Compiled)
    model = AUModel(small_checkpoint, batch_size=4, compile=True)
    plain = AUModel(small_checkpoint)
    assert made == [(4, True)]
    np.testing.assert_array_equal(model.read([photo], [landmarks]).scores, plain.read([photo], [landmarks]).scores)
