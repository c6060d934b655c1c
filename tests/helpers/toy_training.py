"""A tiny training: corpus, settings, and the comparison of two runs."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fgnet_plugin.checkpoints.fgnet import verify

if TYPE_CHECKING:
    from fgnet_plugin.training.stages.detector import DetectorStage

AUS = ("AU01", "AU06", "AU12")


def run_fgnet(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command ``fgnet`` in this process."""
    from fgnet_plugin.cli import main

    output, errors, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", ["fgnet", *arguments])
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())


def toy_landmarks(size: int) -> np.ndarray:
    """Something like a face's 68 points, symmetric: [68, 2] in pixels of the image."""
    from fgnet_plugin.training.data.flip import MIRRORED

    points = np.random.default_rng(0).uniform(0.3, 0.5, (68, 2))
    for i, j in enumerate(MIRRORED):
        points[j] = [1 - points[i, 0] if i != j else 0.5, points[i, 1]]
    points[36:48] += [0.0, -0.05]
    return (points * (size - 1)).astype(np.float32)


def toy_corpus(folder: Path, n: int = 48, size: int = 64, seed: int = 0) -> Path:
    """A CSV file in the published layout: each AU brightens one colour of the whole face; 4 subjects."""
    rng, rows = np.random.default_rng(seed), []
    landmarks = toy_landmarks(size)
    for i in range(n):
        labels = rng.integers(0, 2, len(AUS))
        pixels = rng.normal(80, 10, (size, size, 3)) + 100 * labels
        image = Path("Toy/aligned_images") / f"S{i % 4}" / f"{i:03d}.png"
        file = folder / image
        points = Path(str(file).replace("aligned_images", "aligned_landmarks")).with_suffix(".npy")
        for path in (file, points):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
        np.save(points, landmarks)
        rows.append([i, image, *labels])
    path = folder / f"labels{seed}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["", "image_path", "au1", "au6", "au12"], *rows])
    return path


def settings(folder: Path, **changes: dict[str, object]) -> Path:
    """A settings file for a quick training on `toy_corpus`: 2 epochs of 5 steps."""
    values: dict[str, dict[str, object]] = {
        "data": {"csv": {"train": str(folder / "labels0.csv"), "val_fraction": 0.25}},
        "model": {"size": 64, "width": 16, "architecture": {"heatmap_size": 16}},
        "guide": {"labels": 0.1},
        "optimiser": {"lr": 1e-3, "batch_size": 8, "epochs": 2, "ema": 0.9, "schedule": "cosine"},
        "trainer": {"out": str(folder / "out"), "accelerator": "cpu", "progress": False, "threads": 1}
        | {"log_every": 3, "checkpoint_every": 2},
    }
    for section, change in changes.items():
        values.setdefault(section, {}).update(change)
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def assert_same_training(one: Path, other: Path) -> None:
    """Weights, optimiser, running average, schedule, log and export are the same, bit for bit."""
    first, second = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other))
    assert first["global_step"] == second["global_step"]
    assert first["recipe"] == second["recipe"]
    assert first["callbacks"]["Keep"] == second["callbacks"]["Keep"]
    assert any(name.startswith("average.") for name in first["state_dict"])
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    (one_state,), (other_state,) = first["optimizer_states"], second["optimizer_states"]
    assert one_state["param_groups"] == other_state["param_groups"]  # the learning rate
    for index, state in one_state["state"].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, other_state["state"][index][name]), (index, name)
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    # Their tensors and metadata; the order in which safetensors writes metadata is left to chance.
    assert verify(one / "fgnet.safetensors") == verify(other / "fgnet.safetensors")


def assert_same_last_checkpoint(one: Path, other: Path) -> None:
    """All that a training of any stage goes on from is the same, bit for bit, and so is its log."""
    assert_equal(*(torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other)))
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


def assert_equal(one: object, other: object, place: str = "") -> None:
    """Two values made of dictionaries, sequences, tensors and numbers are the same, NaN included."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_equal(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for i, (mine, its) in enumerate(zip(one, other, strict=True)):
            assert_equal(mine, its, f"{place}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one.nan_to_num(), other.nan_to_num()), place
    else:
        assert one == other or (one != one and other != other), place


@contextmanager
def snapshots_in(folder: Path) -> Iterator[dict[int, Path]]:
    """Copies a training's folder after each checkpoint written inside the block: step -> copy."""
    from fgnet_plugin.training.engine.checkpoint import Checkpoint

    folders, save = {}, Checkpoint.save

    def save_and_copy(self: Checkpoint) -> None:
        save(self)
        folders[self.stage.step] = folder / f"after{self.stage.step}"
        shutil.copytree(self.path.parent, folders[self.stage.step])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_copy)
        yield folders


def toy_stage(folder: Path, *overrides: str) -> DetectorStage:
    """A stage on `toy_corpus`, its weights by seed 0."""
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.data.build import corpus_aus, detector_corpora
    from fgnet_plugin.training.models.start import detector, face_size
    from fgnet_plugin.training.stages.detector import DetectorStage

    config = read_detector(str(folder / "settings.yaml"), overrides)
    torch.manual_seed(0)
    aus = corpus_aus(config)
    net, licence = detector(config.model, aus)
    return DetectorStage(net, config, *detector_corpora(config, aus, face_size(config.model)), licence)
