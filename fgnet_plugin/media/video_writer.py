"""Write frames as a video, each at its own time. PyAV encodes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.container import av

SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")
_TICKS = 90_000  # a second: no frame rate in use is off by more than a few of them
_BT709, _LIMITED = 1, 1  # FFmpeg's numbers for the colours that players expect
_QUALITY = {"crf": "18", "preset": "veryfast"}


class VideoWriter:
    """Writes a video: H.264 (in .webm VP9), with square pixels, without sound.

    Args:
        path: .mp4, .mkv, .mov or .webm; a file that is there is replaced.
        rate: frames per second, on average.

    Raises:
        InputError: another suffix, or PyAV is not installed.

    Example:
        >>> with VideoWriter("clip.mp4", 25) as writer:  # doctest: +SKIP
        ...     for i, picture in enumerate(pictures):
        ...         writer.add(picture, i / 25)
    """

    def __init__(self, path: str | Path, rate: float) -> None:
        if av is None:
            raise InputError(f"{path}: videos are encoded by PyAV, which is not installed; run: pip install av")
        if Path(path).suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: videos are written to {', '.join(SUFFIXES)}")
        self.path, self._rate = Path(path), Fraction(rate).limit_denominator(1001)
        self._container = av.open(str(Path(path).absolute()), "w")
        self._stream: Any = None
        self._first, self._last = 0.0, -1

    def add(self, picture: npt.NDArray[np.uint8], time: float) -> None:
        """Write the next frame.

        Args:
            picture: [H, W, 3] RGB. The first one's size, made even, is the video's; others are fitted into it.
            time: in seconds, later than that of the frame before; the first one's becomes 0.
        """
        if self._stream is None:
            self._open(picture.shape[1], picture.shape[0])
            self._first = time
        frame = av.VideoFrame.from_ndarray(self._fitted(picture), format="rgb24")
        frame = frame.reformat(format="yuv420p", src_colorspace="ITU709", dst_colorspace="ITU709")
        frame.pts = max(round((time - self._first) * _TICKS), self._last + 1)
        frame.time_base, frame.duration = Fraction(1, _TICKS), round(_TICKS / self._rate)
        self._last = frame.pts
        self._container.mux(self._stream.encode(frame))

    def _open(self, width: int, height: int) -> None:
        """Begin a stream for frames of this size."""
        webm = self.path.suffix.lower() == ".webm"
        options = {"crf": "30", "b:v": "0", "cpu-used": "5"} if webm else _QUALITY
        self._stream = self._container.add_stream("libvpx-vp9" if webm else "libx264", rate=self._rate, options=options)
        self._stream.width, self._stream.height = width + width % 2, height + height % 2  # 4:2:0 has a colour for 2 × 2 px
        self._stream.pix_fmt = "yuv420p"
        coder = self._stream.codec_context
        coder.time_base = self._stream.time_base = Fraction(1, _TICKS)
        coder.colorspace = coder.color_primaries = coder.color_trc = _BT709
        coder.color_range = _LIMITED

    def _fitted(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Bring a frame to the video's size: an odd side gains a pixel, and a frame of another size black bars."""
        width, height = self._stream.width, self._stream.height
        missing = height - picture.shape[0], width - picture.shape[1]
        if max(missing) <= 1 and min(missing) >= 0:
            return np.ascontiguousarray(np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge"))
        scale = min(width / picture.shape[1], height / picture.shape[0])
        size = max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1)
        canvas = Image.new("RGB", (width, height))
        canvas.paste(Image.fromarray(picture).resize(size), ((width - size[0]) // 2, (height - size[1]) // 2))
        return np.array(canvas)

    def close(self) -> None:
        """Complete the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
