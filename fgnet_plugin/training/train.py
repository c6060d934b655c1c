"""Train each of the networks: from the settings to the exported weights."""

from __future__ import annotations

from pathlib import Path

import torch

from fgnet_plugin.checkpoints.stylegan2_psp import check_starts
from fgnet_plugin.training.collectives import say
from fgnet_plugin.training.config.detector import DetectorConfig
from fgnet_plugin.training.config.pretraining import EncoderConfig, GeneratorConfig
from fgnet_plugin.training.data.build import corpus_aus, detector_corpora, unlabelled_corpora
from fgnet_plugin.training.data.leakage import check_start_from
from fgnet_plugin.training.engine.fit import check_folder, fit
from fgnet_plugin.training.models.baseline import BASELINE_FILE, Baseline
from fgnet_plugin.training.models.start import detector, face_size, gan_start, generator_start
from fgnet_plugin.training.models.systems import FGNET_FILE
from fgnet_plugin.training.stages.baseline import BaselineStage
from fgnet_plugin.training.stages.detector import DetectorStage
from fgnet_plugin.training.stages.encoder import PRETRAINED_FILE, EncoderStage
from fgnet_plugin.training.stages.generator import GENERATOR_FILE, GeneratorStage


def train_detector(config: DetectorConfig, resume: bool = False) -> Path:
    """Train FG-Net.

    Args:
        config: the settings.
        resume: go on from ``out/last.ckpt``, if there is one. On a CPU, a training that was killed at any time and resumed
            gives the same weights, bit for bit, as one that was not.

    Returns:
        ``out/fgnet.safetensors``, which `fgnet_plugin.load` reads, or of a baseline ``out/baseline.safetensors``; either can
        be read by `systems.load_system`.

    Raises:
        ValueError: data or settings that don't fit together, or a folder that already holds a training; weights to start from
            that may have seen the test faces.
    """
    check_folder(Path(config.trainer.out), resume)
    check_starts(config.model.stylegan2, config.model.psp)  # before a large corpus is read
    check_start_from(config)
    torch.manual_seed(config.trainer.seed)
    aus, size = corpus_aus(config), face_size(config.model)
    corpus, val_corpus, sampler = detector_corpora(config, aus, size)
    if config.model.baseline:
        fit(BaselineStage(Baseline(config.model.baseline, aus, size), config, corpus, val_corpus, sampler), resume)
        return Path(config.trainer.out) / BASELINE_FILE
    net, licence = detector(config.model, aus)
    fit(DetectorStage(net, config, corpus, val_corpus, sampler, licence), resume)
    return Path(config.trainer.out) / FGNET_FILE


def train_generator(config: GeneratorConfig, resume: bool = False) -> Path:
    """Train StyleGAN2; see `train_detector` for resuming. Returns ``out/generator.safetensors``.

    Raises ValueError: data or settings that don't fit together, or a folder that already holds a training.
    """
    check_folder(Path(config.trainer.out), resume)
    torch.manual_seed(config.trainer.seed)
    corpus, val_corpus, sampler = unlabelled_corpora(config, config.data, config.model.config().generator_size)
    start = gan_start(config.start_from, config.model.config()) if config.start_from else None
    if start is not None and start.discriminator is None:
        say(f"{config.start_from} has no discriminator: it starts from random weights")
    fit(GeneratorStage(config, corpus, val_corpus, sampler, start), resume)
    return Path(config.trainer.out) / GENERATOR_FILE


def train_encoder(config: EncoderConfig, resume: bool = False) -> Path:
    """Train pSp; see `train_detector` for resuming. Returns ``out/pretrained.safetensors``.

    Raises:
        ValueError: data or settings that don't fit together, or a folder that already holds a training.
        CheckpointError: the generator's file is missing, damaged or something else.
    """
    check_folder(Path(config.trainer.out), resume)
    torch.manual_seed(config.trainer.seed)
    start = generator_start(config.start_from)
    if config.loss.features and "discriminator" not in start.parts:
        raise ValueError(f"{config.start_from} holds no discriminator: set loss.features to 0 and loss.structure to 1")
    corpus, val_corpus, sampler = unlabelled_corpora(config, config.data, start.config().image_size)
    fit(EncoderStage(config, start, corpus, val_corpus, sampler), resume)
    return Path(config.trainer.out) / PRETRAINED_FILE
