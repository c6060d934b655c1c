"""Training pSp: an encoder whose latent codes make a generator generate the same face (Richardson et al. 2021).

The generator is frozen, as pSp's is, or learns with the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.checkpoints.pretrained import Pretrained, save_pretrained, style_moments
from fgnet_plugin.network import normalize
from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.encoder import Encoder
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.training.collectives import is_first, summed
from fgnet_plugin.training.config.pretraining import EncoderConfig
from fgnet_plugin.training.config.yaml_dataclass import plain
from fgnet_plugin.training.data.csv_corpus import CsvCorpus
from fgnet_plugin.training.data.flip import mirror
from fgnet_plugin.training.data.loading import Corpus, StepSampler
from fgnet_plugin.training.engine.stage import Batch, Stage
from fgnet_plugin.training.metrics.image_grid import write_image_grid
from fgnet_plugin.training.models.discriminator import Discriminator
from fgnet_plugin.training.models.start import encoder_start
from fgnet_plugin.training.stages.generator import to_pixels
from fgnet_plugin.training.stages.landmark_shapes import N_SHAPES, landmark_shapes, region_weights
from fgnet_plugin.training.stages.reconstruction_loss import Judge, map_spreads, reconstruction_loss

PRETRAINED_FILE = "pretrained.safetensors"
GRID_FACES, GRID_COLUMNS = 32, 8
Net = TypeVar("Net", bound=nn.Module)
_FACES_FOR_SPREADS = 64
_READ_MAPS = 16
"""Side of the largest maps that landmarks are read off, px."""


class EncoderStage(Stage):
    """An encoder in training; exported with the generator to ``out/pretrained.safetensors``, for a detector's ``start_from``.

    After each validation ``out/reconstructions.png`` and ``out/reconstructions-000123.png`` show faces, each row of them above
    the row of what the generator makes of their codes.

    Args:
        config: the settings.
        start: the generator, and where there is one its discriminator and the mean style; or sizes alone.
        corpus, val_corpus: samples are dicts with "image" uint8 [3, S, S], S = image_size, and "landmarks" [68, 2] in pixels of
            it where the loss has terms of theirs.
        sampler: of the corpus.
        judges: the settings' networks that compare faces, besides the discriminator.
    """

    monitor, maximise = "loss", False
    net: Encoder
    average: Encoder | None
    shape_mean: Tensor
    shape_spread: Tensor  # of `landmark_shapes` over the training faces

    def __init__(
        self,
        config: EncoderConfig,
        start: Pretrained,
        corpus: Corpus,
        val_corpus: Corpus,
        sampler: StepSampler,
        judges: Sequence[Judge] = (),
    ) -> None:
        sizes: FGNetConfig = start.config()
        net = Encoder(sizes).to(memory_format=torch.channels_last)
        net.channels_last = True
        licences, begun = [config.licence, start.licence], dict[str, Tensor]()
        if config.start_encoder:
            begun, licence = encoder_start(config.start_encoder, sizes)
            net.load_state_dict(begun, strict=False)  # it may be the trunk alone
            licences.append(licence)
        if config.latent == "w" and "latent_average" not in begun:
            net.latent_average.copy_(start.parts["moments"]["style_mean"].expand_as(net.latent_average))
        super().__init__(net, corpus, val_corpus, sampler, config.optimiser, config.trainer, plain(config))
        self.config, self.sizes, self.start = config, sizes, start
        self.licence = " ".join(filter(None, dict.fromkeys(licences)))
        generator = Generator(sizes)
        self.generator = frozen(generator, start.parts.get("generator", generator.state_dict()))
        self.generator.requires_grad_(config.train_generator)
        self.discriminator: Discriminator | None = None
        if config.loss.features:
            self.discriminator = frozen(Discriminator(sizes), start.parts["discriminator"])
        self.spreads: list[float] = []
        self.judges = tuple(judges)  # beside the module: their weights are not copied into every checkpoint
        self.reader: nn.Linear | None = None
        if config.loss.landmarks:
            assert isinstance(corpus, CsvCorpus)  # EncoderConfig has seen to it
            shapes = landmark_shapes(corpus.landmarks)
            self.register_buffer("shape_mean", shapes.mean(0))
            self.register_buffer("shape_spread", shapes.std(0).clamp(min=1e-4))  # 0 where points define the frame
            self.reader = nn.Linear(sizes.n_layers * sizes.style_dim, N_SHAPES)
            small = (
                n * size**2 for n, size in zip(sizes.generator_channels, sizes.map_sizes, strict=True) if size <= _READ_MAPS
            )
            self.map_reader = nn.Linear(sum(small), N_SHAPES)
        self._sums = torch.zeros(3)
        self._shown: list[Tensor] = []

    @property
    def trained(self) -> Encoder:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a batch."""
        faces, landmarks = normalize(batch["image"]), batch.get("landmarks")
        if self.config.data.flip:
            which = (self.uniform(len(faces)) < 0.5).to(faces.device)
            if landmarks is None:
                faces = torch.where(which[:, None, None, None], faces.flip(3), faces)
            else:
                faces, landmarks = mirror(faces, landmarks, which)
        codes = self.net(faces)
        generated, maps = self.reconstruct(codes, faces.shape[-1])
        loss = self.loss(generated, faces, landmarks).mean()
        return loss if self.reader is None else loss + self.config.loss.landmarks * self.reading_loss(codes, maps, landmarks)

    def reading_loss(self, codes: Tensor, maps: Sequence[Tensor], landmarks: Tensor | None) -> Tensor:
        """Mean squared errors, in the spread of shapes, of what linear layers read off codes and off small maps; their sum."""
        assert self.reader is not None
        assert landmarks is not None
        of_maps = self.map_reader(torch.cat([one.flatten(1) for one in maps if one.shape[-1] <= _READ_MAPS], 1)).float()
        of_codes = self.reader(codes[:, : self.sizes.n_layers].flatten(1)).float()
        wanted = (landmark_shapes(landmarks.float()) - self.shape_mean) / self.shape_spread
        return F.mse_loss(of_codes, wanted) + F.mse_loss(of_maps, wanted)

    def reconstruct(self, codes: Tensor, size: int) -> tuple[Tensor, list[Tensor]]:
        """What the generator makes of codes [B, rows, style_dim]: [B, 3, size, size], about [-1, 1], and its maps."""
        styles = self.generator.mapping(codes) if self.config.latent == "z" else codes
        maps = self.generator(styles)
        generated = self.generator.image(maps, styles)
        return generated if generated.shape[-1] == size else F.adaptive_avg_pool2d(generated, size), maps

    def loss(self, generated: Tensor, faces: Tensor, landmarks: Tensor | None = None) -> Tensor:
        """[B]: the weighted sum of the settings' terms, without what is read off codes."""
        weights, of_pixels = self.config.loss, None
        if weights.regions:
            assert landmarks is not None
            of_pixels = region_weights(landmarks.float(), faces.shape[-1], weights.regions)
        return reconstruction_loss(generated, faces, weights, self.discriminator, self.spreads, self.judges, of_pixels)

    def before_training(self) -> None:
        """Takes the spread of the discriminator's maps, of the same few validation faces in every process."""
        for judge in self.judges:
            judge.net.to(self.device)
        if self.discriminator is not None:
            assert self.val_corpus is not None  # spreads are of its faces
            some = [self.val_corpus[i]["image"] for i in range(min(_FACES_FOR_SPREADS, len(self.val_corpus)))]
            self.spreads = map_spreads(self.discriminator, normalize(torch.stack(some)).to(self.device))

    def validation_step(self, batch: Batch) -> None:
        """Adds a batch's errors."""
        faces = normalize(batch["image"])
        codes, landmarks = self.trained(faces), batch.get("landmarks")
        generated, maps = self.reconstruct(codes, faces.shape[-1])
        generated = generated.float().clamp(-1, 1)
        noise = (generated - faces).square().mean((1, 2, 3)) / 4  # of pixels in [0, 1]
        loss = self.loss(generated, faces, landmarks).sum()
        if self.reader is not None:
            loss = loss + self.config.loss.landmarks * len(faces) * self.reading_loss(codes, maps, landmarks)
        self._sums += torch.stack([loss, (-10 * noise.log10()).sum(), faces.new_tensor(len(faces))]).cpu()
        if sum(len(shown) for shown in self._shown) < 2 * GRID_FACES:
            self._shown.append(torch.stack([batch["image"], to_pixels(generated)], 1).cpu())

    def validation_metrics(self) -> dict[str, float]:
        """Loss and signal-to-noise ratio; writes the image grid."""
        loss, psnr, count = summed(self._sums.to(self.device)).tolist()
        if is_first():
            pairs = torch.cat(self._shown)[:GRID_FACES]
            pairs = pairs[: max(1, len(pairs) // GRID_COLUMNS) * GRID_COLUMNS]
            columns = min(GRID_COLUMNS, len(pairs))
            # A row of faces, a row of reconstructions, …
            rows = pairs.view(-1, columns, *pairs.shape[1:]).transpose(1, 2).flatten(0, 2)
            for name in (f"reconstructions-{self.step:06}.png", "reconstructions.png"):
                write_image_grid(rows, Path(self.machine.out) / name, columns)
        self._sums, self._shown = torch.zeros(3), []
        return {"loss": loss / count, "psnr": psnr / count}

    def metric_names(self) -> list[str]:
        """Loss, and the peak signal-to-noise ratio of pixels in dB, both means over validation faces."""
        return ["loss", "psnr"]

    def export(self, metrics: dict[str, float], step: int) -> None:
        """Writes ``pretrained.safetensors``."""
        generator = self.start.training
        training = {
            "by": "fgnet train encoder",
            "step": step,
            "validation": metrics,
            "recipe": self.recipe,
            "generator": generator,
        }
        parts: dict[str, Any] = {"generator": self.generator, "encoder": self.trained}
        parts |= {name: self.start.parts[name] for name in ("discriminator", "moments") if name in self.start.parts}
        if self.config.train_generator:
            parts["moments"] = style_moments(self.generator)
        save_pretrained(Path(self.machine.out) / PRETRAINED_FILE, self.sizes, parts, training, self.licence)


def frozen(net: Net, state: dict[str, Tensor]) -> Net:
    """A network with these weights, channels last, that is not trained."""
    net.load_state_dict(state)
    return net.to(memory_format=torch.channels_last).eval().requires_grad_(False)
