"""What videos and animations have in common: numbered frames and their times."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor


class Frames(ABC):
    """The frames of a file by number, and their times.

    Args:
        path: of the file.
        times: [frames] seconds, never going back.
        fps: frames per second, on average.
        size: height and width of the first frame in pixels.

    Attributes:
        path: as given, as a string.
        fps: frames per second, on average.
        height, width: of the first frame in pixels.
    """

    def __init__(self, path: str | Path, times: npt.NDArray[np.float64], fps: float, size: tuple[int, int]) -> None:
        self.path, self.fps = str(path), fps
        self.height, self.width = size
        self._times = times

    def __len__(self) -> int:
        """Number of frames; of a file that is cut off, those that it holds."""
        return len(self._times)

    @abstractmethod
    def __getitem__(self, i: int) -> Tensor:
        """Frame i as uint8 RGB [3, H, W]. Raises IndexError outside [0, len), InputError where the file is damaged."""

    def time(self, i: int) -> float:
        """When frame i is shown, in seconds, as the file says it; the first one's time need not be 0. Raises IndexError."""
        return float(self._times[self._checked(i)])

    @property
    def varying_rate(self) -> bool:
        """Whether times between frames differ so that frame number ÷ `fps` is more than half a frame off some frame's time."""
        steps = np.diff(self._times)
        return len(steps) > 1 and bool(steps.max() > 1.02 * steps.min() and self._drift() * self.fps > 0.5)

    def rate_note(self) -> str:
        """Say the frame rate in words: ``"25 frames per second"``, or how it varies."""
        if not self.varying_rate:
            return f"{self.fps:.5g} frames per second"
        steps = np.diff(self._times)
        return (
            f"the frame rate varies: {self.fps:.4g} frames per second on average, the next frame after {steps.min():.3g} to "
            f"{steps.max():.3g} s; frame number ÷ rate would be up to {self._drift():.2g} s off, the times are the file's own"
        )

    def _drift(self) -> float:
        """Compute how far off the frames' times are at most when computed from their numbers, in seconds."""
        even = self._times[0] + np.arange(len(self._times)) / (self.fps or 1.0)
        return float(np.abs(self._times - even).max())

    @abstractmethod
    def close(self) -> None:
        """Close the file. It opens again when a frame is asked for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _checked(self, i: int) -> int:
        i = operator.index(i)
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path} has frames 0 to {len(self) - 1}, no frame {i}")
        return i
