"""A teacher's answers for a student's training, by several processes: see `training.students`."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from fgnet_plugin.errors import CheckpointError, InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.scale.cluster import ray_session
from fgnet_plugin.scale.dispatch import Dispatcher, Job, RayRemote
from fgnet_plugin.scale.work import Outcome
from fgnet_plugin.training.students.filling import Fill, LabelJob
from fgnet_plugin.training.students.labels import Cache
from fgnet_plugin.utils.threads import thread_count

_RETRIES = 3


class LabelWorker:
    """Asks the teacher, in a process of its own.

    Args:
        cache: see `Cache`.
        teacher: its file.
        digest: of its weights.
        device: where it computes.
    """

    def __init__(self, cache: Cache, teacher: str, digest: str, device: str) -> None:
        self._cache, self._path, self._digest, self._device = cache, teacher, digest, device
        self._teacher: AUModel | None = None

    def start(self) -> tuple[str, int, int]:
        """Load the teacher; returns the machine, the process and the threads that it computes with."""
        threads = self._cache.threads or 1
        os.environ["FGNET_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
        self._teacher = AUModel(self._path, self._device, fetch=False, weak_aus=True)
        if self._teacher.digest != self._digest:
            raise CheckpointError(f"{self._path} has other weights on {socket.gethostname()} than where the training was begun")
        return socket.gethostname(), os.getpid(), thread_count()

    def label(self, job: LabelJob) -> Outcome:
        """Do a job."""
        assert self._teacher is not None
        done: list[int] = []
        job.run(self._cache, self._teacher, done.append)
        return Outcome("part", frames=sum(done))


def fill_with(workers: int, *, address: str | None = None, gpus: float = 0) -> Fill:
    """Let several processes ask the teacher, through Ray, for `train_student`.

    The faces of a file of the cache are one process's work, and each face is read by itself, so the cache is the same as with
    one process if all compute with as many threads: those of the settings, by default one in each process.

    Args:
        workers: processes.
        address: of a Ray cluster, whose machines see the recordings, the teacher and the work folder under the same paths; by
            default, this machine.
        gpus: of each process.

    Example:
        >>> from fgnet_plugin.training.students import train_student
        >>> train_student("fgnet-bp4d", "recordings/", "student.safetensors", fill=fill_with(4))  # doctest: +SKIP
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")

    def fill(jobs: Sequence[LabelJob], cache: Cache, teacher: AUModel, done: Callable[[int], None]) -> None:
        parts = [Job("label", (replace(job, parts=[part]),)) for job in jobs for part in job.parts]
        cpus = cache.threads or 1
        arguments = (cache, str(teacher.path), teacher.digest, str(teacher.net.device))

        def on_outcome(job: Job, outcome: Outcome) -> list[Job]:
            if outcome.state == "failed":
                recording = job.arguments[0].recording
                raise InputError(f"{'rendered faces' if recording is None else recording.path}: {outcome.reason}")
            done(outcome.frames)
            return []

        with ray_session(address, workers, cpus, gpus, nice=15) as ray:
            remote = RayRemote(ray, LabelWorker, arguments, cpus, gpus)
            Dispatcher(remote, min(workers, len(parts)), _RETRIES).run(parts, on_outcome, lambda: None)

    return fill
