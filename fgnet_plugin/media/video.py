"""Read the frames of a video by number, and their times. PyAV decodes."""

from __future__ import annotations

import operator
import os
import warnings
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
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
_REORDERED = 16  # frames at most that codecs store before one that is shown earlier
_MOST_STRETCHED = 10  # a pixel's sides differ less than this; other ratios in a file are taken for damage
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

    def __str__(self) -> str:
        return self.message


class Video:
    """A video file as a sequence of frames.

    Each process opens the file for itself, so that a video can be pickled and used after a fork. Not safe for several threads.

    Args:
        path: of the file.

    Attributes:
        path: as given.
        fps: frames per second, on average.
        height, width: of the first frame in pixels, as a player displays it: turned by a multiple of 90° and mirrored as the
            file asks for, and wider or narrower where its pixels are not square. A later frame may have another size.

    Frames are the stored pictures that can be decoded, in the order in which they are shown: a recording that begins between
    keyframes begins with its first keyframe. Where time stamps start again, as after two recordings were joined, frames keep
    the order in which they are stored, times go on from the last one, and a warning names the place.

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
        for frame in self._index.seams.tolist():
            warnings.warn(
                f"{self.path}: the time stamps start again at frame {frame}, as where recordings were joined; frames are read "
                f"in the order in which they are stored, and their times go on from {self.time(frame):.2f} s",
                stacklevel=2,
            )
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
    seams: npt.NDArray[np.int64]  # frames at which time stamps start again
    stretch: float  # width of a pixel, in units of its height
    damaged: dict[int, range] = field(default_factory=dict)  # packets that could not be decoded, and the frames that lack them
    unneeded: set[int] = field(default_factory=set)  # those of them that no other refers to

    @cached_property
    def stored_late(self) -> npt.NDArray[np.bool_]:
        """Whether a packet follows, [packets], one that is shown later: only of these are some referred to by no other."""
        return self.numbers < np.maximum.accumulate(self.numbers)

    def without_first(self, count: int) -> _Index:
        """Leave out the first frames, which refer to pictures from before the recording."""
        numbers = np.where(self.numbers < 0, -1, np.maximum(self.numbers - count, -1))
        seams = self.seams[self.seams > count] - count
        end, times = self.times[0] + len(self.times) / (self.fps or 1.0), self.times[count:]
        fps = float(len(times) / (end - times[0])) if end > times[0] else self.fps
        return replace(self, numbers=numbers, packets=self.packets[count:], times=times, fps=fps, seams=seams)

    def frames_that_need(self, packet: int) -> range:
        """Count the frames that can't be decoded without a packet that others refer to: up to the next keyframe."""
        if not self.ordered:  # the decoder's output can't be counted any more
            return range(max(int(self.numbers[packet]), 0), len(self.packets))
        following = bisect_right(self.keys, packet)
        end = self.keys[following] if following < len(self.keys) else len(self.numbers)
        after = int(self.numbers[end]) if end < len(self.numbers) else len(self.packets)
        needing = self.numbers[packet:end]
        return range(int(min(needing[needing >= 0], default=after)), after)


class _Reader:
    """An open video file. It decodes with one thread: none is missing after a fork, and no frame is decoded ahead in vain."""

    def __init__(self, file: Path, name: str, index: _Index) -> None:
        self._file, self._name, self._index = file, name, index
        self._can_seek = bool((index.places >= 0).all()) and len(np.unique(index.places)) == len(index.places)
        self._graph: tuple[tuple[int, int, str, _Flips], Graph] | None = None
        self._last: tuple[int, VideoFrame] | None = None
        self._container, self._stream = _open(file, name)
        self._start(0)
        self.height, self.width = self._first_size()

    def _first_size(self) -> tuple[int, int]:
        """Get the displayed height and width of the first frame; of one that is damaged, what the file says."""
        height, width, (transposed, *_) = self._stream.height, self._stream.width, _UPRIGHT
        try:
            first = self._decoded(0)
            height, width, (transposed, *_) = first.height, first.width, _flips(first)
        except InputError:  # raised when the frame is asked for: others may be whole
            pass
        width = max(round(width * self._index.stretch), 1)
        return (width, height) if transposed else (height, width)

    def close(self) -> None:
        self._container.close()  # else its frames stay until the next garbage collection

    def first_from(self, packet: int) -> int:
        """Number of the first frame that comes out where decoding starts at a packet."""
        self._start(packet)
        while not (self._pending or self._ended):
            self._feed(0)
        return self._pending[0][0] if self._pending else 0

    def frame(self, i: int) -> Tensor:
        frame = self._decoded(i)
        kind = frame.width, frame.height, frame.format.name, _flips(frame)
        if self._graph is None or self._graph[0] != kind:
            self._graph = kind, _to_rgb(frame, kind[-1], self._index.stretch)
        self._graph[1].push(frame)
        return torch.from_numpy(np.ascontiguousarray(self._graph[1].vpull().to_ndarray())).permute(2, 0, 1)

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
        those that were read before.
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
                        packet_of = int(index.packets[number])
                        self._broken = packet_of if self._broken is None else min(self._broken, packet_of)
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
        ratio = float(stream.sample_aspect_ratio or 1)
        guessed = container.format.name == "avi" and codec in ("h264", "hevc")  # AVI says when to decode, not when to show
    table = np.array(rows, np.int64).reshape(-1, 6)
    shown = np.flatnonzero(table[:, 5] == 0)
    if not len(shown):
        raise InputError(f"{name} holds no frames; copy or convert it again")
    when = np.where(table[:, 0] == _UNKNOWN, table[:, 1], table[:, 0])
    stamped = bool((when[shown] != _UNKNOWN).all())
    reordered = bool(reorders or ((table[:, 0] != table[:, 1]) & (table[:, :2] != _UNKNOWN).all(1)).any())
    restarts = _restarts(table, when, reordered) if stamped else np.zeros(0, np.int64)
    parts = np.searchsorted(restarts, shown, side="right")
    order = np.lexsort((when[shown], parts))
    repeated = bool((np.diff(when[shown][order]) == 0)[np.diff(parts[order]) == 0].any())
    broken = repeated or not table[restarts, 4].all() or guessed or bool((table[shown, 0] == _UNKNOWN).any())
    ordered = stamped and not (reordered and broken)
    packets = shown[order] if ordered else shown
    numbers = np.full(len(table), -1)
    numbers[packets] = np.arange(len(shown))
    fps, times = rate, np.arange(len(shown)) / (rate or 1.0)
    if stamped:
        going_on, end = _continued(when[shown][order], table[shown, 3][order], parts[order])
        times = going_on * float(unit.numerator) / unit.denominator
        span = end * unit.numerator / unit.denominator - times[0]
        fps = float(len(shown) / span) if span > 0 else fps
    seams = np.unique(np.searchsorted(parts[order], np.arange(1, len(restarts) + 1)))
    seams = seams[(seams > 0) & (seams < len(shown))]
    keys = np.flatnonzero(table[:, 4]).tolist()
    stretch = ratio if 1 / _MOST_STRETCHED < ratio < _MOST_STRETCHED else 1.0
    index = _Index(numbers, packets, keys, table[:, :2].copy(), table[:, 2].copy(), times, fps, cut, ordered, seams, stretch)
    missing = _undecodable(file, name, index)
    return index.without_first(missing) if missing else index


def _restarts(table: npt.NDArray[np.int64], when: npt.NDArray[np.int64], reordered: bool) -> npt.NDArray[np.int64]:
    """Find the packets at which time stamps go back, although packets are stored in the order in which they are decoded."""
    clock = table[:, 1]
    if not reordered and (clock == _UNKNOWN).all():
        clock = when
    known = np.flatnonzero(clock != _UNKNOWN)
    restarts, begin = [], 0
    for packet in known[1:][np.diff(clock[known]) < 0].tolist():
        later = int((when[begin:packet] >= when[packet]).sum())
        # Other places are those of formats without times of decoding, for which FFmpeg's guesses are a little off.
        if later > (_REORDERED if reordered and not table[packet, 4] else 0):
            restarts.append(packet)
            begin = packet
    return np.array(restarts, np.int64)


def _continued(
    when: npt.NDArray[np.int64], durations: npt.NDArray[np.int64], parts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], int]:
    """Shift each part of a recording, [frames], so that it follows the one before; also give the end of the last frame."""
    stamps, end = when.copy(), None
    steps = np.diff(when)[np.diff(parts) == 0]
    usual = int(np.median(steps)) if len(steps) else 0
    for part in np.unique(parts):
        chosen = np.flatnonzero(parts == part)
        if end is not None:
            stamps[chosen] += max(end - int(when[chosen[0]]), 0)
        last = np.where(durations[chosen] > 0, durations[chosen], 0)
        last[-1] = last[-1] or usual  # some formats say no duration, and others none of the last frame
        end = int((stamps[chosen] + last).max())
    assert end is not None
    return stamps, end


def _undecodable(file: Path, name: str, index: _Index) -> int:
    """Count the frames that are shown before the first keyframe and refer to pictures from before the recording."""
    first = int(index.numbers[index.keys[0]]) if index.keys else 0
    if first <= 0 or not index.ordered:
        return 0
    reader = _Reader(file, name, replace(index, damaged={}))
    try:
        return min(reader.first_from(index.keys[0]), first)
    finally:
        reader.close()


_Flips = tuple[bool, bool, bool]
"""Whether a frame is to be transposed, then mirrored left to right, then upside down."""
_UPRIGHT: _Flips = (False, False, False)


def _flips(frame: VideoFrame) -> _Flips:
    """Read from a frame's display matrix how a player shows it, to the nearest quarter turn."""
    try:
        data: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # raised for all where FFmpeg has other data, too, that PyAV does not know, as of HEIF
        return {0: _UPRIGHT, 1: (True, False, True), -1: (True, True, False)}.get(
            round(frame.rotation / 90), (False, True, True)
        )
    if data is None:
        return _UPRIGHT
    a, b, _, c, d = np.frombuffer(memoryview(data), np.int32)[:5].tolist()  # x' = a x + c y, y' = b x + d y
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def _to_rgb(frame: VideoFrame, flips: _Flips, stretch: float) -> Graph:
    """Make a converter of frames of one size and format to RGB, as displayed."""
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    width = max(round(frame.width * stretch), 1)
    scale = [("scale", f"{width}:{frame.height}:flags=bicubic")] if width != frame.width else []
    chosen = zip(flips, (("transpose", "cclock_flip"), ("hflip", ""), ("vflip", "")), strict=True)
    steps = [*scale, ("format", "pix_fmts=rgb24"), *(step for wanted, step in chosen if wanted), ("buffersink", "")]
    graph.link_nodes(source, *(graph.add(kind, how) for kind, how in steps)).configure()
    return graph
