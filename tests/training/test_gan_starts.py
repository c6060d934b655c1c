"""StyleGAN2 beside rosinality's recorded numbers, and trainings that go on from its files and pSp's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("lightning", reason="the extra `train` is not installed")

from formula_checkpoint import _normal as normal
from record_stylegan2 import BATCH, DIM, SEED, SIZE

from fgnet_plugin import CheckpointError
from fgnet_plugin.checkpoints import published
from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.training.data.loading import StepSampler
from fgnet_plugin.training.models.discriminator import Discriminator
from fgnet_plugin.training.models.start import encoder_start, gan_start, rosinality_names
from fgnet_plugin.training.stages import gan_losses

GOLDEN = Path(__file__).parents[1] / "golden" / "stylegan2.npz"
CONFIG = FGNetConfig(
    ("AU12",), image_size=64, generator_size=SIZE, generator_channels=(16,) * 5, style_dim=DIM, mapping_layers=2,
    heatmap_size=16,
)  # fmt: skip
TINY = FGNetConfig(
    ("AU12",), image_size=64, generator_size=64, generator_channels=(8,) * 5, style_dim=8, mapping_layers=2,
    encoder_channels=(16,) * 4, encoder_units=(1,) * 4, heatmap_size=16,
)  # fmt: skip


def theirs(config: FGNetConfig) -> dict[str, dict[str, Tensor]]:
    """A checkpoint in rosinality's layout, whose weights are `record_stylegan2`'s formula of their names."""
    generator = {name: torch.empty(shape) for name, shape in published.shapes(config)["g_all"].items()}
    critic = Discriminator(config).state_dict()
    names = rosinality_names(config)
    shapes = {names[ours]: tuple(tensor.shape) for ours, tensor in critic.items()}
    # Their layers with fused activations keep the bias as [C].
    return {"g_ema": {n: value("g_ema", n, tuple(t.shape)) for n, t in generator.items() if not n.endswith("kernel")},
            "d": {n: value("d", n, shape) for n, shape in shapes.items()}}  # fmt: skip


def value(part: str, name: str, shape: tuple[int, ...]) -> Tensor:
    """See `record_stylegan2.formula_weights`."""
    n = torch.from_numpy(np.asarray(normal(part, name, shape, SEED)))
    if name.endswith(("bias", "noise.weight")):
        return 0.1 * n + (1.0 if name.endswith("modulation.bias") else 0.0)
    return 100 * n if name.startswith("style.") else n


def drawn(part: str, name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(normal(part, name, shape, SEED)).double()


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generator, Discriminator]:
    """Ours, in float64, from a file in their layout."""
    path = tmp_path_factory.mktemp("golden") / "stylegan2.pt"
    torch.save(theirs(CONFIG), path)
    start = gan_start(str(path), CONFIG)
    assert start.discriminator is not None
    generator, discriminator = Generator(CONFIG), Discriminator(CONFIG)
    generator.load_state_dict(start.average)
    discriminator.load_state_dict(start.discriminator)
    return generator.double(), discriminator.double()


def test_image_discriminator_r1_and_path_lengths_are_rosinalitys(networks: tuple[Generator, Discriminator]) -> None:
    generator, discriminator = networks
    styles = generator.mapping(drawn("codes", "z", (BATCH, DIM)))[:, None].expand(-1, CONFIG.n_styles, -1)
    styles = styles.detach().requires_grad_(True)
    image = generator.image(generator(styles), styles)
    images = drawn("images", "x", (BATCH, 3, SIZE, SIZE))
    lengths = gan_losses.path_lengths(image, styles, drawn("direction", "y", tuple(image.shape)))
    penalty, mean = gan_losses.path_length_penalty(lengths, torch.tensor(0.5).double())
    logits, of_generated = discriminator(images), discriminator(image)
    found = {
        "image": image[:2], "styles": styles[:, 0], "logits": logits, "r1": gan_losses.r1_penalty(discriminator, images),
        "path_lengths": lengths, "path_penalty": penalty, "path_mean": mean,
        "discriminator_loss": gan_losses.discriminator_loss(logits, of_generated),
        "generator_loss": gan_losses.generator_loss(of_generated),
    }  # fmt: skip
    with np.load(GOLDEN, allow_pickle=False) as recorded:
        assert set(recorded) == set(found)
        for name, ours in found.items():
            expected = torch.from_numpy(recorded[name]).double()
            worst = float((ours.detach() - expected).abs().max() / expected.abs().max())
            assert worst < 1e-6, (name, worst)  # the file's weights are float32


def test_a_generators_training_goes_on_from_rosinalitys_files(tmp_path: Path) -> None:
    from test_pretraining import quiet

    from fgnet_plugin.training.config.pretraining import read_generator
    from fgnet_plugin.training.stages.generator import GeneratorStage

    file = theirs(TINY)
    running = {name: tensor + 1 for name, tensor in file["g_ema"].items()}
    torch.save(file | {"g": running, "g_optim": {}, "ada_aug_p": 0.0}, tmp_path / "010000.pt")
    start = gan_start(str(tmp_path / "010000.pt"), TINY)
    overrides = [*quiet(tmp_path / "out"), "data.rendered=null", f"data.folder={tmp_path}"]
    stage = GeneratorStage(read_generator("generator-small", overrides), [], [], StepSampler(100, 32, 1), start)
    assert torch.equal(stage.net.constant, file["g_ema"]["input.input"] + 1)
    assert stage.average is not None
    assert torch.equal(stage.average.constant, file["g_ema"]["input.input"])
    assert torch.equal(stage.discriminator.logit.weight, file["d"]["final_linear.1.weight"])
    assert "CC BY-NC-SA" in stage.licence
    # A generator alone, as convert_weight.py writes it without --disc.
    torch.save({"g_ema": file["g_ema"], "latent_avg": torch.zeros(8)}, tmp_path / "g.pt")
    alone = gan_start(str(tmp_path / "g.pt"), TINY)
    assert alone.discriminator is None
    assert torch.equal(alone.generator["constant"], alone.average["constant"])
    with pytest.raises(CheckpointError, match="does not fit this architecture:\n  g_ema: "):
        gan_start(str(tmp_path / "g.pt"), CONFIG)
    file["d"]["final_conv.1.bias"] = torch.zeros(3)
    torch.save(file, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"discriminator: conv\.bias has shape \[3\], expected \[8\]"):
        gan_start(str(tmp_path / "bad.pt"), TINY)
    (tmp_path / "ffhq.pkl").write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match=r"hold code, and none is executed here. Convert it .*convert_weight\.py"):
        gan_start(str(tmp_path / "ffhq.pkl"), TINY)


def test_the_running_averages_half_life_can_be_given_in_images() -> None:
    from fgnet_plugin.training.config.pretraining import GeneratorOptimiser

    decay = GeneratorOptimiser(batch_size=32, ema_images=10_000).ema
    assert decay == 0.5 ** (32 / (10 * 1000))  # as rosinality's train.py has it
    assert GeneratorOptimiser().ema == 0.998
    with pytest.raises(ValueError, match="ema_images must be at least 1"):
        GeneratorOptimiser(ema_images=0)


def test_an_encoders_training_goes_on_from_psps_file(tmp_path: Path) -> None:
    from test_starts import write_starts

    stylegan2, psp = write_starts(tmp_path, TINY, seed=7)
    state, licence = encoder_start(str(psp), TINY)
    content = torch.load(psp, weights_only=True)
    assert torch.equal(state["latent_average"], content["latent_avg"])
    assert torch.equal(state["stem.0.weight"], content["state_dict"]["encoder.input_layer.0.weight"])
    assert "CC BY-NC-SA" in licence
    with pytest.raises(CheckpointError, match="not pSp's file"):
        encoder_start(str(stylegan2), TINY)
