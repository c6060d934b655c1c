"""Where a video's frames are in its file, and when each is shown: read from the packets' stamps, without decoding."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.container import av, open_container, packets_of
from fgnet_plugin.media.video_display import MOST_STRETCHED
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_UNKNOWN = np.iinfo(np.int64).min  # in place of a missing time stamp
_LATEST = 2**60  # stamps beyond are damage; sums of those within can't overflow
_REORDERED = 16  # frames at most that codecs store before one that is shown earlier
_ASTRAY = 16  # frames at most that are taken for a few with wrong stamps rather than for another recording

_FOUND_OUT = ("damaged", "unneeded")  # while frames are read

Stamps = npt.NDArray[np.int64]


@dataclass
class VideoIndex:
    """Where the frames are. A packet holds the data of one frame; packets count in the order in which the file stores them."""

    numbers: npt.NDArray[np.int64]  # [packets] the frame in each, or -1: one that others refer to but that is not shown
    packets: npt.NDArray[np.int64]  # [frames] the packet of each
    keys: list[int]  # packets at which decoding can start
    stamps: Stamps  # [packets, 2] when each is to be shown and decoded, in the stream's units
    places: npt.NDArray[np.int64]  # [packets] first byte in the file, by which a packet is recognised after a seek
    times: npt.NDArray[np.float64]  # [frames] seconds
    end: float  # seconds: when the last frame ends
    stated_end: float | None  # seconds: when it ends according to the file's header
    fps: float
    cut: bool  # whether the last packet is not whole
    stamped: bool  # False where frames have no stamps: their times follow from the rate
    ordered: bool  # False where no stamp says when a frame is shown: frames then count as they come out of the decoder
    seams: npt.NDArray[np.int64]  # frames at which time stamps start again
    astray: npt.NDArray[np.int64]  # frames whose stamps contradicted those around them
    stretch: float  # width of a pixel, in units of its height
    damaged: dict[int, range] = field(default_factory=dict)  # packets that could not be decoded, and the frames that lack them
    unneeded: set[int] = field(default_factory=set)  # those of them that no other refers to

    def save(self, path: Path) -> None:
        """Write the index to an .npz file, without what was found out about damage: readers find that out again."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _FOUND_OUT}
        arrays: dict[str, Any] = {name: np.nan if value is None else value for name, value in values.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> VideoIndex:
        """Read an index that `save` wrote. Raises InputError for another or a damaged file."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                values = {each.name: stored[each.name] for each in fields(cls) if each.name not in _FOUND_OUT}
        except FileNotFoundError:
            raise
        except Exception as error:  # numpy and zipfile raise many kinds
            raise InputError(f"{path} is no index of a video, or damaged; delete it") from error
        values = {name: value if value.ndim and name != "keys" else value.tolist() for name, value in values.items()}
        values["stated_end"] = None if np.isnan(values["stated_end"]) else values["stated_end"]
        return cls(**values)

    @cached_property
    def stored_late(self) -> npt.NDArray[np.bool_]:
        """Whether a packet follows, [packets], one that is shown later: only of these are some referred to by no other."""
        return self.numbers < np.maximum.accumulate(self.numbers)

    def without_first(self, count: int) -> VideoIndex:
        """Leave out the first frames, which refer to pictures from before the recording."""
        numbers = np.where(self.numbers < 0, -1, np.maximum(self.numbers - count, -1))
        seams, astray = (frames[frames > count] - count for frames in (self.seams, self.astray))
        times = self.times[count:]
        fps = float(len(times) / (self.end - times[0])) if self.end > times[0] else self.fps
        packets = self.packets[count:]
        return replace(self, numbers=numbers, packets=packets, times=times, fps=fps, seams=seams, astray=astray)

    def frames_that_need(self, packet: int) -> range:
        """Count the frames that can't be decoded without a packet that others refer to: up to the next keyframe."""
        if not self.ordered:  # the decoder's output can't be counted any more
            return range(max(int(self.numbers[packet]), 0), len(self.packets))
        following = bisect_right(self.keys, packet)
        end = self.keys[following] if following < len(self.keys) else len(self.numbers)
        after = int(self.numbers[end]) if end < len(self.numbers) else len(self.packets)
        needing = self.numbers[packet:end]
        return range(int(min(needing[needing >= 0], default=after)), after)


def scan(file: Path, name: str) -> VideoIndex:
    """Read the packets of a video once, without decoding them.

    Raises InputError for a file without video frames.
    """
    container, stream = open_container(file, name)
    numbers, cut, count = array("q"), False, 0
    with container:
        try:
            for packet in packets_of(container, stream):
                numbers.extend(_stamp(stamp) for stamp in (packet.pts, packet.dts, packet.pos))
                duration = packet.duration or 0
                numbers.extend((duration if duration < _LATEST else 0, packet.is_keyframe, packet.is_discard))
                cut, count = packet.is_corrupt, count + 1
        except av.error.FFmpegError as error:
            raise InputError(
                f"{name} cannot be read beyond its first {counted(count, 'frame')}; copy or convert it again"
            ) from error
        unit, rate = stream.time_base or Fraction(1), float(stream.average_rate or stream.base_rate or 0)
        codec, reorders = stream.codec_context.name, stream.codec_context.has_b_frames
        stated_end = _stated_end(container, stream)
        ratio = float(stream.sample_aspect_ratio or 1)
        guessed = container.format.name == "avi" and codec in ("h264", "hevc")  # AVI says when to decode, not when to show
    table = np.array(numbers, np.int64).reshape(-1, 6)
    shown = np.flatnonzero(table[:, 5] == 0)
    if not len(shown):
        raise InputError(f"{name} holds no frames; copy or convert it again")
    when = np.where(table[:, 0] == _UNKNOWN, table[:, 1], table[:, 0])
    stamped = bool((when[shown] != _UNKNOWN).all()) and (len(shown) == 1 or bool(np.ptp(when[shown])))
    reordered = bool(reorders or ((table[:, 0] != table[:, 1]) & (table[:, :2] != _UNKNOWN).all(1)).any())
    restarts = astray = np.zeros(0, np.int64)
    if stamped:
        if not reordered:
            when[shown], astray = _mended(when[shown])
        restarts = _restarts(table, table[:, 1] if reordered else when, when, reordered)
    parts = np.searchsorted(restarts, shown, side="right")
    order = np.lexsort((when[shown], parts))
    if stamped and reordered and len(astray := _too_far(order)):
        known = shown[table[shown, 1] != _UNKNOWN]
        wrong = np.intersect1d(shown[astray], known)
        when[wrong] = table[wrong, 1] + int(np.median(when[known] - table[known, 1]))
        order = np.lexsort((when[shown], parts))
    repeated = bool((np.diff(when[shown][order]) == 0)[np.diff(parts[order]) == 0].any())
    broken = len(astray) or repeated or not table[restarts, 4].all() or guessed or bool((table[shown, 0] == _UNKNOWN).any())
    ordered = stamped and not (reordered and broken)
    packets = shown[order] if ordered else shown
    frame_of = np.full(len(table), -1)
    frame_of[packets] = np.arange(len(shown))
    fps, times, end = rate, np.arange(len(shown)) / (rate or 1.0), len(shown) / (rate or 1.0)
    if stamped:
        going_on, last = _continued(when[shown][order], table[shown, 3][order], parts[order])
        times = going_on * float(unit.numerator) / unit.denominator
        end = last * unit.numerator / unit.denominator
        fps = float(len(shown) / (end - times[0])) if end > times[0] else fps
    seams = np.unique(np.searchsorted(parts[order], np.arange(1, len(restarts) + 1)))
    return VideoIndex(
        numbers=frame_of,
        packets=packets,
        keys=np.flatnonzero(table[:, 4]).tolist(),
        stamps=table[:, :2].copy(),
        places=table[:, 2].copy(),
        times=times,
        end=end,
        stated_end=stated_end if stamped and not len(restarts) else None,
        fps=fps,
        cut=cut,
        stamped=stamped,
        ordered=ordered,
        seams=seams[(seams > 0) & (seams < len(shown))],
        astray=astray,
        stretch=ratio if 1 / MOST_STRETCHED < ratio < MOST_STRETCHED else 1.0,
    )


def _stated_end(container: InputContainer, stream: VideoStream) -> float | None:
    """Read from a file's header when the video ends, in seconds; None where it does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # of Matroska
    if clock:
        hours, minutes, seconds = map(float, clock.groups())
        return 3600 * hours + 60 * minutes + seconds
    if len(container.streams) > 1 or container.duration is None:  # else it may be that of a longer sound
        return None
    return container.duration / av.time_base


def _stamp(value: int | None) -> int:
    return _UNKNOWN if value is None or abs(value) > _LATEST else value


def _mended(stamps: Stamps) -> tuple[Stamps, npt.NDArray[np.int64]]:
    """Put a few stamps that leave the others' order and come back to it between their neighbours'.

    Args:
        stamps: [frames] of a codec that stores frames in the order in which they are shown.

    Returns:
        stamps, and the frames whose stamps were changed. Where the stamps start again instead, they stay as they are.
    """
    stamps = stamps.copy()
    astray: list[int] = []
    for frame in (np.flatnonzero(np.diff(stamps) < 0) + 1).tolist():
        back = int(stamps[frame - 1] - stamps[frame])
        found: list[tuple[int, int, int]] = []  # of a run of frames: the jump on its other side, its first frame, its end
        for end in range(frame + 1, min(frame + _ASTRAY + 1, len(stamps))):
            if stamps[end] > stamps[frame - 1]:
                found.append((int(stamps[end] - stamps[end - 1]), frame, end))
                break
        for first in range(frame - 1, max(frame - _ASTRAY - 1, 0), -1):
            if stamps[first - 1] < stamps[frame]:
                found.append((int(stamps[first] - stamps[first - 1]), first, frame))
                break
        jump, first, end = max(found, default=(0, 0, 0))
        if back > 0 and jump >= back:
            between = np.linspace(stamps[first - 1], stamps[end], end - first + 2)[1:-1]
            stamps[first:end] = between.round()
            astray += range(first, end)
    return stamps, np.array(astray, np.int64)


def _too_far(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Find the frames, as stored, that would be shown further from where they are stored than any codec allows.

    Args:
        order: [frames] the frames as stored, in the order of their stamps.
    """
    shown_at = np.empty_like(order)
    shown_at[order] = np.arange(len(order))
    return np.flatnonzero(np.abs(shown_at - np.arange(len(order))) > _REORDERED)


def _restarts(table: Stamps, clock: Stamps, when: Stamps, reordered: bool) -> npt.NDArray[np.int64]:
    """Find the packets at which time stamps go back, although packets are stored in the order in which they are decoded."""
    known = np.flatnonzero(clock != _UNKNOWN)
    restarts, begin = [], 0
    for packet in known[1:][np.diff(clock[known]) < 0].tolist():
        later = int((when[begin:packet] >= when[packet]).sum())
        # Other places are those of formats without times of decoding, for which FFmpeg's guesses are a little off.
        if later > (_REORDERED if reordered and not table[packet, 4] else 0):
            restarts.append(packet)
            begin = packet
    return np.array(restarts, np.int64)


def _continued(when: Stamps, durations: Stamps, parts: npt.NDArray[np.int64]) -> tuple[Stamps, int]:
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
