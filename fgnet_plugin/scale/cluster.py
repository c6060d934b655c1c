"""Start Ray on this machine, or join a cluster: never one that nobody asked for, and never open to others on the network."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fgnet_plugin.scale.layout import is_running
from fgnet_plugin.utils.threads import core_count

_PREFIX = "fgnet-ray-"
_NICE = "RAY_worker_niceness"  # as Ray spells it
_LONGEST = 40  # letters of a temporary folder: the paths of sockets in it may have 107
_STORE = 100_000_000  # bytes of memory for what goes through Ray: little, as neither frames nor rows do


@contextmanager
def ray_session(address: str | None, workers: int, cpus: float, gpus: float, nice: int) -> Iterator[Any]:
    """Connect to Ray, and disconnect at the end; gives the module `ray`.

    Args:
        address: of a cluster, or "auto" for ``$RAY_ADDRESS`` or one on this machine; None starts Ray on this machine, for this
            process alone: it listens on free ports, and does what it is asked only by those who know a random token.
        workers, cpus, gpus: how many workers it is for, and what each takes.
        nice: of the workers, where Ray is started, unless this environment variable of Ray says otherwise.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        RuntimeError: this process is connected to Ray already.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        raise RuntimeError("this process is connected to Ray already: call ray.shutdown() before, or leave this to fgnet")
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address is not None:
        ray = _ray()
        ray.init(address=address, **quiet)
        try:
            yield ray
        finally:
            ray.shutdown()  # of this process's connection
        return
    folder = _temporary_folder()
    nice = int(os.environ.get(_NICE, nice))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with _environment(token | {"RAY_USAGE_STATS_ENABLED": "0", _NICE: str(nice)}):
        try:
            ray = _ray()
            ray.init(
                address="local",
                num_cpus=max(int(workers * cpus), 1),
                num_gpus=None if gpus else 0,
                include_dashboard=False,
                object_store_memory=_STORE,
                _temp_dir=str(folder),
                **quiet,
            )
            yield ray
        finally:
            if "ray" in sys.modules:
                sys.modules["ray"].shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def worker_count(address: str | None, cpus: float, gpus: float) -> int:
    """Count the workers that this machine has room for; see `ray_session`."""
    by_cpus = int(core_count() / cpus) if cpus else sys.maxsize
    by_gpus = int(torch.cuda.device_count() / gpus) if gpus else sys.maxsize
    return max(min(by_cpus, by_gpus), 1)


def cluster_worker_count(ray: Any, cpus: float, gpus: float) -> int:
    """Count the workers that a cluster has room for now."""
    free = ray.available_resources()
    rooms = [free.get(name, 0) / each for name, each in (("CPU", cpus), ("GPU", gpus)) if each]
    return max(int(min(rooms, default=1)), 1)


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('Ray is not installed; run: pip install "fgnet-plugin[scale]"', name="ray") from error
    raylet: Any = ray._raylet
    raylet.Config.initialize("")  # what the environment says now, also where Ray was imported or used before
    raylet.AuthenticationTokenLoader.instance().reset_cache()
    return ray


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _temporary_folder() -> Path:
    """Make a folder on this machine's own disk, and remove those of processes that were killed."""
    place = Path(tempfile.gettempdir())
    if len(str(place)) > _LONGEST:
        place = Path("/tmp")
    for left in place.glob(f"{_PREFIX}*-*"):
        number = re.match(rf"{_PREFIX}(\d+)-", left.name)
        if number and not is_running(int(number[1])):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
