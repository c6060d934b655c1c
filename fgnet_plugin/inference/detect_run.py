"""Run one call of `Detector.detect`: frames in batches, rows to memory or disk, and what remains after an error."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import closing
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from fgnet_plugin.errors import InputError, SkippedInput
from fgnet_plugin.inference.batches import Batch, Reader, ReadingOptions
from fgnet_plugin.inference.final_table import FinalTable, RunDetector, TableOptions
from fgnet_plugin.inference.inputs import InputDataset, Pictures, Resize, Tensors, VideoFrames, list_paths, open_inputs
from fgnet_plugin.inference.persons import WhichFaces, check_faces
from fgnet_plugin.inference.provenance import how_begun
from fgnet_plugin.inference.summary import Summary
from fgnet_plugin.media.video_index import VideoIndex
from fgnet_plugin.utils.deferred import lookahead
from fgnet_plugin.utils.journal import Journal
from fgnet_plugin.utils.progress import tqdm
from fgnet_plugin.utils.text import counted

_GONE = (
    "{path} was there when the run began, and is not any more: connect its disk or network folder again, then continue the "
    "table that was saved with resume=True, on the command line --resume"
)


class DetectRun:
    """Detection of all inputs with one detector; see `Detector.detect` for the arguments."""

    def __init__(
        self,
        detector: RunDetector,
        reader: Reader,
        inputs: object,
        *,
        data_type: str | None = None,
        output_size: int | tuple[int, int] | None = None,
        resize: Resize | None = None,
        batch_size: int = 1,
        skip_frames: int | None = None,
        face_detection_threshold: float | None = None,
        face_identity_threshold: float = 0.8,
        mixed_sizes: Literal["raise", "single"] = "raise",
        errors: Literal["raise", "skip"] = "raise",
        faces: WhichFaces = "all",
        frames: tuple[int, int] | None = None,
        table: TableOptions | None = None,
        indexes: Mapping[str, VideoIndex] | None = None,
    ) -> None:
        _check_count("batch_size", batch_size)
        if skip_frames is not None:
            _check_count("skip_frames", skip_frames)
        if frames is not None and not 0 <= frames[0] < frames[1]:
            raise ValueError(f"frames must be the first frame and the one after the last, got {frames!r}")
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors must be 'raise' or 'skip', got {errors!r}")
        check_faces(faces)
        table = table or TableOptions()
        self.detector, self.reader, self.errors, self.faces, self.table = detector, reader, errors, faces, table
        self.skipped: list[SkippedInput] = []
        if mixed_sizes not in ("raise", "single"):
            raise ValueError(f"mixed_sizes must be 'raise' or 'single', got {mixed_sizes!r}")
        self.output_size, self.skip_frames = output_size, skip_frames
        self.threshold, self.same_person = face_detection_threshold, face_identity_threshold
        skipped_inputs = self.skipped if errors == "skip" else None
        given = [] if isinstance(inputs, torch.Tensor) or str(data_type).lower() == "tensor" else list_paths(inputs)
        inputs = given or inputs
        self.datasets = open_inputs(inputs, data_type, resize, skip_frames, skipped_inputs, reader.upright, indexes)
        alone = mixed_sizes == "single" and output_size is None and reader.one_size
        self.batch_sizes = [1 if alone and isinstance(d, Pictures) and d.mixed() else batch_size for d in self.datasets]
        self.frames = frames
        self.timed = any(dataset.kind == "video" for dataset in self.datasets)
        paths = [path for dataset in self.datasets for path in _paths(dataset)]
        self.shown = {path: path if path == "tensor" else table.shown(path) for path in paths}
        self._videos = {self.shown[dataset.video.path] for dataset in self.datasets if isinstance(dataset, VideoFrames)}
        names, sources = [self.shown[path] for path in paths], {name: path for path, name in self.shown.items()}
        self.final = FinalTable(detector, table, faces, face_identity_threshold, self._videos, names, sources)
        self._said: dict[str, str] = {}  # warnings of what can't be read, each with its path
        self._there = {path for path in paths if Path(path).is_file()}
        self._about: dict[str, object] = {"paths": given, "data_type": data_type, "mixed_sizes": mixed_sizes}
        self.ended: set[str] = set()
        """Videos of which nothing could be read from some frame on, though more should follow."""
        self._first_batches = [self._cut(d, size) for d, size in zip(self.datasets, self.batch_sizes, strict=True)]

    def _cut(self, dataset: InputDataset, batch_size: int) -> int:
        """Leave out the batches of a video that follow `frames`, and return the first that is needed."""
        if self.frames is None or not isinstance(dataset, VideoFrames):
            return 0
        (first, stop), skip, length = self.frames, self.skip_frames or 1, self._batch_length(dataset, batch_size)
        if -(-first // skip) >= len(dataset):
            raise InputError(
                f"{dataset.video.path} has {counted(len(dataset.video), 'frame')}, and frames={self.frames} names others"
            )
        dataset.frames = dataset.frames[: -(-stop // (skip * length)) * length]
        return -(-first // skip) // length

    def _batch_length(self, dataset: InputDataset, batch_size: int) -> int:
        return self.reader.first_frame(dataset, self._reading_options(batch_size), 1)

    def cuts(self, frames: int) -> list[tuple[int, int]]:
        """Divide a run's only video into ranges, each for `frames` of another run, so that no batch is read twice.

        Args:
            frames: of each range at least; rounded up to whole batches.

        Returns:
            First frame, and the one after the last, of each range.
        """
        ((dataset, size),) = zip(self.datasets, self.batch_sizes, strict=True)
        assert isinstance(dataset, VideoFrames)
        batch = self._batch_length(dataset, size) * (self.skip_frames or 1)
        step, count = -(-frames // batch) * batch, len(dataset.video)
        return [(first, min(first + step, count)) for first in range(0, count, step)]

    def rows(self) -> Generator[pd.DataFrame, None, None]:
        """Yield the rows of each batch, before `final` tells persons apart and chooses faces."""
        with closing(self._batches(0, False, 0, False)) as batches:
            for rows in batches:
                if rows is not None:
                    yield rows[self.final.growing_columns(rows)]

    def settings(self) -> dict[str, Any]:
        """Collect what the rows depend on: a run can be resumed only with the same settings; and "about", how it was begun."""
        model = self.detector.fgnet
        root = self.table.relative_to
        about = {
            **self._about,
            "folder": str(Path.cwd()),
            "errors": self.errors,
            "relative_to": None if root is None else str(root),
            "device": None if model is None else str(model.net.device),
            "uncertainty": self.table.uncertainty,
            **how_begun(self.shown),
        }
        inputs = [entry for dataset in self.datasets for entry in _identities(dataset, self.shown)]
        return {"about": about, "inputs": inputs, **self.row_settings()}

    def row_settings(self) -> dict[str, object]:
        """Collect what the rows of any input depend on."""
        model = self.detector.fgnet
        return {
            **self.reader.settings(self.batch_sizes),
            "output_size": self.output_size,
            "skip_frames": self.skip_frames,
            "face_detection_threshold": self.threshold,
            "face_identity_threshold": self.same_person,
            "models": {kind: name for kind, name in self.detector.info.items() if kind != "facepose_model"},
            "checkpoint": None if model is None else model.digest,
            "precision": None if model is None else model.precision,
            **({} if self.faces == "all" else {"faces": self.faces}),
            **({} if self.frames is None else {"frames": list(self.frames)}),
            **({} if self.table.columns == "all" else {"columns": self.table.columns}),
            **({"time": True} if self.table.time else {}),
            **({"compile": True} if model is not None and model.compile else {}),
            **({"weak_aus": True} if model is not None and model.shown_weak else {}),
        }

    def __call__(
        self,
        save: str | Path | None,
        resume: bool,
        progress_bar: bool,
        num_workers: int,
        pin_memory: bool,
    ) -> pd.DataFrame:
        """Detect, and return all rows, or without `TableOptions.load` a summary of each input."""
        self.table.check(save)
        if resume and save is None:
            raise ValueError("resume continues the run that save=… holds: give save, too")
        for skipped in self.skipped:
            warnings.warn(skipped, stacklevel=3)
        for dataset in self.datasets:
            if isinstance(dataset, VideoFrames) and dataset.video.varying_rate:
                warnings.warn(f"{dataset.video.path}: {dataset.video.rate_note()}", stacklevel=3)
        journal = Journal(save, self.settings(), resume) if save is not None else None
        if journal and journal.finished:
            summary = self.final.summarise(journal)
            self._warn_of_missing(summary, journal.path)
            return self.final.result(journal, summary)
        kept: list[pd.DataFrame] = []
        try:
            done = journal.batches if journal else 0
            with closing(self._batches(done, progress_bar, num_workers, pin_memory)) as batches:
                for rows in batches:
                    if journal:
                        journal.append(None if rows is None else rows[self.final.growing_columns(rows)])
                    elif rows is not None:
                        kept.append(rows)
            if journal and journal.has_rows:
                summary = self.final.finish(journal)
                if done:  # what was said before the interruption is said again
                    self._warn_of_missing(summary, journal.path)
                return self.final.result(journal, summary)
        except BaseException as error:
            if getattr(error, "rows", None) is not None and not journal:
                kept.append(error.rows)  # type: ignore[attr-defined]
            _note_progress(error, journal, self.final.of_rows(_joined(kept)) if kept else None)
            raise
        if journal:
            journal.discard()
        if not kept:
            raise InputError("none of the inputs could be read; the warnings say why")
        return self.final.of_rows(_joined(kept))

    def _batches(
        self, done: int, progress_bar: bool, num_workers: int, pin_memory: bool
    ) -> Generator[pd.DataFrame | None, None, None]:
        """Yield the rows of each batch that is not done yet; None for a batch of which no frame could be read."""
        total = sum(len(dataset) for dataset in self.datasets) - sum(
            self.reader.first_frame(dataset, self._reading_options(size), first)
            for dataset, size, first in zip(self.datasets, self.batch_sizes, self._first_batches, strict=True)
        )
        with (
            tqdm(total=total, unit="frame", disable=not progress_bar) as bar,
            closing(self._start_batches(done, bar, num_workers, pin_memory)) as started,
        ):
            for batch in lookahead(started) if self.reader.overlaps else started:
                rows = None if batch.rows is None else self._in_range(batch.rows.result())
                batch.failed = [item for item in batch.failed if self._is_in_range(item.get("Frame"))]
                self.ended.update(item["Path"] for item in batch.failed if "Last" in item)
                lost = [item for item in batch.failed if self._is_gone(item["Path"])]
                if lost or (batch.failed and self.errors == "raise"):
                    error: Any = InputError(_GONE.format(path=lost[0]["Path"])) if lost else batch.failed[0]["Error"]
                    if rows is not None and "Frame" in batch.failed[0]:
                        rows = rows[rows["frame"] < batch.failed[0]["Frame"]]
                    error.rows = rows  # of an incomplete batch: they are returned, but not counted as done
                    raise error
                for item in batch.failed:
                    message = item.get("Gap", str(item["Error"]))
                    if message not in self._said:  # all frames of a gap have the same
                        warnings.warn(SkippedInput(message, item["Path"]), stacklevel=2)
                    self._said[message] = item["Path"]
                yield rows
                bar.update(batch.frames)
                yield from [None] * batch.lost

    def _is_in_range(self, frame: int | None) -> bool:
        return self.frames is None or frame is None or self.frames[0] <= frame < self.frames[1]

    def _in_range(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Leave out the rows of a video's frames that were read only because others of their batch are wanted."""
        if self.frames is None:
            return rows
        wanted = rows["frame"].between(*self.frames, inclusive="left") | ~rows["input"].isin(self._videos)
        return rows if wanted.all() else rows[wanted].reset_index(drop=True)

    def _is_gone(self, path: str) -> bool:
        """Tell whether a file was there when the run began, and is not any more, as where a network folder was lost."""
        if path not in self._there:
            return False
        try:
            return not Path(path).exists()
        except OSError:  # of a network that does not answer
            return True

    def _start_batches(self, done: int, bar: tqdm[None], num_workers: int, pin_memory: bool) -> Generator[Batch, None, None]:
        """Find the faces of each batch that is not done yet, and start to read them."""
        for dataset, batch_size, first in zip(self.datasets, self.batch_sizes, self._first_batches, strict=True):
            options = self._reading_options(batch_size, num_workers, pin_memory)
            batches = self.reader.count(dataset, options) - first
            skipped, done = first + min(done, batches), max(done - batches, 0)
            begun, resumed = (self.reader.first_frame(dataset, options, batch) for batch in (first, skipped))
            bar.update(resumed - begun)
            yield from self.reader.start(dataset, options, skipped)

    def _reading_options(self, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> ReadingOptions:
        return ReadingOptions(
            batch_size,
            self.threshold,
            self.skip_frames,
            self.timed,
            self.errors == "raise",
            self.table.time,
            self.shown,
            num_workers,
            pin_memory,
        )

    def sample(self, count: int) -> None:
        """Keep only about `count` frames, from the middle of the longest video or of the most pictures in a row."""
        longest = max(range(len(self.datasets)), key=lambda i: len(self.datasets[i]), default=None)
        if longest is None:
            raise InputError("none of the inputs can be read; the warnings say why")
        dataset, size = self.datasets[longest], self.batch_sizes[longest]
        options = self._reading_options(size)
        first = self.reader.first_frame(dataset, options, self.reader.count(dataset, options) // 2)
        first = first if first + count <= len(dataset) else 0
        if isinstance(dataset, VideoFrames):
            dataset.frames = dataset.frames[first : first + count]
        elif isinstance(dataset, Pictures):
            dataset.paths = dataset.paths[first : first + count]
        self.datasets, self.batch_sizes, self._first_batches = [dataset], [size], [0]

    def _warn_of_missing(self, summary: Summary, table: Path) -> None:
        """Warn of inputs that the table lacks in whole or in part, unless this run has done so."""
        expected = Counter[str]()
        for dataset in self.datasets:
            for path in _paths(dataset):
                expected[path] += sum(map(self._is_in_range, dataset.frames)) if isinstance(dataset, VideoFrames) else 1
        found = summary.frames_of_inputs
        for path, frames in expected.items():
            count = found.get(self.shown[path], 0)
            if path == "tensor" or path in self._said.values() or count >= frames:
                continue
            lacks = f"{frames - count} of {frames} frames" if count else "rows"
            what = "they" if count else "it"
            message = f"{table} is complete, without {lacks} of {path}: {what} could not be read"
            warnings.warn(SkippedInput(message, path), stacklevel=3)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 on, got {value!r}")


def _paths(dataset: InputDataset) -> list[str]:
    """List the files of a dataset."""
    if isinstance(dataset, Pictures):
        return list(dataset.paths)
    return [dataset.video.path] if isinstance(dataset, VideoFrames) else ["tensor"]


def _identities(dataset: InputDataset, shown: Mapping[str, str]) -> list[list[object]]:
    """Describe the inputs of a dataset so that each can be distinguished from another of the same name."""
    if isinstance(dataset, Tensors):
        pixels = dataset.tensor.contiguous().cpu().view(-1).view(torch.uint8).numpy()
        return [["tensor", hashlib.sha256(pixels.tobytes()).hexdigest(), len(dataset)]]
    frames = [len(dataset)] if isinstance(dataset, VideoFrames) else []
    sizes = [(path, Path(path).stat().st_size if Path(path).is_file() else None) for path in _paths(dataset)]
    return [[shown[path], dataset.kind, size, *frames] for path, size in sizes]


def _joined(batches: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(batches).reset_index(drop=True) if batches else pd.DataFrame()


def _note_progress(error: BaseException, journal: Journal | None, fex: pd.DataFrame | None) -> None:
    """Add to an error where the results from before it are."""
    if journal is not None:
        error.add_note(
            f"what was done before is in {journal.path} ({journal.batches} complete batches); "
            "detect(…, save=…, resume=True) continues from there"
        )
        return
    error.fex = fex  # type: ignore[attr-defined]
    if fex is not None:
        error.add_note("what was done before is in this exception's attribute fex (in a notebook: sys.last_value.fex)")
