"""The training loop: runs one stage from where it stands to its end."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from tqdm import tqdm

from fgnet_plugin.training.collectives import is_first, say, shared_error
from fgnet_plugin.training.data.loading import micro_batches
from fgnet_plugin.training.engine.checkpoint import LAST, Checkpoint, steps_done
from fgnet_plugin.training.engine.distributed import check_same_step, ddp_arguments, report_lost_processes
from fgnet_plugin.training.engine.log import Log
from fgnet_plugin.training.engine.stage import Batch, Stage
from fgnet_plugin.training.engine.sync_batchnorm import sync_batchnorm
from fgnet_plugin.utils.text import counted


def check_folder(out: Path, resume: bool) -> None:
    """Says what is going to happen. Raises ValueError where a training would overwrite another."""
    last = out / LAST
    if last.is_file():
        step = steps_done(last)
        if not resume:
            raise shared_error(
                f"{out} holds a training of {counted(step, 'step', form=',')}: give --resume to go on with it, "
                "--set trainer.out=FOLDER for another folder, or delete it"
            )
        say(f"{last}: going on after step {step:,}")
    elif resume:
        say(f"{last}: not there yet, starting from the beginning")


def fit(stage: Stage, resume: bool) -> None:
    """Runs a stage to its end; with `resume`, from ``last.ckpt`` where there is one.

    Raises:
        ValueError: the settings don't fit the machine, or the training diverged, or no validation gave a value to choose by.
        ConnectionError: of several processes, one was lost.
        KeyboardInterrupt: after saying how to go on.
    """
    settings, last = stage.machine, Path(stage.machine.out) / LAST
    begin = steps_done(last) if resume and last.is_file() else 0
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*`broadcast_buffers` is deprecated.*")  # older versions of torch have no other
    last.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(stage, Log(stage))
    fabric = Fabric(accelerator=settings.accelerator, **ddp_arguments(settings))
    fabric.launch()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    with report_lost_processes(fabric, last):
        check_same_step(last, begin)
        try:
            stage.sampler.divide(fabric.world_size, fabric.global_rank, settings.accumulate)
        except ValueError as error:
            raise shared_error(str(error)) from error
        if fabric.world_size > 1:
            sync_batchnorm(stage)
        stage.setup(fabric.device)
        if begin:
            checkpoint.load()
        try:
            _train(fabric, stage, checkpoint)
        except KeyboardInterrupt:
            saved = steps_done(last) if last.is_file() else 0
            how = f"goes on after step {saved:,}" if saved else "starts from the beginning: no step was saved yet"
            command = "the same command" if resume else "the same command with --resume"
            say(f"\ninterrupted after step {stage.step:,}; {command} {how}")
            raise
    if stage.val_corpus is None:
        return say(f"trained for all of the {counted(stage.steps, 'step', form=',')}, without a validation")
    if checkpoint.best is None:
        raise shared_error(
            f"no validation gave a value of {stage.monitor}: the validation faces need some with each AU and some without"
        )
    say(f"best validation: {stage.monitor} {checkpoint.best:.4f} after step {checkpoint.best_step:,} of {stage.steps:,}")


def _train(fabric: Fabric, stage: Stage, checkpoint: Checkpoint) -> None:
    """Takes the steps that are left, with a validation after every `Stage.validation_steps` of them."""
    # Only DDP's own forward makes backward average the gradients; a stage with several losses averages them itself.
    forward = fabric.setup_module(stage) if stage.uses_ddp else stage
    settings, log, val_loader = stage.machine, checkpoint.log, stage.val_dataloader()
    log.open()
    stage.before_training()
    stage.training_mode()
    with _progress(stage) as bar, closing(log):
        for share in _on_device(fabric, stage.train_dataloader()):
            stage.set_learning_rates()
            losses = stage.take_step(list(micro_batches(share, settings.accumulate)), fabric, forward)
            stage.move_average()
            stage.step += 1
            bar.update()
            if shown := log.add_step(losses):
                bar.set_postfix(shown, refresh=False)
            if stage.val_corpus is not None and stage.step % stage.validation_steps == 0:
                metrics = _validate(fabric, stage, val_loader)
                log.add_validation(metrics)
                checkpoint.export_best(metrics)
                checkpoint.save()
            elif stage.step == stage.steps:
                checkpoint.export_last()
                checkpoint.save()
            elif stage.step % settings.checkpoint_every == 0:
                checkpoint.save()


@torch.no_grad()
def _validate(fabric: Fabric, stage: Stage, loader: Iterable[Batch]) -> dict[str, float]:
    """The metrics of all processes' validation faces."""
    stage.eval()
    for batch in _on_device(fabric, loader):
        with stage.autocast():
            stage.validation_step(batch)
    metrics = stage.validation_metrics()
    stage.training_mode()
    return metrics


def _on_device(fabric: Fabric, loader: Iterable[Batch]) -> Iterator[Batch]:
    return (fabric.to_device(batch) for batch in loader)


def _progress(stage: Stage) -> tqdm[Any]:
    interactive, settings = sys.stderr.isatty(), stage.machine
    return tqdm(
        total=stage.steps,
        initial=stage.step,
        unit="step",
        disable=not (settings.progress and is_first()),
        miniters=None if interactive else settings.log_every,
        mininterval=0.1 if interactive else 0,
    )
