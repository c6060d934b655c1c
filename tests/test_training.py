"""Training: settings, corpora, steps, exact resumption, exported weights. On toy faces, so that it is quick."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

AUS = ("AU01", "AU06", "AU12")


def toy_landmarks(size: int) -> np.ndarray:
    """Something like a face's 68 points, symmetric: [68, 2] in pixels of the image."""
    from fgnet_plugin.training.mirror import MIRRORED

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
        "optimiser": {"lr": 1e-3, "batch_size": 8, "epochs": 2, "ema": 0.9, "schedule": "cosine"},
        "trainer": {"out": str(folder / "out"), "accelerator": "cpu", "progress": False, "log_every": 3, "checkpoint_every": 2},
    }
    for section, change in changes.items():
        values.setdefault(section, {}).update(change)
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
