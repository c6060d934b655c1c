"""One call of `Detector.detect`: frames in batches, rows to memory or disk, and what to do when something breaks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from fgnet_plugin.errors import InputError
from fgnet_plugin.journal import Journal, progress_path, read_table
from fgnet_plugin.pyfeat.fex import COLUMNS, Fex
from fgnet_plugin.pyfeat.frames import Item, OutputSize, Pictures, Source, collate, sources

if TYPE_CHECKING:
    from fgnet_plugin.pyfeat.detector import Detector


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
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.detector = detector
        if mixed_sizes not in ("raise", "single"):
            raise ValueError(f"mixed_sizes must be 'raise' or 'single', got {mixed_sizes!r}")
        self.threshold, self.same_person = face_detection_threshold, face_identity_threshold
        self.sources = sources(inputs, data_type, output_size, skip_frames)
        alone = mixed_sizes == "single" and output_size is None
        self.at_once = [1 if alone and isinstance(s, Pictures) and s.mixed() else batch_size for s in self.sources]
        self.timed = any(source.kind == "video" for source in self.sources)
        self.inputs = [name for source in self.sources for name in _names(source)]
        self.settings = {
            "inputs": self.inputs,
            "batch_size": batch_size,
            "output_size": output_size,
            "skip_frames": skip_frames,
            "face_detection_threshold": face_detection_threshold,
            "models": {kind: name for kind, name in detector.info.items() if kind != "facepose_model"},
        }

    def __call__(
        self,
        save: str | Path | None,
        resume: bool,
        errors: Literal["raise", "skip"],
        progress_bar: bool,
        num_workers: int,
        pin_memory: bool,
    ) -> Fex:
        """Runs, and returns all rows."""
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors must be 'raise' or 'skip', got {errors!r}")
        if resume and save is None:
            raise ValueError("resume goes on with the run that save=… holds: give save, too")
        if resume and save is not None and Path(save).is_file() and not progress_path(Path(save)).is_file():
            return self._fex(self._finished(Path(save)))
        journal = Journal(save, self.settings, resume) if save is not None else None
        kept: list[pd.DataFrame] = []
        try:
            for rows in self._batches(journal.batches if journal else 0, errors, progress_bar, num_workers, pin_memory):
                if journal:
                    journal.append(rows)
                elif rows is not None:
                    kept.append(rows)
        except BaseException as error:
            if getattr(error, "rows", None) is not None:
                kept.append(error.rows)  # type: ignore[attr-defined]
            _tell(error, journal, self._fex(_joined(kept)) if kept else None)
            raise
        if not (journal.has_rows if journal else kept):
            raise InputError("none of the inputs could be read; the warnings say why")
        fex = self._fex(journal.read() if journal else _joined(kept))
        if journal:
            journal.finish(pd.DataFrame(fex))
        return fex

    def _batches(
        self, done: int, errors: str, progress_bar: bool, num_workers: int, pin_memory: bool
    ) -> Iterator[pd.DataFrame | None]:
        """The rows of each batch that is not done yet; None for a batch of which no frame could be read."""
        total = sum(len(source) for source in self.sources)
        with tqdm(total=total, unit="frame", disable=not progress_bar) as bar:
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
                self.detector._thorough = source.kind != "video"
                for i, batch in enumerate(loader):
                    rows = self._rows(batch, source) if "Image" in batch else None
                    failed = batch["Errors"]
                    if failed and errors == "raise":
                        failed[0].rows = rows  # of an incomplete batch: returned, but not counted as done
                        raise failed[0]
                    for error in failed:
                        warnings.warn(str(error), stacklevel=2)
                    yield rows
                    bar.update(min(at_once, len(source) - first - i * at_once))
                    if failed and source.kind == "video":  # what follows the damage would fail frame by frame
                        yield from [None] * (batches - skipped - i - 1)
                        break

    def _rows(self, batch: Item, source: Source) -> pd.DataFrame:
        """The detector's rows of one batch, with the columns that say where they are from."""
        detector = self.detector
        faces = detector.detect_faces(batch["Image"], getattr(detector, "face_size", 112), self.threshold)
        rows = detector.forward(faces, batch)
        counts = [len(face["scores"]) for face in faces]
        rows["input"] = np.repeat(batch["FileName"], counts)
        rows["frame"] = np.repeat(batch["Frame"].numpy(), counts)
        if self.timed:
            rows["approx_time"] = [source.time(frame) for frame in rows["frame"]]
        return rows

    def _fex(self, rows: pd.DataFrame) -> Fex:
        fex = Fex(rows, **COLUMNS, detector="Feat", **self.detector.info)
        if len(fex) and "Identity" not in fex:
            fex.compute_identities(threshold=self.same_person, inplace=True)
        return fex

    def _finished(self, path: Path) -> pd.DataFrame:
        """The rows of a run that was complete already."""
        rows = read_table(path)
        strangers = set(rows["input"]) - set(self.inputs) if "input" in rows else {"no column 'input'"}
        if strangers:
            raise InputError(
                f"{path} is complete, but of other inputs ({', '.join(sorted(map(str, strangers))[:3])}); "
                "choose another file, or start anew without resume"
            )
        return rows


def _names(source: Source) -> list[str]:
    if source.kind == "image":
        return list(source.paths)  # type: ignore[union-attr]
    return [source.video.path] if source.kind == "video" else [f"tensor{list(source.tensor.shape)}"]  # type: ignore[union-attr]


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
