"""``fgnet slurm``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fgnet_plugin.cli.detect import detect
from fgnet_plugin.cli.detect_dataset import is_dataset

_OURS = ("workers", "cluster", "shard", "gpus_per_worker")  # what the script says itself


def slurm(
    arguments: Annotated[
        list[str], typer.Argument(help="Inputs and options of fgnet detect; or train, and the arguments of fgnet train.")
    ],
    tasks: Annotated[int, typer.Option(min=1, help="Machines, or parts of them, that share the recordings.")] = 1,
    cpus_per_task: Annotated[int, typer.Option(min=1, help="Cores of each.")] = 8,
    gpus_per_task: Annotated[int, typer.Option(min=0, help="GPUs of each.")] = 0,
    workers_per_task: Annotated[
        int | None, typer.Option(min=1, help="Processes of each; by default one a core, with GPUs four a GPU.")
    ] = None,
    time: Annotated[str, typer.Option(help="Limit of each, as SLURM writes it.")] = "24:00:00",
    sbatch: Annotated[
        list[str] | None, typer.Option(help="Another option of sbatch, such as --sbatch=--partition=gpu; several times.")
    ] = None,
    shared_cluster: Annotated[
        bool, typer.Option("--shared-cluster", help="One Ray cluster on all machines, instead of an array of jobs.")
    ] = False,
) -> None:
    """A job script for SLURM, on standard output.

    For example: fgnet slurm clips/ --out corpus/ --offline --tasks 16 --gpus-per-task 1 > job.sh
    """
    from fgnet_plugin.scale.slurm import SlurmJob

    python, folder = sys.executable, str(Path.cwd())
    command = (python, "-m", "fgnet_plugin")
    job = SlurmJob(command, folder, tasks, cpus_per_task, gpus_per_task, time, workers_per_task, tuple(sbatch or ()))
    if arguments[0] == "train":
        script = job.train(arguments[1:])
    else:
        _check(arguments)
        ray = (python, "-m", "ray.scripts.scripts")
        script = job.cluster(arguments, ray) if shared_cluster else job.array(arguments)
    typer.echo(script, nl=False)


def _check(arguments: list[str]) -> None:
    """Raise a usage error for what ``fgnet detect`` would not take: now, and not when the job is started."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(detect)
    values = typer.main.get_command(app).make_context("fgnet detect", list(arguments)).params
    if not is_dataset(values["out"], values):
        raise typer.BadParameter("--out must be a folder, for a dataset")
    if given := [name for name in _OURS if values[name] is not None]:
        raise typer.BadParameter(f"--{given[0].replace('_', '-')} is up to the script; see fgnet slurm --help")
