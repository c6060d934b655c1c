"""CUDA streams for FG-Net: uploads, the network and the scores' way back run while the CPU goes on.

The streams of a CUDA device run concurrently, and the work of each stream in order. py-feat's models use the default stream;
the uploads and FG-Net have one each. Memory belongs to the stream that it was allocated on: where another stream reads it,
`record_stream` keeps the allocator from reusing it before that stream is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from fgnet_plugin.ops.transfer import pinned_like, to_device
from fgnet_plugin.utils.deferred import Deferred


class Streams:
    """The streams of one CUDA device that FG-Net uses.

    Args:
        device: the CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.upload = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.compute = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """Copy frames of the CPU or of any device to this one, for use inside `computing`.

        Returns at once: uploads run on their own stream, beside FG-Net's work on the frames before.
        """
        uploaded = self._upload([frame for frame in frames if frame.device.type == "cpu"])
        sent = []
        for frame in frames:
            if frame.device.type == "cpu":
                sent.append(next(uploaded))
                continue
            # The caller's stream may still be writing this frame.
            self.compute.wait_stream(torch.cuda.current_stream(frame.device))
            frame.record_stream(self.compute)
            with self.computing():
                sent.append(frame.to(self.device, non_blocking=True))
        return sent

    def _upload(self, frames: Sequence[Tensor]) -> Iterator[Tensor]:
        """`send` for frames of the CPU."""
        with torch.cuda.stream(self.upload):
            uploaded = [to_device(frame, self.device) for frame in frames]
        for frame in uploaded:
            frame.record_stream(self.compute)
        self.compute.wait_stream(self.upload)
        return iter(uploaded)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Queue what is asked of the device on FG-Net's stream."""
        with torch.cuda.stream(self.compute):
            yield

    def fetch(self, tensor: Tensor) -> Deferred[Tensor]:
        """Start to copy a tensor of FG-Net's stream to the CPU; returns at once.

        The result waits for the copy and what that needs, not for what was queued on the device since.
        """
        with torch.cuda.stream(self.compute):
            host = pinned_like(tensor).copy_(tensor, non_blocking=True)
            # A blocking event lets the CPU sleep while it waits: its cores are needed for finding faces.
            copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            copied.record(self.compute)

        def wait() -> Tensor:
            copied.synchronize()
            return host

        return Deferred(wait)

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        """Make tensors of FG-Net's stream, once what follows them has arrived, usable on the caller's current stream.

        That stream does not wait for FG-Net's, which may have other work by now.
        """
        current = torch.cuda.current_stream(self.device)
        for tensor in tensors:
            tensor.record_stream(current)
