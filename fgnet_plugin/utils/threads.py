"""Set the number of threads and the gradient mode for a while; afterwards they are as the user left them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def core_count() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count() -> int:
    """Choose the number of threads that FG-Net computes with on the CPU.

    Inside of `one_thread_each` it is 1. Else ``$FGNET_NUM_THREADS`` where it is set. Else torch's own number, unless that is
    the 1 which py-feat asks for when it is imported (``OMP_NUM_THREADS=1``, against a clash of OpenMP libraries on macOS):
    then one for each core.

    Raises:
        ValueError: the variable is no positive number.
    """
    if _pools:
        return 1
    wanted = os.environ.get("FGNET_NUM_THREADS")
    if wanted is not None:
        if not wanted.isdigit() or int(wanted) < 1:
            raise ValueError(f"FGNET_NUM_THREADS must be a positive number, got {wanted!r}")
        return int(wanted)
    now = torch.get_num_threads()
    return core_count() if now == 1 and _pinned_by_feat() else now


def _pinned_by_feat() -> bool:
    """Tell whether py-feat, not the user, set OMP_NUM_THREADS to 1."""
    if "feat" not in sys.modules or os.environ.get("OMP_NUM_THREADS") != "1":
        return False
    try:  # the environment that the process was started with; Linux only
        started_with = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return True
    return not any(line.startswith(b"OMP_NUM_THREADS=") for line in started_with)


_pools: list[int] = []  # torch's threads before each `one_thread_each` that has not ended


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let torch compute with one thread in each thread of a pool; `torch_threads` does nothing meanwhile, in any thread.

    torch's number of threads is the whole process's, so the threads of a pool must not set it by themselves.
    """
    _pools.append(torch.get_num_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        before = _pools.pop()
        if not _pools:
            torch.set_num_threads(before)


@contextmanager
def torch_threads(count: int | None = None) -> Iterator[None]:
    """Let torch compute with that many threads, by default `thread_count`; afterwards with as many as before."""
    if _pools:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(thread_count() if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def gradients_kept() -> Iterator[None]:
    """Restore the gradient mode afterwards: py-feat's RetinaFace turns gradients off for the whole thread."""
    before = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(before)


def stop_opencv_threads() -> None:
    """Make OpenCV do without threads in this process from now on, where it is loaded: before worker processes are forked.

    Its threads do not survive a fork, and a worker that waits for them waits for ever.
    """
    opencv = sys.modules.get("cv2")
    if opencv is not None:
        opencv.setNumThreads(1)  # ends those that there are; 0 would keep them waiting


def single_threaded(worker: int) -> None:
    """Make a loader's worker process use one thread, as there are several of them and the trainer needs the cores.

    The process that starts it has called `stop_opencv_threads`.
    numba is left alone: the renderer's loops use no threads of it, and asking it to limit them starts them, which hangs in a
    process forked from one that has used OpenMP.
    """
    torch.set_num_threads(1)
    try:
        import cv2

        cv2.setNumThreads(1)
    except ImportError:
        pass
