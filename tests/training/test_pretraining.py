"""The stages before the detector's: StyleGAN2's losses, the generator, the encoder that inverts it, and what they export."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from toy_training import assert_same_last_checkpoint, snapshots_in, toy_corpus

from fgnet_plugin import load
from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.network.generator import Generator

TINY = {
    "image_size": 64,
    "generator_size": 64,
    "generator_channels": (8, 8, 8, 8, 8),
    "style_dim": 8,
    "mapping_layers": 2,
    "encoder_channels": (16, 16, 16, 16),
    "encoder_units": (1, 1, 1, 1),
    "heatmap_size": 16,
}
TOGETHER = """
import os
from fgnet_plugin.training.stages.generator import GeneratorStage
take_step = GeneratorStage.take_step
def take_and_record_step(self, micro_batches, fabric, forward):
    found = take_step(self, micro_batches, fabric, forward)
    sums = [sum(p.double().sum().item() for p in net.parameters()) for net in (self.net, self.discriminator)]
    with open(os.path.join(os.environ["FOLDER"], f"rank{fabric.global_rank}"), "a") as file:
        print(*sums, found["loss"].item(), file=file)
    return found
GeneratorStage.take_step = take_and_record_step
from fgnet_plugin.cli import main
main()
"""
CONFIG = FGNetConfig(("AU12",), **TINY)


def quiet(out: Path, **more: object) -> list[str]:
    """Overrides for a short training on a CPU."""
    fixed = {"trainer.out": out, "trainer.threads": 1, "trainer.progress": "false", "trainer.accelerator": "cpu"}
    architecture = {f"model.architecture.{name}": list(v) if isinstance(v, tuple) else v for name, v in TINY.items()}
    values = fixed | {
        "trainer.workers": 0,
        "trainer.precision": "32-true",
        "trainer.log_every": 1,
        "trainer.checkpoint_every": 1,
    }
    return [f"{name}={value}" for name, value in (values | (architecture if "start_from" not in more else {}) | more).items()]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 toy faces, 64 px."""
    folder = tmp_path_factory.mktemp("pictures")
    toy_corpus(folder)
    return folder / "Toy"


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A generator's training of 2 × 3 steps: its folder after each of them."""
    from fgnet_plugin.training.config.pretraining import read_generator
    from fgnet_plugin.training.train import train_generator

    folder = tmp_path_factory.mktemp("generator")
    with snapshots_in(folder) as folders:
        train_generator(read_generator("generator-small", generator_settings(folder / "out", pictures)))
    return folders


def generator_settings(out: Path, pictures: Path) -> list[str]:
    more = {"data.rendered": "null", "data.folder": pictures, "data.val_fraction": 0.25, "optimiser.epochs": 2}
    more |= {"optimiser.batch_size": 8, "optimiser.batches_per_epoch": 3, "adversarial.path_length_every": 2}
    return quiet(out, **more, **{"adversarial.r1_every": 2})


class Smooth(nn.Module):
    """A discriminator without kinks, in float64, whose gradients can be differenced."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear = nn.Conv2d(3, 4, 3, 2), nn.Linear(4 * 9, 1)
        self.double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.tanh(self.conv(images)).flatten(1))[:, 0]


def test_r1_is_the_squared_gradient() -> None:
    """Against central differences in every pixel, and its gradient by a weight against differences of the penalty."""
    from fgnet_plugin.training.stages.gan_losses import r1_penalty

    net, images, e = Smooth(), torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), 1e-5
    squares = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for i in range(images[0].numel()):
            moved = torch.zeros(3 * 8 * 8, dtype=torch.float64)
            moved[i] = e
            slope = (net(images + moved.view(3, 8, 8)) - net(images - moved.view(3, 8, 8))) / (2 * e)
            squares += slope.square()
    penalty = r1_penalty(net, images)
    assert penalty.item() == pytest.approx(squares.mean().item(), rel=1e-6)
    penalty.backward()
    assert_gradient(lambda: r1_penalty(net, images), net.conv.weight)


def assert_gradient(penalty: object, weight: nn.Parameter, e: float = 1e-5) -> None:
    """A weight's gradient, entry by entry for a few of them, is what differences of the penalty say."""
    for at in np.random.default_rng(0).integers(0, weight.numel(), 5):
        values = []
        for shift in (e, -e):
            with torch.no_grad():
                weight.view(-1)[at] += shift
            values.append(penalty().item())
            with torch.no_grad():
                weight.view(-1)[at] -= shift
        assert weight.grad.view(-1)[at].item() == pytest.approx((values[0] - values[1]) / (2 * e), rel=1e-4, abs=1e-8)


def test_r1_of_the_discriminator_itself() -> None:
    """StyleGAN2's discriminator in float64: its penalty's gradient against differences (its kinks are rarely met)."""
    from fgnet_plugin.training.models.discriminator import Discriminator
    from fgnet_plugin.training.stages.gan_losses import r1_penalty

    torch.manual_seed(3)
    net, images = Discriminator(CONFIG).double(), torch.rand(4, 3, 64, 64, dtype=torch.float64) * 2 - 1
    r1_penalty(net, images).backward()
    assert_gradient(lambda: r1_penalty(net, images), net.blocks[1].conv2.weight, e=1e-7)


def test_path_lengths_are_jacobian_products() -> None:
    """‖Jᵀy‖ of the generator in float64, each entry of w moved in turn; and the penalty's gradient by a weight."""
    from fgnet_plugin.training.stages.gan_losses import path_length_penalty, path_lengths

    torch.manual_seed(0)
    net, e = Generator(CONFIG).double(), 1e-6
    for layer in net.layers:
        layer.noise_strength.data.fill_(0.1)
    styles = torch.randn(2, CONFIG.n_styles, CONFIG.style_dim, dtype=torch.float64)
    direction = torch.randn(2, 3, 64, 64, dtype=torch.float64)

    def paint(at: torch.Tensor) -> torch.Tensor:
        return net.image(net(at), at)

    products = torch.zeros_like(styles)
    with torch.no_grad():
        for row in range(CONFIG.n_styles):
            for column in range(CONFIG.style_dim):
                moved = torch.zeros_like(styles)
                moved[:, row, column] = e
                change = (paint(styles + moved) - paint(styles - moved)) / (2 * e)
                products[:, row, column] = (change * direction).sum((1, 2, 3)) / 64
    expected = products.square().sum(2).mean(1).sqrt()
    live = styles.clone().requires_grad_(True)
    lengths = path_lengths(paint(live), live, direction)
    assert torch.allclose(lengths, expected, rtol=1e-5)
    mean = torch.tensor(0.3, dtype=torch.float64)
    penalty, moved_mean = path_length_penalty(lengths, mean)
    assert moved_mean.item() == pytest.approx(0.3 + 0.01 * (expected.mean().item() - 0.3))
    assert penalty.item() == pytest.approx((expected - moved_mean).square().mean().item(), rel=1e-4)
    penalty.backward()

    def again() -> torch.Tensor:
        at = styles.clone().requires_grad_(True)
        return (path_lengths(paint(at), at, direction) - moved_mean).square().mean()

    assert_gradient(again, net.layers[2].weight)


def test_regularisation_takes_steps_of_its_own(pictures: Path, tmp_path: Path) -> None:
    """R1 and path lengths in the first of every 2 steps: Adam has then taken 5 steps in 3."""
    from fgnet_plugin.training.config.pretraining import read_generator
    from fgnet_plugin.training.train import train_generator

    train_generator(read_generator("generator-small", [*generator_settings(tmp_path, pictures), "optimiser.epochs=1"]))
    states = torch.load(tmp_path / "last.ckpt", weights_only=True)["optimizer_states"]
    for optimiser in states:
        steps = [int(state["step"]) for state in optimiser["state"].values()]
        assert set(steps) == {3, 5}
        # What the penalties do not depend on, such as biases before an output, takes no step of theirs.
        assert steps.count(5) > len(steps) / 2


def test_the_logistic_losses() -> None:
    from fgnet_plugin.training.stages.gan_losses import discriminator_loss, generator_loss

    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0])
    expected = -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()
    assert discriminator_loss(real, fake).item() == pytest.approx(expected.item(), rel=1e-5)
    assert generator_loss(fake).item() == pytest.approx(-torch.sigmoid(fake).log().mean().item(), rel=1e-5)


def test_the_discriminator_sees_sameness() -> None:
    from fgnet_plugin.training.models.discriminator import Discriminator, minibatch_deviation

    x = torch.randn(8, 5, 4, 4)
    deviation = minibatch_deviation(x)
    groups = [x[i::2].var(0, unbiased=False).add(1e-8).sqrt().mean() for i in range(2)]  # 2 groups of 4, two apart
    assert torch.allclose(deviation[:2, 0, 0, 0], torch.stack(groups))
    assert deviation.shape == (8, 1, 4, 4)
    assert minibatch_deviation(x[:1].expand(8, -1, -1, -1)).abs().max() < 2e-4
    net = Discriminator(CONFIG)
    assert net(torch.zeros(6, 3, 64, 64)).shape == (6,)
    assert [tuple(m.shape[1:]) for m in net.features(torch.zeros(1, 3, 64, 64))] == [(8, s, s) for s in (32, 16, 8, 4)]


def test_fresh_noise_differs_and_fixed_noise_does_not() -> None:
    torch.manual_seed(0)
    net = Generator(CONFIG)
    for layer in net.layers:
        layer.noise_strength.data.fill_(0.5)
    styles = torch.randn(1, CONFIG.n_styles, CONFIG.style_dim).expand(2, -1, -1)
    fixed, fresh = net(styles)[-1], net(styles, fresh_noise=True)[-1]
    assert torch.allclose(fixed[0], fixed[1], atol=1e-5)
    assert (fresh[0] - fresh[1]).abs().max() > 0.1


def test_optimisers_as_published() -> None:
    """Rates and decays adapted to lazy regularisation: c = k / (k + 1) of them, for the published code's intervals 4 and 16."""
    from fgnet_plugin.training.config.pretraining import Adversarial, read_generator
    from fgnet_plugin.training.data.loading import StepSampler
    from fgnet_plugin.training.stages.generator import GeneratorStage

    config = read_generator("generator", quiet(Path("out"), **{"data.folder": "faces"}))
    assert (config.adversarial.r1, config.adversarial.r1_every, config.adversarial.path_length_every) == (10, 16, 4)
    assert Adversarial().path_length_every == 8  # as in the paper
    assert (config.adversarial.path_length, config.adversarial.mixing) == (2, 0.9)
    stage = GeneratorStage(config, [], [], StepSampler(100, 32, 1))
    generator, discriminator = stage.make_optimisers()
    plain = read_generator("generator", quiet(Path("out"), **{"data.folder": "faces", "adversarial.r1": 0}))
    unregularised = GeneratorStage(plain, [], [], StepSampler(100, 32, 1)).make_optimisers()[1]
    assert unregularised.defaults["lr"] == 2e-3
    for adam, every in ((generator, 4), (discriminator, 16)):
        share = every / (every + 1)
        assert adam.defaults["lr"] == pytest.approx(2e-3 * share)
        assert adam.defaults["betas"] == pytest.approx((0, 0.99**share))
    styles = stage.generate(64)[1]
    mixed = (styles[:, 0] != styles[:, -1]).any(1).float().mean()
    assert 0.7 < mixed <= 1


def test_a_generator_trains_and_is_exported(trained: dict[int, Path]) -> None:
    from fgnet_plugin.checkpoints.pretrained import load_pretrained

    out = trained[6]
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert [float(row["val_distance"]) > 0 for row in rows if row["val_distance"]] == [True, True]
    found = load_pretrained(out / "generator.safetensors")
    assert found.config(("AU12",)) == CONFIG
    assert set(found.parts) == {"generator", "discriminator", "moments"}
    assert Image.open(out / "samples.png").size == (512, 512)
    assert (out / "samples-000003.png").read_bytes() != (out / "samples-000006.png").read_bytes()
    assert found.training["validation"]["distance"] == min(float(r["val_distance"]) for r in rows if r["val_distance"])


@pytest.mark.parametrize("step", [3, 4])
def test_resuming_a_generator_is_exact(step: int, trained: dict[int, Path], pictures: Path, tmp_path: Path) -> None:
    """Both networks, both optimisers, the running average and the mean path length, bit for bit."""
    from fgnet_plugin.training.config.pretraining import read_generator
    from fgnet_plugin.training.train import train_generator

    out = shutil.copytree(trained[step], tmp_path / "out")
    train_generator(read_generator("generator-small", generator_settings(out, pictures)), resume=True)
    one, other = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (out, trained[6]))
    assert one["global_step"] == other["global_step"] == 6
    assert one["state_dict"]["path_mean"] > 0
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor, other["state_dict"][name]), name
    for mine, whole in zip(one["optimizer_states"], other["optimizer_states"], strict=True):
        for index, state in mine["state"].items():
            assert all(torch.equal(value, whole["state"][index][name]) for name, value in state.items())
    assert (out / "metrics.csv").read_text() == (trained[6] / "metrics.csv").read_text()
    assert (out / "samples.png").read_bytes() == (trained[6] / "samples.png").read_bytes()


def test_a_generator_takes_its_steps_in_micro_batches(pictures: Path, tmp_path: Path) -> None:
    from fgnet_plugin.training.config.pretraining import read_generator
    from fgnet_plugin.training.train import train_generator

    more = ["trainer.accumulate=2", "optimiser.validate_every=2", "trainer.checkpoint_every=100"]
    train_generator(read_generator("generator-small", [*generator_settings(tmp_path, pictures), *more]))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6", "6"]  # one validation, after both epochs
    # Untrained logits are about 0: each loss is about log 2, and the critic's, of two terms, twice that, not a multiple.
    assert float(rows[0]["loss"]) == pytest.approx(np.log(2), abs=0.3)
    assert float(rows[0]["critic"]) == pytest.approx(2 * np.log(2), abs=0.5)
    assert float(rows[0]["r1"]) > 0
    assert float(rows[0]["path_length"]) > 0
    with pytest.raises(ValueError, match=r"validate_every must divide the 2 epochs, got 3"):
        read_generator("generator-small", [*generator_settings(tmp_path, pictures), "optimiser.validate_every=3"])


@pytest.mark.slow
def test_two_processes_train_a_generator_together(pictures: Path, tmp_path: Path) -> None:
    """After each step both have the same two networks, though each has painted other faces."""
    script = tmp_path / "script.py"
    script.write_text(TOGETHER)
    settings = [*generator_settings(tmp_path / "out", pictures), "optimiser.batches_per_epoch=2", "trainer.devices=2"]
    command = [sys.executable, str(script), "train", "generator", "--config", "generator-small"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), "FOLDER": str(tmp_path)}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    one, other = ((tmp_path / f"rank{rank}").read_text().splitlines() for rank in (0, 1))
    assert len(one) == 4
    weights, others = ([line.split()[:2] for line in lines] for lines in (one, other))
    assert weights == others  # bit for bit: both add the same numbers
    assert len({line.split()[2] for line in one + other}) == 8  # losses of different faces
    assert (tmp_path / "out" / "generator.safetensors").is_file()


@pytest.mark.parametrize("latent", ["z", pytest.param("w", marks=pytest.mark.slow)])
def test_an_encoder_inverts_and_a_detector_starts_from_it(
    latent: str, trained: dict[int, Path], pictures: Path, tmp_path: Path
) -> None:
    from fgnet_plugin.checkpoints.pretrained import load_pretrained
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.config.pretraining import read_encoder
    from fgnet_plugin.training.models.start import detector
    from fgnet_plugin.training.train import train_detector, train_encoder

    generator = trained[6] / "generator.safetensors"
    more = {"data.rendered": "null", "data.folder": pictures, "data.val_fraction": 0.25, "optimiser.epochs": 3}
    more |= {"optimiser.batch_size": 8, "optimiser.batches_per_epoch": 8, "optimiser.lr": 0.01, "latent": latent}
    more |= {"optimiser.ema": 0.5, "optimiser.warmup_steps": 0}
    settings = quiet(tmp_path / "out", start_from=generator, **more)
    path = train_encoder(read_encoder("encoder-small", settings))
    rows = [row for row in csv.DictReader((tmp_path / "out" / "metrics.csv").open()) if row["val_loss"]]
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    assert float(rows[-1]["val_psnr"]) > float(rows[0]["val_psnr"])
    assert Image.open(tmp_path / "out" / "reconstructions.png").width == 512
    found, start = load_pretrained(path), load_pretrained(generator)
    assert all(torch.equal(tensor, start.parts["generator"][name]) for name, tensor in found.parts["generator"].items())
    average = found.parts["encoder"]["latent_average"]
    expected = start.parts["moments"]["style_mean"] if latent == "w" else torch.zeros(8)
    assert torch.equal(average, expected.expand_as(average))

    # The same command trains a detector from it, which keeps both parts and has an interpreter of its own.
    frames = ["--set", f"data.csv.train={pictures.parent / 'labels0.csv'}"][1:]
    data = ["data.rendered=null", *frames, "data.csv.val_fraction=0.25", f"model.start_from={path}", "model.size=null"]
    data += [
        "model.width=128",
        "optimiser.epochs=1",
        "optimiser.batch_size=8",
        f"trainer.out={tmp_path / 'detector'}",
        "model.architecture={}",
    ]
    config = read_detector("rendered-ci", [*data, "trainer.progress=false", "trainer.threads=1", "trainer.accelerator=cpu"])
    net, _ = detector(config.model, ("AU01", "AU06", "AU12"))
    assert all(torch.equal(tensor, found.parts["encoder"][name]) for name, tensor in net.encoder.state_dict().items())
    exported = train_detector(config)
    assert load(exported).config.generator_channels == TINY["generator_channels"]


@pytest.mark.parametrize("step", [3, 4])
def test_resuming_an_encoder_is_exact(step: int, trained: dict[int, Path], pictures: Path, tmp_path: Path) -> None:
    """From mid-epoch and from its end, after 4 steps of 8."""
    from fgnet_plugin.training.config.pretraining import read_encoder
    from fgnet_plugin.training.train import train_encoder

    def train(out: Path, resume: bool) -> None:
        more = {"data.rendered": "null", "data.folder": pictures, "data.val_fraction": 0.25, "optimiser.epochs": 2}
        more |= {"optimiser.batch_size": 8, "optimiser.batches_per_epoch": 4, "optimiser.ema": 0.5}
        start = trained[6] / "generator.safetensors"
        train_encoder(read_encoder("encoder-small", quiet(out, start_from=start, **more)), resume=resume)

    with snapshots_in(tmp_path) as snapshots:
        train(tmp_path / "whole", resume=False)
    out = shutil.copytree(snapshots[step], tmp_path / "resumed")
    train(out, resume=True)
    assert_same_last_checkpoint(out, tmp_path / "whole")
    assert (out / "reconstructions.png").read_bytes() == (tmp_path / "whole" / "reconstructions.png").read_bytes()


def test_reconstruction_terms(trained: dict[int, Path]) -> None:
    """Each is 0 for the face itself and grows with the distance; a term of weight 0 is not computed."""
    from fgnet_plugin.training.config.pretraining import Reconstruction
    from fgnet_plugin.training.models.discriminator import Discriminator
    from fgnet_plugin.training.stages.reconstruction_loss import map_spreads, reconstruction_loss

    torch.manual_seed(0)
    faces = torch.nn.functional.avg_pool2d(torch.rand(3, 3, 68, 68), 5, 1) * 2 - 1
    noise, critic = torch.randn_like(faces), Discriminator(CONFIG)
    spreads = map_spreads(critic, faces)
    for weights in (Reconstruction(1, 0, 0), Reconstruction(0, 1, 0), Reconstruction(0, 0, 1)):
        errors = [reconstruction_loss(faces + e * noise, faces, weights, critic, spreads) for e in (0, 0.05, 0.2, 0.5)]
        assert errors[0].shape == (3,)
        assert errors[0].abs().max() < 1e-5
        assert all((b > a).all() for a, b in pairwise(errors))
    with torch.autocast("cpu", torch.bfloat16):
        assert reconstruction_loss(faces, faces, Reconstruction(0, 1, 0)).abs().max() < 1e-5
    pixels = reconstruction_loss(faces + 0.5, faces, Reconstruction(2, 0, 0))
    assert torch.allclose(pixels, torch.full((3,), 0.5))


def test_bad_pictures_are_named_together(tmp_path: Path) -> None:
    from fgnet_plugin.training.data.image_folder import image_corpora

    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (64, 64, 3)), ("b.png", (64, 80, 3)), ("c.jpg", (32, 32, 3)), ("d.png", (128, 128, 3))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "e.png").write_bytes(b"text")
    (tmp_path / "f.png").write_bytes((tmp_path / "a.png").read_bytes()[:6000])
    bad = r"(?s)4 pictures.*b\.png is 80 × 64.*c\.jpg is 32 px wide.*e\.png: not an image.*f\.png: not an image, or damaged"
    with pytest.raises(ValueError, match=bad):
        image_corpora(str(tmp_path), 64, 0.5, 0)
    for name in ("b.png", "c.jpg", "e.png", "f.png"):
        (tmp_path / name).unlink()
    train, val = image_corpora(str(tmp_path), 64, 0.5, 0)
    assert {*train.files, *val.files} == {str(tmp_path / "a.png"), str(tmp_path / "d.png")}
    assert train[0]["image"].shape == val[0]["image"].shape == (3, 64, 64)
    with pytest.raises(ValueError, match="no such folder"):
        image_corpora(str(tmp_path / "none"), 64, 0.5, 0)


def test_an_encoder_needs_a_generator(pictures: Path, tmp_path: Path) -> None:
    from fgnet_plugin.errors import CheckpointError
    from fgnet_plugin.training.config.pretraining import read_encoder
    from fgnet_plugin.training.train import train_encoder

    more = {"data.rendered": "null", "data.folder": pictures}
    with pytest.raises(CheckpointError, match=r"none\.safetensors: no such file"):
        train_encoder(read_encoder("encoder-small", quiet(tmp_path / "a", start_from=tmp_path / "none.safetensors", **more)))
    with pytest.raises(CheckpointError, match=r"none\.pt: no such file.*rosinality"):
        train_encoder(read_encoder("encoder-small", quiet(tmp_path / "b", start_from=tmp_path / "none.pt", **more)))


@pytest.mark.slow
def test_the_distance_knows_faces_from_noise() -> None:
    """Two sets of rendered faces are nearer to each other than faces are to the same faces blurred, or to noise."""
    from fgnet_plugin.training.metrics.frechet_distance import FaceDistance
    from fgnet_plugin.training.rendered import RenderedCorpus

    corpus = RenderedCorpus(("studio",), 64, 5, 160)
    faces = torch.stack([corpus[i]["image"] for i in range(160)])
    blurred = torch.nn.functional.avg_pool2d(faces.float(), 9, 1, 4).to(torch.uint8)
    noise = torch.randint(0, 256, (80, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    measure, found = FaceDistance(), []
    measure.update(faces[:80], real=True)
    for others in (faces[80:], blurred[80:], noise):
        measure.update(others, real=False)
        found.append(float(measure.compute()))
        measure.reset()  # real faces stay
    assert found[0] < found[1] < found[2]
