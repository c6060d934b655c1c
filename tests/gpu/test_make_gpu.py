"""``make gpu`` without a GPU: what it makes of compute-sanitizer's verdicts, and that a few packages suffice for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HELPERS

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


def test_a_few_packages_suffice() -> None:
    """All that `make gpu` runs is imported, a network is loaded, and training is skipped, with little beside torch."""
    for module in ("cuda.core", "lightning", "feat"):
        pytest.importorskip(module)
    code = """
import sys
from only_packages import refuse_other_packages

packages = "torch safetensors scikit-image lightning pandas pytest pytest-benchmark cuda-core"
others = refuse_other_packages(*packages.split())
assert {"platformdirs", "kornia", "gdown", "huggingface_hub", "feat", "pydantic"} <= others, others
import pytest

benchmarks, tests, *options = sys.argv[1:]
status = pytest.main([*options, "-m", "gpu", "-k", "small_network or adam or short_training", tests])
sys.path.insert(0, benchmarks)
import gpu, gpu_kernels, gpu_count

print(status, others & set(sys.modules))
"""
    environment = os.environ | {
        "FGNET_DEVICE": "cpu",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join([str(HELPERS), str(ROOT)]),
    }
    options = ["-q", "-p", "no:cacheprovider", "-p", "pytest_benchmark.plugin"]
    command = [sys.executable, "-c", code, str(ROOT / "tests" / "benchmarks"), str(ROOT / "tests" / "gpu"), *options]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 passed, 3 skipped" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 set()"
