"""Detection over a corpus of recordings: any number of processes and machines fill one folder."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.inputs import list_paths
from fgnet_plugin.inference.offline import OfflineDetector
from fgnet_plugin.scale.cluster import cluster_worker_count, ray_session, worker_count
from fgnet_plugin.scale.dispatch import Dispatcher, Job, RayRemote
from fgnet_plugin.scale.layout import Layout
from fgnet_plugin.scale.log import Known, Log, read_known
from fgnet_plugin.scale.recordings import Recording, list_recordings
from fgnet_plugin.scale.work import NOTED, MakeDetector, Outcome, Worker, outcome_of

SEGMENT_FRAMES = 9_000
"""Frames of a long recording that are read at once: 5 minutes of most."""
_RECENT = 180.0  # seconds over which the rate is measured
_NOT_HERE = {"errors", "frames", "indexes", "load", "per_input", "progress_bar", "resume", "save", "table", "time"}


@dataclass
class Progress:
    """How far a run is.

    Example:
        >>> def show(now: Progress) -> None:
        ...     print(f"{now.done} of {now.recordings} recordings, {now.rate:.0f} frames/s")
        >>> show(Progress(recordings=40, done=12, rate=55.0))
        12 of 40 recordings, 55 frames/s
        >>> detect_dataset(["a.mp4", "b.mp4"], "corpus", progress=show)  # doctest: +SKIP
    """

    recordings: int
    """Of this run: the inputs, or those of its shard."""
    done: int = 0
    failed: int = 0
    frames: int = 0
    """That were read, in this run or before."""
    all_frames: int = 0
    """Of all recordings; of those that were not opened yet, by their bytes."""
    rate: float = 0.0
    """Frames a second, in the last minutes."""
    workers: int = 0
    """Workers that are there."""
    lost: int = 0
    """Workers that died."""

    @property
    def seconds_left(self) -> float | None:
        """How long it will take; None where that is not known yet."""
        return (self.all_frames - self.frames) / self.rate if self.rate else None


@dataclass
class Report:
    """What a run did, and what there is of its inputs now.

    Example:
        >>> report = detect_dataset(["a.mp4", "b.mp4"], "corpus")  # doctest: +SKIP
        >>> len(report.done), report.failed, report.incomplete  # doctest: +SKIP
        (2, {}, {})
    """

    done: dict[str, Outcome] = field(default_factory=dict)
    """Input -> counts, and warnings, of each recording whose rows are there; also of those from before."""
    failed: dict[str, str] = field(default_factory=dict)
    """Input -> why there are no rows of it."""
    before: int = 0
    """Recordings that were done before."""
    frames: int = 0
    """That this run read."""
    seconds: float = 0.0
    """That it took."""
    startup: float = 0.0
    """Of these, until the first worker was ready."""
    lost: int = 0
    """Workers that died."""
    threads: set[int] = field(default_factory=set)
    """That each worker computed with."""

    @property
    def incomplete(self) -> dict[str, str]:
        """Input -> the first warning, of each recording of which some frames could not be read."""
        return {name: outcome.notes[0] for name, outcome in self.done.items() if outcome.skipped}

    @property
    def unlike(self) -> dict[str, str]:
        """Input -> what `verify` found, of each recording in which a student is not to be relied on by its report alone."""
        return {name: "; ".join(outcome.unlike) for name, outcome in self.done.items() if outcome.unlike}

    @property
    def verified(self) -> int:
        """Recordings that were verified."""
        return sum(outcome.verified is not None for outcome in self.done.values())


def detect_dataset(
    inputs: object,
    out: str | Path,
    *,
    detector: MakeDetector = OfflineDetector,
    detect: Mapping[str, Any] | None = None,
    workers: int | Literal["auto"] = "auto",
    address: str | None = None,
    shard: tuple[int, int] | None = None,
    segment_frames: int = SEGMENT_FRAMES,
    cpus: float = 1,
    gpus: float = 0,
    resume: bool = True,
    retry_failed: bool = False,
    retries: int = 3,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Detect the faces of many pictures and videos in several processes, on this machine or a cluster.

    The rows of a recording are those of `detect` in one process with ``errors="skip"``, to the last digit where each process
    computes with as many threads; persons are told apart within each recording. What is there is kept: the same call continues
    where an earlier one was interrupted, whatever number of workers, machines or shards it has.

    Args:
        inputs: paths of pictures and videos.
        out: folder of the dataset; see `layout`. All machines must see it, and the inputs, under the same paths.
        detector: makes the detector in each worker, such as ``functools.partial(Detector, au_model="fgnet")``.
        detect: options of its `detect`: skip_frames, faces, columns, relative_to, face_detection_threshold, …; with verify and
            teacher, each worker verifies each recording that it completes, see `verify_student`, and `Report.unlike` has what
            was found.
        workers: processes; "auto": as many as there is room for.
        address: of a Ray cluster, or "auto" for ``$RAY_ADDRESS``. By default, Ray is started on this machine only.
        shard: (i, n), only every n-th recording, i from 1 on: for n machines that know nothing of each other.
        segment_frames: longer recordings are read in parts of so many frames, by several workers.
        cpus: cores, and threads, of each worker.
        gpus: GPUs of each worker, such as 0.25 where four share one.
        resume: False: an error where the dataset has been begun.
        retry_failed: try recordings again that failed before.
        retries: how many processes may die with the same recording before it counts as failed.
        progress: called about once a second.

    Returns:
        `Report`. A file that can't be read is among `failed`, with its reason.

    Raises:
        DifferentSettingsError: the dataset was begun with other settings, weights, versions or another kind of GPU.
        InputError: `out` holds something else, or an input has changed since its rows were written.
        OutputError: the folder can't be written, such as where the disk is full.
        ModuleNotFoundError: Ray is not installed.

    Example:
        >>> report = detect_dataset(list_folder("clips").files, "corpus", workers=2)  # doctest: +SKIP
        >>> report.failed  # doctest: +SKIP
        {'clips/broken.mp4': 'clips/broken.mp4 cannot be read as a video: …'}
    """
    options = dict(detect or {})
    if wrong := _NOT_HERE & set(options):
        raise ValueError(f"detect can't have {', '.join(sorted(wrong))} here")
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard must be (i, n) with i from 1 to n, got {shard}")
    for name, value in (("segment_frames", segment_frames), ("retries", retries)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    began, layout = time.monotonic(), Layout(out)
    layout.check()
    if not resume and layout.own.is_dir():
        raise InputError(f"{layout.out} holds a dataset already; continue it with resume=True, or choose another folder")
    every = list_recordings(list_paths(inputs), options.get("relative_to"))
    known = read_known(layout)
    run = _Run(layout, [one for one in every if one.in_shard(shard)], known, retry_failed, progress)
    log = Log(layout, shard)
    if run.to_do:
        log.write("begin", inputs=len(every), recordings=len(run.recordings), to_do=len(run.to_do))
        count = worker_count(address, cpus, gpus) if workers == "auto" and address is None else workers
        room = 1 if count == "auto" else count
        with ray_session(address, room, cpus, gpus, nice=15 if shard is None else 0) as ray:
            count = cluster_worker_count(ray, cpus, gpus) if count == "auto" else count
            arguments = (str(layout.out), detector, options, cpus, segment_frames)
            run.work(Dispatcher(RayRemote(ray, Worker, arguments, cpus, gpus), int(count), retries), log)
        log.write("end", done=len(run.report.done), failed=len(run.report.failed))
    layout.sweep()
    run.report.seconds = time.monotonic() - began
    return run.report


class _Run:
    """The recordings of a run, and what became of them."""

    def __init__(
        self,
        layout: Layout,
        recordings: Sequence[Recording],
        known: Known,
        retry_failed: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.recordings, self.report, self.to_do = recordings, Report(), list[Recording]()
        self._say, self._progress = progress, Progress(len(recordings))
        self._parts: dict[str, tuple[tuple[int, int], ...]] = {}
        self._missing: dict[str, set[tuple[int, int]]] = {}
        self._frames: dict[str, int] = {}  # of recordings that were opened
        self._recent: deque[tuple[float, int]] = deque()
        self._began = time.monotonic()
        for one in recordings:
            about = known.done.get(one.key)
            if about is not None and about["size"] != one.size:
                raise InputError(
                    f"{one.path} has been changed since its rows were written: delete {layout.recording(one.key)} to read it "
                    "again"
                )
            if about is not None:
                self._finish(one, outcome_of(about))
                self.report.before += 1
            elif one.key in known.failed and not retry_failed:
                self.report.failed[one.shown] = str(known.failed[one.key]["reason"])
            else:
                self.to_do.append(one)
        self._progress.frames = sum(self._frames.values())

    def work(self, dispatcher: Dispatcher, log: Log) -> None:
        """Do what is to be done; each outcome is logged."""

        def on_outcome(job: Job, outcome: Outcome) -> list[Job]:
            self.report.startup = self.report.startup or time.monotonic() - self._began - outcome.seconds
            return self._next(job, outcome, log)

        def on_tick() -> None:
            self._progress.workers, self._progress.lost = dispatcher.live, dispatcher.lost
            self._tell()

        try:
            dispatcher.run([Job("begin", (one,)) for one in self.to_do], on_outcome, on_tick)
        finally:
            self.report.lost, self.report.threads = dispatcher.lost, dispatcher.threads

    def _next(self, job: Job, outcome: Outcome, log: Log) -> list[Job]:
        """Note an outcome; returns what is to be done next."""
        one: Recording = job.arguments[0]
        if outcome.state == "again":
            log.write("again", recording=one.key, input=one.shown, method=job.method, reason=outcome.reason)
            return []
        if outcome.state == "failed":
            self._missing.pop(one.key, None)
            if one.shown not in self.report.failed:
                self.report.failed[one.shown] = outcome.reason
                log.write("failed", recording=one.key, input=one.shown, reason=outcome.reason, seconds=outcome.seconds)
            return []
        if outcome.state == "done":
            self._read(outcome.frames if one.key not in self._parts else 0)
            self._finish(one, outcome)
            about = {"input": one.shown, "size": one.size, **{name: getattr(outcome, name) for name in NOTED}}
            log.write("done", recording=one.key, seconds=outcome.seconds, about={**about, "notes": list(outcome.notes)})
            return []
        if outcome.state == "parts":
            if one.key not in self._parts:
                self._frames[one.key] = outcome.frames
            self._parts[one.key], self._missing[one.key] = outcome.parts, set(outcome.missing)
            return self._commit_or([Job("read", (one, frames)) for frames in outcome.missing], one)
        self._read(outcome.frames)
        log.write("part", recording=one.key, frames=job.arguments[1], seconds=outcome.seconds)
        left = self._missing.get(one.key)
        if left is None:  # another part of it failed
            return []
        left.discard(job.arguments[1])
        return [] if left else self._commit_or([], one)

    def _commit_or(self, jobs: list[Job], one: Recording) -> list[Job]:
        return jobs or [Job("commit", (one, self._parts[one.key]))]

    def _finish(self, one: Recording, outcome: Outcome) -> None:
        self.report.done[one.shown] = outcome
        self._frames[one.key] = max(self._frames.get(one.key, 0), outcome.frames)

    def _read(self, frames: int) -> None:
        """Note that frames were read."""
        self.report.frames += frames
        self._progress.frames += frames
        self._recent.append((time.monotonic(), frames))

    def _tell(self) -> None:
        if self._say is None:
            return
        now, said = time.monotonic(), self._progress
        while self._recent and now - self._recent[0][0] > _RECENT:
            self._recent.popleft()
        span = min(_RECENT, now - self._began)
        said.rate = sum(frames for _, frames in self._recent) / span
        said.done, said.failed = len(self.report.done), len(self.report.failed)
        said.all_frames = max(_scaled(self._frames, self.recordings), said.frames)
        self._say(said)


def _scaled(frames: Mapping[str, int], recordings: Iterable[Recording]) -> int:
    """Estimate the frames of all recordings from those of some."""
    opened = unopened = 0
    for one in recordings:
        if one.key in frames:
            opened += one.size
        else:
            unopened += one.size
    counted = sum(frames.values())
    return counted + (round(counted * unopened / opened) if opened else 0)
