"""Read animated GIF, WebP, PNG and AVIF files, and other pictures, as videos. Pillow decodes."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.frames import Frames
from fgnet_plugin.media.images import SUFFIXES, check_file, frame_count, opened_picture, picture_size, pixels_of
from fgnet_plugin.media.video import Video
from fgnet_plugin.media.video_index import VideoIndex
from fgnet_plugin.utils.text import counted

_TOO_SHORT = 10  # milliseconds: browsers and FFmpeg show a frame that is to last so briefly, or no time, for `_USUAL` instead
_USUAL = 100
_OF_PARENTS: list[Image.Image] = []
"""Opened before this process was forked, and kept: AVIF's decoder, when closed, would wait for threads that a fork lacks."""


def open_video(path: str | Path, index: VideoIndex | None = None) -> Frames:
    """Open a video, or a picture as one.

    Args:
        path: a video, or a picture that `read_picture` reads; of an animated GIF, WebP, PNG or AVIF, all frames.
        index: of the video, where it is known; see `Video`.

    Raises:
        FileNotFoundError: no such file.
        InputError: what is neither; see `Video` and `Animation`.

    Example:
        >>> with open_video("stimulus.webp") as frames:  # doctest: +SKIP
        ...     times = [frames.time(i) for i in range(len(frames))]
    """
    check_file(path, "video")
    return Animation(path) if Path(path).suffix.lower() in SUFFIXES or picture_size(path) else Video(path, index)


class Animation(Frames):
    """A picture as a sequence of frames: of an animation, each is composed as a browser shows it.

    Frames are turned as EXIF data say, and transparency becomes white. A picture that is no animation has one frame. Like a
    `Video`, it can be pickled and used after a fork, but not by several threads. Frames are quickest in order.

    Args:
        path: of the picture.

    Attributes:
        path, fps, height, width: as of `Video`.

    Raises:
        FileNotFoundError: no such file.
        InputError: not a picture, or its first frame is damaged. A file that is damaged later has the frames up to there, and a
            warning says so.
    """

    def __init__(self, path: str | Path) -> None:
        lasting: list[float] = []  # milliseconds
        numbers, damage = _numbers(path)
        with opened_picture(path) as picture:
            height, width = pixels_of(picture).shape[1:]
            for i in numbers:
                try:
                    picture.seek(i)
                    picture.load()
                except Exception as error:  # Pillow raises many kinds
                    damage = damage or str(error) or type(error).__name__
                    break
                duration = float(picture.info.get("duration") or 0)
                lasting.append(duration if duration > _TOO_SHORT else _USUAL)
        if not lasting:
            raise InputError(f"{path} is damaged or cut off ({damage}); copy or export the picture again")
        ends = np.cumsum(lasting) / 1000
        super().__init__(path, np.array([0.0, *ends[:-1]]), float(len(ends) / ends[-1]), (height, width))
        if damage:
            warnings.warn(
                f"{path} is damaged or cut off ({damage}): its first {counted(len(ends), 'frame is', 'frames are')} read",
                stacklevel=2,
            )
        self._picture: Image.Image | None = None
        self._process = os.getpid()

    def __getitem__(self, i: int) -> Tensor:
        """Frame i as uint8 RGB [3, H, W]. Raises IndexError outside [0, len), InputError for a file that has been changed."""
        i = self._checked(i)
        if self._picture is not None and self._process != os.getpid():
            _OF_PARENTS.append(self._picture)
            self._picture = None
        if self._picture is None or self._picture.tell() > i:  # Pillow loses its way in some files when it goes back
            self._process = os.getpid()
            data = BytesIO(Path(self.path).read_bytes())  # no file stays open
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                self._picture = Image.open(data)
        try:
            self._picture.seek(i)
            return pixels_of(self._picture)
        except Exception as error:  # Pillow raises many kinds
            raise InputError(f"frame {i} of {self.path} cannot be decoded ({error}): the file has been changed") from error

    def close(self) -> None:
        """Close the file. It opens again when a frame is asked for."""
        if self._picture is not None:
            self._picture.close()
        self._picture = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_picture": None}


def _numbers(path: str | Path) -> tuple[Iterable[int], str]:
    """List the numbers of a picture's frames; where they can't be counted, all numbers, and how the file is damaged."""
    with opened_picture(path) as picture:
        try:
            return range(frame_count(picture)), ""
        except Exception as error:  # Pillow raises many kinds
            return itertools.count(), str(error) or type(error).__name__
