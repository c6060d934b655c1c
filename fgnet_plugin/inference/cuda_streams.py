"""Work on an NVIDIA GPU beside the CPU's: frames go up, FG-Net computes and scores come back while the CPU goes on.

A CUDA device works off its streams side by side and each in order. py-feat's models have the default stream; the uploads and
FG-Net have one each. Memory belongs to the stream that it was allocated on: where another one reads it, `record_stream` keeps
the allocator from giving it away before that one is through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from fgnet_plugin.ops.transfer import pinned_like, to_device


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
        """Frames of the CPU or of any device on this one, for use inside `computing`.

        Returns at once: the copies run on a stream of their own, beside FG-Net's work on the frames before.
        """
        here = self._sent([frame for frame in frames if frame.device.type == "cpu"])
        found = []
        for frame in frames:
            if frame.device.type == "cpu":
                found.append(next(here))
                continue
            self.compute.wait_stream(torch.cuda.current_stream(frame.device))  # the caller may still be writing it
            frame.record_stream(self.compute)
            with self.computing():
                found.append(frame.to(self.device, non_blocking=True))
        return found

    def _sent(self, frames: Sequence[Tensor]) -> Iterator[Tensor]:
        """`send` for frames of the CPU."""
        with torch.cuda.stream(self.upload):
            found = [to_device(frame, self.device) for frame in frames]
        for frame in found:
            frame.record_stream(self.compute)
        self.compute.wait_stream(self.upload)
        return iter(found)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Inside, what is asked of the device goes to FG-Net's stream."""
        with torch.cuda.stream(self.compute):
            yield

    def fetch(self, tensor: Tensor) -> Arriving:
        """Begins to copy a tensor of FG-Net's stream to the CPU; returns at once."""
        with torch.cuda.stream(self.compute):
            here = pinned_like(tensor).copy_(tensor, non_blocking=True)
            # While the CPU waits it sleeps: its cores have faces to find.
            there = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            there.record(self.compute)
        return Arriving(here, there)

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        """Makes tensors of FG-Net's stream, once what follows them has arrived, usable on the caller's current stream.

        That stream does not wait for FG-Net's, which may have other work by now.
        """
        current = torch.cuda.current_stream(self.device)
        for tensor in tensors:
            tensor.record_stream(current)


class Arriving:
    """A tensor on its way to the CPU; see `Streams.fetch`."""

    def __init__(self, here: Tensor, there: torch.cuda.Event) -> None:
        self._here, self._there = here, there

    def wait(self) -> Tensor:
        """The tensor, on the CPU: waits for its copy and what that needs, not for what was asked of the device since."""
        self._there.synchronize()
        return self._here
