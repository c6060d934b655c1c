"""Run one call of `Detector.detect`: frames in batches, rows to memory or disk, and what remains after an error."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Generator, Sequence
from contextlib import closing
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd
import torch
from tqdm.auto import tqdm

from fgnet_plugin.errors import InputError, SkippedInput
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.batches import Batch, Reader, ReadingOptions
from fgnet_plugin.inference.inputs import InputDataset, Pictures, Resize, Tensors, VideoFrames, open_inputs
from fgnet_plugin.inference.persons import WhichFaces, check_faces, choose_faces, label_persons
from fgnet_plugin.utils.deferred import lookahead
from fgnet_plugin.utils.journal import Journal


class RunDetector(Protocol):
    """What a run needs of the detector beside its `Reader`."""

    info: dict[str, Any]
    """The names of its models: "face_model", "identity_model", …"""

    @property
    def fgnet(self) -> AUModel | None:
        """FG-Net, or None with another AU model."""

    def as_table(self, rows: pd.DataFrame, same_person: float) -> pd.DataFrame:
        """Make a table of all rows, with the column "Identity"."""


class DetectRun:
    """Detection of all inputs with one detector; see `Detector.detect` for the arguments."""

    def __init__(
        self,
        detector: RunDetector,
        reader: Reader,
        inputs: object,
        *,
        data_type: str | None,
        output_size: int | tuple[int, int] | None = None,
        resize: Resize | None = None,
        batch_size: int,
        skip_frames: int | None,
        face_detection_threshold: float | None,
        face_identity_threshold: float,
        mixed_sizes: Literal["raise", "single"],
        errors: Literal["raise", "skip"],
        faces: WhichFaces,
    ) -> None:
        _check_count("batch_size", batch_size)
        if skip_frames is not None:
            _check_count("skip_frames", skip_frames)
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors must be 'raise' or 'skip', got {errors!r}")
        check_faces(faces)
        self.detector, self.reader, self.errors, self.faces = detector, reader, errors, faces
        self.skipped: list[SkippedInput] = []
        if mixed_sizes not in ("raise", "single"):
            raise ValueError(f"mixed_sizes must be 'raise' or 'single', got {mixed_sizes!r}")
        self.output_size, self.skip_frames = output_size, skip_frames
        self.threshold, self.same_person = face_detection_threshold, face_identity_threshold
        skipped_inputs = self.skipped if errors == "skip" else None
        self.datasets = open_inputs(inputs, data_type, resize, skip_frames, skipped_inputs, reader.upright)
        alone = mixed_sizes == "single" and output_size is None and reader.one_size
        self.batch_sizes = [1 if alone and isinstance(d, Pictures) and d.mixed() else batch_size for d in self.datasets]
        self.timed = any(dataset.kind == "video" for dataset in self.datasets)
        self.videos = {dataset.video.path for dataset in self.datasets if isinstance(dataset, VideoFrames)}
        self.inputs = [name for dataset in self.datasets for name in _names(dataset)]

    def settings(self) -> dict[str, object]:
        """Collect what the rows depend on: a run can be resumed only with the same settings."""
        model = self.detector.fgnet
        return {
            "inputs": [_identity(dataset) for dataset in self.datasets],
            **self.reader.settings(self.batch_sizes),
            "output_size": self.output_size,
            "skip_frames": self.skip_frames,
            "face_detection_threshold": self.threshold,
            "face_identity_threshold": self.same_person,
            "models": {kind: name for kind, name in self.detector.info.items() if kind != "facepose_model"},
            "checkpoint": None if model is None else model.digest,
            "precision": None if model is None else model.precision,
            **({} if self.faces == "all" else {"faces": self.faces}),
            **({"compile": True} if model is not None and model.compile else {}),
        }

    def __call__(
        self,
        save: str | Path | None,
        resume: bool,
        progress_bar: bool,
        num_workers: int,
        pin_memory: bool,
    ) -> pd.DataFrame:
        """Detect, and return all rows."""
        if resume and save is None:
            raise ValueError("resume continues the run that save=… holds: give save, too")
        for skipped in self.skipped:
            warnings.warn(skipped, stacklevel=3)
        for dataset in self.datasets:
            if isinstance(dataset, VideoFrames) and dataset.video.varying_rate:
                warnings.warn(f"{dataset.video.path}: {dataset.video.rate_note()}", stacklevel=3)
        journal = Journal(save, self.settings(), resume) if save is not None else None
        if journal and journal.finished:
            rows = journal.read()
            _warn_of_missing(rows, journal.path, self.inputs)
            return self._table(rows)
        kept: list[pd.DataFrame] = []
        try:
            done = journal.batches if journal else 0
            with closing(self._batches(done, progress_bar, num_workers, pin_memory)) as batches:
                for rows in batches:
                    if journal:
                        journal.append(rows)
                    elif rows is not None:
                        kept.append(rows)
            if journal and journal.has_rows:
                table = self._table(journal.read())
                journal.finish(pd.DataFrame(table))
                return table
        except BaseException as error:
            if getattr(error, "rows", None) is not None and not journal:
                kept.append(error.rows)  # type: ignore[attr-defined]
            _note_progress(error, journal, self._table(_joined(kept)) if kept else None)
            raise
        if journal:
            journal.discard()
        if not kept:
            raise InputError("none of the inputs could be read; the warnings say why")
        return self._table(_joined(kept))

    def _batches(
        self, done: int, progress_bar: bool, num_workers: int, pin_memory: bool
    ) -> Generator[pd.DataFrame | None, None, None]:
        """Yield the rows of each batch that is not done yet; None for a batch of which no frame could be read."""
        total = sum(len(dataset) for dataset in self.datasets)
        warned: set[str] = set()
        with (
            tqdm(total=total, unit="frame", disable=not progress_bar) as bar,
            closing(self._start_batches(done, bar, num_workers, pin_memory)) as started,
        ):
            for batch in lookahead(started) if self.reader.overlaps else started:
                rows = None if batch.rows is None else batch.rows.result()
                if batch.failed and self.errors == "raise":
                    error = batch.failed[0]["Error"]
                    if rows is not None and "Frame" in batch.failed[0]:
                        rows = rows[rows["frame"] < batch.failed[0]["Frame"]]
                    error.rows = rows  # of an incomplete batch: they are returned, but not counted as done
                    raise error
                for item in batch.failed:
                    message = item.get("Gap", str(item["Error"]))
                    if message not in warned:  # all frames of a gap have the same
                        warnings.warn(SkippedInput(message, item["Path"]), stacklevel=2)
                    warned.add(message)
                yield rows
                bar.update(batch.frames)
                yield from [None] * batch.lost

    def _start_batches(self, done: int, bar: tqdm[None], num_workers: int, pin_memory: bool) -> Generator[Batch, None, None]:
        """Find the faces of each batch that is not done yet, and start to read them."""
        for dataset, batch_size in zip(self.datasets, self.batch_sizes, strict=True):
            stop = self.errors == "raise"
            options = ReadingOptions(batch_size, self.threshold, self.skip_frames, self.timed, stop, num_workers, pin_memory)
            batches = self.reader.count(dataset, options)
            skipped, done = min(done, batches), max(done - batches, 0)
            bar.update(self.reader.first_frame(dataset, options, skipped))
            yield from self.reader.start(dataset, options, skipped)

    def _table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Make the table of all rows: identities, and which faces are kept."""
        labelled = "Identity" in rows  # a complete table, read back
        table = self.detector.as_table(rows, self.same_person)
        info = self.detector.info
        if len(table) and info["identity_model"] is None:
            if labelled:
                table["Identity"] = table["Identity"].astype(object)
            elif self.videos and info["face_model"] == "bundled":
                label_persons(table, self.videos)
        chosen = choose_faces(table, self.faces, self.videos)
        others = table["FaceRectX"].count() - chosen["FaceRectX"].count()
        if others:
            warnings.warn(f"faces={self.faces!r}: {others} faces of others were left out", stacklevel=4)
        return chosen


def _warn_of_missing(rows: pd.DataFrame, table: Path, inputs: Sequence[str]) -> None:
    """Warn of inputs without rows in a table that was complete already."""
    with_rows = set(rows["input"])
    for path in dict.fromkeys(inputs):
        if path not in with_rows:
            warnings.warn(
                SkippedInput(f"{table} is complete, without rows of {path}: it could not be read", path), stacklevel=3
            )


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 on, got {value!r}")


def _names(dataset: InputDataset) -> list[str]:
    """List what the rows of a dataset have in their column "input"."""
    if isinstance(dataset, Pictures):
        return list(dataset.paths)
    return [dataset.video.path] if isinstance(dataset, VideoFrames) else ["tensor"]


def _identity(dataset: InputDataset) -> list[object]:
    """Describe a dataset so that it can be distinguished from another one of the same name."""
    if isinstance(dataset, Tensors):
        pixels = dataset.tensor.contiguous().cpu().view(-1).view(torch.uint8).numpy()
        return ["tensor", hashlib.sha256(pixels.tobytes()).hexdigest(), len(dataset)]
    files = [[name, Path(name).stat().st_size if Path(name).is_file() else None] for name in _names(dataset)]
    return [dataset.kind, files, len(dataset)]


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
