"""Detection by CUDA graphs, as far as it goes without a GPU: sizes, padding, the cache, fallbacks."""

from __future__ import annotations

import contextlib
import inspect
import threading

import pytest
import torch
from torch import Tensor

from fgnet_plugin.network import FGNet, normalize
from fgnet_plugin.network.cuda_graphs import Recent, Recording, Replayed, batch_sizes, fill, fitting, parts


class Imitated(Replayed):
    """`Replayed` with graphs on the CPU: calls of the network that read and write the same memory each time."""

    def __init__(self, net: FGNet, max_batch: int, kept: int = 4) -> None:
        super().__init__(net, max_batch, kept=kept)
        self._graphs = True
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def _record(self, size: int) -> Recording:
        faces = self._buffer(size)
        static = [torch.full_like(value, float("nan")) for value in self._detect(faces)]

        def replay() -> None:
            assert not torch.is_grad_enabled()
            self.replayed.append(size)
            for target, value in zip(static, self._detect(faces), strict=True):
                target.copy_(value)

        self.recorded.append(size)
        return Recording(replay, *static)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9)), (32, (1, 2, 4, 8, 16, 32))],
)
def test_batch_sizes(most: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(most) == sizes
    for count in range(1, most + 1):
        size = fitting(count, sizes)
        assert count <= size < 2 * count
    with pytest.raises(ValueError, match=f"{most + 1} faces exceed"):
        fitting(most + 1, sizes)


def test_numbers_below_1_are_refused(small_net: FGNet) -> None:
    with pytest.raises(ValueError, match="max_batch must be at least 1, got 0"):
        Replayed(small_net, 0)
    with pytest.raises(ValueError, match="at least 1 must be kept, got 0"):
        Replayed(small_net, kept=0)


def test_parts_cover_everything_once() -> None:
    for count in range(10):
        found = list(parts(count, 4))
        assert [i for part in found for i in range(part.start, part.stop)] == list(range(count))
        assert all(0 < part.stop - part.start <= 4 for part in found)


def test_filling_repeats_the_last_face() -> None:
    faces = torch.arange(3 * 3 * 4.0, dtype=torch.bfloat16).view(3, 3, 2, 2)
    for size in (3, 4, 8):
        buffer = torch.full((size, 3, 2, 2), float("nan")).to(memory_format=torch.channels_last)
        fill(buffer, faces)
        assert torch.equal(buffer[:3], faces.float())
        assert all(torch.equal(face, faces[2].float()) for face in buffer[3:])


def test_the_longest_unused_is_dropped_after_the_new_one_is_made() -> None:
    recent, kept = Recent[str](2), []

    def make(key: int) -> str:
        kept.append(len(recent))
        return f"made {key}"

    def failing(key: int) -> str:
        raise RuntimeError("no")

    assert [recent.get(key, make) for key in (1, 2, 1, 3)] == ["made 1", "made 2", "made 1", "made 3"]
    assert kept == [0, 1, 2]
    with pytest.raises(RuntimeError):
        recent.get(9, failing)
    assert recent.get(1, failing) == "made 1"
    assert recent.get(2, make) == "made 2"
    assert len(recent) == 2
    recent.clear()
    assert len(recent) == 0


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 6, 8])
def test_any_number_of_faces(count: int, small_net: FGNet, small_faces: Tensor) -> None:
    faces = normalize(small_faces[:count])
    expected = small_net.predict(faces)
    for detect in (Imitated(small_net, 5), Replayed(small_net, 5)):
        for layout in (torch.contiguous_format, torch.channels_last):
            heatmaps, activations = detect(faces.contiguous(memory_format=layout))
            assert heatmaps.shape == (count, 3, 16, 16)
            torch.testing.assert_close(heatmaps, expected.heatmaps, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(activations, expected.activations, atol=1e-5, rtol=1e-5)


def test_sizes_are_recorded_once_and_few_are_kept(small_net: FGNet, small_faces: Tensor) -> None:
    faces, detect = normalize(small_faces), Imitated(small_net, 8, kept=2)
    for count in (3, 4, 1, 3, 8, 7, 4, 1):
        detect(faces[:count])
    assert detect.replayed == [4, 4, 1, 4, 8, 8, 4, 1]
    assert detect.recorded == [4, 1, 8, 1]  # 1 was dropped for 8, being longest unused, and 8 for 1
    assert len(detect._recent) == 2


def test_results_are_the_callers_own(small_net: FGNet, small_faces: Tensor) -> None:
    faces, detect = normalize(small_faces), Imitated(small_net, 4)
    first = detect(faces[:4])
    kept = [value.clone() for value in first]
    second = detect(faces[4:])
    assert not torch.equal(second[0], first[0])
    assert all(torch.equal(value, before) for value, before in zip(first, kept, strict=True))
    assert detect._buffer(4).data_ptr() == detect._buffer(1).data_ptr()


def test_inference_mode_outside_leaves_no_trace(small_net: FGNet, small_faces: Tensor) -> None:
    faces, detect = normalize(small_faces), Imitated(small_net, 4)
    with torch.inference_mode():
        inside = detect(faces[:3])
    outside = detect(faces[:3])
    assert torch.equal(inside[0], outside[0])
    assert not inside[0].is_inference()
    assert not outside[0].requires_grad


def test_several_threads(small_net: FGNet, small_faces: Tensor) -> None:
    faces, detect = normalize(small_faces), Imitated(small_net, 4)
    expected, found = torch.cat([small_net.predict(face[None]).heatmaps for face in faces]), {}

    def work(i: int) -> None:
        found[i] = detect(faces[i : i + 1])[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(torch.cat([found[i] for i in range(8)]), expected, atol=1e-5, rtol=1e-5)


def test_where_recording_fails_one_warning_says_so(small_net: FGNet, small_faces: Tensor) -> None:
    class Failing(Imitated):
        def _record(self, size: int) -> Recording:
            if self.recorded:
                raise RuntimeError("operation not permitted when stream is capturing")
            return super()._record(size)

    faces, detect = normalize(small_faces), Failing(small_net, 4)
    detect(faces[:1])
    assert detect.graphs
    with pytest.warns(UserWarning, match=r"recorded for 4 faces .*; .*not permitted when stream is capturing") as warned:
        heatmaps, _ = detect(faces)  # two batches of four
    assert len(warned) == 1
    assert not detect.graphs
    torch.testing.assert_close(heatmaps, small_net.predict(faces).heatmaps, atol=1e-5, rtol=1e-5)


def test_without_a_gpu_there_are_no_graphs(small_net: FGNet) -> None:
    assert not Replayed(small_net).graphs
    assert not Replayed(small_net, graphs=True).graphs


def test_a_compiled_network_sees_few_sizes(small_net: FGNet, small_faces: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, seen = {}, []

    def compile_(function: object, **options: object) -> object:
        asked.update(options)

        def run(faces: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(len(faces))
            return function(faces)  # type: ignore[operator]

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    detect = Replayed(small_net, 4, compile=True)
    for count in (1, 3, 5, 7):
        heatmaps, _ = detect(normalize(small_faces[:count]))
        torch.testing.assert_close(heatmaps, small_net.predict(small_faces[:count]).heatmaps, atol=1e-5, rtol=1e-5)
    assert seen == [1, 4, 4, 1, 4, 4]
    assert asked == {"mode": "max-autotune-no-cudagraphs", "dynamic": False}


def test_bad_input_is_refused(small_net: FGNet) -> None:
    detect = Replayed(small_net)
    with pytest.raises(TypeError, match="floating point"):
        detect(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    with pytest.raises(ValueError, match="64×64 px, got 32×32"):
        detect(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="faces are on meta, the model is on cpu"):
        detect(torch.zeros(1, 3, 64, 64, device="meta"))
    small_net.train()
    with pytest.raises(ValueError, match=r"net\.eval\(\)"):
        detect(torch.zeros(1, 3, 64, 64))


def test_the_order_of_what_is_asked_of_the_device(
    small_net: FGNet, small_faces: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With torch.cuda's functions replaced by ones that only note their calls, arguments checked against the real ones'."""
    log: list[str] = []

    class Graph:
        def replay(self) -> None:
            log.append("replay")

    class Event:
        def record(self, stream: Stream) -> None:
            log.append(f"{stream.name} records")

    class Stream:
        def __init__(self, name: str = "side") -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            log.append(f"{self.name} waits for {other.name}")

        def wait_event(self, event: Event) -> None:
            log.append(f"{self.name} waits for the last call")

    class Recorder(contextlib.nullcontext[None]):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__()
            given = inspect.signature(torch.cuda.graphs.graph.__init__).bind(self, *args, **options).arguments
            assert isinstance(given["cuda_graph"], Graph)
            log.append(f"record on {given['stream'].name} with {given['pool']}, {given['capture_error_mode']}")

    current = Stream("current")
    for name, value in {
        "CUDAGraph": Graph,
        "Event": Event,
        "Stream": Stream,
        "graph": Recorder,
        "current_stream": lambda: current,
        "stream": lambda stream: contextlib.nullcontext(),
        "device": lambda device: contextlib.nullcontext(),
        "graph_pool_handle": lambda: "one pool",
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    faces, detect, tuned = normalize(small_faces), Replayed(small_net, 4), []
    detect._on_cuda = detect._graphs = True
    usual = detect._detect

    def noted(batch: Tensor) -> tuple[Tensor, Tensor]:
        log.append(f"call with {len(batch)}")
        tuned.append(torch.backends.cudnn.benchmark)
        return usual(batch)

    detect._detect = noted
    before = torch.backends.cudnn.benchmark
    for count in (3, 4, 1):
        detect(faces[:count])
    call = ["current waits for the last call", "replay", "current records"]
    made = {
        size: [
            *("side waits for current", *[f"call with {size}"] * 3, "current waits for side"),
            *("record on side with one pool, thread_local", f"call with {size}"),
        ]
        for size in (1, 4)
    }
    assert log == [call[0], *made[4], *call[1:], *call, call[0], *made[1], *call[1:]]
    assert all(tuned)
    assert torch.backends.cudnn.benchmark == before
