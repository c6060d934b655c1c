"""``make gpu`` without a GPU: what it makes of compute-sanitizer's verdicts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None or shutil.which("timeout") is None, reason="needs make, timeout")


@pytest.mark.parametrize(
    ("verdict", "status", "says"),
    [("exit 0", 0, "up to 1 s"), ("sleep 5", 0, "memcheck was cut off after 1 s: no verdict"), ("exit 9", 2, "up to 1 s")],
)
def test_a_sanitizer_that_runs_out_of_time_is_no_failure(verdict: str, status: int, says: str, tmp_path: Path) -> None:
    sanitizer = tmp_path / "compute-sanitizer"
    sanitizer.write_text(f"#!/bin/sh\n{verdict}\n")
    sanitizer.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = ["make", "gpu", "PYTHON=true", "SANITIZER_SECONDS=1", "WHEELS=none"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert says in done.stdout
    assert "pytest -s tests/gpu" in done.stdout
