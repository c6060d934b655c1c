"""Job scripts for SLURM: what shellcheck says, and what they run, with stand-ins for SLURM's commands; never on real SLURM."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from dataset_checks import environment_of_workers  # noqa: F401  (a fixture)
from photos import feat_path
from typer.testing import CliRunner

from fgnet_plugin.cli.app import app
from fgnet_plugin.scale import read_dataset, status

SRUN = """#!/bin/bash
# A stand-in for srun: runs the command once, on this machine.
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = "#!/bin/bash\necho localhost\n"
HOSTNAME = "#!/bin/bash\necho 127.0.0.1\n"


def script(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["slurm", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def run(text: str, folder: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run a script with stand-ins."""
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    for name, content in (("srun", SRUN), ("scontrol", SCONTROL), ("hostname", HOSTNAME)):
        (commands / name).write_text(content)
        (commands / name).chmod(0o755)
    (folder / "job.sh").write_text(text)
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])}
    environment |= {name: str(value) for name, value in variables.items()}
    return subprocess.run(["bash", "job.sh"], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("clips/", "--out", "corpus/", "--offline", "--tasks", "16", "--gpus-per-task", "1"),
        ("it's here", "--out", "my corpus", "--tasks", "2", "--sbatch=--partition=gpu"),
        ("clips/", "--out", "corpus/", "--tasks", "4", "--shared-cluster", "--gpus-per-task", "2"),
        ("train", "detector", "--config", "claims", "--gpus-per-task", "4"),
    ],
)
def test_shellcheck_finds_nothing(arguments: tuple[str, ...], tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    (tmp_path / "job.sh").write_text(script(*arguments))
    done = subprocess.run([shellcheck, tmp_path / "job.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_a_script_asks_for() -> None:
    lines = script("clips/", "--out", "corpus/", "--tasks", "16", "--gpus-per-task", "1", "--time", "1:00:00").splitlines()
    assert {"#SBATCH --array=1-16", "#SBATCH --gpus-per-task=1", "#SBATCH --time=1:00:00"} <= set(lines)
    assert lines[-1].startswith(f"srun {sys.executable} -m fgnet_plugin detect clips/ --out corpus/ --gpus-per-worker=0.25 ")
    assert lines[-1].endswith(' --workers 4 --shard "${SLURM_ARRAY_TASK_ID}/16"')
    training = script("train", "detector", "--config", "claims").splitlines()
    assert training[-1].endswith("-m fgnet_plugin train detector --config claims --resume")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("clips/", "--out", "fex.csv"), "--out must be a folder"),
        (("clips/", "--out", "corpus/", "--offlin"), "No such option: --offlin"),
        (("clips/", "--out", "corpus/", "--workers", "3"), "--workers is up to the script"),
    ],
)
def test_wrong_usage_is_said_at_once(arguments: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(app, ["slurm", *arguments])
    assert done.exit_code == 2
    assert says in done.output


@pytest.mark.slow
def test_a_job_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks fill one dataset; a third submission finds all done."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    for i in range(4):
        shutil.copy(feat_path("single_face.jpg"), tmp_path / "clips" / f"{i}.jpg")
    shared = "--tasks", "2", "--relative-to", "."  # names below the current folder: shared alike wherever it is
    text = script("clips", "--out", "corpus", "--offline", "--cpus-per-task", "1", *shared)
    for task in (1, 2, 1):
        done = run(text, tmp_path, SLURM_ARRAY_TASK_ID=task)
        assert done.returncode == 0, done.stderr
    assert "of them before" in done.stdout
    assert status(tmp_path / "corpus").done == 4
    assert read_dataset(tmp_path / "corpus")["AU12"].nunique() == 1


@pytest.mark.slow
def test_a_shared_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own processes, of one node; without the token, nobody gets in."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.chdir(tmp_path)
    shutil.copy(feat_path("single_face.jpg"), tmp_path)
    arguments = ("single_face.jpg", "--out", "corpus", "--offline", "--shared-cluster", "--cpus-per-task", "1")
    begin, end = script(*arguments).rsplit("srun", 1)
    enter = """-c "import ray; ray.init('$address:$port')" && echo "an intruder is in"\n"""
    attempt = f"env -u RAY_AUTH_TOKEN {sys.executable} {enter}"
    done = run(f"{begin}{attempt}srun{end}", tmp_path, SLURM_JOB_NODELIST="x", SLURM_JOB_ID=os.getpid(), SLURM_JOB_NUM_NODES=1)
    assert done.returncode == 0, done.stderr
    assert "intruder" not in done.stdout
    assert "AuthenticationError" in done.stderr
    assert pd.DataFrame(read_dataset(tmp_path / "corpus"))["AU12"].notna().all()
