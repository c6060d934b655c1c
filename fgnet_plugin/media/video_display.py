"""How a player shows a decoded frame: turned, mirrored, with square pixels, in RGB."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fgnet_plugin.media.container import av

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame

MOST_STRETCHED = 10
"""A pixel's sides differ less than this; other ratios in a file are taken for damage."""

Flips = tuple[bool, bool, bool]
"""Whether a frame is to be transposed, then mirrored left to right, then upside down."""
UPRIGHT: Flips = (False, False, False)


class DisplayConverter:
    """Convert frames to RGB as a player displays them.

    Args:
        stretch: width of a pixel, in units of its height.
    """

    def __init__(self, stretch: float) -> None:
        self._stretch = stretch
        self._graph: tuple[tuple[int, int, str, Flips], Graph] | None = None  # of frames of the last one's kind

    def size(self, width: int, height: int, flips: Flips = UPRIGHT) -> tuple[int, int]:
        """Compute the displayed height and width of a frame from those that are stored."""
        width = max(round(width * self._stretch), 1)
        return (width, height) if flips[0] else (height, width)

    def rgb(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """Convert a frame to uint8 [H, W, 3]."""
        kind = frame.width, frame.height, frame.format.name, flips_of(frame)
        if self._graph is None or self._graph[0] != kind:
            self._graph = kind, self._converter(frame, kind[-1])
        self._graph[1].push(frame)
        return np.ascontiguousarray(self._graph[1].vpull().to_ndarray())

    def _converter(self, frame: VideoFrame, flips: Flips) -> Graph:
        """Make a converter of frames of one size and format."""
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
        height, width = self.size(frame.width, frame.height)
        scale = [("scale", f"{width}:{height}:flags=bicubic")] if width != frame.width else []
        chosen = zip(flips, (("transpose", "cclock_flip"), ("hflip", ""), ("vflip", "")), strict=True)
        steps = [*scale, ("format", "pix_fmts=rgb24"), *(step for wanted, step in chosen if wanted), ("buffersink", "")]
        graph.link_nodes(source, *(graph.add(kind, how) for kind, how in steps)).configure()
        return graph


def flips_of(frame: VideoFrame) -> Flips:
    """Read from a frame's display matrix how a player shows it, to the nearest quarter turn."""
    try:
        data: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # raised for all where FFmpeg has other data, too, that PyAV does not know, as of HEIF
        return {0: UPRIGHT, 1: (True, False, True), -1: (True, True, False)}.get(
            round(frame.rotation / 90), (False, True, True)
        )
    if data is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(memoryview(data), np.int32)[:5].tolist()  # x' = a x + c y, y' = b x + d y
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0
