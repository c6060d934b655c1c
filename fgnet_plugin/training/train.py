"""Train each of the networks: from the settings to the exported weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from fgnet_plugin.checkpoints.pretrained import Pretrained
from fgnet_plugin.checkpoints.stylegan2_psp import check_starts
from fgnet_plugin.training.collectives import say
from fgnet_plugin.training.config.detector import Csv, DetectorConfig, selection
from fgnet_plugin.training.config.pretraining import EncoderConfig, GeneratorConfig
from fgnet_plugin.training.data.build import corpus_aus, detector_corpora, sampler_of, unlabelled_corpora
from fgnet_plugin.training.data.csv_corpus import all_training_frames
from fgnet_plugin.training.data.leakage import check_start_from
from fgnet_plugin.training.data.loading import Corpus, StepSampler
from fgnet_plugin.training.engine.fit import check_folder, fit
from fgnet_plugin.training.metrics.inception_distance import read_inception
from fgnet_plugin.training.models.baseline import BASELINE_FILE, ENCODER, Baseline, start_from_imagenet
from fgnet_plugin.training.models.start import detector, encoder_baseline, face_size, gan_start, generator_start
from fgnet_plugin.training.models.systems import FGNET_FILE, read_system_info
from fgnet_plugin.training.stages.au_base import AUStage, Chosen
from fgnet_plugin.training.stages.baseline import BaselineStage
from fgnet_plugin.training.stages.detector import DetectorStage
from fgnet_plugin.training.stages.encoder import PRETRAINED_FILE, EncoderStage
from fgnet_plugin.training.stages.generator import GENERATOR_FILE, GeneratorStage
from fgnet_plugin.training.stages.reconstruction_loss import judges
from fgnet_plugin.utils.text import counted

CHOOSING = "choosing"
"""Folder, in a training's own, of the training that chooses the number of epochs for it."""


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
    out, csv = Path(config.trainer.out), config.data.csv
    check_folder(out, resume)
    check_starts(config.model.stylegan2, config.model.psp)  # before a large corpus is read
    check_start_from(config)
    if csv is not None:
        say(f"warning: {selection(csv)}" if csv.validation == "test" else selection(csv))
    if csv is not None and csv.validation == "refit":
        chosen = _choose_epochs(config, csv, resume)
        say(f"{out}: training anew on all training subjects, for {counted(chosen.epochs, 'epoch')}")
        torch.manual_seed(config.trainer.seed)
        aus, size = corpus_aus(config), face_size(config.model)
        corpus = all_training_frames(csv, aus, size, config.trainer.seed)
        sampler = sampler_of(config, csv, len(corpus), chosen.epochs)
        fit(_detector_stage(config, aus, size, corpus, None, sampler, chosen), resume)
    else:
        torch.manual_seed(config.trainer.seed)
        aus, size = corpus_aus(config), face_size(config.model)
        fit(_detector_stage(config, aus, size, *detector_corpora(config, aus, size)), resume)
    return out / (BASELINE_FILE if config.model.baseline else FGNET_FILE)


def _choose_epochs(config: DetectorConfig, csv: Csv, resume: bool) -> Chosen:
    """Trains with some subjects set aside, in the folder ``choosing`` of the training's, and takes the best epoch's number."""
    folder = Path(config.trainer.out) / CHOOSING
    aside = dataclasses.replace(config.data, csv=dataclasses.replace(csv, validation="subjects"))
    first = dataclasses.replace(config, data=aside, trainer=dataclasses.replace(config.trainer, out=str(folder)))
    check_folder(folder, resume)
    torch.manual_seed(config.trainer.seed)
    aus, size = corpus_aus(config), face_size(config.model)
    stage = _detector_stage(first, aus, size, *detector_corpora(first, aus, size))
    fit(stage, resume)
    found = read_system_info(folder).training
    return Chosen(found["step"] // stage.sampler.steps_per_epoch, found["validation"], found["validation_faces"])


def _detector_stage(
    config: DetectorConfig,
    aus: tuple[str, ...],
    size: int,
    corpus: Corpus,
    val_corpus: Corpus | None,
    sampler: StepSampler,
    chosen: Chosen | None = None,
) -> AUStage:
    """FG-Net or the baseline, before its first step."""
    model = config.model
    if model.baseline:
        licence = ""
        if model.baseline == ENCODER:
            baseline, licence = encoder_baseline(model, aus)
        elif model.baseline_weights:
            baseline = start_from_imagenet(model.baseline_weights, model.baseline, aus, size)
        else:
            baseline = Baseline(model.baseline, aus, size)
        return BaselineStage(baseline, config, corpus, val_corpus, sampler, licence, chosen)
    net, licence = detector(model, aus)
    return DetectorStage(net, config, corpus, val_corpus, sampler, licence, chosen)


def train_generator(config: GeneratorConfig, resume: bool = False) -> Path:
    """Train StyleGAN2; see `train_detector` for resuming. Returns ``out/generator.safetensors``.

    Raises ValueError: data or settings that don't fit together, or a folder that already holds a training.
    """
    check_folder(Path(config.trainer.out), resume)
    if config.fid_weights:
        read_inception(config.fid_weights)  # before a large corpus is read
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
        CheckpointError: the generator's file, or one that the loss needs, is missing, damaged or something else.
    """
    check_folder(Path(config.trainer.out), resume)
    torch.manual_seed(config.trainer.seed)
    sizes = {name: value for name, value in dataclasses.asdict(config.model.config()).items() if name != "aus"}
    start = generator_start(config.start_from) if config.start_from else Pretrained(sizes)
    if config.loss.features and "discriminator" not in start.parts:
        raise ValueError(f"{config.start_from} holds no discriminator: set loss.features to 0 and loss.structure to 1")
    compared_by = judges(config.loss)  # before a large corpus is read
    corpus, val_corpus, sampler = unlabelled_corpora(config, config.data, start.config().image_size)
    fit(EncoderStage(config, start, corpus, val_corpus, sampler, compared_by), resume)
    return Path(config.trainer.out) / PRETRAINED_FILE
