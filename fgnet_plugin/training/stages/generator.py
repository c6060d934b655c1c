"""Training StyleGAN2 on aligned faces, without labels (Karras et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from fgnet_plugin.checkpoints.pretrained import save_pretrained, style_moments
from fgnet_plugin.network import normalize
from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.training.collectives import average_gradients, is_first, rank, summed, world_size
from fgnet_plugin.training.config.pretraining import GeneratorConfig
from fgnet_plugin.training.config.yaml_dataclass import plain
from fgnet_plugin.training.data.loading import Corpus, StepSampler
from fgnet_plugin.training.engine.stage import Batch, Stage, fused
from fgnet_plugin.training.metrics.frechet_distance import FaceDistance
from fgnet_plugin.training.metrics.image_grid import write_image_grid
from fgnet_plugin.training.metrics.inception_distance import inception_distance
from fgnet_plugin.training.models.discriminator import Discriminator
from fgnet_plugin.training.models.gan_augment import AdaptiveAugmentation
from fgnet_plugin.training.models.start import GanStart
from fgnet_plugin.training.stages import gan_losses

GENERATOR_FILE = "generator.safetensors"
GRID_FACES, GRID_SEED, TRUNCATION = 64, 0, 0.7


class GeneratorStage(Stage):
    """Generator and discriminator in training; exported to ``out/generator.safetensors`` whenever its faces are better.

    Better is a smaller Fréchet distance to the validation faces (`frechet_distance`), with Inception's weights a smaller FID
    (`inception_distance`). After each validation
    ``out/samples.png`` and ``out/samples-000123.png`` show 64 faces, always of the same latent codes.

    Args:
        config: the settings.
        corpus, val_corpus: samples are dicts with "image" uint8 [3, S, S], S = generator_size.
        sampler: of the corpus.
        start: weights to go on from.
    """

    monitor, maximise = "distance", False
    uses_ddp = False
    net: Generator
    average: Generator | None

    def __init__(
        self,
        config: GeneratorConfig,
        corpus: Corpus,
        val_corpus: Corpus,
        sampler: StepSampler,
        start: GanStart | None = None,
    ) -> None:
        net = Generator(config.model.config()).to(memory_format=torch.channels_last)
        if start is not None:
            net.load_state_dict(start.generator)
        super().__init__(net, corpus, val_corpus, sampler, config.optimiser, config.trainer, plain(config))
        self.config = config
        self.discriminator = Discriminator(config.model.config()).to(memory_format=torch.channels_last)
        self.ada = None if config.ada is None else AdaptiveAugmentation(config.ada, config.optimiser.batch_size)
        if start is not None and self.average is not None:
            self.average.load_state_dict(start.average)
        if start is not None and start.discriminator is not None:
            self.discriminator.load_state_dict(start.discriminator)
        licences = config.licence, "" if start is None else start.licence
        self.licence = " ".join(filter(None, dict.fromkeys(licences)))
        self.register_buffer("path_mean", torch.zeros(()))
        self.path_mean: Tensor
        self.register_buffer("penalties", torch.zeros(2))  # the last R1 and path length penalty, for the log
        self.penalties: Tensor
        # Beside the module: they are no part of what is trained, averaged and saved.
        self.distances: dict[str, FrechetInceptionDistance] = {"distance": FaceDistance()}
        if config.fid_weights:
            self.distances["fid"] = inception_distance(config.fid_weights)
            self.monitor = "fid"
        self.has_seen_real_faces = False

    @property
    def sizes(self) -> FGNetConfig:
        """The architecture."""
        return self.config.model.config()

    @property
    def trained(self) -> Generator:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def make_optimisers(self) -> list[torch.optim.Optimizer]:
        """Adam for the generator and for the discriminator, their rates and decays adapted to lazy regularisation."""
        game, settings = self.config.adversarial, self.settings
        optimisers: list[torch.optim.Optimizer] = []
        regularised = (self.net, game.path_length, game.path_length_every), (self.discriminator, game.r1, game.r1_every)
        for net, weight, every in regularised:
            # A step in so many is followed by one of the regularisation alone (Karras et al. 2020, appendix B).
            share = every / (every + 1) if weight else 1.0
            options: dict[str, Any] = {"lr": settings.lr * share, "betas": (0.0, 0.99**share)}
            optimisers.append(torch.optim.Adam(net.parameters(), **options, fused=fused(net.parameters())))
        return optimisers

    def take_step(self, micro_batches: Sequence[Batch], fabric: Fabric, forward: Any) -> dict[str, Tensor]:
        """A step of the discriminator, then one of the generator against it; see `Stage.take_step`."""
        generator, discriminator = self.optimisers
        images: list[Tensor] = []
        critics: list[Tensor] = []
        real_logits: list[Tensor] = []
        self.discriminator.zero_grad(set_to_none=True)
        for k, batch in enumerate(micro_batches):
            self.begin_micro_batch(k)
            images.append(self.real_images(batch))
            with self.autocast():
                with torch.no_grad():
                    generated, _ = self.generate(len(images[-1]))
                real_logits.append(self.judge(images[-1]).float())
                critics.append(gan_losses.discriminator_loss(real_logits[-1], self.judge(generated).float()))
            self.backward_part(critics[-1])
        average_gradients(self.discriminator)
        discriminator.step()
        self.regularise_discriminator(discriminator, images)
        counts = [len(part) for part in images]
        loss = self.generator_step(generator, counts)
        self.regularise_generator(generator, counts)
        critic = torch.stack(critics).detach().mean()
        losses = {"loss": loss, "critic": critic, "r1": self.penalties[0].clone(), "path_length": self.penalties[1].clone()}
        if self.ada is not None:
            self.ada.adapt(torch.cat(real_logits).detach(), self.step)
            losses |= {"ada_p": self.ada.p.clone(), "ada_rt": self.ada.overfitting.clone()}
        return losses

    def judge(self, images: Tensor) -> Tensor:
        """The discriminator's logits [B] of images [B, 3, S, S], which it sees augmented where the settings say so."""
        return self.discriminator(images if self.ada is None else self.ada(images))

    def real_images(self, batch: Batch) -> Tensor:
        """A micro-batch's images in [-1, 1], half of them mirrored where the settings say so."""
        images = normalize(batch["image"])
        if not self.config.data.flip:
            return images
        which = (self.uniform(len(images)) < 0.5).to(images.device)
        return torch.where(which[:, None, None, None], images.flip(3), images)

    def generator_step(self, optimiser: torch.optim.Optimizer, counts: list[int]) -> Tensor:
        """A step of the generator against the discriminator as it is now; returns the loss."""
        self.net.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        losses = []
        for count in counts:
            with self.autocast():
                generated, _ = self.generate(count)
                losses.append(gan_losses.generator_loss(self.judge(generated).float()))
            self.backward_part(losses[-1])
        self.discriminator.requires_grad_(True)
        average_gradients(self.net)
        optimiser.step()
        return torch.stack(losses).detach().mean()

    def regularise_discriminator(self, optimiser: torch.optim.Optimizer, real: list[Tensor]) -> None:
        """R1 at the step's real images, in float32, where it is this step's turn."""
        game = self.config.adversarial
        if not game.r1 or self.step % game.r1_every:
            return
        self.discriminator.zero_grad(set_to_none=True)
        for images in real:
            penalty = gan_losses.r1_penalty(self.judge, images)
            self.backward_part(game.r1 / 2 * game.r1_every * penalty)
        average_gradients(self.discriminator)
        optimiser.step()
        self.penalties[0] = summed(penalty.detach().clone()) / world_size()

    def regularise_generator(self, optimiser: torch.optim.Optimizer, counts: list[int]) -> None:
        """Path lengths, in float32, where it is this step's turn."""
        game = self.config.adversarial
        if not game.path_length or self.step % game.path_length_every:
            return
        self.net.zero_grad(set_to_none=True)
        for count in counts:
            generated, styles = self.generate(max(1, count // game.path_length_shrink))
            lengths = gan_losses.path_lengths(generated, styles)
            penalty, mean = gan_losses.path_length_penalty(lengths, self.path_mean)
            self.backward_part(game.path_length * game.path_length_every * penalty)
            self.path_mean.copy_(summed(mean) / world_size())
        average_gradients(self.net)
        optimiser.step()
        self.penalties[1] = summed(penalty.detach().clone()) / world_size()

    def backward_part(self, loss: Tensor) -> None:
        """Adds the gradients of a micro-batch's loss: the step's is their mean."""
        torch.autograd.backward(loss / self.sampler.accumulate)

    def generate(self, count: int) -> tuple[Tensor, Tensor]:
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
        mean = style_moments(net)["style_mean"] if truncation < 1 else torch.zeros(dim, device=self.device)
        batch = self.settings.batch_size // (self.sampler.parts * self.sampler.accumulate)
        random = torch.Generator().manual_seed(seed)
        for start in range(0, count, batch):
            codes = torch.randn(min(batch, count - start), dim, generator=random).to(self.device)
            styles = torch.lerp(mean, net.mapping(codes), truncation)[:, None].expand(-1, self.sizes.n_styles, -1)
            yield to_pixels(net.image(net(styles), styles))

    def val_dataloader(self) -> Iterable[Batch]:
        """Nothing: real faces are looked at once, before the first validation, not again for each."""
        return ()

    def look_at_real_faces(self) -> None:
        """Shows this process' share of the validation faces to the distances."""
        for distance in self.distances.values():
            # Apple's devices lack the float64 that they add up in.
            distance.to("cpu" if self.device.type == "mps" else self.device)
        for batch in super().val_dataloader():
            for distance in self.distances.values():
                distance.update(batch["image"].to(distance.device), real=True)
        self.has_seen_real_faces = True

    def validation_metrics(self) -> dict[str, float]:
        """The Fréchet distances of as many generated faces as there are real ones; writes the image grid."""
        if not self.has_seen_real_faces:
            self.look_at_real_faces()
        assert self.val_corpus is not None  # distances are to its faces
        for distance in self.distances.values():
            distance.reset()
        for images in self.sample(-(-len(self.val_corpus) // world_size()), seed=1 + rank()):
            for distance in self.distances.values():
                distance.update(images.to(distance.device), real=False)
        if is_first():
            faces = torch.cat([images.cpu() for images in self.sample(GRID_FACES, GRID_SEED, TRUNCATION)])
            for name in (f"samples-{self.step:06}.png", "samples.png"):
                write_image_grid(faces, Path(self.machine.out) / name)
        return {name: float(distance.compute()) for name, distance in self.distances.items()}

    def loss_names(self) -> list[str]:
        """The generator's and the discriminator's loss, the last R1 and path length penalties, and what augmentation does."""
        return ["loss", "critic", "r1", "path_length", *(() if self.ada is None else ("ada_p", "ada_rt"))]

    def metric_names(self) -> list[str]:
        """The Fréchet distance of `frechet_distance.FaceDistance` and, with Inception's weights, FID."""
        return list(self.distances)

    def export(self, metrics: dict[str, float], step: int) -> None:
        """Writes ``generator.safetensors``."""
        training = {"by": "fgnet train generator", "step": step, "validation": metrics, "recipe": self.recipe}
        parts: dict[str, nn.Module | dict[str, Tensor]] = {
            "generator": self.trained, "discriminator": self.discriminator, "moments": style_moments(self.trained),
        }  # fmt: skip
        save_pretrained(Path(self.machine.out) / GENERATOR_FILE, self.sizes, parts, training, self.licence)


def to_pixels(images: Tensor) -> Tensor:
    """Images [..., 3, S, S], about [-1, 1] -> uint8."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
