"""Decode the frames of a video by number, and find out which ones damage costs."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.container import av, check_pixels, open_container, packets_of
from fgnet_plugin.media.video_display import DisplayConverter, flips_of
from fgnet_plugin.media.video_index import VideoIndex

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_STARTS = 3  # keyframes from which a frame is tried: after some, decoders output frames only a while later


class DamagedVideoError(InputError):
    """A frame that cannot be decoded; `frames` are those that are lost with it, and `gap` names them."""

    def __init__(self, name: str, i: int, frames: range, times: npt.NDArray[np.float64]) -> None:
        super().__init__(name, i, frames, times)
        first, last, self.frames = frames[0], frames[-1], frames
        rest = f" and from frame {last + 1} on" if last + 1 < len(times) else ""
        self.message = (
            f"frame {i} of {name} cannot be decoded: the file is damaged or cut off at frame {min(first, i)}; "
            f"the frames before that{rest} can be used"
        )
        which = f"frame {first}" if first == last else f"frames {first} to {last}"
        seconds = f"{times[first]:.2f} s" if first == last else f"{times[first]:.2f} to {times[last]:.2f} s"
        self.gap = f"{name}: {which} ({seconds}) cannot be decoded: the file is damaged or cut off there; they are left out"
        if last > first and not rest:
            self.gap += " (no keyframe follows, without which players show faces smeared)"

    def __str__(self) -> str:
        return self.message


class VideoReader:
    """An open video file. It decodes with one thread: none is missing after a fork, and no frame is decoded ahead in vain."""

    def __init__(self, file: Path, name: str, index: VideoIndex) -> None:
        self._file, self._name, self._index = file, name, index
        self._can_seek = bool((index.places >= 0).all()) and len(np.unique(index.places)) == len(index.places)
        self._display = DisplayConverter(index.stretch)
        self._last: tuple[int, VideoFrame] | None = None
        self._container, self._stream = open_container(file, name)
        self._start(0)
        self.height, self.width = self._first_size()

    def _first_size(self) -> tuple[int, int]:
        """Get the displayed height and width of the first frame; of one that is damaged, what the file says."""
        try:
            first = self._decoded(0)
            return self._display.size(first.width, first.height, flips_of(first))
        except InputError:  # raised when the frame is asked for: others may be whole
            return self._display.size(self._stream.width, self._stream.height)

    def close(self) -> None:
        """Close the file."""
        self._container.close()  # else its frames stay until the next garbage collection

    def first_from(self, packet: int) -> int:
        """Number of the first frame that comes out where decoding starts at a packet."""
        self._start(packet)
        while not (self._pending or self._ended):
            self._feed(0)
        return self._pending[0][0] if self._pending else 0

    def frame(self, i: int) -> Tensor:
        """Decode a frame to uint8 RGB [3, H, W], as displayed. Raises DamagedVideoError."""
        frame = self._decoded(i)
        height, width = self._display.size(frame.width, frame.height)
        check_pixels(width, height, self._name)
        try:
            return torch.from_numpy(self._display.rgb(frame)).permute(2, 0, 1)
        except (av.error.FFmpegError, ValueError) as error:  # such as a colour format that has been damaged
            raise DamagedVideoError(self._name, i, range(i, i + 1), self._index.times) from error

    def _decoded(self, i: int) -> VideoFrame:
        while self._last is None or self._last[0] != i:
            self._decode(i)
        return self._last[1]

    def _decode(self, i: int) -> None:
        """Decode frame i into `_last`, or note which packet on the way is damaged: the next call takes that into account."""
        index, starts, place = self._index, self._starts(i), int(self._index.packets[i])
        for packet, frames in index.damaged.items():
            if i in frames and starts[0] <= packet <= place:
                raise DamagedVideoError(self._name, i, frames, index.times)
        if i <= self._passed or starts[0] > self._position or (self._broken is not None and starts[0] > self._broken):
            self._start(starts[0])
        while True:
            frame = self._search(i)
            broken = self._broken is not None and self._broken <= place
            earlier = [start for start in starts if start < self._started]
            if frame is not None or broken or not earlier:
                break
            self._start(earlier[0])
        if broken and self._broken not in index.damaged:
            return self._note_damage(starts[0])
        if frame is None and self._broken is None and self._pending:
            frame = self._pending[0][1]  # the packet holds no picture of its own, as of a repeated frame: the next one is shown
        if frame is None or broken:
            lost = range(i, i + 1) if index.ordered else range(i, len(index.packets))
            raise DamagedVideoError(self._name, i, lost, index.times)
        self._last = i, frame

    def _note_damage(self, start: int) -> None:
        """Find out which frames lack the packet that could not be decoded.

        All up to the next keyframe, or only its own where no other refers to it. So which frames can be read does not depend on
        those that were read before. Where none follows, players go on and show faces that are smeared for minutes; no AU of
        those could be trusted.
        """
        index, packet = self._index, self._broken
        assert packet is not None
        self._start(min(start, packet))
        own, end = int(index.numbers[packet]), len(index.packets)
        while not self._ended and self._broken is None and self._position <= packet:
            self._feed(end)  # as on the way to a later frame
        if index.ordered:
            self._feed_until(own, end)
        if index.ordered and own >= 0 and (self._broken is None or self._broken > packet):
            index.damaged[packet] = range(own, own + 1)
            index.unneeded.add(packet)
        else:
            index.damaged[packet] = index.frames_that_need(packet)
        self._start(start)

    def _starts(self, i: int) -> list[int]:
        """List packets from which to decode on to frame i, the best first: keyframes stored and shown no later than it."""
        keys, numbers = self._index.keys, self._index.numbers
        near = bisect_right(keys, int(self._index.packets[i])) if self._index.ordered else 0
        keyframes = [key for key in reversed(keys[max(near - 4 * _STARTS, 0) : near]) if numbers[key] <= i][:_STARTS]
        return keyframes if len(keyframes) == _STARTS else [*keyframes, 0]

    def _start(self, packet: int) -> None:
        """Make a packet the next one to be decoded."""
        self._pending: deque[tuple[int, VideoFrame]] = deque()  # numbers and frames that came out: a few at most
        self._passed = -1  # the last one that left `_pending`
        self._broken: int | None = None  # the first packet since the start that could not be decoded
        self._started, self._position, self._counted, self._ended = packet, packet, 0, False
        if packet and self._can_seek and (self._seek(packet, 0) or self._seek(packet, 1)):
            return
        self._can_seek = self._can_seek and not packet
        self.close()
        self._container, self._stream = open_container(self._file, self._name)
        self._packets: Iterator[Packet[VideoStream]] = islice(packets_of(self._container, self._stream), packet, None)

    def _seek(self, packet: int, clock: int) -> bool:
        """Go to a packet by when it is shown (0) or decoded (1): formats differ in what they look for."""
        stamp, places = int(self._index.stamps[packet, clock]), self._index.places
        try:
            self._container.seek(stamp, stream=self._stream)
            rest = packets_of(self._container, self._stream)
            for first in rest:
                if first.pos == places[packet]:
                    self._packets = chain([first], rest)
                    return True
                if (places[packet + 1 :] == first.pos).any():
                    return False
        except av.error.FFmpegError:
            pass
        return False

    def _search(self, i: int) -> VideoFrame | None:
        """Decode until frame i comes out, or a later one, which then stays in `_pending`."""
        while True:
            while self._pending and self._pending[0][0] <= i:
                self._passed, frame = self._pending.popleft()
                if self._passed == i:
                    self._await_references(i)
                    return frame
            if self._pending or self._ended:
                return None
            self._feed(i)

    def _await_references(self, i: int) -> None:
        """Decode until the frames that are stored before i, but shown after it, are known to be whole."""
        place = int(self._index.packets[i])
        if self._index.ordered and self._index.stored_late[place]:
            self._feed_until(int(self._index.numbers[:place].max()), i)

    def _feed_until(self, number: int, i: int) -> None:
        """Decode until a frame or a later one is out, or damage is met."""
        while not self._ended and self._broken is None and (not self._pending or self._pending[-1][0] < number):
            self._feed(i)

    def _feed(self, i: int) -> None:
        """Give the decoder the next packet on the way to frame i."""
        index, context, position = self._index, self._stream.codec_context, self._position
        self._position += 1
        try:
            packet = next(self._packets, None)
            self._ended = packet is None
            if packet is not None:
                if self._can_seek and packet.pos not in index.places[position : position + 1]:  # the seek led elsewhere
                    self._can_seek = False
                    return self._start(self._started)
                if index.cut and position == len(index.numbers) - 1:
                    raise av.error.InvalidDataError(0, "cut off")
                if position in index.unneeded:
                    return None
                if index.ordered:
                    number = int(index.numbers[position])
                    packet.pts = number  # the decoder hands it on to the frame
                    # Before i, only frames that others refer to. Asked of every packet, the decoder would also pass silently
                    # over those that are damaged beyond recognition.
                    context.skip_frame = "NONREF" if number < i and index.stored_late[position] else "DEFAULT"
            for frame in context.decode(packet):
                number = frame.pts if index.ordered and frame.pts is not None else self._counted
                self._counted += 1
                if number >= 0:
                    self._pending.append((number, frame))
                    if frame.is_corrupt and index.ordered:  # pieced together from its neighbours
                        self._note_broken(int(index.packets[number]))
        except av.error.FFmpegError:
            self._note_broken(position)

    def _note_broken(self, packet: int) -> None:
        """Note a packet that could not be decoded."""
        self._broken = packet if self._broken is None else min(self._broken, packet)


def without_undecodable(file: Path, name: str, index: VideoIndex) -> VideoIndex:
    """Leave out the frames that are shown before the first keyframe and refer to pictures from before the recording."""
    first = int(index.numbers[index.keys[0]]) if index.keys else 0
    if first <= 0 or not index.ordered:
        return index
    reader = VideoReader(file, name, replace(index, damaged={}))
    try:
        return index.without_first(min(reader.first_from(index.keys[0]), first))
    finally:
        reader.close()
