"""Several processes that train together: how many there are, what they tell each other, and what happens when one is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from fgnet_plugin.training.collectives import gathered, rank_of, shared_error
from fgnet_plugin.training.config.detector import Trainer
from fgnet_plugin.training.engine.sync_batchnorm import SyncNorm

_LOST = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|timed out waiting|remote process", re.I)
_GRACE = 5.0  # seconds in which a process that fails with the others' says why itself


def process_counts(settings: Trainer) -> tuple[int, int]:
    """Processes a machine, and machines.

    Raises:
        ValueError: torchrun or SLURM has started another number of processes than the settings say.
    """
    if TorchElasticEnvironment.detect():
        launcher, here, started = "torchrun", int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    elif SLURMEnvironment.detect():
        launcher, started = "SLURM", int(os.environ["SLURM_NTASKS"])
        here = started // settings.nodes
    else:
        if settings.devices is not None:
            return settings.devices, settings.nodes
        gpus = torch.cuda.device_count() if settings.accelerator in ("auto", "gpu") else 0
        return max(1, gpus), settings.nodes
    devices = settings.devices if settings.devices is not None else here
    if devices * settings.nodes != started:
        raise shared_error(
            f"{launcher} has started {started} processes, but trainer.devices is {devices} and trainer.nodes {settings.nodes}: "
            f"start {devices * settings.nodes} of them (under SLURM with srun and --ntasks-per-node={devices}), "
            "or --set trainer.devices and trainer.nodes to what is started"
        )
    return devices, settings.nodes


def together(settings: Trainer) -> dict[str, Any]:
    """Arguments for Lightning's trainer that say which processes train together. Raises ValueError: see `process_counts`."""
    devices, nodes = process_counts(settings)
    plugins: list[Any] = []
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        # Lightning would write checkpoints of its own at SLURM's signal, and have them win over ours.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    arguments: dict[str, Any] = {"devices": devices, "num_nodes": nodes, "plugins": plugins}
    if devices * nodes > 1:
        plugins.append(SyncNorm())
        arguments["strategy"] = _Parallel(
            timeout=timedelta(minutes=settings.timeout_minutes),
            broadcast_buffers=False,  # `SyncNorm` keeps them the same, and the generator's noise is large
            gradient_as_bucket_view=True,
        )
    return arguments


class _Parallel(DDPStrategy):
    """DDP; a stage that optimises by hand is left to itself, for it averages its gradients where it needs to."""

    def configure_ddp(self) -> None:
        if self.lightning_module is None or self.lightning_module.automatic_optimization:
            super().configure_ddp()


class Processes(pl.Callback):
    """Checks that all processes begin at the same step, gives each its threads, and lets SIGTERM end them in an orderly way.

    Args:
        last: the checkpoint that the training goes on from, where there is one.
        begin: its step, or 0.
        threads: of each process; none: Lightning's choice.
    """

    def __init__(self, last: Path, begin: int, threads: int | None) -> None:
        self.last, self.begin, self.threads = last, begin, threads

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Before anything is loaded."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        found = gathered(torch.tensor([self.begin]))
        if found.min() != found.max():
            steps = ", ".join(f"{step:,}" for step in found.tolist())
            raise shared_error(
                f"{self.last} is not the same file for all processes, which find {steps} steps in it (0: none): "
                "trainer.out must be a folder that all machines share"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """In place of Lightning's handler, which has the processes exchange messages inside it, and ends with status 0."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: _stop(_children(trainer)))


class Stopped(SystemExit):
    """The training was told to end."""


def _stop(children: list[subprocess.Popen[bytes]]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    for child in children:
        child.terminate()
    raise Stopped(128 + signal.SIGTERM)


def _children(trainer: pl.Trainer) -> list[subprocess.Popen[bytes]]:
    """The processes that this one has started to train with it."""
    return list(getattr(trainer.strategy.launcher, "procs", ()))


@contextmanager
def watched(trainer: pl.Trainer, last: Path) -> Iterator[None]:
    """Has a training end, with words that say so, when one of its processes is lost.

    Args:
        trainer: about to run.
        last: where its checkpoint is going to be.

    Raises:
        ConnectionError: inside the block, another process ended or did not answer.
        SystemExit: with status 143, after SIGTERM.
    """
    ended, well = threading.Event(), False
    if trainer.world_size > 1:
        threading.Thread(target=_watch, args=(trainer, last, ended), name="watch-processes", daemon=True).start()
    try:
        yield
        well = True
    except RuntimeError as error:
        if trainer.world_size == 1 or not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
            raise
        raise ConnectionError(_lost(last, str(error).splitlines()[0])) from error
    except Stopped:
        if rank_of() == 0:
            why = ", or the launcher because another process ended" if trainer.world_size > 1 else ""
            print(f"error: stopped by SIGTERM (from the batch system or by hand{why}). {_go_on(last)}", file=sys.stderr)
        raise
    finally:
        ended.set()
        if not well:
            _end(_children(trainer))


def _watch(trainer: pl.Trainer, last: Path, ended: threading.Event) -> None:
    """Ends this process where those that belong to it are gone, and it has not noticed: on GPUs it would wait for them."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    launched = isinstance(environment, LightningEnvironment) and trainer.local_rank > 0
    parent = os.getppid()
    while not ended.wait(0.5):
        _disarm()
        children = _children(trainer)
        if any(child.poll() for child in children) or (launched and os.getppid() != parent):
            if ended.wait(_GRACE):
                return
            print(f"error: {_lost(last, 'it is gone')}", file=sys.stderr, flush=True)
            _end(children)
            os._exit(1)


def _disarm() -> None:
    """Lightning's own observer kills this process with SIGKILL, before it can say why."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            vars(thread)["_child_processes"] = []


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Waits for processes to end on their own, then kills them."""
    until = time.monotonic() + _GRACE
    for child in children:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()


def _lost(last: Path, found: str) -> str:
    return (
        f"another process of this training ended, or did not answer within trainer.timeout_minutes ({found}); "
        f"where it could say why, that is above. {_go_on(last)}"
    )


def _go_on(last: Path) -> str:
    return f"--resume goes on from {last}" if last.is_file() else "There was no checkpoint yet: start anew"
