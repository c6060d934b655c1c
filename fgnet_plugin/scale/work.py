"""What a worker process does: open a recording, read a part of it, put the parts together. Ray is not mentioned here."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from fgnet_plugin.errors import SkippedInput
from fgnet_plugin.inference.columns import IDENTITY
from fgnet_plugin.inference.detect_run import DetectRun
from fgnet_plugin.inference.final_table import PLACES, TableOptions
from fgnet_plugin.inference.inputs import VideoFrames
from fgnet_plugin.inference.verify import DrawnFaces, Verifier, check_verify
from fgnet_plugin.media.video import Video
from fgnet_plugin.media.video_index import VideoIndex
from fgnet_plugin.scale.layout import Layout
from fgnet_plugin.scale.recordings import Recording
from fgnet_plugin.scale.settings import claim, versions
from fgnet_plugin.scale.table import TableWriter, read_about, read_rows, stored_columns
from fgnet_plugin.utils.journal import lasting
from fgnet_plugin.utils.threads import thread_count

MakeDetector = Callable[[], Any]
"""Makes a `Detector` or `OfflineDetector` in a worker."""
Frames = tuple[int, int]
"""The first frame, and the one after the last."""
NOTED = "frames", "rows", "faces", "hours", "kind", "skipped", "length", "modified", "verified", "unlike"
"""What a recording's file says of itself that is in its `Outcome`, too."""


@dataclass(frozen=True)
class Outcome:
    """What became of a recording, or a part of it. All that goes back to the driver."""

    state: Literal["done", "parts", "part", "failed", "again"]
    """"parts": it is to be read in `parts`, and then put together; "part": one of them is there; "again": another process is to
    try, because this one died."""
    reason: str = ""
    notes: tuple[str, ...] = ()
    """Warnings, such as of frames that are damaged."""
    skipped: bool = False
    """Whether some frames could not be read."""
    frames: int = 0
    """Of "parts", all frames of the recording; else those that were read."""
    rows: int = 0
    faces: int = 0
    hours: float = 0.0
    """How long the recording lasts."""
    kind: str = ""
    """Of a recording: "image" or "video"."""
    length: int | None = None
    """Frames of a recording that is "done", read or not; None of pictures."""
    modified: float | None = None
    """When its file was changed last, in seconds since 1970."""
    verified: int | None = None
    """Of a student, faces that were compared with its teacher's, or whose looks were; None where it was not asked for."""
    unlike: tuple[str, ...] = ()
    """What the comparison found; see `Verification.warnings`."""
    seconds: float = 0.0
    """That the work took."""
    parts: tuple[Frames, ...] = ()
    missing: tuple[Frames, ...] = ()
    """The parts that are not there yet."""


@dataclass
class _Said:
    """Warnings of this package, each once."""

    notes: list[str] = field(default_factory=list)
    skipped: bool = False


class Worker:
    """Reads recordings with one detector, and writes their rows to a dataset.

    Args:
        out: the dataset's folder.
        make_detector: see `MakeDetector`.
        options: of the detector's `detect`.
        cpus: threads that it computes with.
        segment_frames: frames of a long recording that are read at once, at least.
    """

    def __init__(
        self, out: str, make_detector: MakeDetector, options: Mapping[str, Any], cpus: float, segment_frames: int
    ) -> None:
        self._layout, self._make, self._segment_frames = Layout(out), make_detector, segment_frames
        rest = dict(options)
        self._table = TableOptions(rest.pop("columns", "all"), time=True, relative_to=rest.pop("relative_to", None))
        self._verify, self._teacher = int(rest.pop("verify", 0)), rest.pop("teacher", None)
        self._verifier: Verifier | None = None
        self._options = rest
        self._threads = max(int(cpus), 1)
        self._claimed = False
        self._detector: Any = None

    def start(self) -> tuple[str, int, int]:
        """Load the models; returns the machine, the process and the threads that it computes with.

        The number of threads is set here, not by an environment variable of the driver: Ray sets OMP_NUM_THREADS to 1 once
        the process has started, which looks as if py-feat had done so, for whose sake FG-Net would take all cores.
        """
        os.environ["FGNET_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(self._threads)
        torch.set_num_threads(self._threads)
        self._detector = self._make()
        if self._verify:
            model = self._detector.fgnet
            check_verify(self._verify, model, self._table.columns)
            self._verifier = Verifier(model, self._teacher, model.net.device)
        return socket.gethostname(), os.getpid(), thread_count()

    def begin(self, recording: Recording) -> Outcome:
        """Read a recording, or only its index where it is long; see `Outcome`."""
        began, layout = time.monotonic(), self._layout
        if layout.part(recording.key).is_file():
            return self._done(recording.key, began)
        with _said() as said:
            run = self._plan(recording, self._index(recording))
            if run.skipped:
                layout.discard_segments(recording.key)
                return Outcome("failed", str(run.skipped[0]), skipped=True, seconds=time.monotonic() - began)
            (dataset,) = run.datasets
            parts = run.cuts(self._segment_frames) if isinstance(dataset, VideoFrames) else []
            if len(parts) < 2:
                return self._whole(recording, run, run.rows(), said, began)
            assert isinstance(dataset, VideoFrames)
            video, index = dataset.video, layout.index(recording.key, recording.size)
            if isinstance(video, Video) and not index.is_file():
                layout.discard_segments(recording.key)  # of a file of another size
                with layout.writing(index) as path:
                    video.index.save(path)
            missing = [part for part in parts if not layout.segment(recording.key, part).is_file()]
            return Outcome(
                "parts", frames=len(dataset), parts=tuple(parts), missing=tuple(missing), seconds=time.monotonic() - began
            )

    def read(self, recording: Recording, frames: Frames) -> Outcome:
        """Read a part of a recording."""
        began, path = time.monotonic(), self._layout.segment(recording.key, frames)
        if path.is_file() or self._layout.part(recording.key).is_file():
            return Outcome("part")
        with _said() as said:
            run = self._plan(recording, self._index(recording), frames=frames)
            if run.skipped:
                return Outcome("failed", str(run.skipped[0]), skipped=True, seconds=time.monotonic() - began)
            rows = list(run.rows())
            with self._layout.writing(path) as part:
                writer = TableWriter(part, self._columns_of_parts())
                writer.add(pd.concat(rows, ignore_index=True) if rows else pd.DataFrame())
                writer.close({"notes": said.notes, "skipped": said.skipped, "ended": bool(run.ended)})
            return Outcome("part", frames=writer.frames, seconds=time.monotonic() - began)

    def commit(self, recording: Recording, parts: Sequence[Frames]) -> Outcome:
        """Put a recording's parts together, tell its persons apart, and choose its faces."""
        began, layout, key = time.monotonic(), self._layout, recording.key
        if layout.part(key).is_file():
            return self._done(key, began)
        paths = [layout.segment(key, frames) for frames in parts]
        missing = [frames for frames, path in zip(parts, paths, strict=True) if not path.is_file()]
        if missing:  # another driver has begun this recording anew
            return Outcome("parts", parts=tuple(parts), missing=tuple(missing))
        abouts = [read_about(path) for path in paths]
        ended = next((i for i, about in enumerate(abouts) if about["ended"]), len(paths))
        with _said() as said:
            run = self._plan(recording, self._index(recording))
            if run.skipped:
                return Outcome("failed", str(run.skipped[0]), skipped=True, seconds=time.monotonic() - began)
            # What follows the place where reading ended is left out, as where the recording is read at once.
            abouts, paths = abouts[: ended + 1], paths[: ended + 1]
            for about in abouts:
                said.notes += [note for note in about["notes"] if note not in said.notes]
                said.skipped |= about["skipped"]
            return self._whole(recording, run, (read_rows(path) for path in paths), said, began, paths)

    def _whole(
        self,
        recording: Recording,
        run: DetectRun,
        rows: Iterator[pd.DataFrame],
        said: _Said,
        began: float,
        parts: Sequence[Path] = (),
    ) -> Outcome:
        """Write a recording's rows, of which `parts` are the files where they are not in memory."""
        key, places = recording.key, [*PLACES, *self._embeddings()]
        pieces: Iterator[pd.DataFrame] | list[pd.DataFrame] = rows
        if not parts:
            pieces = list(rows)
            pieces = [pd.concat(pieces, ignore_index=True)] if pieces else []
        placed = [read_rows(path, places) for path in parts] or [piece[places] for piece in pieces]
        placed = [piece for piece in placed if len(piece)]
        if not placed:
            self._layout.discard_segments(key)
            reason = "; ".join(said.notes) or f"{recording.path}: no frame of it can be read"
            return Outcome("failed", reason, tuple(said.notes), True, seconds=time.monotonic() - began)
        (dataset,) = run.datasets
        hours = 0.0
        if isinstance(dataset, VideoFrames):
            hours = len(dataset.video) / dataset.video.fps / 3600 if dataset.video.fps else 0.0
            if dataset.video.varying_rate:
                said.notes.append(f"{recording.path}: {dataset.video.rate_note()}")
        final = run.final.final_rows(pd.concat(placed, ignore_index=True))
        with self._layout.writing(self._layout.part(key)) as path:
            writer, drawn = TableWriter(path, self._columns()), DrawnFaces(self._verify)
            for piece in final.of_pieces(piece for piece in pieces if len(piece)):
                writer.add(piece)
                if self._verifier is not None:
                    drawn.add(piece.assign(input=recording.path))
            about = {"input": recording.shown, "size": recording.size, "hours": hours, "kind": dataset.kind}
            about |= {"frames": writer.frames, "rows": writer.rows, "faces": writer.faces}
            if self._verifier is not None:
                unlike = self._verifier.verify(drawn).warnings
                about |= {"verified": min(len(drawn.rows), self._verify), "unlike": list(unlike)}
            origin = run.settings()
            about |= {"length": [*origin["inputs"][0], None][3], "modified": origin["about"]["modified"].get(recording.shown)}
            writer.close({**about, "skipped": said.skipped, "notes": said.notes}, lasting(origin))
        return self._done(key, began)

    def _done(self, key: str, began: float) -> Outcome:
        """Describe a recording whose rows are there, and remove what was needed until then."""
        self._layout.discard_segments(key)
        return replace(outcome_of(read_about(self._layout.part(key))), seconds=time.monotonic() - began)

    def _plan(self, recording: Recording, index: VideoIndex | None, **more: Any) -> DetectRun:
        indexes = None if index is None else {recording.path: index}
        run: DetectRun = self._detector.plan(
            [recording.path], errors="skip", table=self._table, indexes=indexes, **self._options, **more
        )
        if not self._claimed:
            settings = {name: value for name, value in run.row_settings().items() if name != "frames"}
            root = self._table.relative_to
            settings |= {"relative_to": None if root is None else str(root), "device": self._device(), "versions": versions()}
            claim(self._layout, settings, self._columns())
            self._claimed = True
        return run

    def _index(self, recording: Recording) -> VideoIndex | None:
        path = self._layout.index(recording.key, recording.size)
        return VideoIndex.load(path) if path.is_file() else None

    def _device(self) -> str:
        """Name what computes: the digits of two kinds of GPU differ."""
        model = self._detector.fgnet
        device = torch.device("cpu") if model is None else model.net.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)

    def _columns(self) -> list[str]:
        return stored_columns(self._detector, self._detector.au_names, self._table.columns)

    def _embeddings(self) -> list[str]:
        return [] if self._detector.info["identity_model"] is None else IDENTITY

    def _columns_of_parts(self) -> list[str]:
        return [*self._columns(), *self._embeddings()]


def outcome_of(about: Mapping[str, Any]) -> Outcome:
    """Make the outcome of a recording whose rows are there; see `table.read_about`."""
    values: dict[str, Any] = {name: about.get(name) for name in NOTED}  # older versions noted fewer
    values["unlike"] = tuple(values["unlike"] or ())
    return Outcome("done", notes=tuple(about["notes"]), **values)


@contextmanager
def _said() -> Iterator[_Said]:
    """Gather this package's warnings instead of showing them."""
    said = _Said()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        said.skipped |= isinstance(message, SkippedInput)
        if str(message) not in said.notes:
            said.notes.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"fgnet_plugin\b")
        warnings.showwarning = show
        yield said
