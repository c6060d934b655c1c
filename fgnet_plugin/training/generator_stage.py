"""Training StyleGAN2 on aligned faces, without labels (Karras et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from fgnet_plugin.network import normalize
from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.training import gan_losses
from fgnet_plugin.training.discriminator import Discriminator
from fgnet_plugin.training.frechet import FaceDistance
from fgnet_plugin.training.gradients import average_gradients, rank_of, summed, world_size
from fgnet_plugin.training.loading import Corpus, StepSampler
from fgnet_plugin.training.picture_sheets import write_sheet
from fgnet_plugin.training.pretrained import save_pretrained, style_moments
from fgnet_plugin.training.pretraining_config import GeneratorConfig
from fgnet_plugin.training.stage import Batch, Stage, _move, rate_factor
from fgnet_plugin.training.strict_yaml import plain

FILE = "generator.safetensors"
SHEET_FACES, SHEET_SEED, TRUNCATION = 64, 0, 0.7


class GeneratorStage(Stage):
    """Generator and discriminator in training; exported to ``out/generator.safetensors`` whenever its faces are better.

    Better is a smaller Fréchet distance to the validation faces (`frechet`). After each validation ``out/samples.png`` and
    ``out/samples-000123.png`` show 64 faces, always of the same latent codes.

    Args:
        config: the settings.
        corpus, val_corpus: samples are dicts with "image" uint8 [3, S, S], S = generator_size.
        sampler: of the corpus.
    """

    monitor, maximise = "distance", False
    automatic_optimization = False
    net: Generator
    average: Generator | None

    def __init__(self, config: GeneratorConfig, corpus: Corpus, val_corpus: Corpus, sampler: StepSampler) -> None:
        net = Generator(config.model.config).to(memory_format=torch.channels_last)
        super().__init__(net, corpus, val_corpus, sampler, config.optimiser, config.trainer, plain(config))
        self.config = config
        self.discriminator = Discriminator(config.model.config).to(memory_format=torch.channels_last)
        self.register_buffer("path_mean", torch.zeros(()))
        self.path_mean: Tensor
        self.painted_loss = torch.zeros(())
        self.distance: FaceDistance | None = None

    @property
    def sizes(self) -> FGNetConfig:
        """The architecture."""
        return self.config.model.config

    @property
    def trained(self) -> Generator:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def configure_optimizers(self) -> Any:
        """Adam for the generator and for the discriminator, their rates and decays adapted to lazy regularisation."""
        game, settings = self.config.adversarial, self.settings
        optimisers = []
        for net, every in ((self.net, game.path_length_every), (self.discriminator, game.r1_every)):
            share = every / (every + 1)  # a step in so many does two updates' work (Karras et al. 2020, appendix B)
            adam = torch.optim.Adam(net.parameters(), lr=settings.lr * share, betas=(0.0, 0.99**share))
            adam.param_groups[0]["initial_lr"] = settings.lr * share
            optimisers.append(adam)
        return optimisers

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """A step of the discriminator, then one of the generator; both after the last micro-batch of a step."""
        step, last = self.global_step, self.micro_batch == self.sampler.accumulate - 1
        generator, discriminator = cast(list[Any], self.optimizers())
        images = normalize(batch["image"])
        if self.config.data.flip:
            which = (self.uniform(len(images)) < 0.5).to(images.device)
            images = torch.where(which[:, None, None, None], images.flip(3), images)
        if self.micro_batch == 0:
            for optimiser in (generator, discriminator):
                optimiser.zero_grad(set_to_none=True)
                for group in optimiser.param_groups:
                    group["lr"] = group["initial_lr"] * rate_factor(self.settings, step, self.steps)
        critic = self.discriminator_step(images, step)
        if last:
            average_gradients(self.discriminator)
            # Not through Lightning, which would count it as a step of the training.
            discriminator.optimizer.step()
            losses = [self.generator_step(len(images), step) for _ in range(self.sampler.accumulate)]
            average_gradients(self.net)
            generator.step()
            self.move_average()
            self.painted_loss = torch.stack(losses).mean()
        self.log_dict({"loss": self.painted_loss, "critic": critic}, prog_bar=True, logger=False)
        return {"loss": self.painted_loss}

    def discriminator_step(self, images: Tensor, step: int) -> Tensor:
        """Adds to the discriminator's gradients; returns its loss."""
        game = self.config.adversarial
        with torch.no_grad():
            painted, _ = self.paint(len(images))
        loss = gan_losses.discriminator_loss(self.discriminator(images).float(), self.discriminator(painted).float())
        self.backward_part(loss)
        if game.r1 and step % game.r1_every == 0:
            with torch.autocast(images.device.type, enabled=False):
                penalty = gan_losses.r1_penalty(self.discriminator, images)
                self.backward_part(game.r1 / 2 * game.r1_every * penalty)
        return loss.detach()

    def generator_step(self, count: int, step: int) -> Tensor:
        """Adds to the generator's gradients; returns its loss."""
        game = self.config.adversarial
        self.discriminator.requires_grad_(False)
        painted, _ = self.paint(count)
        loss = gan_losses.generator_loss(self.discriminator(painted).float())
        self.backward_part(loss)
        self.discriminator.requires_grad_(True)
        if game.path_length and step % game.path_length_every == 0:
            with torch.autocast(painted.device.type, enabled=False):
                painted, styles = self.paint(max(1, count // game.path_length_shrink))
                lengths = gan_losses.path_lengths(painted, styles)
                penalty, mean = gan_losses.path_length_penalty(lengths, self.path_mean)
                self.backward_part(game.path_length * game.path_length_every * penalty)
            self.path_mean.copy_(summed(mean) / world_size())
        return loss.detach()

    def backward_part(self, loss: Tensor) -> None:
        """Adds the gradients of a micro-batch's loss: the step's is their mean."""
        torch.autograd.backward(loss / self.sampler.accumulate)

    def move_average(self) -> None:
        """Moves the generator's running average, as `Stage.optimizer_step` does elsewhere."""
        if self.average is not None and self.settings.ema is not None:
            decay = min(self.settings.ema, (self.global_step + 1) / (self.global_step + 10))
            _move(self.average.state_dict(), self.net.state_dict(), 1 - decay)

    def paint(self, count: int) -> tuple[Tensor, Tensor]:
        """Images [count, 3, S, S] of random latent codes and random noise, and their styles [count, rows, style_dim]."""
        rows, dim = self.sizes.n_styles, self.sizes.style_dim
        codes = torch.randn(count, 2, dim, device=self.device)
        one, other = self.net.mapping(codes).unbind(1)
        crossover = torch.randint(1, rows, (count, 1), device=self.device)
        crossover = torch.where(torch.rand(count, 1, device=self.device) < self.config.adversarial.mixing, crossover, rows)
        first = torch.arange(rows, device=self.device) < crossover  # [count, rows]
        styles = torch.where(first[..., None], one[:, None], other[:, None])
        return self.net.image(self.net(styles, fresh_noise=True), styles), styles

    @torch.no_grad()
    def sample(self, count: int, seed: int, truncation: float = 1.0) -> Iterator[Tensor]:
        """Batches of faces uint8 [b, 3, S, S] of the exported weights and fixed noise; truncated towards the mean style."""
        net, dim = self.trained, self.sizes.style_dim
        random = torch.Generator().manual_seed(seed)
        mean = style_moments(net)["style_mean"]
        for start in range(0, count, self.settings.batch_size):
            codes = torch.randn(min(self.settings.batch_size, count - start), dim, generator=random).to(self.device)
            styles = torch.lerp(mean, net.mapping(codes), truncation)[:, None].expand(-1, self.sizes.n_styles, -1)
            yield to_pixels(net.image(net(styles), styles))

    def on_validation_epoch_start(self) -> None:
        """Forgets the last validation's painted faces; real ones are looked at once."""
        self.first = self.distance is None
        if self.distance is None:
            # Beside the module: it is no part of what is trained, averaged and saved.
            object.__setattr__(self, "distance", FaceDistance().to(self.device))
        else:
            self.distance.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Looks at a batch of real faces."""
        assert self.distance is not None
        if self.first:
            self.distance.update(batch["image"], real=True)

    def on_validation_epoch_end(self) -> None:
        """Looks at as many painted faces, and writes the sheet."""
        assert self.distance is not None
        per_rank = -(-len(self.val_corpus) // world_size())
        for images in self.sample(per_rank, seed=1 + rank_of()):
            self.distance.update(images, real=False)
        self.figures = {"distance": float(self.distance.compute())}
        self.log("val_distance", self.figures["distance"], prog_bar=True, logger=False)
        if rank_of() == 0:
            faces = torch.cat([images.cpu() for images in self.sample(SHEET_FACES, SHEET_SEED, TRUNCATION)])
            out = Path(self.machine.out)
            write_sheet(faces, out / f"samples-{self.global_step:06}.png")
            write_sheet(faces, out / "samples.png")

    def figure_names(self) -> list[str]:
        """The Fréchet distance of `frechet.FaceDistance`."""
        return ["distance"]

    def export(self, figures: dict[str, float], step: int) -> None:
        """Writes ``generator.safetensors``."""
        training = {"by": "fgnet train generator", "step": step, "validation": figures, "recipe": self.recipe}
        parts: dict[str, nn.Module | dict[str, Tensor]] = {
            "generator": self.trained, "discriminator": self.discriminator, "moments": style_moments(self.trained),
        }  # fmt: skip
        save_pretrained(Path(self.machine.out) / FILE, self.sizes, parts, training, self.config.licence)


def to_pixels(images: Tensor) -> Tensor:
    """Images [..., 3, S, S], about [-1, 1] -> uint8."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
