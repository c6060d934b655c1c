"""Job scripts for SLURM: an array of machines that know nothing of each other, one Ray cluster of all, or a training."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

_PER_GPU = 4  # workers: on most GPUs, a single one finds faces too slowly to keep it busy


@dataclass(frozen=True)
class SlurmJob:
    """What to ask SLURM for.

    Args:
        command: of Python and this package, such as ``("/home/me/.venv/bin/python", "-m", "fgnet_plugin")``.
        folder: where the script runs.
        tasks: machines, or parts of them.
        cpus, gpus: of each task.
        time: limit of each task, as SLURM writes it.
        workers: of each task; by default one for each core, with GPUs four for each GPU.
        directives: more options of ``sbatch``, such as ``("--partition=gpu", "--mem=64G")``.
    """

    command: Sequence[str]
    folder: str
    tasks: int = 1
    cpus: int = 8
    gpus: int = 0
    time: str = "24:00:00"
    workers: int | None = None
    directives: Sequence[str] = ()

    def array(self, arguments: Sequence[str]) -> str:
        """Write the script of a job array, in which each task reads its share of the recordings.

        Args:
            arguments: of ``fgnet detect``, without those about workers.
        """
        detect = shlex.join([*self.command, "detect", *arguments, *self._per_worker()])
        return self._script(
            [f"--array=1-{self.tasks}", "--output=fgnet-%A_%a.log", *self._task()],
            "# Each task reads its share of the recordings, whenever it is started. Where some ran out of time or failed,\n"
            "# submit this script again: what is done is kept. Another number of tasks is fine, too.",
            f'srun {detect} --workers {self._workers()} --shard "${{SLURM_ARRAY_TASK_ID}}/{self.tasks}"',
        )

    def cluster(self, arguments: Sequence[str], ray: Sequence[str]) -> str:
        """Write the script of a job in which one Ray cluster spans all nodes.

        Args:
            arguments: of ``fgnet detect``, without those about workers.
            ray: command of Ray, such as ``("/home/me/.venv/bin/python", "-m", "ray.scripts.scripts")``.
        """
        detect = shlex.join([*self.command, "detect", *arguments, *self._per_worker()])
        resources = f"--num-cpus={self.cpus} --num-gpus={self.gpus} --object-store-memory=100000000"
        start = f"{shlex.join(ray)} start --block --disable-usage-stats {resources}"
        secret = shlex.join([self.command[0], "-c", "import secrets; print(secrets.token_hex(32))"])
        body = f"""
# Whoever reaches the cluster's ports can have it run any program, unless a token is asked for.
RAY_AUTH_TOKEN="$({secret})"
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0

head="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
address="$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" hostname -I | cut -d ' ' -f 1)"
port=$((20000 + SLURM_JOB_ID % 20000))
folder="/tmp/fgnet-$SLURM_JOB_ID" # on each node's own disk; paths of sockets must be short
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" {start} --head --include-dashboard=false \\
  --node-ip-address="$address" --port="$port" --temp-dir="$folder" &
sleep 20
if ((SLURM_JOB_NUM_NODES > 1)); then
  srun --overlap --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks-per-node=1 --exclude="$head" {start} \\
    --address="$address:$port" &
fi
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" {detect} \\
  --workers {self.tasks * self._workers()} --cluster "$address:$port\""""
        return self._script(
            [f"--nodes={self.tasks}", "--ntasks-per-node=1", "--output=fgnet-%j.log", *self._task(False)],
            "# One Ray cluster on all nodes. Nodes that fail are done without. Submit this script again, and it goes on.",
            body.strip(),
        )

    def train(self, arguments: Sequence[str]) -> str:
        """Write the script of a training; `arguments` are those of ``fgnet train``."""
        resume = [] if "--resume" in arguments else ["--resume"]
        return self._script(
            ["--output=fgnet-train-%j.log", *self._task()],
            "# Where it ran out of time, submit this script again: it goes on.",
            f"srun {shlex.join([*self.command, 'train', *arguments, *resume])}",
        )

    def _workers(self) -> int:
        return self.workers or (min(self.cpus, _PER_GPU * self.gpus) if self.gpus else self.cpus)

    def _per_worker(self) -> list[str]:
        cpus = max(self.cpus // self._workers(), 1)
        return [
            *([f"--gpus-per-worker={self.gpus / self._workers():.3g}", "--device=cuda"] if self.gpus else []),
            *([f"--cpus-per-worker={cpus}"] if cpus > 1 else []),
        ]

    def _task(self, single: bool = True) -> list[str]:
        gpus = [f"--gpus-per-{'task' if single else 'node'}={self.gpus}"] if self.gpus else []
        ntasks = ["--ntasks=1"] if single else []
        return [*ntasks, f"--cpus-per-task={self.cpus}", *gpus, f"--time={self.time}", *self.directives]

    def _script(self, directives: Sequence[str], about: str, body: str) -> str:
        lines = "\n".join(f"#SBATCH {line}" for line in ["--job-name=fgnet", *directives])
        cores = f"export SRUN_CPUS_PER_TASK={self.cpus} # srun does not take this from sbatch"
        return f"#!/bin/bash\n{lines}\n\n{about}\nset -euo pipefail\n{cores}\ncd {shlex.quote(self.folder)}\n{body}\n"
