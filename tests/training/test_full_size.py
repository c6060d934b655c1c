"""The published training at full size runs on a CPU: start, loss and optimiser as published, two steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "full_size_training.py"


def write_psp(model_pth: Path, encoder_pt: Path, path: Path) -> Path:
    """The weights of the published files as pSp's file has them, its decoder being their generator."""
    parts = torch.load(model_pth, weights_only=True, mmap=True)
    average = torch.load(encoder_pt, weights_only=True)["latent_avg"]
    state = {f"encoder.{name}": tensor for name, tensor in parts["pspencoder"].items()}
    state |= {f"decoder.{name}": tensor for name, tensor in parts["g_all"].items()}
    torch.save({"state_dict": state, "opts": {"output_size": 1024}, "latent_avg": average}, path)
    return path


@pytest.mark.slow
def test_the_published_training_takes_two_steps(
    full_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On one face a step: a step of 16 takes no more memory, with trainer.accumulate, but 16 times as long."""
    pytest.importorskip("resource", reason="this system does not tell a process's peak memory")
    psp = write_psp(*full_files, tmp_path / "psp.pt")
    try:
        done = subprocess.run([sys.executable, str(PROGRAM), str(psp), "1", "1", "2"], capture_output=True, text=True)
    finally:
        psp.unlink()  # 1.2 GB; pytest keeps the folders of three runs
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        seconds = ", ".join(f"{value:.0f}" for value in found["seconds"])
        losses = ", ".join(f"{loss:.4f}" for loss in found["losses"])
        print(f"\nfull-size training, batch 1: {seconds} s/step, losses {losses}, peak {found['peak_gib']:.1f} GiB")
    assert found["parameters"] > 320e6
    assert len(found["losses"]) == 2
    assert found["losses"][1] < found["losses"][0]
    assert found["peak_gib"] < 16
