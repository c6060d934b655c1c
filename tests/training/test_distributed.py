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
from torch import nn
from toy_training import assert_same_training, settings, snapshots_in, toy_corpus

# So small a rate that weights, and with them the losses, do not drift apart by rounding; gradients are what is compared.
RATE = 1e-7
TIMEOUT = 240
SETUP = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
TWO = "trainer.devices=2"
KILLER = """
import os, signal
from fgnet_plugin.training.stages.detector import DetectorStage
step, rank, kind = DetectorStage.training_step, *os.environ["KILL"].split()
def training_step(self, batch):
    if self.step == 7 and str(self.sampler.rank) == rank:
        os.kill(os.getpid(), signal.Signals[kind])
    return step(self, batch)
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
    variables = os.environ | SETUP | environment
    return subprocess.run([sys.executable, *command], env=variables, capture_output=True, text=True, timeout=TIMEOUT)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def srun(*commands: list[str]) -> list[tuple[int, str, str]]:
    """Runs processes as SLURM would, on one machine: (status, output, errors) of each."""
    common = {"SLURM_NTASKS": str(len(commands)), "SLURM_NTASKS_PER_NODE": str(len(commands)), "SLURM_JOB_ID": "1234"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "SLURM_NODEID": "0", "SLURM_JOB_NAME": "train"}
    processes = []
    for rank, command in enumerate(commands):
        environment = os.environ | SETUP | common | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen([sys.executable, "-m", "fgnet_plugin", *command], env=environment, **pipes))
    try:
        outputs = [process.communicate(timeout=TIMEOUT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def log(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "metrics.csv").open()))


def assert_close_trainings(one: Path, other: Path) -> None:
    """The same but for rounding: metrics in the log, weights, BatchNorm's statistics, averaged gradients."""
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


def train(toy: Path, out: Path, *overrides: str, resume: bool = False) -> Path:
    """Trains in this process."""
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    train_detector(read_detector(str(toy / "settings.yaml"), [f"trainer.out={out}", *overrides]), resume=resume)
    return out


@pytest.fixture(scope="module")
def alone(toy: Path) -> Path:
    """Trained by one process."""
    return train(toy, toy / "alone")


@pytest.fixture(scope="module")
def two(toy: Path) -> Path:
    """Trained by two processes."""
    done = run("-m", "fgnet_plugin", *arguments(toy, toy / "two", TWO, "trainer.tensorboard=true"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(set(lines)) == len(lines), done.stdout  # one process prints
    assert lines[-2].startswith("best validation: auc")
    assert lines[-1] == str(toy / "two" / "fgnet.safetensors")
    assert "GLOBAL_RANK" not in done.stderr
    return toy / "two"


@pytest.fixture(scope="module")
def killed(toy: Path) -> Path:
    """Begun by torchrun's two processes, of which the second was killed within step 8, after the checkpoint of step 6."""
    done = run(*TORCHRUN, str(toy / "killer.py"), *arguments(toy, toy / "killed", TWO), KILL="1 SIGKILL")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "another process" in lines[0]
    assert f"--resume goes on from {toy / 'killed' / 'last.ckpt'}" in lines[0]
    assert torch.load(toy / "killed" / "last.ckpt", weights_only=True)["global_step"] == 6
    return toy / "killed"


@pytest.mark.slow
def test_two_processes_train_as_one_does(alone: Path, two: Path) -> None:
    assert_close_trainings(alone, two)
    assert not list(two.glob(".*"))
    from fgnet_plugin.checkpoints.fgnet import verify

    one, other = (verify(folder / "fgnet.safetensors").training for folder in (alone, two))
    assert one["recipe"] == other["recipe"]


def test_tensorboard_is_given_what_the_log_is(two: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(two / "tensorboard"))
    found.Reload()
    for name in ("loss", "lr", "val_loss", "val_auc", "val_f1/AU01"):
        expected = {int(row["step"]): pytest.approx(float(row[name]), rel=1e-6) for row in log(two) if row[name]}
        assert {event.step: event.value for event in found.Scalars(name)} == expected
    assert len(list((two / "tensorboard").glob("events*"))) == 1


def test_tensorboard_forgets_what_is_trained_again(alone: Path, toy: Path, tmp_path: Path) -> None:
    """What was written after the checkpoint that a training goes on from."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from torch.utils.tensorboard import SummaryWriter

    out = shutil.copytree(alone, tmp_path / "out")
    with SummaryWriter(str(out / "tensorboard")) as writer:
        for step in (9, 10, 11):
            writer.add_scalar("loss", step, step)
    train(toy, out, "trainer.tensorboard=true", resume=True)  # is at its end already
    found = events.EventAccumulator(str(out / "tensorboard"))
    found.Reload()
    assert [event.step for event in found.Scalars("loss")] == [9, 10]


@pytest.mark.slow
def test_one_goes_on_with_what_two_began(killed: Path, alone: Path, toy: Path, tmp_path: Path) -> None:
    assert_close_trainings(alone, train(toy, shutil.copytree(killed, tmp_path / "out"), resume=True))


@pytest.mark.slow
def test_torchrun_loses_a_process_and_slurm_goes_on(killed: Path, two: Path, toy: Path, tmp_path: Path) -> None:
    """Two processes that were never interrupted give the same, bit for bit."""
    out = shutil.copytree(killed, tmp_path / "out")
    command = [*arguments(toy, out, TWO), "--resume"]
    (status, said, errors), (other_status, other_said, _) = srun(command, command)
    assert (status, other_status) == (0, 0), errors
    assert said.count("going on after step 6") == 1
    assert other_said == ""
    assert_same_training(out, two)


@pytest.mark.slow
def test_torchrun_starts_the_command(two: Path, toy: Path, tmp_path: Path) -> None:
    done = run(*TORCHRUN, "-m", "fgnet_plugin", *arguments(toy, tmp_path, "trainer.devices=null"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fgnet.safetensors") == 1
    assert_same_training(tmp_path, two)


@pytest.mark.slow
def test_a_damaged_picture_ends_all_processes(toy: Path, tmp_path: Path) -> None:
    """Only the first reads pictures to their end; the others do not wait for it."""
    shutil.copytree(toy / "Toy", tmp_path / "Toy")
    image = next((tmp_path / "Toy" / "aligned_images" / "S1").iterdir())
    image.write_bytes(image.read_bytes()[:-200])
    labels = shutil.copy(toy / "labels0.csv", tmp_path)
    done = run(*TORCHRUN, "-m", "fgnet_plugin", *arguments(toy, tmp_path / "out", TWO, f"data.csv.train={labels}"))
    assert done.returncode != 0
    assert done.stderr.count(f"{image}: not an image, or damaged") == 1


@pytest.mark.slow
def test_sigterm_ends_all_processes(toy: Path, tmp_path: Path) -> None:
    found = run(str(toy / "killer.py"), *arguments(toy, tmp_path, TWO), KILL="0 SIGTERM")
    assert found.returncode == 128 + signal.SIGTERM
    assert re.search(r"error: stopped by SIGTERM.*--resume goes on from", found.stderr)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6


@pytest.mark.slow
@pytest.mark.slow
def test_folders_that_are_not_shared_are_found_out(killed: Path, toy: Path, tmp_path: Path) -> None:
    commands = [[*arguments(toy, out, TWO), "--resume"] for out in (killed, tmp_path)]
    (status, _, errors), (other_status, *_) = srun(*commands)
    assert (status, other_status) == (1, 1)
    assert "find 6, 0 steps in it (0: none): trainer.out must be a folder that all machines share" in errors


def test_a_batch_that_cannot_be_divided(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"8 faces can't be divided among 1 process with trainer.accumulate 3.*multiple of 3"):
        train(toy, tmp_path, "trainer.accumulate=3")
    assert not (tmp_path / "last.ckpt").exists()


@pytest.fixture
def no_batch_statistics(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """BatchNorm that always uses its running statistics: the one thing that micro-batches change."""
    monkeypatch.setattr(nn.BatchNorm2d, "train", lambda self, mode=True: nn.Module.train(self, False))
    return


def test_micro_batches_add_up_to_a_step(no_batch_statistics: None, toy: Path, tmp_path: Path) -> None:
    """All at once; in 4 parts, with unknown labels; a step or two in 4 parts, the others in 2: the same gradients."""
    whole = train(toy, tmp_path / "1")
    with snapshots_in(tmp_path) as after:
        four = train(toy, tmp_path / "4", "trainer.accumulate=4")
    assert sorted(after) == [2, 4, 5, 6, 8, 10]
    assert_close_trainings(whole, four)
    assert_same_training(train(toy, after[4], "trainer.accumulate=4", resume=True), four)
    assert_close_trainings(whole, train(toy, after[2], "trainer.accumulate=2", resume=True))


def test_mirroring_does_not_depend_on_who_shares_a_step(toy: Path) -> None:
    from toy_training import toy_stage

    drawn = []
    for parts, accumulate in [(1, 1), (2, 1), (2, 2)]:
        values = torch.zeros(accumulate, 8 // parts // accumulate, parts)
        for rank in range(parts):
            stage = toy_stage(toy)
            stage.sampler.divide(parts, rank, accumulate)
            for k in range(accumulate):
                stage.begin_micro_batch(k)
                values[k, :, rank] = stage.uniform(values.shape[1])
        drawn.append(values.flatten())
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    assert len(drawn[0].unique()) == 8


def test_each_part_of_a_step_has_its_own_dropout(toy: Path) -> None:
    from toy_training import toy_stage

    stage, first = toy_stage(toy), []
    for rank in range(2):
        for k in range(2):
            stage.sampler.divide(2, rank, 2)
            stage.begin_micro_batch(k)
            first.append(torch.rand(()).item())
    assert len(set(first)) == 4
