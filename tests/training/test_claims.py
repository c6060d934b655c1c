"""The claims' script: its grid, its faces, its gate, and a rehearsal from drawn heads to table and plot."""

import csv
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from fgnet_plugin.training.config.detector import read_detector
from fgnet_plugin.training.config.pretraining import read_encoder

EXAMPLES = Path(__file__).parents[2] / "examples"
AUS = ("AU01", "AU12")


@pytest.fixture(scope="module")
def claims() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.import_module("claims")


def test_the_grid_is_complete_and_fair(claims: ModuleType, tmp_path: Path) -> None:
    jobs = claims.grid(claims.FULL, claims.ARMS, 3, dict.fromkeys(claims.ARMS, 1e-3))
    assert len({job.folder(Path()) for job in jobs}) == len(jobs) == 5 * 3 * 3
    assert {job.samples for job in jobs} == {100, 300, 1000}
    for job in jobs:
        epochs, batches, every = job.budget
        assert epochs * batches >= 2000
        assert epochs // every == 5
        assert batches * 8 <= job.samples
        settings = job.settings(tmp_path, AUS)
        assert ("guide.labels=1" in settings) == (job.arm == claims.SCRATCH)  # no auxiliary head where there is a start
    configs = {job.arm: read_detector("claims", job.settings(tmp_path, AUS)) for job in jobs if job.arm != claims.SCRATCH}
    assert configs[claims.FROZEN].model.freeze == ("encoder", "generator")
    assert configs[claims.TUNED].optimiser.backbone_lr_factor == configs[claims.ENCODER].optimiser.backbone_lr_factor == 0.1
    assert (configs[claims.ENCODER].model.baseline, configs[claims.RESNET].model.baseline) == ("encoder", "resnet18")


def test_only_the_start_differs() -> None:
    """What starts from random weights has the sizes of the pretrained parts."""
    assert read_detector("claims").model.config() == read_encoder("encoder-claims").model.config()


def test_no_face_is_in_two_parts_and_the_test_across_is_of_an_unseen_domain(claims: ModuleType) -> None:
    faces = sys.modules["claims_faces"]
    sizes = claims.FULL.faces
    rows = [{"image_path": f"aligned_images/{faces.DOMAINS[i % 4]}/{i:05}.png"} for i in range(sizes.drawn)]
    parts = faces.divide(rows, sizes)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 1000,
        "val": 300,
        "within": 1000,
        "across": 1000,
        "unlabelled": 9700,
    }
    paths = [row["image_path"] for part in parts.values() for row in part]
    assert len(set(paths)) == len(paths)
    domains = {name: {row["image_path"].split("/")[1] for row in part} for name, part in parts.items()}
    assert domains["train"] == domains["val"] == domains["within"] == {"studio"}
    assert domains["across"] == {"street"}
    assert domains["unlabelled"] == {"studio", "webcam", "press"}


def test_the_probe_reads_what_is_linear_in_features_and_nothing_else(claims: ModuleType) -> None:
    gate = sys.modules["claims_gate"]
    random = torch.Generator().manual_seed(0)
    train, test = (torch.randn(300, 40, generator=random) for _ in range(2))
    direction = torch.randn(40, generator=random)

    def labels(features: torch.Tensor) -> torch.Tensor:
        found = torch.stack([features @ direction > 0, torch.rand(300, generator=random) > 0.5], 1).float()
        found[::10, 0] = torch.nan
        return found

    linear, noise = gate.probe(train, labels(train), test, labels(test))
    assert linear > 0.93
    assert abs(noise - 0.5) < 0.1
    figures = {gate.PIXELS: 0.6, gate.CODES: 0.8, gate.MAPS: 0.7, gate.CODES + gate.RANDOM: 0.55, gate.MAPS + gate.RANDOM: 0.5}
    assert gate.margins(figures) == pytest.approx((0.25, 0.2))
    page = sys.modules["claims_page"]
    assert "The gate is passed" in "\n".join(page.of_gate(figures | {gate.LANDMARKS: 0.9}, 12))
    failed = "\n".join(page.of_gate(figures | {gate.LANDMARKS: 0.9, gate.PIXELS: 0.7}, 12))
    assert "The gate is not passed" in failed
    assert "inconclusive" in failed


@pytest.mark.slow
def test_a_rehearsal(tmp_path: Path) -> None:
    arms = ["FG-Net, pretrained and frozen", "FG-Net from random weights"]
    options = [
        "--rehearsal",
        "--out",
        tmp_path / "out",
        "--docs",
        tmp_path / "docs",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--arms",
        *arms,
    ]
    command = [sys.executable, EXAMPLES / "claims.py", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 of 4" in done.stdout
    rows = list(csv.DictReader((tmp_path / "docs" / "claims.csv").open()))
    assert {(row["arm"], row["labelled_faces"], row["test"]) for row in rows} == {
        (arm, samples, test) for arm in arms for samples in ("16", "32") for test in ("within", "across")
    }
    assert all(0 <= float(row["auc"]) <= 1 for row in rows)
    page = (tmp_path / "docs" / "claims.md").read_text()
    assert "4 trainings" in page
    assert "FG-Net, pretrained and frozen − FG-Net from random weights" in page
    assert Image.open(tmp_path / "docs" / "claims.png").width > 800
    assert (tmp_path / "out" / "evaluation" / "report.html").is_file()
