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
QUICK = (
    "test_init",
    "test_fast_init_with_wrongmodelname",
    "test_fast_nofile",
    "test_fast_detect_single_img_no_face",
    "test_fast_detect_single_img_single_face",
    "test_fast_detect_with_alpha",
    "test_detect_tensor",
)
"""Of feat.tests.test_detector."""


def start(hub_folder: Path, mode: str, cwd: Path, modules: tuple[str, ...] = (), only: str = "") -> subprocess.Popen[str]:
    """pytest on modules of feat.tests (all, if none are named) in a process of its own; `only`: as pytest's -k."""
    environment = os.environ | {"FGNET_HUB": str(hub_folder), "FGNET_SUITE": mode, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HELPERS), str(HELPERS.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "pyfeat_suite"]
    only = only or " and ".join(f"not {name}" for name in SLOW)
    command += ["--continue-on-collection-errors", "-W", "ignore", "-k", only]
    command += ["--pyargs", *([f"feat.tests.{name}" for name in modules] or ["feat.tests"])]
    cwd.mkdir(exist_ok=True)
    return subprocess.Popen(command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def passed(process: subprocess.Popen[str]) -> set[str]:
    output, _ = process.communicate(timeout=900)
    names = {name.rpartition("/")[2] for name in re.findall(r"^PASSED (\S+)", output, re.MULTILINE)}
    assert names, output[-3000:]
    return names


@pytest.mark.slow
def test_quick_ones_pass_with_made_up_weights_and_our_detector(hub_folder: Path, tmp_path: Path) -> None:
    ours = passed(start(hub_folder, "detector", tmp_path, ("test_detector",), " or ".join(QUICK)))
    assert {name.rpartition("::")[2] for name in ours} >= set(QUICK)


@pytest.mark.slow
def test_what_passes_with_made_up_weights_passes_after_register_and_with_our_detector(hub_folder: Path, tmp_path: Path) -> None:
    plain, registered, ours = map(
        passed,
        [
            start(hub_folder, "plain", tmp_path / "plain"),
            start(hub_folder, "register", tmp_path / "register"),
            start(hub_folder, "detector", tmp_path / "detector", DETECTOR),
        ],
    )
    assert len(plain) > 280
    assert plain <= registered
    theirs = {name for name in plain if name.startswith(tuple(f"{module}.py" for module in DETECTOR))}
    assert len(theirs) > 40
    # Of modules that are named one by one, pytest leaves the file out of the names.
    assert {name.partition("::")[2] for name in theirs} <= {name.partition("::")[2] for name in ours}
    # These need FFmpeg's libraries with py-feat's detector; ours decodes with PyAV.
    assert any("test_fast_detect_video" in name for name in ours)
    assert any("test_save_detect" in name for name in ours)
