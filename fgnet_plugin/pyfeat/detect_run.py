"""Run one call of `Detector.detect`: frames in batches, rows to memory or disk, and what remains after an error."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from fgnet_plugin.errors import InputError, SkippedInput
from fgnet_plugin.faces.tracking import FaceTracker
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.pyfeat.bundled_faces import BUNDLED
from fgnet_plugin.pyfeat.datasets import InputDataset, Item, OutputSize, Pictures, Tensors, VideoFrames, collate, open_inputs
from fgnet_plugin.pyfeat.fex import COLUMNS, Fex
from fgnet_plugin.pyfeat.persons import WhichFaces, check_faces, choose_faces, label_persons
from fgnet_plugin.utils.deferred import Deferred, lookahead
from fgnet_plugin.utils.journal import Journal


class FaceDetector(Protocol):
    """The part of `Detector` that a run uses."""

    fgnet: AUModel | None
    info: dict[str, Any]
    detect_faces: Callable[..., list[dict[str, Any]]]
    face_tracker: Callable[[float | None, int], FaceTracker | None]
    submit: Callable[[list[dict[str, Any]], Item], Deferred[pd.DataFrame]]
    overlaps: bool


@dataclass
class _Batch:
    """A batch whose faces are found."""

    rows: Deferred[pd.DataFrame] | None
    """None where none of its frames could be read."""
    failed: list[Item]
    """The frames that could not be read."""
    frames: int
    lost: int
    """Batches that should follow, but can't be read any more."""


class DetectRun:
    """Detection of all inputs with one detector; see `Detector.detect` for the arguments."""

    def __init__(
        self,
        detector: FaceDetector,
        inputs: object,
        *,
        data_type: str | None,
        output_size: OutputSize,
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
        self.detector, self.errors, self.faces = detector, errors, faces
        self.skipped: list[SkippedInput] = []
        if mixed_sizes not in ("raise", "single"):
            raise ValueError(f"mixed_sizes must be 'raise' or 'single', got {mixed_sizes!r}")
        self.output_size, self.skip_frames = output_size, skip_frames
        self.threshold, self.same_person = face_detection_threshold, face_identity_threshold
        self.datasets = open_inputs(inputs, data_type, output_size, skip_frames, self.skipped if errors == "skip" else None)
        alone = mixed_sizes == "single" and output_size is None
        self.batch_sizes = [1 if alone and isinstance(d, Pictures) and d.mixed() else batch_size for d in self.datasets]
        self.timed = any(dataset.kind == "video" for dataset in self.datasets)
        self.videos = {dataset.video.path for dataset in self.datasets if isinstance(dataset, VideoFrames)}
        self.inputs = [name for dataset in self.datasets for name in _names(dataset)]

    def settings(self) -> dict[str, object]:
        """Collect what the rows depend on: a run can be resumed only with the same settings."""
        model = self.detector.fgnet
        return {
            "inputs": [_identity(dataset) for dataset in self.datasets],
            "batch_size": self.batch_sizes[0] if len(set(self.batch_sizes)) == 1 else self.batch_sizes,
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
    ) -> Fex:
        """Detect, and return all rows."""
        if resume and save is None:
            raise ValueError("resume continues the run that save=… holds: give save, too")
        for skipped in self.skipped:
            warnings.warn(skipped, stacklevel=3)
        journal = Journal(save, self.settings(), resume) if save is not None else None
        if journal and journal.finished:
            rows = journal.read()
            _warn_of_missing(rows, journal.path, self.inputs)
            return self._fex(rows)
        kept: list[pd.DataFrame] = []
        try:
            for rows in self._batches(journal.batches if journal else 0, progress_bar, num_workers, pin_memory):
                if journal:
                    journal.append(rows)
                elif rows is not None:
                    kept.append(rows)
            if journal and journal.has_rows:
                fex = self._fex(journal.read())
                journal.finish(pd.DataFrame(fex))
                return fex
        except BaseException as error:
            if getattr(error, "rows", None) is not None and not journal:
                kept.append(error.rows)  # type: ignore[attr-defined]
            _note_progress(error, journal, self._fex(_joined(kept)) if kept else None)
            raise
        if journal:
            journal.discard()
        if not kept:
            raise InputError("none of the inputs could be read; the warnings say why")
        return self._fex(_joined(kept))

    def _batches(self, done: int, progress_bar: bool, num_workers: int, pin_memory: bool) -> Iterator[pd.DataFrame | None]:
        """Yield the rows of each batch that is not done yet; None for a batch of which no frame could be read."""
        total = sum(len(dataset) for dataset in self.datasets)
        warned: set[str] = set()
        with tqdm(total=total, unit="frame", disable=not progress_bar) as bar:
            started = self._start_batches(done, bar, num_workers, pin_memory)
            for batch in lookahead(started) if self.detector.overlaps else started:
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

    def _start_batches(self, done: int, bar: tqdm[None], num_workers: int, pin_memory: bool) -> Iterator[_Batch]:
        """Find the faces of each batch that is not done yet, and start to read them."""
        for dataset, batch_size in zip(self.datasets, self.batch_sizes, strict=True):
            batches = -(-len(dataset) // batch_size)
            skipped, done = min(done, batches), max(done - batches, 0)
            first = min(skipped * batch_size, len(dataset))
            bar.update(first)
            video = dataset.kind == "video"
            tracker = self.detector.face_tracker(self.threshold, self.skip_frames or 1) if video else None
            if tracker:
                before = {i: dataset[i] for i in tracker.needed_before(first)}
                readable = {i: item["Image"] for i, item in before.items() if "Image" in item}
                tracker.find(list(readable.values()), list(readable))
            loader = DataLoader(
                Subset(dataset, range(first, len(dataset))),
                batch_size=batch_size,
                num_workers=num_workers,
                pin_memory=pin_memory,
                collate_fn=collate,
            )
            for i, batch in enumerate(loader):
                if "Mixed" in batch:
                    raise batch["Mixed"]
                failed = batch["Errors"]
                ends = any("Last" in item for item in failed)
                parts = [
                    self._start(part, dataset, tracker) for part in batch.get("Parts", [batch] if "Image" in batch else [])
                ]
                yield _Batch(
                    Deferred(partial(_rows_of, parts)) if parts else None,
                    failed,
                    frames=min(batch_size, len(dataset) - first - i * batch_size),
                    lost=batches - skipped - i - 1 if ends else 0,
                )
                if failed and self.errors == "raise":
                    return
                if ends:
                    break

    def _start(self, batch: Item, dataset: InputDataset, tracker: FaceTracker | None) -> Deferred[pd.DataFrame]:
        """Start the detector on one batch; to the rows, the result adds where they are from."""
        detector = self.detector
        face_size = getattr(detector, "face_size", 112)
        options: dict[str, Any] = {}
        if tracker:
            options = {"tracker": tracker, "numbers": (batch["Frame"] // (self.skip_frames or 1)).tolist()}
        faces = detector.detect_faces(batch["Image"], face_size, self.threshold, **options)
        pending = detector.submit(faces, batch)
        counts = [len(face["scores"]) for face in faces]
        inputs, frames = np.repeat(batch["FileName"], counts), np.repeat(batch["Frame"].numpy(), counts)

        def wait() -> pd.DataFrame:  # must not refer to `batch`, which would keep its frames in memory
            rows = pending.result()
            rows["input"] = inputs
            rows["frame"] = frames
            if self.timed:
                rows["approx_time"] = [dataset.time(frame) for frame in rows["frame"]]
            return rows

        return Deferred(wait)

    def _fex(self, rows: pd.DataFrame) -> Fex:
        fex = Fex(rows.copy(), **COLUMNS, detector="Feat", **self.detector.info)  # a copy is in one piece: quicker
        if len(fex) and "Identity" not in fex:
            fex.compute_identities(threshold=self.same_person, inplace=True)
            info = self.detector.info
            if self.videos and info["identity_model"] is None and info["face_model"] == BUNDLED:
                label_persons(fex, self.videos)
        elif len(fex) and self.detector.info["identity_model"] is None:  # a complete table, read back
            fex["Identity"] = fex["Identity"].astype(object)
        chosen = choose_faces(fex, self.faces, self.videos)
        others = fex["FaceRectX"].count() - chosen["FaceRectX"].count()
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


def _rows_of(parts: list[Deferred[pd.DataFrame]]) -> pd.DataFrame:
    """Wait for the rows of a batch's parts."""
    rows = [part.result() for part in parts]
    return rows[0] if len(rows) == 1 else pd.concat(rows, ignore_index=True)


def _joined(batches: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(batches).reset_index(drop=True) if batches else pd.DataFrame()


def _note_progress(error: BaseException, journal: Journal | None, fex: Fex | None) -> None:
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
