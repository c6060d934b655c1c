"""A whole training, from its settings to its files."""

from __future__ import annotations

import importlib.util
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from fgnet_plugin.action_units import au_number
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.config import ANY_AU
from fgnet_plugin.training.callbacks import LAST, Keep, Log, steps_done
from fgnet_plugin.training.config import Csv, DetectorConfig, LandmarksConfig, Model, Rendered
from fgnet_plugin.training.distributed import Processes, say, shared_error, together, watched
from fgnet_plugin.training.loading import Corpus, StepSampler
from fgnet_plugin.training.stage import Stage


def train_detector(config: DetectorConfig, resume: bool = False) -> Path:
    """Trains FG-Net.

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
    from fgnet_plugin.training.baseline import FILE, Baseline
    from fgnet_plugin.training.baseline_stage import BaselineStage
    from fgnet_plugin.training.detector_stage import DetectorStage
    from fgnet_plugin.training.leakage import check_start_from
    from fgnet_plugin.training.published_starts import check_starts

    check_folder(Path(config.trainer.out), resume)
    check_starts(config.model.stylegan2, config.model.psp)  # before a large corpus is read
    check_start_from(config)
    torch.manual_seed(config.trainer.seed)
    aus, size = corpus_aus(config), face_size(config.model)
    corpus, val_corpus, sampler = detector_corpora(config, aus, size)
    if config.model.baseline:
        fit(BaselineStage(Baseline(config.model.baseline, aus, size), config, corpus, val_corpus, sampler), resume)
        return Path(config.trainer.out) / FILE
    net, licence = detector(config.model, aus)
    fit(DetectorStage(net, config, corpus, val_corpus, sampler, licence), resume)
    return Path(config.trainer.out) / "fgnet.safetensors"


def train_landmarks(config: LandmarksConfig, resume: bool = False) -> Path:
    """Trains the landmark network; see `train_detector`. Returns ``out/face-landmarks.safetensors``."""
    from fgnet_plugin.network.landmarks import CROP_SIZE, LandmarkNet
    from fgnet_plugin.training.landmark_stage import LandmarkStage

    check_folder(Path(config.trainer.out), resume)
    torch.manual_seed(config.trainer.seed)
    corpus, val_corpus = rendered_corpora(config.data, CROP_SIZE, "crop", config.optimiser.epochs)
    stage = LandmarkStage(
        LandmarkNet(), config, corpus, val_corpus, sampler_of(config, config.data, config.data.faces_per_epoch)
    )
    fit(stage, resume)
    return Path(config.trainer.out) / "face-landmarks.safetensors"


def check_folder(out: Path, resume: bool) -> None:
    """Says what is going to happen. Raises ValueError where a training would overwrite another."""
    last = out / LAST
    if last.is_file():
        step = steps_done(last)
        if not resume:
            raise shared_error(
                f"{out} holds a training of {step:,} steps: give --resume to go on with it, "
                "--set trainer.out=FOLDER for another folder, or delete it"
            )
        say(f"{last}: going on after step {step:,}")
    elif resume:
        say(f"{last}: not there yet, starting from the beginning")


def corpus_aus(config: DetectorConfig) -> tuple[str, ...]:
    """The AUs that a training's data has labels for, in channel order. Raises ValueError for names that are no AUs."""
    if config.data.rendered is not None:
        from fgnet_plugin.training.rendered import AUS

        return tuple(AUS)
    from fgnet_plugin.training.csv_corpus import au_columns

    csv = config.data.csv
    assert csv is not None
    for au in csv.aus:
        au_number(au)
    return csv.aus or au_columns(Path(csv.train))


def face_size(model: Model) -> int:
    """Side of the faces that a model reads, px."""
    if model.baseline:
        return model.size or FGNetConfig(ANY_AU).image_size
    return start_config(model).image_size if model.start_from else model.config().image_size


def start_config(model: Model) -> FGNetConfig:
    """The architecture of the file that a model starts from; pretrained parts have no AUs, and AU12 stands for them."""
    from fgnet_plugin.checkpoints import read_info
    from fgnet_plugin.training.pretrained import is_pretrained, read_pretrained
    from fgnet_plugin.weights import resolve

    path = resolve(model.start_from)
    return read_pretrained(path).config() if is_pretrained(path) else read_info(path).config


def detector(model: Model, aus: tuple[str, ...]) -> tuple[FGNet, str]:
    """The network as training starts with it, and the licence of its weights.

    Raises:
        ValueError: the interpreter of a checkpoint with other AUs, or of pretrained parts, which have none, is to be kept;
            a file is missing, damaged, or does not fit (CheckpointError).
    """
    import dataclasses

    from fgnet_plugin.checkpoints import load, read_info
    from fgnet_plugin.training.pretrained import is_pretrained, load_pretrained
    from fgnet_plugin.training.published_starts import LICENCE, read_starts
    from fgnet_plugin.weights import resolve

    if not model.start_from:
        net = FGNet(model.config(aus)).prepare(channels_last=True).train()
        starts = bool(model.stylegan2 or model.psp)
        if starts:
            _take(net, read_starts(model.stylegan2, model.psp, net.config))
        return net, LICENCE if starts else ""
    path = resolve(model.start_from)
    if is_pretrained(path):
        if not model.reset_interpreter:
            raise ValueError(f"{path} has no interpreter to go on with: leave out model.reset_interpreter")
        found = load_pretrained(path)
        net = FGNet(found.config(aus)).prepare(channels_last=True).train()
        for part in {"generator", "encoder"} & set(found.parts):
            _take(net, {f"{part}.{name}": tensor for name, tensor in found.parts[part].items()})
        return net, found.licence
    old = load(path, channels_last=True)
    if old.aus != aus and not model.reset_interpreter:
        raise ValueError(
            f"{path} has the AUs {' '.join(old.aus)}, the data {' '.join(aus)}: "
            "set model.reset_interpreter, or data.csv.aus to those of the checkpoint"
        )
    net = FGNet(dataclasses.replace(old.config, aus=aus)).prepare(channels_last=True)
    net.encoder.load_state_dict(old.encoder.state_dict())
    net.generator.load_state_dict(old.generator.state_dict())
    if not model.reset_interpreter:
        net.interpreter.load_state_dict(old.interpreter.state_dict())
    return net.train(), read_info(path).licence


def _take(net: FGNet, weights: dict[str, Tensor]) -> None:
    """Copies whole parts' weights into a network; the other parts stay as they are."""
    unknown = net.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, unknown


def detector_corpora(config: DetectorConfig, aus: tuple[str, ...], size: int) -> tuple[Corpus, Corpus, StepSampler]:
    """Training faces, validation faces, and the order of the training's."""
    data = config.data
    if data.rendered is not None:
        corpora = rendered_corpora(data.rendered, size, "aligned", config.optimiser.epochs)
        return *corpora, sampler_of(config, data.rendered, data.rendered.faces_per_epoch)
    from fgnet_plugin.training.csv_corpus import csv_corpora

    assert data.csv is not None
    corpus, val_corpus = csv_corpora(data.csv, aus, size, config.trainer.seed)
    return corpus, val_corpus, sampler_of(config, data.csv, len(corpus))


def rendered_corpora(data: Rendered, size: int, framing: str, epochs: int) -> tuple[Corpus, Corpus]:
    """Rendered training and validation faces. Raises ValueError for unknown domains."""
    from fgnet_plugin.training.rendered import DOMAINS, RenderedCorpus

    unknown = sorted({*data.domains, *data.val_domains} - set(DOMAINS))
    if unknown:
        raise ValueError(f"unknown domains {', '.join(unknown)}; there are {', '.join(DOMAINS)}")
    faces = data.faces_per_epoch * (epochs if data.fresh else 1)
    common: dict[str, Any] = {"size": size, "framing": framing}
    corpus = RenderedCorpus(domains=data.domains, seed=data.seed, length=faces, **common)
    return corpus, RenderedCorpus(domains=data.val_domains, seed=data.val_seed, length=data.val_faces, **common)


def sampler_of(config: DetectorConfig | LandmarksConfig, data: Rendered | Csv, samples: int) -> StepSampler:
    """The order of a corpus with so many faces an epoch."""
    settings = config.optimiser
    fresh = isinstance(data, Rendered) and data.fresh
    return StepSampler(
        samples, settings.batch_size, settings.epochs, settings.batches_per_epoch, seed=config.trainer.seed, fresh=fresh
    )


def fit(stage: Stage, resume: bool) -> None:
    """Runs a stage to its end; with `resume`, from ``last.ckpt`` where there is one.

    Raises:
        ValueError: the settings don't fit the machine, or the training diverged, or no validation gave a figure.
        ConnectionError: of several processes, one was lost.
    """
    settings, out = stage.machine, Path(stage.machine.out)
    last, automatic = out / LAST, stage.automatic_optimization
    begin = steps_done(last) if resume and last.is_file() else 0
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=PossibleUserWarning)  # advice on workers and logging intervals
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", category=Warning)  # Lightning's own use of torch
    warnings.filterwarnings("ignore", ".*`broadcast_buffers` is deprecated.*")  # older versions of torch have no other
    out.mkdir(parents=True, exist_ok=True)
    keep = Keep(out, settings.checkpoint_every)
    log = Log(out, settings.log_every, stage.loss_names(), stage.figure_names())
    callbacks: list[pl.Callback] = [Processes(last, begin, settings.threads), log, keep]
    if settings.progress:
        callbacks.append(TQDMProgressBar(refresh_rate=settings.log_every if not _interactive() else 1))
    trainer = pl.Trainer(
        **together(settings),
        accelerator=settings.accelerator,
        precision=settings.precision,
        max_epochs=1,
        val_check_interval=stage.validation_steps * settings.accumulate,
        num_sanity_val_steps=0,
        accumulate_grad_batches=settings.accumulate if automatic else 1,
        gradient_clip_val=(stage.settings.clip or None) if automatic else None,
        logger=_tensorboard(out, begin) if settings.tensorboard else False,
        enable_checkpointing=False,
        enable_progress_bar=settings.progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=out,
        callbacks=callbacks,
    )
    try:
        stage.sampler.divide(trainer.world_size, trainer.global_rank, settings.accumulate)
    except ValueError as error:
        raise shared_error(str(error)) from error
    with watched(trainer, last):
        trainer.fit(stage, ckpt_path=last if begin else None, weights_only=True)
    if keep.best is None or math.isnan(keep.best):
        raise shared_error(
            f"no validation gave a figure {stage.monitor}: the validation faces need some with each AU and some without"
        )
    say(f"best validation: {stage.monitor} {keep.best:.4f} after step {keep.best_step:,} of {stage.steps:,}")


def _tensorboard(out: Path, begin: int) -> TensorBoardLogger:
    """Writes ``out/tensorboard``; what a training that stopped had written there after the step `begin` does not count."""
    if importlib.util.find_spec("tensorboard") is None:
        raise shared_error('trainer.tensorboard needs tensorboard; run: pip install "fgnet-plugin[train]"')
    return TensorBoardLogger(out, name="", version="tensorboard", default_hp_metric=False, purge_step=begin + 1)


def _interactive() -> bool:
    import sys

    return sys.stderr.isatty()
