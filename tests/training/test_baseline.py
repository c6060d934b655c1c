"""The baseline: a ResNet trained by the same command on the same faces; and one interface to trained systems of both kinds."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor
from toy_training import AUS, settings, snapshots_in, toy_corpus

import fgnet_plugin
from fgnet_plugin import CheckpointError


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, and settings that train a baseline on it."""
    folder = tmp_path_factory.mktemp("toy")
    toy_corpus(folder)
    path = settings(folder, guide={"labels": 0.0}, optimiser={"epochs": 2}, export={"corpus": "toy", "licence": "free"})
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"model": {"baseline": "resnet18", "size": 64}}))
    return folder


@pytest.fixture(scope="module")
def snapshots(toy: Path) -> dict[int, Path]:
    """The training's folder as it was at each checkpoint: after each of its 10 steps. The last is the finished one."""
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    with snapshots_in(toy) as folders:
        out = train_detector(read_detector(str(toy / "settings.yaml"), ["trainer.checkpoint_every=1"]))
    assert out == toy / "out" / "baseline.safetensors"
    return folders


def faces(toy: Path, size: int = 64) -> Tensor:
    """The corpus' first faces, uint8 [9, 3, size, size]."""
    rows = list(csv.DictReader((toy / "labels0.csv").open()))[:9]
    pixels = np.stack([np.array(Image.open(toy / row["image_path"])) for row in rows])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)[:, :, :size, :size]


def test_a_baseline_learns_and_loads(snapshots: dict[int, Path], toy: Path) -> None:
    from fgnet_plugin.training.models.systems import load_system

    system = load_system(snapshots[10])
    assert (system.aus, system.image_size) == (AUS, 64)
    assert (system.info.kind, system.info.corpus, system.info.licence) == ("baseline", "toy", "free")
    assert system.info.recipe["model"]["baseline"] == "resnet18"
    assert system.info.training["validation"]["auc"] > 0.7
    log = list(csv.DictReader((snapshots[10] / "metrics.csv").open()))
    assert [row["val_auc"] != "" for row in log] == [False, True, False, False, True]
    pictures = faces(toy)
    found = system.predict(pictures, batch_size=4)
    assert (found.shape, found.dtype) == ((9, 3), torch.float32)
    torch.testing.assert_close(found, system.predict(pictures))
    logits = system.net(pictures)
    torch.testing.assert_close((found + 1) / 2, torch.sigmoid(logits.detach()))
    assert system.predict(pictures[:0]).shape == (0, 3)


@pytest.mark.parametrize("step", [5, 7])
def test_resuming_a_baseline_is_exact(step: int, snapshots: dict[int, Path], toy: Path, tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.models.baseline import load_baseline
    from fgnet_plugin.training.train import train_detector

    out = shutil.copytree(snapshots[step], tmp_path / "out")
    train_detector(read_detector(str(toy / "settings.yaml"), [f"trainer.out={out}"]), resume=True)
    (one, info), (other, expected) = (load_baseline(folder / "baseline.safetensors") for folder in (out, snapshots[10]))
    assert info == expected
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert (out / "metrics.csv").read_text() == (snapshots[10] / "metrics.csv").read_text()
    first, second = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (out, snapshots[10]))
    for index, state in first["optimizer_states"][0]["state"].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, second["optimizer_states"][0]["state"][index][name]), (index, name)


def test_its_loss_is_the_cross_entropy_of_known_labels(toy: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.data.loading import StepSampler
    from fgnet_plugin.training.models.baseline import Baseline
    from fgnet_plugin.training.stages.baseline import BaselineStage

    config = read_detector(str(toy / "settings.yaml"))
    torch.manual_seed(0)
    stage = BaselineStage(Baseline("resnet18", AUS, 64), config, [], [], StepSampler(8, 8, 1))
    labels = torch.randint(0, 2, (9, 3)).float()
    labels[:, 1] = torch.nan
    labels[0, 0] = 9  # not codable
    batch = {"image": faces(toy), "landmarks": torch.zeros(9, 68, 2), "labels": labels}
    loss = stage.training_step(batch)
    loss.backward()
    probability = torch.sigmoid(stage.net(batch["image"]).detach().double())
    truth, known = labels.double(), torch.tensor([True, False, True]).repeat(9, 1)
    known[0, 0] = False
    of_each = -torch.where(truth == 1, probability, 1 - probability).log()
    torch.testing.assert_close(loss.detach().double(), of_each[known].mean(), rtol=1e-5, atol=1e-6)
    assert stage.net.resnet.fc.weight.grad[1].abs().max() == 0
    assert stage.net.resnet.fc.weight.grad[0].abs().max() > 0
    nothing = stage.training_step(batch | {"labels": torch.full((9, 3), torch.nan)})
    assert nothing == 0
    guided = dataclasses.replace(config, guide=dataclasses.replace(config.guide, labels=1.0))
    with pytest.raises(ValueError, match="guide reads FG-Net's latent code, which a baseline lacks"):
        BaselineStage(Baseline("resnet18", AUS, 64), guided, [], [], StepSampler(8, 8, 1))


@pytest.mark.parametrize("kind", ["resnet18", "resnet34", "resnet50"])
def test_baselines_are_torchvisions_untrained(kind: str) -> None:
    import torchvision

    from fgnet_plugin.training.models.baseline import Baseline

    torch.manual_seed(3)
    found = Baseline(kind, AUS, 64)
    torch.manual_seed(3)
    expected = getattr(torchvision.models, kind)(weights=None, num_classes=3)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.resnet.state_dict()[name], tensor)
    assert found.eval()(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"faces must have shape \[B, 3, 64, 64\], got \[2, 3, 32, 32\]"):
        found(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="a baseline is one of resnet18"):
        Baseline("resnet9", AUS, 64)


def test_without_a_size_it_reads_the_published_faces() -> None:
    from fgnet_plugin.training.config.detector import Model
    from fgnet_plugin.training.models.start import face_size

    assert face_size(Model(baseline="resnet18")) == 256
    assert face_size(Model(baseline="resnet18", size=96)) == 96


def test_a_baseline_file_is_no_fgnet_and_the_reverse(snapshots: dict[int, Path], small_checkpoint: Path) -> None:
    from fgnet_plugin.training.models.baseline import load_baseline

    path = snapshots[10] / "baseline.safetensors"
    with pytest.raises(CheckpointError, match=r"baseline\.safetensors: a baseline .* not an FG-Net.*load_system reads it"):
        fgnet_plugin.load(path)
    with pytest.raises(CheckpointError, match=r"small\.safetensors: no baseline"):
        load_baseline(small_checkpoint)


def test_damaged_baselines_are_named(snapshots: dict[int, Path], tmp_path: Path) -> None:
    from fgnet_plugin.training.models.baseline import load_baseline, save_baseline

    path = tmp_path / "x.safetensors"
    original = (snapshots[10] / "baseline.safetensors").read_bytes()
    for content, says in (
        (original[:-100], "not a safetensors file, or truncated"),
        (original[:-7] + bytes([original[-7] ^ 4]) + original[-6:], "damaged, its contents differ"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"x\.safetensors: {says}"):
            load_baseline(path)
    with pytest.raises(CheckpointError, match="none: no such file"):
        load_baseline(tmp_path / "none")
    model, info = load_baseline(snapshots[10] / "baseline.safetensors")
    with pytest.raises(ValueError, match="not that of the model"):
        save_baseline(model, path, dataclasses.replace(info, kind="resnet50"))
    half, again = load_baseline(
        save_baseline(model, tmp_path / "half.safetensors", dataclasses.replace(info, fold=2), half=True)
    )
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * len(original)
    assert again.fold == 2
    assert half.resnet.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(half.resnet.conv1.weight, model.resnet.conv1.weight, rtol=1e-3, atol=1e-6)


def test_fgnets_are_systems_too(small_checkpoint: Path, small_faces: Tensor, tmp_path: Path) -> None:
    from fgnet_plugin.training.models.systems import load_system

    net = fgnet_plugin.load(small_checkpoint)
    (tmp_path / "run").mkdir()
    shutil.copy(small_checkpoint, tmp_path / "run" / "fgnet.safetensors")
    for place in (small_checkpoint, tmp_path / "run"):
        system = load_system(place)
        assert (system.aus, system.image_size, system.info.kind) == (net.aus, 64, "fgnet")
        assert torch.equal(system.predict(small_faces), net.predict(small_faces).activations)
        assert (system.info.corpus, system.info.recipe) == ("BP4D", {})
    assert load_system("fgnet-rendered").image_size == 128
    with pytest.raises(TypeError, match="faces must be uint8"):
        load_system(small_checkpoint).predict(small_faces.float())


def test_folders_without_one_system_are_named(snapshots: dict[int, Path], small_checkpoint: Path, tmp_path: Path) -> None:
    from fgnet_plugin.training.models.systems import load_system

    with pytest.raises(CheckpointError, match=r"holds neither fgnet\.safetensors nor baseline\.safetensors"):
        load_system(tmp_path)
    for path, name in ((small_checkpoint, "fgnet"), (snapshots[10] / "baseline.safetensors", "baseline")):
        shutil.copy(path, tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=r"holds fgnet\.safetensors and baseline\.safetensors; name one"):
        load_system(tmp_path)
    with pytest.raises(CheckpointError, match="no such file, and no weights of that name"):
        load_system("fgnet-nowhere")
