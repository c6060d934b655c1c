"""Frames to rows with this package's networks alone: stretches of a video, or single photos, one on each core.

What is computed together never depends on batches, threads, or where a run begins: a stretch begins at a frame that is
searched for faces, and its faces, or a photo's, go through FG-Net together. So the rows are the same to the last digit.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd

from fgnet_plugin.faces.finder import FaceFinder, FoundFaces
from fgnet_plugin.faces.tracking import SEARCH_EVERY, FaceTracker
from fgnet_plugin.inference.au_model import AUModel, Reading, as_uint8
from fgnet_plugin.inference.batches import Batch, ReadingOptions, with_source
from fgnet_plugin.inference.columns import rows_of_faces
from fgnet_plugin.inference.inputs import InputDataset, Item
from fgnet_plugin.utils.deferred import Deferred
from fgnet_plugin.utils.threads import one_thread_each, thread_count

_PHOTOS = 8  # that are written to the table at once
_MOST_BYTES = 300_000_000  # of decoded frames that wait for a core
_TOGETHER, _BYTES_TOGETHER = 4, 100_000_000  # stretches that are searched side by side, and of their decoded frames
_Pending = Future[Batch] | Deferred[Batch]


class StretchReader:
    """A `Reader` with the bundled face finder and FG-Net; on an NVIDIA GPU, FG-Net works beside the search.

    Args:
        finder: of the faces.
        au_model: FG-Net, or None where only faces are wanted.
    """

    one_size, upright = False, True

    def __init__(self, finder: FaceFinder, au_model: AUModel | None) -> None:
        self.finder, self.au_model = finder, au_model

    @property
    def overlaps(self) -> bool:
        """See `Reader`."""
        return self.au_model is not None and self.au_model.overlaps

    def settings(self, batch_sizes: list[int]) -> dict[str, object]:
        """See `Reader`: batch sizes change nothing, but the faces that go through FG-Net at once do in the last digits."""
        return {"stretches": [SEARCH_EVERY, _PHOTOS], "au_batch_size": self.au_model.batch_size if self.au_model else None}

    def count(self, dataset: InputDataset, options: ReadingOptions) -> int:
        """See `Reader`."""
        return -(-len(dataset) // stretch_length(dataset, options.skip_frames))

    def first_frame(self, dataset: InputDataset, options: ReadingOptions, batch: int) -> int:
        """See `Reader`."""
        return min(batch * stretch_length(dataset, options.skip_frames), len(dataset))

    def start(self, dataset: InputDataset, options: ReadingOptions, first: int) -> Iterator[Batch]:
        """See `Reader`."""
        length, count = stretch_length(dataset, options.skip_frames), self.count(dataset, options)
        stretches = [range(i * length, min((i + 1) * length, len(dataset))) for i in range(first, count)]
        if self.finder.device.type == "cpu":
            batches = self._on_cores(dataset, options, stretches)
        else:
            batches = self._one_by_one(dataset, options, stretches)
        with contextlib.closing(batches):
            for i, batch in enumerate(batches, start=first):
                ends = any("Last" in item for item in batch.failed)
                batch.lost = count - i - 1 if ends else 0
                yield batch
                if ends or (batch.failed and options.stop_at_error):
                    return

    def _one_by_one(
        self, dataset: InputDataset, options: ReadingOptions, stretches: Sequence[range]
    ) -> Generator[Batch, None, None]:
        for stretch in stretches:
            items = _load(dataset, options, stretch)
            yield self._read(dataset, options, items, self._find(dataset, options, items))

    def _on_cores(
        self, dataset: InputDataset, options: ReadingOptions, stretches: Sequence[range]
    ) -> Generator[Batch, None, None]:
        """Read stretches in the threads of a pool; a video's frames are decoded here, in their order.

        Several stretches are searched for faces side by side, which is quicker, and each is read by FG-Net on its own.
        """
        small = self.au_model is None or self.au_model.small
        cores = thread_count() if small else 1
        left, waiting = deque(stretches), deque[tuple[Future[Sequence[_Pending]], int]]()
        with one_thread_each() if small else contextlib.nullcontext(), ThreadPoolExecutor(cores) as pool:
            try:
                while left or waiting:
                    held = sum(size for _, size in waiting)
                    if left and (len(waiting) < cores or (len(waiting) == cores and held < _MOST_BYTES)):
                        if dataset.kind == "video":
                            loaded, size = _load_together(dataset, options, left, -(-len(left) // cores))
                            waiting.append((pool.submit(self._find_then_read, dataset, options, loaded, pool), size))
                        else:
                            waiting.append((pool.submit(self._read_photos, dataset, options, left.popleft()), 0))
                    else:
                        for pending in waiting.popleft()[0].result():
                            yield pending.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _find_then_read(
        self, dataset: InputDataset, options: ReadingOptions, loaded: list[list[Item]], pool: ThreadPoolExecutor
    ) -> list[Future[Batch]]:
        """Find the faces of stretches, and leave it to the pool to read each of them."""
        found = self._find(dataset, options, [item for items in loaded for item in items])
        return [pool.submit(self._read, dataset, options, items, found) for items in loaded]

    def _read_photos(self, dataset: InputDataset, options: ReadingOptions, stretch: range) -> list[Deferred[Batch]]:
        """Load and read photos, one after the other: they may be large."""
        batches = []
        for i in stretch:
            items = _load(dataset, options, range(i, i + 1))
            batches.append(self._read(dataset, options, items, self._find(dataset, options, items)))
            if batches[-1].failed and options.stop_at_error:
                break
        rows = [batch.rows.result() for batch in batches if batch.rows is not None]
        together = Deferred(partial(pd.concat, rows, ignore_index=True)) if rows else None
        whole = Batch(together, [item for batch in batches for item in batch.failed], len(stretch))
        return [Deferred(lambda: whole)]

    def _read(
        self, dataset: InputDataset, options: ReadingOptions, items: list[Item], faces_of: dict[int, FoundFaces]
    ) -> Batch:
        """Start to read frames, with the faces of each by its number; frames that can't be read are set aside."""
        failed, readable = [item for item in items if "Error" in item], [item for item in items if "Image" in item]
        if not readable:
            return Batch(None, failed, len(items))
        frames, numbers = [item["Image"] for item in readable], [item["Frame"] for item in readable]
        found = [faces_of[number] for number in numbers]
        reading = None
        if self.au_model is not None:
            reading = self.au_model.submit(frames, [faces.landmarks for faces in found])
        sizes = [(frame.shape[1], frame.shape[2]) for frame in frames]
        names = [item["FileName"] for item in readable]
        return Batch(Deferred(partial(_rows, dataset, options, found, sizes, names, numbers, reading)), failed, len(items))

    def _find(self, dataset: InputDataset, options: ReadingOptions, items: list[Item]) -> dict[int, FoundFaces]:
        """Find the faces of the frames that can be read: by their numbers."""
        readable = [item for item in items if "Image" in item]
        frames, numbers = [as_uint8(item["Image"]).cpu() for item in readable], [item["Frame"] for item in readable]
        if dataset.kind != "video":
            return dict(zip(numbers, self.finder.find(frames, options.threshold), strict=True))
        skip = options.skip_frames or 1
        tracker = FaceTracker(self.finder, options.threshold, max(1, SEARCH_EVERY // skip))
        return dict(zip(numbers, tracker.find(frames, [number // skip for number in numbers]), strict=True))


def stretch_length(dataset: InputDataset, skip_frames: int | None = None) -> int:
    """Count the frames that are read together: of a video a multiple of those from one search to the next."""
    if dataset.kind != "video":
        return _PHOTOS
    every = max(1, SEARCH_EVERY // (skip_frames or 1))
    return -(-SEARCH_EVERY // every) * every


def _load(dataset: InputDataset, options: ReadingOptions, stretch: range) -> list[Item]:
    """Load frames up to the first that ends the dataset, or that ends the run."""
    items: list[Item] = []
    for i in stretch:
        items.append(dataset[i])
        if "Last" in items[-1] or ("Error" in items[-1] and options.stop_at_error):
            break
    return items


def _load_together(
    dataset: InputDataset, options: ReadingOptions, left: deque[range], most: int
) -> tuple[list[list[Item]], int]:
    """Take at most so many of the stretches that are left, fewer of large frames: their items, and how many bytes they hold."""
    loaded: list[list[Item]] = []
    size = 0
    while left and len(loaded) < min(most, _TOGETHER) and size * (len(loaded) + 1) <= _BYTES_TOGETHER * len(loaded):
        loaded.append(_load(dataset, options, left.popleft()))
        size += sum(item["Image"].nbytes for item in loaded[-1] if "Image" in item)
    return loaded, size


def _rows(
    dataset: InputDataset,
    options: ReadingOptions,
    found: list[FoundFaces],
    sizes: list[tuple[int, int]],
    names: list[str],
    numbers: list[int],
    reading: Deferred[Reading] | None,
) -> pd.DataFrame:
    result = None if reading is None else reading.result()
    aus = () if result is None else result.aus
    scores = np.empty((sum(map(len, found)), 0), np.float32) if result is None else result.scores.numpy()
    rows = rows_of_faces(found, sizes, aus, scores)
    counts = [max(len(faces), 1) for faces in found]
    return with_source(rows, dataset, options, np.repeat(names, counts).tolist(), np.repeat(numbers, counts).tolist())
