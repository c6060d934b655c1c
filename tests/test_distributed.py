"""Training with several processes and in micro-batches: the same result as one process, and what happens when one is lost."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch
from test_training import assert_same_training, settings, toy_corpus
from torch import nn

# So small a rate that weights, and with them the losses, do not drift apart by rounding; gradients are what is compared.
RATE = 1e-7
TIMEOUT = 240
KILLER = """
import os, signal
from fgnet_plugin.training.detector_stage import DetectorStage
step, rank, kind = DetectorStage.training_step, *os.environ["KILL"].split()
def training_step(self, batch, batch_idx):
    if self.global_step == 7 and str(self.global_rank) == rank:
        os.kill(os.getpid(), signal.Signals[kind])
    return step(self, batch, batch_idx)
DetectorStage.training_step = training_step
from fgnet_plugin.cli import main
main()
"""


def unknown_labels(path: Path) -> None:
    """Makes labels unknown: none of some steps' halves, nearly all of others; rows are shuffled, which makes it uneven."""
    rows = list(csv.reader(path.open()))
    for i, row in enumerate(rows[1:]):
        row[2:] = ["9" if (i * (j + 3)) % 7 < 2 * j else label for j, label in enumerate(row[2:])]
    csv.writer(path.open("w", newline="")).writerows(rows)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus in which labels are missing, settings without dropout, and a script that kills a process."""
    folder = tmp_path_factory.mktemp("toy")
    unknown_labels(toy_corpus(folder))
    settings(
        folder,
        model={"architecture": {"heatmap_size": 16, "dropout": 0.0}},
        optimiser={"lr": RATE},
        trainer={"log_every": 1},
        data={"flip": True},
    )
    (folder / "killer.py").write_text(KILLER)
    return folder


def arguments(toy: Path, out: Path, *overrides: str) -> list[str]:
    """The command's arguments after ``fgnet``."""
    changes = chain.from_iterable(("--set", override) for override in (f"trainer.out={out}", *overrides))
    return ["train", "detector", "--config", str(toy / "settings.yaml"), *changes]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with a time limit: what hangs fails."""
    one_thread = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *command], env=os.environ | one_thread | environment, capture_output=True, text=True, timeout=TIMEOUT
    )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def srun(*commands: list[str]) -> list[tuple[int, str, str]]:
    """Runs processes as SLURM would, on one machine: (status, output, errors) of each."""
    common = {"SLURM_NTASKS": str(len(commands)), "SLURM_NTASKS_PER_NODE": str(len(commands)), "SLURM_JOB_ID": "1234"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "SLURM_NODEID": "0", "SLURM_JOB_NAME": "train"}
    common |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | common | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, command in enumerate(commands)
    ]
    try:
        return [(*process.communicate(timeout=TIMEOUT), process.returncode)[-1:] + process_output for process, process_output in ()]
    finally:
        for process in processes:
            process.kill()


def log(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "metrics.csv").open()))


def assert_close_trainings(one: Path, other: Path) -> None:
    """The same but for rounding: figures in the log, weights, BatchNorm's statistics, averaged gradients."""
    rows, others = log(one), log(other)
    assert [row["step"] for row in rows] == [row["step"] for row in others]
    for row, of_other in zip(rows, others, strict=True):
        for name, text in row.items():
            tolerance = 1e-4 if "loss" in name else 0.03  # an AUC of a dozen faces jumps where two of them change places
            assert (text == "") == (of_other[name] == "")
            assert not text or float(of_other[name]) == pytest.approx(float(text), rel=tolerance, nan_ok=True), name
    first, second = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other))
    for name, tensor in first["state_dict"].items():
        assert (tensor.float() - second["state_dict"][name]).norm() <= 1e-4 * tensor.float().norm() + 1e-5, name
    moments = [[s["exp_avg"] for s in c["optimizer_states"][0]["state"].values()] for c in (first, second)]
    wrong = torch.stack([(a - b).square().sum() for a, b in zip(*moments, strict=True)]).sum().sqrt()
    assert wrong < 3e-3 * torch.stack([a.square().sum() for a in moments[0]]).sum().sqrt()
