"""Trainings that keep what their parts start from: frozen parts, a slower backbone, and the encoder as a baseline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from toy_training import AUS, settings, toy_corpus, toy_stage

from fgnet_plugin.checkpoints.pretrained import save_pretrained
from fgnet_plugin.network import FGNet
from fgnet_plugin.training.config.detector import Model, read_detector
from fgnet_plugin.training.models.systems import load_system
from fgnet_plugin.training.train import train_detector


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, settings that train an FG-Net on it, and pretrained parts of the same sizes."""
    folder = tmp_path_factory.mktemp("toy")
    toy_corpus(folder)
    config = read_detector(str(settings(folder, guide={"labels": 0.0}, optimiser={"ema": None, "epochs": 1})))
    torch.manual_seed(5)
    net = FGNet(config.model.config(AUS))
    parts = {"encoder": net.encoder, "generator": net.generator}
    save_pretrained(folder / "pretrained.safetensors", net.config, parts, {}, "free")
    return folder


def trained(toy: Path, out: Path, *overrides: str) -> dict[str, Tensor]:
    """Weights after a short training from the pretrained parts, with BatchNorm's statistics."""
    start = [
        f"model.start_from={toy / 'pretrained.safetensors'}",
        "model.size=null",
        "model.width=128",
        "model.architecture={}",
    ]
    train_detector(read_detector(str(toy / "settings.yaml"), [*start, f"trainer.out={out}", *overrides]))
    system = load_system(out)
    assert system.info.licence == "free"
    return dict(system.net.state_dict())


def test_frozen_parts_stay_as_they_are(toy: Path, tmp_path: Path) -> None:
    from fgnet_plugin.checkpoints.pretrained import load_pretrained

    parts = load_pretrained(toy / "pretrained.safetensors").parts
    found = trained(toy, tmp_path / "both", "model.freeze=[encoder,generator]")
    assert all(torch.equal(found[f"{part}.{name}"], parts[part][name]) for part in parts for name in parts[part])
    assert found["interpreter.blocks.0.norm.num_batches_tracked"] > 0
    found = trained(toy, tmp_path / "one", "model.freeze=[generator]")
    assert all(torch.equal(found[f"generator.{name}"], tensor) for name, tensor in parts["generator"].items())
    assert found["encoder.stem.1.num_batches_tracked"] > 0


def test_the_backbone_learns_at_its_own_rate(toy: Path) -> None:
    stage = toy_stage(toy, "optimiser.backbone_lr_factor=0.1", "guide.labels=1")
    stage.setup(torch.device("cpu"))
    (optimiser,) = stage.optimisers
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in stage.named_parameters():
        if parameter.requires_grad:
            slow = name.startswith(("net.encoder", "net.generator"))
            assert rates[id(parameter)] == pytest.approx(1e-4 if slow else 1e-3), name
    stage.set_learning_rates()
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([1e-3, 1e-4])
    with pytest.raises(ValueError, match="backbone_lr_factor must be positive"):
        read_detector(str(toy / "settings.yaml"), ["optimiser.backbone_lr_factor=0"])


def test_an_encoder_with_a_linear_layer_is_a_baseline(toy: Path, tmp_path: Path) -> None:
    from fgnet_plugin.checkpoints.pretrained import load_pretrained

    start = load_pretrained(toy / "pretrained.safetensors").parts["encoder"]
    found = trained(toy, tmp_path / "frozen", "model.baseline=encoder", "model.freeze=[encoder]")
    assert all(torch.equal(found[f"encoder.{name}"], tensor) for name, tensor in start.items())
    found = trained(toy, tmp_path / "out", "model.baseline=encoder", "optimiser.backbone_lr_factor=0.5", "optimiser.epochs=2")
    assert not torch.equal(found["encoder.stem.0.weight"], start["stem.0.weight"])
    system = load_system(tmp_path / "out")
    assert (system.info.kind, system.aus, system.image_size) == ("baseline", AUS, 64)
    faces = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    codes = system.net.encoder(faces / 127.5 - 1).flatten(1)
    expected = 2 * torch.sigmoid(system.net.linear(codes)) - 1
    torch.testing.assert_close(system.predict(faces), expected.detach())


def test_settings_that_do_not_fit_are_refused() -> None:
    assert Model(baseline="encoder", size=64).config().image_size == 64
    for wrong in ({"freeze": ("generator",)}, {"psp": "a.pt"}, {"baseline_weights": "a.pth"}):
        with pytest.raises(ValueError, match="FG-Net's encoder and a linear layer: leave out"):
            Model(baseline="encoder", **wrong)
    with pytest.raises(ValueError, match="network of its own: leave out freeze"):
        Model(baseline="resnet18", size=64, freeze=("encoder",))
