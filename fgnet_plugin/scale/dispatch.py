"""Hand out work to worker processes, and survive their death.

Ray would restart actors and repeat their tasks by itself. But an actor that waits for a lost machine waits for ever, and a
clip that kills its process would kill every other after it. So there are no restarts: this loop starts another worker, and
gives the work to one that is there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from fgnet_plugin.errors import InputError, OutputError
from fgnet_plugin.scale.settings import DifferentSettingsError
from fgnet_plugin.scale.work import Outcome

_PATIENCE = 600.0  # seconds for the first worker to be there
_TICK = 1.0  # seconds


@dataclass
class Job:
    """A call of a worker's method."""

    method: str
    arguments: tuple[Any, ...]
    attempts: int = 0
    """How many processes died, or went wrong, with it."""
    reasons: list[str] = field(default_factory=list)


class Remote(Protocol):
    """Starts worker processes: a part of Ray, with a stand-in in tests."""

    def start(self) -> Any:
        """Start a worker; returns its handle."""

    def call(self, worker: Any, method: str, *arguments: Any) -> Any:
        """Call a method; returns a reference to its result."""

    def wait(self, references: list[Any], seconds: float) -> list[Any]:
        """Wait until one is there, at most so long; returns those that are."""

    def result(self, reference: Any) -> Any:
        """Get a result; raises `WorkerLostError`, or what the method raised."""

    def stop(self, worker: Any) -> None:
        """End a worker."""


class WorkerLostError(Exception):
    """The process, or its machine, is gone."""


class Dispatcher:
    """Keeps workers busy.

    Args:
        remote: starts them.
        workers: how many.
        retries: processes that may die with a job before it is given up.
    """

    def __init__(self, remote: Remote, workers: int, retries: int) -> None:
        self._remote, self._count, self._retries = remote, workers, retries
        self._jobs = deque[Job]()
        self._starting: dict[Any, Any] = {}  # reference -> worker
        self._running: dict[Any, tuple[Any, Job]] = {}
        self._idle: list[Any] = []
        self._failed_starts = 0
        self.lost = 0
        """Workers that died."""
        self.threads: set[int] = set()
        """That workers compute with."""

    @property
    def live(self) -> int:
        """Workers that are there."""
        return len(self._running) + len(self._idle)

    def run(
        self, jobs: Iterable[Job], on_outcome: Callable[[Job, Outcome], Iterable[Job]], on_tick: Callable[[], None]
    ) -> None:
        """Do all jobs.

        Args:
            jobs: to do, in this order.
            on_outcome: called with each result; returns jobs that are to be done next.
            on_tick: called about once a second.

        Raises:
            DifferentSettingsError, OutputError: of a worker, at once; and what workers raise when they start.
            RuntimeError: workers die before they have done anything.
        """
        self._jobs = deque(jobs)
        since = time.monotonic()
        try:
            while self._jobs or self._running:
                self._hand_out()
                waiting = [*self._running, *self._starting]
                for reference in self._remote.wait(waiting, _TICK):
                    if reference in self._starting:
                        self._note_start(reference)
                    else:
                        # What follows goes first, so that recordings are finished before others are begun.
                        self._jobs.extendleft(reversed(list(on_outcome(*self._finished(reference)))))
                if self.live:
                    since = time.monotonic()
                elif time.monotonic() - since > _PATIENCE:
                    raise RuntimeError(
                        f"no worker has started for {_PATIENCE:.0f} s: no machine has the CPUs or GPUs it asks for"
                    )
                on_tick()
        finally:
            for worker in [*self._starting.values(), *(worker for worker, _ in self._running.values()), *self._idle]:
                self._remote.stop(worker)

    def _hand_out(self) -> None:
        wanted = min(self._count, len(self._jobs) + len(self._running))
        for _ in range(wanted - self.live - len(self._starting)):
            worker = self._remote.start()
            self._starting[self._remote.call(worker, "start")] = worker
        while self._jobs and self._idle:
            worker, job = self._idle.pop(), self._jobs.popleft()
            self._running[self._remote.call(worker, job.method, *job.arguments)] = worker, job

    def _note_start(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            _, _, threads = self._remote.result(reference)
        except WorkerLostError as error:
            self.lost += 1
            self._failed_starts += 1
            if self._failed_starts >= max(self._retries, self._count):
                raise RuntimeError(f"workers die when they start: {error}") from error
            return
        self._failed_starts = 0
        self.threads.add(threads)
        self._idle.append(worker)

    def _finished(self, reference: Any) -> tuple[Job, Outcome]:
        """Get a job's outcome; one that is to be tried again has the state "failed" only when it is given up."""
        worker, job = self._running.pop(reference)
        try:
            outcome: Outcome = self._remote.result(reference)
            self._idle.append(worker)
            return job, outcome
        except (DifferentSettingsError, OutputError):
            raise
        except InputError as error:  # such as of a file that is gone
            self._idle.append(worker)
            return job, Outcome("failed", str(error))
        except WorkerLostError as error:
            self.lost += 1
            reason = f"its process died ({error})"
        except Exception as error:  # a mistake in this package, or too little memory: another process may do better
            self._remote.stop(worker)
            reason = f"{type(error).__name__}: {error}"
        job.attempts += 1
        job.reasons.append(reason)
        if job.attempts < self._retries:
            self._jobs.append(job)  # after the others, so that it does not kill all workers in a row
            return job, Outcome("again", reason)
        return job, Outcome("failed", f"given up after {job.attempts} attempts: {reason}")


class RayRemote:
    """`Remote` by Ray.

    Args:
        ray: the module, connected.
        make: makes the object whose methods are called, in the worker.
        arguments: of `make`.
        cpus, gpus: of each worker.
    """

    def __init__(self, ray: Any, make: Callable[..., Any], arguments: tuple[Any, ...], cpus: float, gpus: float) -> None:
        self._ray, self._arguments = ray, arguments
        self._class = ray.remote(make).options(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)

    def start(self) -> Any:
        """See `Remote`."""
        return self._class.remote(*self._arguments)

    def call(self, worker: Any, method: str, *arguments: Any) -> Any:
        """See `Remote`."""
        return getattr(worker, method).remote(*arguments)

    def wait(self, references: list[Any], seconds: float) -> list[Any]:
        """See `Remote`."""
        ready, _ = self._ray.wait(references, num_returns=1, timeout=seconds)
        return list(ready)

    def result(self, reference: Any) -> Any:
        """See `Remote`."""
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from None
            raise
        except exceptions.RayError as error:
            raise WorkerLostError(" ".join(str(error).split())) from error

    def stop(self, worker: Any) -> None:
        """See `Remote`."""
        self._ray.kill(worker)
