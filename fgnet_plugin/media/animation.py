"""Read animated GIF, WebP, PNG and AVIF files as videos. Pillow decodes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.frames import Frames
from fgnet_plugin.media.images import ANIMATED, UNREADABLE, check_file, frame_count, pixels_of
from fgnet_plugin.media.video import Video

_TOO_SHORT = 10  # milliseconds: browsers and FFmpeg show a frame that is to last so briefly, or no time, for `_USUAL` instead
_USUAL = 100


def open_video(path: str | Path) -> Frames:
    """Open a video, or an animated picture as one.

    Args:
        path: a video, an animated GIF, WebP, PNG or AVIF, or a picture, which is a video of one frame.

    Raises:
        FileNotFoundError: no such file.
        InputError: what is neither; see `Video` and `Animation`.

    Example:
        >>> with open_video("stimulus.webp") as frames:  # doctest: +SKIP
        ...     times = [frames.time(i) for i in range(len(frames))]
    """
    check_file(path, "video")
    return Animation(path) if is_animated(path) else Video(path)


def is_animated(path: str | Path) -> bool:
    """Tell whether a file is an animated picture."""
    try:
        with _opened(path) as picture:
            return frame_count(picture) > 1
    except InputError:
        return False


class Animation(Frames):
    """An animated picture as a sequence of frames, each composed as a browser shows it; transparency becomes white.

    It can be pickled, and used after a fork: the file is opened when a frame is asked for. Not safe for several threads. Frames
    are quickest in order.

    Args:
        path: of an animated GIF, WebP, PNG or AVIF.

    Attributes:
        path, fps, height, width: as of `Video`.

    Raises:
        FileNotFoundError: no such file.
        InputError: not an animated picture, or damaged before its second frame. A file that is damaged later has the frames up
            to there, and a warning says so.
    """

    def __init__(self, path: str | Path) -> None:
        check_file(path, "video")
        lasting: list[float] = []  # milliseconds
        with _opened(path) as picture:
            count, damage = frame_count(picture), ""
            for i in range(count):
                try:
                    picture.seek(i)
                    height, width = pixels_of(picture).shape[1:]
                except UNREADABLE as error:
                    damage = str(error) or type(error).__name__
                    break
                duration = float(picture.info.get("duration") or 0)
                lasting.append(duration if duration > _TOO_SHORT else _USUAL)
        if len(lasting) < 2:
            reason = f"it is damaged ({damage})" if damage else "it holds one picture"
            raise InputError(f"{path} cannot be read as an animation: {reason}")
        ends = np.cumsum(lasting) / 1000
        super().__init__(path, np.array([0.0, *ends[:-1]]), float(len(ends) / ends[-1]), (height, width))
        if damage:
            warnings.warn(
                f"{path} is damaged or cut off ({damage}): of its {count} frames, the first {len(ends)} are read", stacklevel=2
            )
        self._process = os.getpid()
        self._picture: Image.Image | None = None

    def __getitem__(self, i: int) -> Tensor:
        """Frame i as uint8 RGB [3, H, W]. Raises IndexError outside [0, len), InputError for a file that has been changed."""
        i = self._checked(i)
        try:
            if self._picture is None or self._process != os.getpid():  # a fork shares its parent's position in the file
                self._process, self._picture = os.getpid(), _open(self.path)
            self._picture.seek(i)
            return pixels_of(self._picture)
        except UNREADABLE as error:
            raise InputError(f"frame {i} of {self.path} cannot be decoded ({error}): the file has been changed") from error

    def close(self) -> None:
        """Close the file. It opens again when a frame is asked for."""
        if self._picture is not None:
            self._picture.close()
        self._picture = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_picture": None}


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    with _open(path) as picture:
        yield picture


def _open(path: str | Path) -> Image.Image:
    """Open an animated picture. Raises InputError for another file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path, formats=ANIMATED)
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no animated GIF, WebP, PNG or AVIF") from error
    except UNREADABLE as error:
        raise InputError(f"{path} is damaged or cut off ({error})") from error
