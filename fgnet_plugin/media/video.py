"""Read the frames of a video by number, and their times. PyAV decodes."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.container import av
from fgnet_plugin.media.frames import Frames
from fgnet_plugin.media.images import check_file
from fgnet_plugin.media.video_index import VideoIndex, scan
from fgnet_plugin.media.video_reader import DamagedVideoError, VideoReader, without_undecodable
from fgnet_plugin.utils.text import counted

__all__ = ["DamagedVideoError", "Video"]


_MISSING = 1.0  # seconds at the end: headers are a little off
_MOST_NAMED = 3  # places in a file that have a warning each


class Video(Frames):
    """A video file as a sequence of frames.

    Each process opens the file for itself, so that a video can be pickled and used after a fork. Not safe for several threads.

    Args:
        path: of the file.
        index: of this file, where it is known: reading it takes a pass over the whole file.

    Attributes:
        path: as given.
        index: where the frames are.
        fps: frames per second, on average; `varying_rate` tells whether the times differ from that.
        height, width: of the first frame in pixels, as a player displays it: turned by a multiple of 90° and mirrored as the
            file asks for, and wider or narrower where its pixels are not square. A later frame may have another size.

    Frames are the stored pictures that can be decoded, in the order in which they are shown: a recording that begins between
    keyframes begins with its first keyframe. A warning names the places where time stamps are not what they should be:

    - where they start again, as after two recordings were joined, frames keep the order in which they are stored, and times go
      on from the last one;
    - a few that contradict those around them are put between their neighbours';
    - frames with the stamp of the one before have its time: times never go back;
    - without stamps, times are computed from the frame rate;
    - where frames end long before the duration that the file states, it is damaged or cut off.

    What cannot be decoded raises `DamagedVideoError`; decoding goes on at the next keyframe.

    Raises:
        FileNotFoundError: no such file.
        InputError: a file without video frames, or with frames of more than 134 million pixels; or PyAV is not installed.

    Example:
        >>> with Video("clip.mp4") as video:  # doctest: +SKIP
        ...     middle = video[len(video) // 2]  # uint8 [3, H, W]
    """

    def __init__(self, path: str | Path, index: VideoIndex | None = None) -> None:
        if av is None:
            raise InputError(f"{path}: videos are decoded by PyAV, which is not installed; run: pip install av")
        check_file(path, "video")
        name = str(path)
        self._file = Path(path).absolute()
        self.index = without_undecodable(self._file, name, scan(self._file, name)) if index is None else index
        self._process = os.getpid()
        self._reader: VideoReader | None = VideoReader(self._file, name, self.index)
        super().__init__(path, self.index.times, self.index.fps, (self._reader.height, self._reader.width))
        for text in self._about_stamps():
            warnings.warn(f"{name}: {text}", stacklevel=2)

    def _about_stamps(self) -> list[str]:
        """Name the places at which time stamps are not what they should be."""
        index, said = self.index, []
        for frame in index.seams[:_MOST_NAMED].tolist():
            more = (
                f" (and at {counted(len(index.seams) - _MOST_NAMED, 'frame')} more)" if len(index.seams) > _MOST_NAMED else ""
            )
            said.append(
                f"the time stamps start again at frame {frame}{more}, as where recordings were joined; frames are read "
                f"in the order in which they are stored, and their times go on from {self.time(frame):.2f} s"
            )
        if len(index.astray):
            said.append(
                f"the time stamps of {_named(index.astray)} contradict those around them; times between their neighbours' "
                "are used"
            )
        repeated = np.flatnonzero(np.diff(index.times) == 0) + 1
        if len(repeated) and index.stamped:
            said.append(f"{_named(repeated)} {'has' if len(repeated) == 1 else 'have'} the time stamp of the frame before")
        if not index.stamped and len(index.times) > 1:
            said.append(f"its frames have no time stamps; times are computed for {index.fps:.4g} frames per second")
        if index.stated_end is not None and index.stated_end - index.end > max(_MISSING, 0.01 * index.stated_end):
            said.append(
                f"its frames end at {index.end:.2f} s, but its header says {index.stated_end:.2f} s: it is damaged or cut off"
            )
        return said

    def __getitem__(self, i: int) -> Tensor:
        """Frame i as uint8 RGB [3, H, W]. Raises IndexError outside [0, len), InputError where the file is damaged."""
        return self._opened().frame(self._checked(i))

    def close(self) -> None:
        """Close the file. It opens again when a frame is asked for."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def _opened(self) -> VideoReader:
        if self._reader is None or self._process != os.getpid():  # a forked process shares its parent's position in the file
            self._process = os.getpid()
            self._reader = VideoReader(self._file, self.path, self.index)
        return self._reader


def _named(numbers: npt.NDArray[np.int64]) -> str:
    """Name frames by their numbers, the first few of many."""
    named = ", ".join(map(str, numbers[:_MOST_NAMED].tolist()))
    if len(numbers) == 1:
        return f"frame {named}"
    return f"frames {named}" if len(numbers) <= _MOST_NAMED else f"{len(numbers)} frames ({named}, …)"
