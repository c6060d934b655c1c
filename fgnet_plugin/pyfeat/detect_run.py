"""One call of `Detector.detect`: frames in batches, rows to memory or disk, and what to do when something breaks."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from fgnet_plugin.errors import InputError, SkippedInput
from fgnet_plugin.pyfeat.bundled_faces import NAME as BUNDLED
from fgnet_plugin.pyfeat.datasets import Item, OutputSize, Pictures, Source, collate, sources
from fgnet_plugin.pyfeat.fex import COLUMNS, Fex
from fgnet_plugin.utils.journal import Journal

if TYPE_CHECKING:
    from fgnet_plugin.pyfeat.detector import Detector

T = TypeVar("T")


@dataclass
class _Begun:
    """A batch whose faces are found."""

    finish: Callable[[], pd.DataFrame] | None
    """Waits for its rows; None where none of its frames could be read."""
    failed: list[Item]
    """The frames that could not be."""
    frames: int
    without_rows: int
    """Batches that should follow, but can't be read any more."""


class Run:
    """Detection of all inputs with one detector; see `Detector.detect` for the arguments."""

    def __init__(
        self,
        detector: Detector,
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
    ) -> None:
        _check_count("batch_size", batch_size)
        if skip_frames is not None:
            _check_count("skip_frames", skip_frames)
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors must be 'raise' or 'skip', got {errors!r}")
        self.detector, self.errors = detector, errors
        self.skipped: list[SkippedInput] = []
        if mixed_sizes not in ("raise", "single"):
            raise ValueError(f"mixed_sizes must be 'raise' or 'single', got {mixed_sizes!r}")
        self.output_size, self.skip_frames = output_size, skip_frames
        self.threshold, self.same_person = face_detection_threshold, face_identity_threshold
        self.sources = sources(inputs, data_type, output_size, skip_frames, self.skipped if errors == "skip" else None)
        alone = mixed_sizes == "single" and output_size is None
        self.at_once = [1 if alone and isinstance(s, Pictures) and s.mixed() else batch_size for s in self.sources]
        self.timed = any(source.kind == "video" for source in self.sources)
        self.inputs = [name for source in self.sources for name in _names(source)]

    def settings(self) -> dict[str, object]:
        """What the rows depend on: a run that is gone on with must have the same."""
        model = self.detector.fgnet
        return {
            "inputs": [_identity(source) for source in self.sources],
            "batch_size": self.at_once[0] if len(set(self.at_once)) == 1 else self.at_once,
            "output_size": self.output_size,
            "skip_frames": self.skip_frames,
            "face_detection_threshold": self.threshold,
            "face_identity_threshold": self.same_person,
            "models": {kind: name for kind, name in self.detector.info.items() if kind != "facepose_model"},
            "checkpoint": None if model is None else model.digest,
            "precision": None if model is None else model.precision,
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
        """Runs, and returns all rows."""
        if resume and save is None:
            raise ValueError("resume goes on with the run that save=… holds: give save, too")
        for skipped in self.skipped:
            warnings.warn(skipped, stacklevel=3)
        journal = Journal(save, self.settings(), resume) if save is not None else None
        if journal and journal.finished:
            rows = journal.read()
            _tell_missing(rows, journal.path, self.inputs)
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
            _tell(error, journal, self._fex(_joined(kept)) if kept else None)
            raise
        if journal:
            journal.discard()
        if not kept:
            raise InputError("none of the inputs could be read; the warnings say why")
        return self._fex(_joined(kept))

    def _batches(self, done: int, progress_bar: bool, num_workers: int, pin_memory: bool) -> Iterator[pd.DataFrame | None]:
        """The rows of each batch that is not done yet; None for a batch of which no frame could be read."""
        total = sum(len(source) for source in self.sources)
        with tqdm(total=total, unit="frame", disable=not progress_bar) as bar:
            begun = self._begun(done, bar, num_workers, pin_memory)
            for batch in one_ahead(begun) if self.detector.overlaps else begun:
                rows = None if batch.finish is None else batch.finish()
                if batch.failed and self.errors == "raise":
                    error = batch.failed[0]["Error"]
                    error.rows = rows  # of an incomplete batch: returned, but not counted as done
                    raise error
                for item in batch.failed:
                    warnings.warn(SkippedInput(str(item["Error"]), item["Path"]), stacklevel=2)
                yield rows
                bar.update(batch.frames)
                yield from [None] * batch.without_rows

    def _begun(self, done: int, bar: tqdm[None], num_workers: int, pin_memory: bool) -> Iterator[_Begun]:
        """Finds the faces of each batch that is not done yet, and begins to read them."""
        for source, at_once in zip(self.sources, self.at_once, strict=True):
            batches = -(-len(source) // at_once)
            skipped, done = min(done, batches), max(done - batches, 0)
            first = min(skipped * at_once, len(source))
            bar.update(first)
            loader = DataLoader(
                Subset(source, range(first, len(source))),
                batch_size=at_once,
                num_workers=num_workers,
                pin_memory=pin_memory,
                collate_fn=collate,
            )
            for i, batch in enumerate(loader):
                if "Mixed" in batch:
                    raise batch["Mixed"]
                failed = batch["Errors"]
                ends = bool(failed) and source.kind == "video"
                yield _Begun(
                    self._begin(batch, source) if "Image" in batch else None,
                    failed,
                    frames=min(at_once, len(source) - first - i * at_once),
                    without_rows=batches - skipped - i - 1 if ends else 0,
                )
                if failed and self.errors == "raise":
                    return
                if ends:
                    break

    def _begin(self, batch: Item, source: Source) -> Callable[[], pd.DataFrame]:
        """Begins the detector's rows of one batch; what is returned waits for them, and adds where they are from."""
        detector = self.detector
        face_size = getattr(detector, "face_size", 112)
        if source.kind == "video" and detector.info["face_model"] == BUNDLED:
            faces = detector.detect_faces(batch["Image"], face_size, self.threshold)
        else:
            faces = detector.detect_faces(batch["Image"], face_size, self.threshold)
        begun = detector.begin(faces, batch)
        counts = [len(face["scores"]) for face in faces]
        inputs, frames = np.repeat(batch["FileName"], counts), np.repeat(batch["Frame"].numpy(), counts)

        def finish() -> pd.DataFrame:  # must not keep the frames in memory
            rows = begun.finish()
            rows["input"] = inputs
            rows["frame"] = frames
            if self.timed:
                rows["approx_time"] = [source.time(frame) for frame in rows["frame"]]
            return rows

        return finish

    def _fex(self, rows: pd.DataFrame) -> Fex:
        fex = Fex(rows.copy(), **COLUMNS, detector="Feat", **self.detector.info)  # a copy is in one piece, and so quicker
        if len(fex) and "Identity" not in fex:
            fex.compute_identities(threshold=self.same_person, inplace=True)
        return fex


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each when the next one is there, too: what was begun is waited for after the next thing is begun.

    Where an error, or Ctrl-C, comes instead of the next one, the item before it still comes first.
    """
    before: list[T] = []
    while True:
        try:
            before.append(next(items))
        except StopIteration:
            yield from before
            return
        except BaseException:
            yield from before
            raise
        if len(before) > 1:
            yield before.pop(0)


def _tell_missing(rows: pd.DataFrame, table: Path, inputs: Sequence[str]) -> None:
    """Warns, for a run that was complete already, of inputs without rows."""
    there = set(rows["input"])
    for path in dict.fromkeys(inputs):
        if path not in there:
            warnings.warn(
                SkippedInput(f"{table} is complete, without rows of {path}: it could not be read", path), stacklevel=3
            )


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 on, got {value!r}")


def _names(source: Source) -> list[str]:
    """What the rows of a source have in their column "input"."""
    if source.kind == "image":
        return list(source.paths)  # type: ignore[union-attr]
    return [source.video.path] if source.kind == "video" else ["tensor"]  # type: ignore[union-attr]


def _identity(source: Source) -> list[object]:
    """What tells a source from another one of the same name."""
    if source.kind == "tensor":
        pixels = source.tensor.contiguous().cpu().view(-1).view(torch.uint8).numpy()  # type: ignore[union-attr]
        return ["tensor", hashlib.sha256(pixels.tobytes()).hexdigest(), len(source)]
    files = [[name, Path(name).stat().st_size if Path(name).is_file() else None] for name in _names(source)]
    return [source.kind, files, len(source)]


def _joined(batches: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(batches).reset_index(drop=True) if batches else pd.DataFrame()


def _tell(error: BaseException, journal: Journal | None, fex: Fex | None) -> None:
    """Adds to an error where what was done before it is."""
    if journal is not None:
        error.add_note(
            f"what was done before is in {journal.path} ({journal.batches} complete batches); "
            "detect(…, save=…, resume=True) goes on from there"
        )
        return
    error.fex = fex  # type: ignore[attr-defined]
    if fex is not None:
        error.add_note("what was done before is in this exception's attribute fex (in a notebook: sys.last_value.fex)")
