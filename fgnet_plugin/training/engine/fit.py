"""Run one stage with Lightning: output folder, loggers, callbacks, resumption."""

from __future__ import annotations

import importlib.util
import logging
import math
import warnings
from pathlib import Path

import lightning.pytorch as pl
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from fgnet_plugin.training.collectives import say, shared_error
from fgnet_plugin.training.engine.callbacks import LAST, Keep, Log, steps_done
from fgnet_plugin.training.engine.distributed import Processes, together, watched
from fgnet_plugin.training.engine.stage import Stage


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
