"""Whole trainings of the stages before the detector's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.network.config import ANY_AU
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.training.loading import Corpus, StepSampler
from fgnet_plugin.training.pretrained import Pretrained, is_pretrained, load_pretrained, style_moments
from fgnet_plugin.training.pretraining_config import EncoderConfig, Faces, GeneratorConfig
from fgnet_plugin.training.published_starts import LICENCE, read_starts
from fgnet_plugin.training.run import check_folder, fit, rendered_corpora


def train_generator(config: GeneratorConfig, resume: bool = False) -> Path:
    """Trains StyleGAN2; see `run.train_detector` for resuming. Returns ``out/generator.safetensors``.

    Raises ValueError: data or settings that don't fit together, or a folder that already holds a training.
    """
    from fgnet_plugin.training.generator_stage import FILE, GeneratorStage

    check_folder(Path(config.trainer.out), resume)
    torch.manual_seed(config.trainer.seed)
    corpus, val_corpus, sampler = faces(config, config.data, config.model.config().generator_size)
    fit(GeneratorStage(config, corpus, val_corpus, sampler), resume)
    return Path(config.trainer.out) / FILE


def train_encoder(config: EncoderConfig, resume: bool = False) -> Path:
    """Trains pSp; see `run.train_detector` for resuming. Returns ``out/pretrained.safetensors``.

    Raises:
        ValueError: data or settings that don't fit together, or a folder that already holds a training.
        CheckpointError: the generator's file is missing, damaged or something else.
    """
    from fgnet_plugin.training.encoder_stage import FILE, EncoderStage

    check_folder(Path(config.trainer.out), resume)
    torch.manual_seed(config.trainer.seed)
    start = generator_start(config.start_from)
    if config.loss.features and "discriminator" not in start.parts:
        raise ValueError(f"{config.start_from} holds no discriminator: set loss.features to 0 and loss.structure to 1")
    corpus, val_corpus, sampler = faces(config, config.data, start.config().image_size)
    fit(EncoderStage(config, start, corpus, val_corpus, sampler), resume)
    return Path(config.trainer.out) / FILE


def generator_start(path: str) -> Pretrained:
    """The generator that an encoder is to invert: a file of the stage `generator`, or StyleGAN2's in rosinality's layout.

    Raises CheckpointError: no such file, another kind of file, damaged, or of other sizes.
    """
    if is_pretrained(path) or path.endswith(".safetensors"):
        return load_pretrained(path)
    config = FGNetConfig(ANY_AU)
    state = {name.removeprefix("generator."): tensor for name, tensor in read_starts(path, "", config).items()}
    generator = Generator(config).requires_grad_(False)
    generator.load_state_dict(state)
    architecture = {name: value for name, value in dataclasses.asdict(config).items() if name != "aus"}
    return Pretrained(architecture, {"generator": state, "moments": style_moments(generator)}, licence=LICENCE)


def faces(config: GeneratorConfig | EncoderConfig, data: Faces, size: int) -> tuple[Corpus, Corpus, StepSampler]:
    """Training faces, validation faces, and the order of the training's."""
    settings = config.optimiser
    corpus: Corpus
    if data.rendered is not None:
        corpus, val_corpus = rendered_corpora(data.rendered, size, "aligned", settings.epochs)
        samples, fresh = data.rendered.faces_per_epoch, data.rendered.fresh
    else:
        from fgnet_plugin.training.pictures_corpus import pictures_corpora

        corpus, val_corpus = pictures_corpora(data.folder, size, data.val_fraction, config.trainer.seed)
        samples, fresh = len(corpus), False
    sampler = StepSampler(
        samples, settings.batch_size, settings.epochs, settings.batches_per_epoch, seed=config.trainer.seed, fresh=fresh
    )
    return corpus, val_corpus, sampler
