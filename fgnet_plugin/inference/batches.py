"""Frames in batches to rows: the loop that py-feat's `Detectorv1` has, with its interface of a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader, Subset

from fgnet_plugin.faces.tracking import FaceTracker
from fgnet_plugin.inference.inputs import InputDataset, Item, collate
from fgnet_plugin.utils.deferred import Deferred


@dataclass
class Batch:
    """Frames whose faces are found."""

    rows: Deferred[pd.DataFrame] | None
    """None where none of its frames could be read."""
    failed: list[Item]
    """The frames that could not be read."""
    frames: int
    lost: int = 0
    """Batches that should follow, but can't be read any more."""


@dataclass(frozen=True)
class ReadingOptions:
    """What a reader has to know of a run; see `Detector.detect`."""

    batch_size: int
    threshold: float | None
    skip_frames: int | None
    timed: bool
    """Whether rows have the column "approx_time"; it is None for pictures beside videos."""
    stop_at_error: bool
    exact_time: bool = False
    """Whether timed rows also have "time", in seconds."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the column "input" says of an input, where that is not its path."""
    num_workers: int = 0
    pin_memory: bool = False


class Reader(Protocol):
    """Reads the frames of a dataset into rows, in batches that do not depend on where it starts."""

    @property
    def one_size(self) -> bool:
        """Whether the pictures of a batch must have one size."""

    @property
    def upright(self) -> bool:
        """Whether pictures are turned as their EXIF data say."""

    @property
    def overlaps(self) -> bool:
        """Whether the rows of a batch may still be computed while the next one is started."""

    def settings(self, batch_sizes: list[int]) -> dict[str, object]:
        """Describe what the rows of a batch, or the number of batches, depend on."""

    def count(self, dataset: InputDataset, options: ReadingOptions) -> int:
        """Count the batches of a dataset."""

    def first_frame(self, dataset: InputDataset, options: ReadingOptions, batch: int) -> int:
        """Return the place in the dataset at which a batch begins."""

    def start(self, dataset: InputDataset, options: ReadingOptions, first: int) -> Iterator[Batch]:
        """Read the batches from number `first` on; their rows have what `with_source` adds."""


class BatchDetector(Protocol):
    """The part of a detector such as py-feat's that `BatchReader` uses."""

    detect_faces: Callable[..., list[dict[str, Any]]]
    face_tracker: Callable[[float | None, int], FaceTracker | None]
    submit: Callable[[list[dict[str, Any]], Item], Deferred[pd.DataFrame]]

    @property
    def overlaps(self) -> bool:
        """Whether `submit` returns before all is computed."""


class BatchReader:
    """Reads batches of frames with a detector that has py-feat's methods."""

    one_size, upright = True, False

    def __init__(self, detector: BatchDetector) -> None:
        self.detector = detector

    @property
    def overlaps(self) -> bool:
        """See `Reader`."""
        return self.detector.overlaps

    def settings(self, batch_sizes: list[int]) -> dict[str, object]:
        """See `Reader`."""
        return {"batch_size": batch_sizes[0] if len(set(batch_sizes)) == 1 else batch_sizes}

    def count(self, dataset: InputDataset, options: ReadingOptions) -> int:
        """See `Reader`."""
        return -(-len(dataset) // options.batch_size)

    def first_frame(self, dataset: InputDataset, options: ReadingOptions, batch: int) -> int:
        """See `Reader`."""
        return min(batch * options.batch_size, len(dataset))

    def start(self, dataset: InputDataset, options: ReadingOptions, first: int) -> Iterator[Batch]:
        """See `Reader`."""
        start, batches = self.first_frame(dataset, options, first), self.count(dataset, options)
        video = dataset.kind == "video"
        tracker = self.detector.face_tracker(options.threshold, options.skip_frames or 1) if video else None
        if tracker:
            before = {i: dataset[i] for i in tracker.needed_before(start)}
            readable = {i: item["Image"] for i, item in before.items() if "Image" in item}
            tracker.find(list(readable.values()), list(readable))
        loader = DataLoader(
            Subset(dataset, range(start, len(dataset))),
            batch_size=options.batch_size,
            num_workers=options.num_workers,
            pin_memory=options.pin_memory,
            collate_fn=collate,
        )
        for i, batch in enumerate(loader, start=first):
            if "Mixed" in batch:
                raise batch["Mixed"]
            failed = batch["Errors"]
            ends = any("Last" in item for item in failed)
            items = batch.get("Parts", [batch] if "Image" in batch else [])
            parts = [self._start(part, dataset, tracker, options) for part in items]
            yield Batch(
                Deferred(partial(_rows_of, parts)) if parts else None,
                failed,
                frames=min(options.batch_size, len(dataset) - i * options.batch_size),
                lost=batches - i - 1 if ends else 0,
            )
            if ends or (failed and options.stop_at_error):
                return

    def _start(
        self, batch: Item, dataset: InputDataset, tracker: FaceTracker | None, options: ReadingOptions
    ) -> Deferred[pd.DataFrame]:
        """Start the detector on one batch; to the rows, the result adds where they are from."""
        face_size = getattr(self.detector, "face_size", 112)
        more: dict[str, Any] = {}
        if tracker:
            more = {"tracker": tracker, "numbers": (batch["Frame"] // (options.skip_frames or 1)).tolist()}
        faces = self.detector.detect_faces(batch["Image"], face_size, options.threshold, **more)
        pending = self.detector.submit(faces, batch)
        counts = [len(face["scores"]) for face in faces]
        inputs = np.repeat(batch["FileName"], counts).tolist()
        frames = np.repeat(batch["Frame"].numpy(), counts).tolist()

        def wait() -> pd.DataFrame:  # must not refer to `batch`, which would keep its frames in memory
            return with_source(pending.result(), dataset, options, inputs, frames)

        return Deferred(wait)


def with_source(
    rows: pd.DataFrame, dataset: InputDataset, options: ReadingOptions, inputs: Sequence[str], frames: Sequence[int]
) -> pd.DataFrame:
    """Add to rows which "input" and "frame" they are from and, with videos, "approx_time" and on request "time"."""
    rows["input"] = [options.names.get(name, name) for name in inputs]
    rows["frame"] = frames
    if options.timed:
        seconds = [dataset.seconds(frame) for frame in frames]
        rows["approx_time"] = [None if at is None else _minutes_and_seconds(at) for at in seconds]
        if options.exact_time:
            rows["time"] = [np.nan if at is None else round(at, 6) for at in seconds]  # a stamp's last digits are noise
    return rows


def _minutes_and_seconds(seconds: float) -> str:
    """Format a time as py-feat does: ``"01:05"``."""
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    return f"{minutes:02d}:{rest:02d}"


def _rows_of(parts: list[Deferred[pd.DataFrame]]) -> pd.DataFrame:
    """Wait for the rows of a batch's parts."""
    rows = [part.result() for part in parts]
    return rows[0] if len(rows) == 1 else pd.concat(rows, ignore_index=True)
