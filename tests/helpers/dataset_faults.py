"""Detectors for tests of datasets, made in worker processes: they fail, or make files, at chosen moments.

Each is a function that returns a detector, given to `detect_dataset` with `functools.partial`. Where there is a `marker`, the
fault happens once: to the process that makes this file.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin import OfflineDetector
from fgnet_plugin.faces.finder import FoundFaces
from fgnet_plugin.inference import inputs
from fgnet_plugin.inference.batches import Batch, ReadingOptions, with_source
from fgnet_plugin.inference.columns import rows_of_faces
from fgnet_plugin.inference.detect_run import DetectRun
from fgnet_plugin.inference.inputs import InputDataset, VideoFrames
from fgnet_plugin.scale import layout, work
from fgnet_plugin.utils.deferred import Deferred


def first(marker: str) -> bool:
    """Whether this process is the first to ask."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def end_of_process(marker: str, frame: int) -> OfflineDetector:
    """Kills its own process at a frame."""
    read = VideoFrames.__getitem__

    def killing(self: VideoFrames, i: int) -> Any:
        if self.frames[i] == frame and first(marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, i)

    VideoFrames.__getitem__ = killing
    return OfflineDetector()


def end_at_clip(name: str) -> OfflineDetector:
    """Kills its own process whenever it opens a file of this name, as damage that crashes a decoder does."""
    open_video = inputs.open_video

    def crashing(path: str, *args: Any) -> Any:
        if Path(path).name == name:
            os.kill(os.getpid(), signal.SIGSEGV)
        return open_video(path, *args)

    inputs.open_video = crashing
    return OfflineDetector()


def end_of_driver(marker: str, moment: str, driver: int) -> OfflineDetector:
    """Kills the process that hands out work: "before" a recording's file is renamed, "after" it, or "during" its writing."""

    def kill() -> None:
        if first(marker):
            os.kill(driver, signal.SIGKILL)
            time.sleep(60)  # until this process is ended, too

    if moment == "during":
        read_rows = work.read_rows

        def reading(path: Path, columns: Any = None) -> pd.DataFrame:
            if columns is None:  # of a part, all of them: the recording's file is being written
                kill()
            return read_rows(path, columns)

        work.read_rows = reading
    else:
        rename = layout.rename

        def renaming(part: Path, path: Path) -> None:
            whole = path.name == "part-0.parquet"
            if whole and moment == "before":
                kill()
            rename(part, path)
            if whole and moment == "after":
                kill()

        layout.rename = renaming
    return OfflineDetector()


class StandInReader:
    """In the place of the networks: a row without a face for each frame, which is not even opened."""

    one_size, upright, overlaps = False, True, False

    def settings(self, batch_sizes: list[int]) -> dict[str, object]:
        return {"stand-in": True}

    def count(self, dataset: InputDataset, options: ReadingOptions) -> int:
        return 1

    def first_frame(self, dataset: InputDataset, options: ReadingOptions, batch: int) -> int:
        return min(batch, 1) * len(dataset)

    def start(self, dataset: InputDataset, options: ReadingOptions, first: int) -> Iterator[Batch]:
        rows = rows_of_faces([FoundFaces.none()] * len(dataset), [(1, 1)] * len(dataset), (), [])
        names = [getattr(dataset, "paths", [""])[0]] * len(dataset)
        rows = with_source(rows, dataset, options, names, range(len(dataset)))
        yield Batch(Deferred(lambda: rows), [], len(dataset))


class StandInDetector:
    """In the place of a detector, for tests of what is around it."""

    fgnet = None
    au_names = ()

    def __init__(self, info: str = "stand-in") -> None:
        self.info = dict.fromkeys(("emotion_model", "identity_model", "gaze_model"), None)
        self.info |= {"face_model": info, "au_model": info}

    def plan(self, given: object, **options: Any) -> DetectRun:
        return DetectRun(self, StandInReader(), given, **options)

    def identities(self, rows: pd.DataFrame, same_person: float) -> pd.Series:
        return pd.Series(float("nan"), range(len(rows)))

    def as_table(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows
