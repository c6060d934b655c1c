"""Training StyleGAN2 on aligned faces, without labels (Karras et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from fgnet_plugin.checkpoints.pretrained import save_pretrained, style_moments
from fgnet_plugin.network import normalize
from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.training.collectives import average_gradients, rank_of, summed, world_size
from fgnet_plugin.training.config.pretraining import GeneratorConfig
from fgnet_plugin.training.config.yaml_dataclass import plain
from fgnet_plugin.training.data.loading import Corpus, StepSampler
from fgnet_plugin.training.engine.stage import Batch, Stage, _move, fused, rate_factor
from fgnet_plugin.training.metrics.frechet_distance import FaceDistance
from fgnet_plugin.training.metrics.image_grid import write_sheet
from fgnet_plugin.training.models.discriminator import Discriminator
from fgnet_plugin.training.stages import gan_losses

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
        net = Generator(config.model.config()).to(memory_format=torch.channels_last)
        super().__init__(net, corpus, val_corpus, sampler, config.optimiser, config.trainer, plain(config))
        self.config = config
        self.discriminator = Discriminator(config.model.config()).to(memory_format=torch.channels_last)
        self.register_buffer("path_mean", torch.zeros(()))
        self.path_mean: Tensor
        self.register_buffer("penalties", torch.zeros(2))  # the last R1 and path length penalty, for the log
        self.penalties: Tensor
        self.seen: list[Tensor] = []
        self.distance: FaceDistance | None = None

    @property
    def sizes(self) -> FGNetConfig:
        """The architecture."""
        return self.config.model.config()

    @property
    def trained(self) -> Generator:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def configure_optimizers(self) -> Any:
        """Adam for the generator and for the discriminator, their rates and decays adapted to lazy regularisation."""
        game, settings = self.config.adversarial, self.settings
        optimisers = []
        regularised = (self.net, game.path_length, game.path_length_every), (self.discriminator, game.r1, game.r1_every)
        for net, weight, every in regularised:
            # A step in so many is followed by one of the regularisation alone (Karras et al. 2020, appendix B).
            share = every / (every + 1) if weight else 1.0
            options: dict[str, Any] = {"lr": settings.lr * share, "betas": (0.0, 0.99**share)}
            adam = torch.optim.Adam(net.parameters(), **options, fused=fused(net.parameters()))
            adam.param_groups[0]["initial_lr"] = settings.lr * share
            optimisers.append(adam)
        return optimisers

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """A step of the discriminator, then one of the generator; both after the last micro-batch of a step."""
        step, parts = self.global_step, self.sampler.accumulate
        generator, discriminator = cast(list[Any], self.optimizers())
        images = normalize(batch["image"])
        if self.config.data.flip:
            which = (self.uniform(len(images)) < 0.5).to(images.device)
            images = torch.where(which[:, None, None, None], images.flip(3), images)
        if self.micro_batch == 0:
            self.seen = []
            self.discriminator.zero_grad(set_to_none=True)
            for optimiser in (generator, discriminator):
                for group in optimiser.param_groups:
                    group["lr"] = group["initial_lr"] * rate_factor(self.settings, step, self.steps)
        self.seen.append(images)
        with torch.no_grad():
            painted, _ = self.paint(len(images))
        critic = gan_losses.discriminator_loss(self.discriminator(images).float(), self.discriminator(painted).float())
        self.backward_part(critic)
        loss = torch.zeros_like(critic)
        if self.micro_batch == parts - 1:
            average_gradients(self.discriminator)
            # The discriminator not through Lightning, which would count it as a step of the training.
            discriminator.optimizer.step()
            self.regularise_discriminator(discriminator.optimizer, step)
            loss = self.generator_step(generator, [len(seen) for seen in self.seen], step)
            self.move_average()
        losses = {"loss": loss, "critic": critic.detach() / parts}
        losses |= {"r1": self.penalties[0] / parts, "path_length": self.penalties[1] / parts}
        self.log_dict({"loss": loss, "critic": critic}, prog_bar=True, logger=False)
        return losses

    def generator_step(self, generator: Any, counts: list[int], step: int) -> Tensor:
        """A step of the generator against the discriminator as it is now; returns the loss."""
        self.net.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        losses = []
        for count in counts:
            painted, _ = self.paint(count)
            losses.append(gan_losses.generator_loss(self.discriminator(painted).float()))
            self.backward_part(losses[-1])
        self.discriminator.requires_grad_(True)
        average_gradients(self.net)
        generator.step()
        self.regularise_generator(generator.optimizer, counts, step)
        return torch.stack(losses).detach().mean()

    def regularise_discriminator(self, optimiser: torch.optim.Optimizer, step: int) -> None:
        """R1 at the step's real images, where it is this step's turn."""
        game = self.config.adversarial
        if not game.r1 or step % game.r1_every:
            return
        self.discriminator.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, enabled=False):
            for images in self.seen:
                penalty = gan_losses.r1_penalty(self.discriminator, images)
                self.backward_part(game.r1 / 2 * game.r1_every * penalty)
        average_gradients(self.discriminator)
        optimiser.step()
        self.penalties[0] = summed(penalty.detach().clone()) / world_size()

    def regularise_generator(self, optimiser: torch.optim.Optimizer, counts: list[int], step: int) -> None:
        """Path lengths, where it is this step's turn."""
        game = self.config.adversarial
        if not game.path_length or step % game.path_length_every:
            return
        self.net.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, enabled=False):
            for count in counts:
                painted, styles = self.paint(max(1, count // game.path_length_shrink))
                lengths = gan_losses.path_lengths(painted, styles)
                penalty, mean = gan_losses.path_length_penalty(lengths, self.path_mean)
                self.backward_part(game.path_length * game.path_length_every * penalty)
                self.path_mean.copy_(summed(mean) / world_size())
        average_gradients(self.net)
        optimiser.step()
        self.penalties[1] = summed(penalty.detach().clone()) / world_size()

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
        batch = self.settings.batch_size // (self.sampler.parts * self.sampler.accumulate)
        random = torch.Generator().manual_seed(seed)
        mean = style_moments(net)["style_mean"]
        for start in range(0, count, batch):
            codes = torch.randn(min(batch, count - start), dim, generator=random).to(self.device)
            styles = torch.lerp(mean, net.mapping(codes), truncation)[:, None].expand(-1, self.sizes.n_styles, -1)
            yield to_pixels(net.image(net(styles), styles))

    def val_dataloader(self) -> DataLoader[Batch]:
        """One batch: real faces are looked at once, before the first validation, not again for each."""
        faces = cast(Dataset[Batch], self.val_corpus)
        return DataLoader(Subset(faces, range(1)), generator=torch.Generator())

    @torch.no_grad()
    def look_at_real_faces(self) -> FaceDistance:
        """A distance that knows this process' share of the validation faces."""
        # Apple's devices lack the float64 that it adds up in.
        distance = FaceDistance().to("cpu" if self.device.type == "mps" else self.device)
        for batch in super().val_dataloader():
            distance.update(batch["image"].to(distance.device), real=True)
        return distance

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Nothing: painted faces are looked at all at once."""

    def on_validation_epoch_end(self) -> None:
        """Looks at as many painted faces as there are real ones, and writes the sheet."""
        if self.distance is None:
            # Beside the module: it is no part of what is trained, averaged and saved.
            object.__setattr__(self, "distance", self.look_at_real_faces())
        assert self.distance is not None
        self.distance.reset()
        for images in self.sample(-(-len(self.val_corpus) // world_size()), seed=1 + rank_of()):
            self.distance.update(images.to(self.distance.device), real=False)
        self.figures = {"distance": float(self.distance.compute())}
        self.log("val_distance", self.figures["distance"], prog_bar=True, logger=False)
        if rank_of() == 0:
            faces = torch.cat([images.cpu() for images in self.sample(SHEET_FACES, SHEET_SEED, TRUNCATION)])
            out = Path(self.machine.out)
            write_sheet(faces, out / f"samples-{self.global_step:06}.png")
            write_sheet(faces, out / "samples.png")

    def loss_names(self) -> list[str]:
        """The generator's and the discriminator's loss, and the last R1 and path length penalties."""
        return ["loss", "critic", "r1", "path_length"]

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
