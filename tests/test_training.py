"""Training: settings, corpora, steps, exact resumption, exported weights. On toy faces, so that it is quick."""

import csv
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fgnet_plugin.checkpoints import verify

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


def assert_same_training(one: Path, other: Path) -> None:
    """Weights, optimiser, running average, schedule, log and export are the same, bit for bit."""
    first, second = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other))
    assert first["global_step"] == second["global_step"]
    assert first["lr_schedulers"] == second["lr_schedulers"]
    assert any(name.startswith("average.") for name in first["state_dict"])
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    for index, state in first["optimizer_states"][0]["state"].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, second["optimizer_states"][0]["state"][index][name]), (index, name)
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    # Their tensors and metadata; the order in which safetensors writes metadata is left to chance.
    assert verify(one / "fgnet.safetensors") == verify(other / "fgnet.safetensors")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and settings."""
    folder = tmp_path_factory.mktemp("toy")
    toy_corpus(folder)
    settings(folder)
    return folder


@pytest.fixture(scope="module")
def snapshots(toy: Path) -> dict[int, Path]:
    """The training's folder as it was at each checkpoint: after each of its 10 steps. The last is the finished one."""
    from fgnet_plugin.training import callbacks
    from fgnet_plugin.training.config import read_detector
    from fgnet_plugin.training.run import train_detector

    folders, save = {}, callbacks.Keep._save

    def save_and_copy(self: callbacks.Keep, trainer: object) -> None:
        save(self, trainer)
        folders[trainer.global_step] = toy / f"after{trainer.global_step}"
        shutil.copytree(self.path.parent, folders[trainer.global_step])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.Keep, "_save", save_and_copy)
        train_detector(read_detector(str(toy / "settings.yaml"), ["trainer.checkpoint_every=1"]))
    return folders


def test_the_defaults_are_the_published_recipe() -> None:
    from fgnet_plugin.network import FGNet, FGNetConfig
    from fgnet_plugin.training.config import Data, DetectorConfig, Model, Optimiser, Rendered, Trainer, read_detector
    from fgnet_plugin.training.detector_stage import DetectorStage
    from fgnet_plugin.training.loading import StepSampler

    recipe = Optimiser()
    assert (recipe.lr, recipe.weight_decay, recipe.batch_size, recipe.clip) == (5e-5, 5e-4, 16, 0.1)
    assert (recipe.epochs, recipe.batches_per_epoch, recipe.schedule, recipe.ema) == (15, 500, "none", None)
    assert Model().config(AUS) == FGNetConfig(AUS)
    assert FGNetConfig(AUS).dropout == 0.1
    assert not Data(rendered=Rendered(("a",), ("a",))).flip
    assert read_detector("published").optimiser == recipe

    # The optimiser itself, over all three parts, at a constant rate; only the ToRGB layers stay out.
    net = FGNet(Model(size=64, width=16).config(AUS))
    data = Data(rendered=Rendered(("a",), ("a",)))
    stage = DetectorStage(net, DetectorConfig(data, Trainer("out")), [], [], StepSampler(100, 16, 1))
    found = stage.configure_optimizers()
    adamw, factor = found["optimizer"], found["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert type(adamw) is torch.optim.AdamW
    assert (adamw.defaults["lr"], adamw.defaults["weight_decay"], adamw.defaults["betas"]) == (5e-5, 5e-4, (0.9, 0.999))
    assert {factor(step) for step in range(10)} == {1.0}
    trained = {id(parameter) for parameter in adamw.param_groups[0]["params"]}
    left_out = {name for name, parameter in net.named_parameters() if id(parameter) not in trained}
    assert left_out == {name for name, _ in net.named_parameters() if name.startswith("generator.to_rgb.")}


def test_a_training_learns_and_its_export_loads(snapshots: dict[int, Path], toy: Path) -> None:
    import fgnet_plugin

    path = snapshots[10] / "fgnet.safetensors"
    training, net = verify(path).training, fgnet_plugin.load(path)
    assert net.aus == AUS
    assert training["validation"]["auc"] > 0.7
    assert "out" not in training["recipe"]["trainer"]
    frames = [row for row in csv.DictReader((toy / "labels0.csv").open())][:4]
    faces = torch.stack([torch.from_numpy(np.array(Image.open(toy / row["image_path"]))).permute(2, 0, 1) for row in frames])
    assert net.predict(faces).scores.shape == (4, 3)
    log = list(csv.DictReader((snapshots[10] / "metrics.csv").open()))
    assert [row["step"] for row in log] == ["3", "5", "6", "9", "10"]
    assert float(log[0]["loss"]) > float(log[3]["loss"])
    assert [row["val_auc"] != "" for row in log] == [False, True, False, False, True]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [1, 4, 5, 7, 10])
def test_resuming_is_exact(step: int, workers: int, snapshots: dict[int, Path], toy: Path, tmp_path: Path) -> None:
    """From the first step, before and after a validation, in mid-epoch, when all was done; with other numbers of workers."""
    from fgnet_plugin.training.config import read_detector
    from fgnet_plugin.training.run import train_detector

    if workers and step != 7:
        pytest.skip("processes are slow to start: once is enough")
    out = shutil.copytree(snapshots[step], tmp_path / "out")
    train_detector(read_detector(str(toy / "settings.yaml"), [f"trainer.out={out}", f"trainer.workers={workers}"]), resume=True)
    assert_same_training(out, snapshots[10])


def test_killed_and_resumed_is_never_killed(snapshots: dict[int, Path], toy: Path, tmp_path: Path) -> None:
    """The command line, killed with SIGKILL inside step 8 (checkpoints after 2, 4, 5, 6), then resumed in a new process."""
    killer = """
import os, signal, sys
from fgnet_plugin.training.detector_stage import DetectorStage
step = DetectorStage.training_step
def training_step(self, batch, batch_idx):
    if self.global_step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)
DetectorStage.training_step = training_step
"""
    run = "import sys; from fgnet_plugin.cli import main; main()"
    arguments = ["train", "detector", "--config", str(toy / "settings.yaml"), "--resume", "--set", f"trainer.out={tmp_path}"]
    first = subprocess.run([sys.executable, "-c", killer + run, *arguments], capture_output=True, text=True)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert "not there yet, starting from the beginning" in first.stdout
    assert not list(tmp_path.glob(".*"))
    second = subprocess.run([sys.executable, "-c", run, *arguments], capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "going on after step 6" in second.stdout
    assert_same_training(tmp_path, snapshots[10])


def test_a_training_is_not_overwritten_nor_resumed_with_other_settings(snapshots: dict[int, Path], toy: Path) -> None:
    from fgnet_plugin.training.config import read_detector
    from fgnet_plugin.training.run import train_detector

    here = [f"trainer.out={snapshots[4]}"]
    before = (snapshots[4] / "last.ckpt").read_bytes()
    with pytest.raises(ValueError, match=r"(?s)after4 holds a training of 4 steps: give --resume.*trainer.out"):
        train_detector(read_detector(str(toy / "settings.yaml"), here))
    with pytest.raises(ValueError, match=r"(?s)other settings.*optimiser.lr: 0.5, was 0.001\n  trainer.seed: 3, was 0"):
        train_detector(read_detector(str(toy / "settings.yaml"), [*here, "optimiser.lr=0.5", "trainer.seed=3"]), resume=True)
    assert (snapshots[4] / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"global_step": 3})])
def test_a_damaged_checkpoint_is_named(content: bytes, toy: Path, tmp_path: Path) -> None:
    from fgnet_plugin.training.config import read_detector
    from fgnet_plugin.training.run import train_detector

    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt: not a checkpoint of a training, or damaged"):
        train_detector(read_detector(str(toy / "settings.yaml"), [f"trainer.out={tmp_path}"]), resume=True)
