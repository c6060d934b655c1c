"""Detection by CUDA graphs: the network's several hundred kernels, launched by one call.

A graph is recorded for one batch size and replays the same memory addresses each time. So a batch is padded up to one of a
few sizes, copied to where the graph reads, and what the graph wrote is copied out.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from fgnet_plugin.network.fgnet import FGNet
from fgnet_plugin.utils.text import counted

COMPILE_MODE = "max-autotune-no-cudagraphs"
"""Of torch.compile; without its own CUDA graphs, which would be one a batch size without bound."""
_WARM_UPS = 3
_recorders: dict[torch.device, tuple[torch.cuda.Stream, threading.Lock]] = {}
_recorders_lock = threading.Lock()
_T = TypeVar("_T")


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """List the batch sizes that get a graph: the powers of two below `max_batch`, and `max_batch`.

    >>> batch_sizes(12)
    (1, 2, 4, 8, 12)
    """
    if max_batch < 1:
        raise ValueError(f"max_batch must be at least 1, got {max_batch}")
    return (*(2**i for i in range((max_batch - 1).bit_length())), max_batch)


def fitting(count: int, sizes: tuple[int, ...]) -> int:
    """Choose the smallest of the ascending sizes that holds `count` faces. Raises ValueError where none does."""
    for size in sizes:
        if count <= size:
            return size
    raise ValueError(f"{count} faces exceed the largest batch of {sizes[-1]}")


def parts(count: int, most: int) -> Iterator[slice]:
    """Split `count` faces into consecutive parts of at most `most` each."""
    for start in range(0, count, most):
        yield slice(start, min(start + most, count))


def recorder(device: torch.device) -> tuple[torch.cuda.Stream, threading.Lock]:
    """Return the stream on which all graphs of a device are recorded, and the lock to hold meanwhile.

    torch hands out 32 streams in turn: with one of its own, a model could record on a stream that another thread records on.
    """
    with _recorders_lock:
        if device not in _recorders:
            _recorders[device] = torch.cuda.Stream(), threading.Lock()  # type: ignore[no-untyped-call]
        return _recorders[device]


def fill(buffer: Tensor, faces: Tensor) -> None:
    """Copy faces to the buffer [size, 3, S, S] and repeats the last one up to its end."""
    count = len(faces)
    buffer[:count].copy_(faces)
    if count < len(buffer):
        buffer[count:].copy_(faces[-1:].expand(len(buffer) - count, -1, -1, -1))


class Recent(Generic[_T]):
    """A cache of what was made for at most `most` keys, those used last.

    The new one is made before the oldest is dropped: torch can't use a pool of graph memory again once its last graph is gone.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"at least 1 must be kept, got {most}")
        self.most = most
        self._kept: OrderedDict[int, _T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: int, make: Callable[[int], _T]) -> _T:
        """Return what is kept for the key, or else ``make(key)``, kept from now on unless it raises."""
        if key not in self._kept:
            self._kept[key] = make(key)
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()


@dataclass(frozen=True, eq=False)
class Recording:
    """Detection of one batch size, recorded."""

    replay: Callable[[], None]
    """Reads the input buffer and writes the two tensors below."""
    heatmaps: Tensor
    activations: Tensor


class Replayed:
    """Run `FGNet.detect` on batches of any size, by CUDA graphs where the model is on a CUDA device.

    One graph a batch size of `batch_sizes`; they share their memory, which is about what the largest batch needs. Recording
    one takes some seconds, at the first batch of its size. Where recording fails, one warning says so, and the network is
    called as usual from then on; so it is without a CUDA device.

    Called while somebody records a CUDA graph, it becomes part of that one, without graphs of its own.

    A graph holds the addresses of the weights: a model that was moved to another device needs a new `Replayed`. Calls may come
    from several threads and CUDA streams; they are worked off one after the other.

    Args:
        net: the model, in evaluation mode; best fused (`FGNet.fuse`).
        max_batch: most faces that go through the network at once. It bounds the memory, not the result. The input buffer
            takes 0.8 MB a face at 256 px.
        graphs: False for none. Default: where the model is on a CUDA device.
        compile: let torch.compile make the network faster still, once a batch size: minutes at the first call, and then from
            its cache on disk. It needs Triton on a GPU (it comes with torch's Linux packages) and a C compiler (``cc``, with
            Python's headers), a C++ compiler on a CPU.
        kept: most graphs that are kept.
        tune: let cuDNN time its algorithms before a graph is recorded, and take the fastest; a choice that may differ from
            run to run, and with it the last digits of the results.

    Raises:
        ValueError: a number below 1.

    Example:
        >>> from fgnet_plugin.network import FGNet, small_config
        >>> detect = Replayed(FGNet(small_config(("AU06", "AU12"))).eval(), max_batch=4)
        >>> heatmaps, activations = detect(torch.zeros(6, 3, 64, 64))
        >>> heatmaps.shape, activations.shape
        (torch.Size([6, 2, 64, 64]), torch.Size([6, 2]))
    """

    def __init__(
        self,
        net: FGNet,
        max_batch: int = 32,
        graphs: bool | None = None,
        compile: bool = False,  # noqa: A002 (torch's name)
        *,
        kept: int = 8,
        tune: bool = True,
    ) -> None:
        self.net, self.max_batch, self.sizes = net, max_batch, batch_sizes(max_batch)
        self.compiled, self.tune = compile, tune
        self._on_cuda = net.device.type == "cuda"
        self._graphs = self._on_cuda and graphs is not False
        self._detect: Callable[[Tensor], tuple[Tensor, Tensor]] = net.detect
        if compile:
            self._detect = torch.compile(net.detect, mode=COMPILE_MODE, dynamic=False)
        self._recent: Recent[Recording] = Recent(kept)
        self._input: Tensor | None = None  # [max_batch, 3, S, S]: where every graph reads
        self._pool: Any = None  # handle of the graphs' memory
        self._done: torch.cuda.Event | None = None  # the last call's work on the device
        self._lock = threading.Lock()

    @property
    def graphs(self) -> bool:
        """Whether CUDA graphs are used: False after a failure, too."""
        return self._graphs

    def __call__(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Compute heatmaps and activations of aligned faces.

        Once the graph of a batch size is there, nothing in it waits for the device.

        Args:
            faces: [B, 3, S, S] float in [-1, 1] on the model's device, in any layout; B may be 0.

        Returns:
            Heatmaps [B, A, H, H] and activations [B, A], as `FGNet.detect`; copies, which later calls leave alone.

        Raises:
            TypeError, ValueError: another dtype, shape or device; the model is in training mode.
        """
        self._check(faces)
        # In inference mode the buffers would be tensors that can't be written outside of it.
        with self._lock, torch.inference_mode(False), torch.no_grad(), self._on_device():
            config, dtype = self.net.config, torch.promote_types(self.net.encoder.latent_average.dtype, torch.float32)
            shape = (len(faces), len(config.aus), config.heatmap_size, config.heatmap_size)
            heatmaps = torch.empty(shape, device=faces.device, dtype=dtype)
            activations = torch.empty(shape[:2], device=faces.device, dtype=dtype)
            for part in parts(len(faces), self.max_batch):
                count = part.stop - part.start
                of_part = self._read(faces[part])
                heatmaps[part].copy_(of_part[0][:count])
                activations[part].copy_(of_part[1][:count])
            return heatmaps, activations

    def _check(self, faces: Tensor) -> None:
        self.net.check(faces)
        if not faces.is_floating_point():
            raise TypeError("faces must be floating point in [-1, 1]; fgnet_plugin.network.normalize makes them of uint8")
        if faces.device != self.net.device:
            raise ValueError(f"faces are on {faces.device}, the model is on {self.net.device}; bring them to its device first")
        if self.net.training:
            raise ValueError("the model is in training mode; call net.eval() first")

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Enter the model's CUDA device, after the last call's work there, which may have been queued on another stream."""
        if not self._on_cuda or self._captured():
            yield
            return
        with torch.cuda.device(self.net.device):
            if self._done is None:
                self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            stream = torch.cuda.current_stream()
            stream.wait_event(self._done)
            try:
                yield
            finally:
                self._done.record(stream)

    def _captured(self) -> bool:
        """Whether somebody records a graph, so that no other one can be recorded or replayed now."""
        if not self._on_cuda:
            return False
        with torch.cuda.device(self.net.device):
            return torch.cuda.is_current_stream_capturing()

    def _read(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Detect in 1 to `max_batch` faces; the results may have more rows."""
        if self._captured():
            return self.net.detect(faces)
        size = fitting(len(faces), self.sizes)
        recording = self._recording(size) if self._graphs else None
        if recording is not None:
            fill(self._buffer(size), faces)
            recording.replay()
            return recording.heatmaps, recording.activations
        if self.compiled and len(faces) < size:  # each size is compiled anew
            padded = faces.new_empty(size, *faces.shape[1:])
            fill(padded, faces)
            faces = padded
        return self._detect(faces)

    def _buffer(self, size: int) -> Tensor:
        """Return the first rows of the input buffer, channels last."""
        if self._input is None:
            side, average = self.net.config.image_size, self.net.encoder.latent_average
            self._input = average.new_zeros(self.max_batch, side, side, 3).permute(0, 3, 1, 2)
        return self._input[:size]

    def _recording(self, size: int) -> Recording | None:
        """Return the graph for a batch size, recorded if need be; None where that fails."""
        try:
            return self._recent.get(size, self._record)
        except RuntimeError as error:  # what torch raises for anything that goes wrong on the device
            self._graphs = False
            self._recent.clear()
            self._input = None
            warnings.warn(
                f"no CUDA graph could be recorded for {counted(size, 'face')} (if memory ran out, a smaller batch helps); "
                f"detection goes on without, more slowly: {error}",
                stacklevel=4,
            )
            return None

    def _record(self, size: int) -> Recording:
        """Record a graph of `FGNet.detect` on the buffer's first `size` rows."""
        faces = self._buffer(size)
        stream, lock = recorder(self.net.device)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        with lock, _tuning() if self.tune else nullcontext():
            # What is made once (kernels, cuDNN's plans, the libraries' workspaces) can't be made while a graph is recorded,
            # and some of it is made for each stream: so before, and on the same one.
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    self._detect(faces)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on with the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                heatmaps, activations = self._detect(faces)
        return Recording(graph.replay, heatmaps, activations)


@contextmanager
def _tuning() -> Iterator[None]:
    """Let cuDNN time its algorithms for each new shape inside."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
