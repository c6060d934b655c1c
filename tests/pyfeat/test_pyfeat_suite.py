"""py-feat's own tests, with made-up weights and substituted faces: without us, after register(), and on our detector."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HELPERS

SLOW = ("test_fast_detect_mismatch_image_sizes", "test_plot_face_landmarks", "test_fast_detection_and_batching")
DETECTOR = ("test_detector", "test_data", "test_plot", "test_detect_faces_batched", "test_stats")
RECORDED = set((Path(__file__).parent / "pyfeat_suite.txt").read_text().splitlines())
"""Tests of the modules DETECTOR that pass with py-feat's own detector; `test_what_passes_is_as_recorded` compares."""


def start(hub_folder: Path, mode: str, modules: tuple[str, ...], cwd: Path) -> subprocess.Popen[str]:
    """pytest on modules of feat.tests (all, if none are named) in a process of its own."""
    environment = os.environ | {"FGNET_HUB": str(hub_folder), "FGNET_SUITE": mode, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HELPERS), str(HELPERS.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "pyfeat_suite"]
    command += ["--continue-on-collection-errors", "-W", "ignore", "-k", " and ".join(f"not {name}" for name in SLOW)]
    command += ["--pyargs", *([f"feat.tests.{name}" for name in modules] or ["feat.tests"])]
    cwd.mkdir(exist_ok=True)
    return subprocess.Popen(command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def passed(process: subprocess.Popen[str]) -> set[str]:
    output, _ = process.communicate(timeout=900)
    names = {name.rpartition("/")[2] for name in re.findall(r"^PASSED (\S+)", output, re.MULTILINE)}
    assert names, output[-3000:]
    return names


def without_file(names: set[str]) -> set[str]:
    """Of modules that are named one by one, pytest leaves the file out of the names."""
    return {name.partition("::")[2] for name in names}


def check_our_detector(ours: set[str]) -> None:
    assert len(RECORDED) > 40
    assert without_file(ours) >= RECORDED
    # These need FFmpeg's libraries with py-feat's detector; ours decodes with PyAV.
    assert any("test_fast_detect_video" in name for name in ours)
    assert any("test_save_detect" in name for name in ours)


def test_what_passes_with_made_up_weights_passes_with_our_detector(hub_folder: Path, tmp_path: Path) -> None:
    check_our_detector(passed(start(hub_folder, "detector", DETECTOR, tmp_path)))


@pytest.mark.slow
def test_what_passes_is_as_recorded_and_passes_after_register(hub_folder: Path, tmp_path: Path) -> None:
    runs = [start(hub_folder, mode, (), tmp_path / mode) for mode in ("plain", "register")]
    plain, registered = map(passed, runs)
    assert len(plain) > 280
    assert plain <= registered
    assert without_file({name for name in plain if name.startswith(tuple(f"{module}.py" for module in DETECTOR))}) == RECORDED
