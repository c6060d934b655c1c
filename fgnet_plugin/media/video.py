"""Read the frames of a video by number, and their times. PyAV decodes."""

from __future__ import annotations

import operator
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.images import check_file

try:
    import av
    from av.stream import Disposition
except ModuleNotFoundError:  # of the extras `feat` and `train`: `Video` says so, and pictures can be read without it
    av = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.filter import Graph
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_UNKNOWN = np.iinfo(np.int64).min  # in place of a missing time stamp
_REORDERED = 32  # packets, more than codecs put between a frame's place in the file and its place in time
_STARTS = 3  # keyframes from which a frame is tried: after some, decoders output frames only a while later


class Video:
    """A video file as a sequence of frames.

    Each process opens the file for itself, so that a video can be pickled and used after a fork. Not safe for several threads.

    Args:
        path: of the file.

    Attributes:
        path: as given.
        fps: frames per second, on average.
        height, width: in pixels, as displayed: after the turn by a multiple of 90° that the file asks for.

    Raises:
        FileNotFoundError: no such file.
        InputError: a file without video frames; or PyAV is not installed.

    Example:
        >>> with Video("clip.mp4") as video:  # doctest: +SKIP
        ...     middle = video[len(video) // 2]  # uint8 [3, H, W]
    """

    def __init__(self, path: str | Path) -> None:
        if av is None:
            raise InputError(f"{path}: videos are decoded by PyAV, which is not installed; run: pip install av")
        self.path = str(path)
        self._file = Path(path).absolute()  # FFmpeg takes what stands before a colon in a relative path for a protocol
        check_file(path, "video")
        self._index = _scan(self._file, self.path)
        self._process = os.getpid()
        self._reader: _Reader | None = _Reader(self._file, self.path, self._index)
        self.fps, self.height, self.width = self._index.fps, self._reader.height, self._reader.width

    def __len__(self) -> int:
        """Number of frames; of a file that is cut off, those that it holds."""
        return len(self._index.packets)

    def __getitem__(self, i: int) -> Tensor:
        """Frame i as uint8 RGB [3, H, W]. Raises IndexError outside [0, len), InputError where the file is damaged."""
        return self._opened().frame(self._checked(i))

    def time(self, i: int) -> float:
        """When frame i is shown, in seconds; the first one's time need not be 0. Raises IndexError."""
        return float(self._index.times[self._checked(i)])

    def close(self) -> None:
        """Close the file. It opens again when a frame is asked for."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def _checked(self, i: int) -> int:
        i = operator.index(i)
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path} has frames 0 to {len(self) - 1}, no frame {i}")
        return i

    def _opened(self) -> _Reader:
        if self._reader is None or self._process != os.getpid():  # a forked process shares its parent's position in the file
            self._process = os.getpid()
            self._reader = _Reader(self._file, self.path, self._index)
        return self._reader


@dataclass
class _Index:
    """Where the frames are. A packet holds the data of one frame; packets count in the order in which the file stores them."""

    numbers: npt.NDArray[np.int64]  # [packets] the frame in each, or -1: one that others refer to but that is not shown
    packets: npt.NDArray[np.int64]  # [frames] the packet of each
    keys: list[int]  # packets at which decoding can start
    stamps: npt.NDArray[np.int64]  # [packets, 2] when each is to be shown and decoded, in the stream's units
    places: npt.NDArray[np.int64]  # [packets] first byte in the file, by which a packet is recognised after a seek
    times: npt.NDArray[np.float64]  # [frames] seconds
    fps: float
    cut: bool  # whether the last packet is not whole
    ordered: bool  # False where no stamp says when a frame is shown: frames then count as they come out of the decoder
    turns: int | None = None  # quarter turns counterclockwise that bring frames upright, once known


class _Reader:
    """An open video file. It decodes with one thread: none is missing after a fork, and no frame is decoded ahead in vain."""

    def __init__(self, file: Path, name: str, index: _Index) -> None:
        self._file, self._name, self._index = file, name, index
        self._can_seek = bool((index.places >= 0).all()) and len(np.unique(index.places)) == len(index.places)
        self._graph: tuple[tuple[int, int, str], Graph] | None = None
        self._last: tuple[int, VideoFrame] | None = None
        self._container, self._stream = _open(file, name)
        self._start(0)
        if index.turns is None:
            try:
                index.turns = round(self._decoded(0).rotation / 90)
            except InputError:  # raised when the frame is asked for: others may be whole
                index.turns = 0
        size = self._stream.height, self._stream.width
        self.height, self.width = size[::-1] if index.turns % 2 else size

    def close(self) -> None:
        self._container.close()  # else its frames stay until the next garbage collection

    def frame(self, i: int) -> Tensor:
        frame = self._decoded(i)
        kind = frame.width, frame.height, frame.format.name
        if self._graph is None or self._graph[0] != kind:
            self._graph = kind, _to_rgb(frame, self._index.turns or 0)
        self._graph[1].push(frame)
        return torch.from_numpy(np.ascontiguousarray(self._graph[1].vpull().to_ndarray())).permute(2, 0, 1)

    def _decoded(self, i: int) -> VideoFrame:
        if self._last is not None and self._last[0] == i:
            return self._last[1]
        index, starts = self._index, self._starts(i)
        if i <= self._passed or starts[0] > self._position or (self._broken is not None and starts[0] > self._broken):
            self._start(starts[0])
        while True:
            frame = self._search(i)
            broken = self._broken is not None and self._broken <= index.packets[i]
            earlier = [start for start in starts if start < self._started]
            if frame is not None or broken or not earlier:
                break
            self._start(earlier[0])
        if frame is None and self._broken is None and self._pending:
            frame = self._pending[0][1]  # the packet holds no picture of its own, as of a repeated frame: the next one is shown
        if frame is None or broken:
            lost = index.numbers[self._broken :][:_REORDERED] if self._broken is not None else index.numbers[:0]
            raise _damaged(self._name, i, min(lost[lost >= 0], default=i))
        self._last = i, frame
        return frame

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
        self._container, self._stream = _open(self._file, self._name)
        self._packets: Iterator[Packet[VideoStream]] = islice(_packets(self._container, self._stream), packet, None)

    def _seek(self, packet: int, clock: int) -> bool:
        """Go to a packet by when it is shown (0) or decoded (1): formats differ in what they look for."""
        stamp, places = int(self._index.stamps[packet, clock]), self._index.places
        try:
            self._container.seek(stamp, stream=self._stream)
            rest = _packets(self._container, self._stream)
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
                    return frame
            if self._pending or self._ended:
                return None
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
                if index.ordered:
                    number = int(index.numbers[position])
                    packet.pts = number  # the decoder hands it on to the frame
                    context.skip_frame = "NONREF" if number < i else "DEFAULT"  # before i, only frames that others refer to
            for frame in context.decode(packet):
                number = frame.pts if index.ordered and frame.pts is not None else self._counted
                self._counted += 1
                if number >= 0:
                    self._pending.append((number, frame))
        except av.error.FFmpegError:
            self._broken = position if self._broken is None else self._broken


def _open(file: Path, name: str) -> tuple[InputContainer, VideoStream]:
    try:
        container = av.open(str(file), metadata_errors="replace")
    except av.error.FFmpegError as error:
        with file.open("rb") as data:
            mp4 = data.read(8)[4:] == b"ftyp"
        reason = "its index is missing, as after a copy that broke off" if mp4 else "it is damaged or another kind of file"
        raise InputError(f"{name} cannot be read as a video: {reason}; copy or convert it again") from error
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream) or stream.disposition & Disposition.attached_pic:
        container.close()
        raise InputError(f"{name} holds no video, at most sound and its cover; give a file with a video stream")
    if stream.codec_context is None:
        container.close()
        raise InputError(f"{name} is coded in a way that PyAV does not know; convert it to H.264 in mp4")
    stream.codec_context.thread_count = 1
    stream.codec_context.open()  # before skip_frame is set: AV1's decoder looks at it only here
    return container, stream


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    return (packet for packet in container.demux(stream) if packet.size)  # an empty packet would end the decoding


def _scan(file: Path, name: str) -> _Index:
    """Read the packets of a video once, without decoding them."""
    container, stream = _open(file, name)
    rows, cut = [], False
    with container:
        try:
            for packet in _packets(container, stream):
                stamps = (_UNKNOWN if stamp is None else stamp for stamp in (packet.pts, packet.dts, packet.pos))
                rows.append((*stamps, packet.duration or 0, packet.is_keyframe, packet.is_discard))
                cut = packet.is_corrupt
        except av.error.FFmpegError as error:
            raise InputError(f"{name} cannot be read beyond its first {len(rows)} frames; copy or convert it again") from error
        unit, rate = stream.time_base or Fraction(1), float(stream.average_rate or stream.base_rate or 0)
        codec, reorders = stream.codec_context.name, stream.codec_context.has_b_frames
        guessed = container.format.name == "avi" and codec in ("h264", "hevc")  # AVI says when to decode, not when to show
    table = np.array(rows, np.int64).reshape(-1, 6)
    shown = np.flatnonzero(table[:, 5] == 0)
    if not len(shown):
        raise InputError(f"{name} holds no frames; copy or convert it again")
    when = np.where(table[:, 0] == _UNKNOWN, table[:, 1], table[:, 0])[shown]
    stamped = bool((when != _UNKNOWN).all())
    ordered = stamped and not (reorders and (guessed or (table[shown, 0] == _UNKNOWN).any()))
    packets = shown[np.argsort(when, kind="stable")] if ordered else shown
    numbers = np.full(len(table), -1)
    numbers[packets] = np.arange(len(shown))
    fps, times = rate, np.arange(len(shown)) / (rate or 1.0)
    if stamped:
        times = np.sort(when) * float(unit.numerator) / unit.denominator
        span = float((when + table[shown, 3]).max()) * unit.numerator / unit.denominator - times[0]
        fps = float(len(shown) / span) if span > 0 else fps
    keys = np.flatnonzero(table[:, 4]).tolist()
    return _Index(numbers, packets, keys, table[:, :2].copy(), table[:, 2].copy(), times, fps, cut, ordered)


def _to_rgb(frame: VideoFrame, turns: int) -> Graph:
    """Make a converter of frames of one size and format to upright RGB."""
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    turn = {0: [], 1: [("transpose", "cclock")], -1: [("transpose", "clock")]}.get(turns, [("hflip", ""), ("vflip", "")])
    filters = [graph.add(kind, how) for kind, how in (("format", "pix_fmts=rgb24"), *turn, ("buffersink", ""))]
    graph.link_nodes(source, *filters).configure()
    return graph


def _damaged(name: str, i: int, first: int) -> InputError:
    where = f"frame {i} of {name} cannot be decoded: the file is damaged or cut off"
    return InputError(f"{where} at frame {min(first, i)}; the frames before that can be used")
