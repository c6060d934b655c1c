"""Several processes that train together: how many there are, and what is reported when one of them is lost.

torchrun or SLURM start the processes and end all of them where one is lost. Without either, Lightning's launcher starts them.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy

from fgnet_plugin.training.collectives import gathered, is_first, shared_error
from fgnet_plugin.training.config.trainer import Trainer
from fgnet_plugin.utils.text import counted

_LOST = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|timed out waiting|remote process", re.I)


def process_counts(settings: Trainer) -> tuple[int, int]:
    """Processes a machine, and machines.

    Raises:
        ValueError: torchrun or SLURM has started another number of processes than the settings say.
    """
    if TorchElasticEnvironment.detect():
        launcher, per_machine, started = "torchrun", int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    elif SLURMEnvironment.detect():
        launcher, started = "SLURM", int(os.environ["SLURM_NTASKS"])
        per_machine = started // settings.nodes
    else:
        if settings.devices is not None:
            return settings.devices, settings.nodes
        gpus = torch.cuda.device_count() if settings.accelerator in ("auto", "gpu") else 0
        return max(1, gpus), settings.nodes
    devices = settings.devices if settings.devices is not None else per_machine
    if devices * settings.nodes != started:
        raise shared_error(
            f"{launcher} has started {counted(started, 'process', 'processes')}, but trainer.devices is {devices} and "
            f"trainer.nodes {settings.nodes}: "
            f"start {devices * settings.nodes} of them (under SLURM with srun and --ntasks-per-node={devices}), "
            "or --set trainer.devices and trainer.nodes to what is started"
        )
    return devices, settings.nodes


def ddp_arguments(settings: Trainer) -> dict[str, Any]:
    """Arguments for Fabric that say which processes train together. Raises ValueError: see `process_counts`."""
    devices, nodes = process_counts(settings)
    arguments: dict[str, Any] = {"devices": devices, "num_nodes": nodes}
    if devices * nodes > 1:
        arguments["strategy"] = DDPStrategy(
            timeout=timedelta(minutes=settings.timeout_minutes),
            broadcast_buffers=False,  # BatchNorm keeps its own the same, and the generator's noise is large
            gradient_as_bucket_view=True,
        )
    return arguments


def check_same_step(last: Path, begin: int) -> None:
    """Refuses processes that would begin at different steps.

    Args:
        last: the checkpoint that the training goes on from, where there is one.
        begin: the step that this process has found in it, or 0.

    Raises:
        ValueError: processes have found different ones, because they do not share the folder.
    """
    begins = gathered(torch.tensor([begin]))
    if begins.min() != begins.max():
        steps = ", ".join(f"{step:,}" for step in begins.tolist())
        raise shared_error(
            f"{last} is not the same file for all processes, which find {steps} steps in it (0: none): "
            "trainer.out must be a folder that all machines share"
        )


class Stopped(SystemExit):
    """The training was told to end."""


@contextmanager
def report_lost_processes(fabric: Fabric, last: Path) -> Iterator[None]:
    """Says how to go on where the training is stopped by SIGTERM, or one of its processes is lost.

    Args:
        fabric: launched.
        last: where the training's checkpoint is going to be.

    Raises:
        ConnectionError: inside the block, another process ended or did not answer.
        SystemExit: with status 143, after SIGTERM.
    """

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        for child in getattr(fabric.strategy.launcher, "procs", ()):
            child.terminate()
        raise Stopped(128 + signal.SIGTERM)

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if in_main_thread else None
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
            raise
        raise ConnectionError(
            "another process of this training ended, or did not answer within trainer.timeout_minutes "
            f"({str(error).splitlines()[0]}); where it could say why, that is above. {_how_to_go_on(last)}"
        ) from error
    except Stopped:
        if is_first():
            why = ", or the launcher because another process ended" if fabric.world_size > 1 else ""
            print(f"error: stopped by SIGTERM (from the batch system or by hand{why}). {_how_to_go_on(last)}", file=sys.stderr)
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def _how_to_go_on(last: Path) -> str:
    return f"--resume goes on from {last}" if last.is_file() else "There was no checkpoint yet: start anew"
