"""How long a run will take, and how large its table will be, measured on a few frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fgnet_plugin.faces.tracking import SEARCH_EVERY
from fgnet_plugin.utils.threads import thread_count

FRAMES = 20
"""Frames that the speed is measured on, at least."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take."""

    inputs: int
    frames: int
    """Of all inputs."""
    measured: int
    """Frames that were read to tell."""
    rate: float
    """Frames per second."""
    faces: float
    """Faces in a frame, on average."""
    size: float
    """Bytes of the table as CSV."""

    @property
    def seconds(self) -> float:
        """How long the run will take."""
        return self.frames / self.rate


def estimate(detector: Any, paths: Sequence[str], **options: Any) -> Estimate:
    """Measure a detector's speed on frames from the middle of its longest input; nothing is written.

    The same frames are read once before, so that what is loaded or compiled at first does not count.

    Args:
        detector: `Detector` or `OfflineDetector`.
        paths: pictures and videos.
        options: of the detector's `detect`.

    Raises:
        InputError: none of the inputs can be read.
    """
    run = detector.plan(list(paths), **options)
    frames = sum(len(dataset) for dataset in run.datasets)
    run.sample(max(FRAMES, SEARCH_EVERY * thread_count()))  # a stretch for each core
    rows, seconds = pd.DataFrame(), 0.0
    for _ in range(2):
        start = time.perf_counter()
        rows = run(None, False, False, 0, False)
        seconds = time.perf_counter() - start
    measured = len(rows[["input", "frame"]].drop_duplicates())
    text = pd.DataFrame(rows).to_csv(index=False, header=False)
    faces = float(rows["FaceRectX"].notna().sum()) / measured
    return Estimate(len(paths), frames, measured, measured / seconds, faces, len(text.encode()) / measured * frames)
