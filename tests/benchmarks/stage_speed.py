"""How fast each stage of the training runs on this machine: faces a second, and memory on a GPU.

    python tests/benchmarks/stage_speed.py [--device cpu|gpu] [--steps 30] [--precision bf16-mixed] [--threads 1] [--published]

The small sizes (``generator-small``, ``encoder-small``, ``rendered-small``, the baseline), or with ``--published`` those of the
paper. Faces are random numbers that lie in memory: reading or drawing them comes on top, in other processes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.training.data.loading import StepSampler
from fgnet_plugin.training.engine.checkpoint import Checkpoint
from fgnet_plugin.training.engine.fit import fit

WARM_UP = 5


@dataclass
class RandomFaces:
    """As many faces as asked for, all alike."""

    size: int
    aus: int
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        random = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, self.size, self.size), generator=random, dtype=torch.uint8)
        points = self.size * (0.3 + 0.4 * torch.rand(68, 2, generator=random))
        return {"image": image, "landmarks": points, "labels": (torch.arange(self.aus) % 2 + index).remainder(2).float()}


class Clock:
    """Times the steps after the first ones; waits for a GPU before the first and after the last of them only."""

    def __init__(self, device: str, steps: int) -> None:
        self.device, self.steps = device, steps
        self.start, self.seconds, self.memory = 0.0, 0.0, float("nan")

    def _now(self) -> float:
        if self.device == "gpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def after(self, step: int) -> None:
        """Takes the time after so many steps."""
        if step == WARM_UP:
            self.start = self._now()
        elif step == WARM_UP + self.steps:
            self.seconds = self._now() - self.start
            if self.device == "gpu":
                self.memory = torch.cuda.max_memory_allocated() / 1e9


def stages(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], tuple[Any, int]]]:
    """Name -> a function that makes the stage, and its batch size."""
    from fgnet_plugin.checkpoints.pretrained import Pretrained, style_moments
    from fgnet_plugin.network import FGNet
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.config.pretraining import read_encoder, read_generator
    from fgnet_plugin.training.models.baseline import Baseline
    from fgnet_plugin.training.models.discriminator import Discriminator
    from fgnet_plugin.training.rendered import AUS
    from fgnet_plugin.training.stages.baseline import BaselineStage
    from fgnet_plugin.training.stages.detector import DetectorStage
    from fgnet_plugin.training.stages.encoder import EncoderStage
    from fgnet_plugin.training.stages.generator import GeneratorStage

    machine = [f"trainer.accelerator={options.device}", f"trainer.precision={options.precision}", "trainer.progress=false"]
    machine += [f"trainer.threads={options.threads}", "trainer.workers=0"]
    suffix = "" if options.published else "-small"
    aus = tuple(AUS)

    def settings(name: str) -> list[str]:
        return [*machine, f"trainer.out={folder / name}", "optimiser.epochs=1", "optimiser.batches_per_epoch=null"]

    def data(size: int, batch: int) -> tuple[RandomFaces, RandomFaces, StepSampler]:
        count = batch * (WARM_UP + options.steps)
        return RandomFaces(size, len(aus), count), RandomFaces(size, len(aus), 2 * batch), StepSampler(count, batch, 1)

    def generator() -> tuple[Any, int]:
        config = read_generator(f"generator{suffix}", settings("generator"))
        batch = options.batch or config.optimiser.batch_size
        return GeneratorStage(config, *data(config.model.config().generator_size, batch)), batch

    def encoder() -> tuple[Any, int]:
        sizes = read_generator(f"generator{suffix}", settings("generator")).model.config()
        config = read_encoder(f"encoder{suffix}", settings("encoder"))
        batch, net = options.batch or config.optimiser.batch_size, FGNet(sizes)
        parts = {"generator": net.generator.state_dict(), "discriminator": Discriminator(sizes).state_dict()}
        architecture = {name: value for name, value in vars(sizes).items() if name != "aus"}
        start = Pretrained(architecture, parts | {"moments": style_moments(net.generator)})
        return EncoderStage(config, start, *data(start.config().image_size, batch)), batch

    def detector() -> tuple[Any, int]:
        rendered = ["model.size=null", "model.architecture={}"] if options.published else []
        config = read_detector("rendered-small", [*settings("detector"), *rendered])
        batch = options.batch or (16 if options.published else config.optimiser.batch_size)
        net = FGNet(config.model.config(aus)).prepare(channels_last=True).train()
        return DetectorStage(net, config, *data(net.config.image_size, batch)), batch

    def baseline() -> tuple[Any, int]:
        more = ["model.baseline=resnet18", "model.architecture={}", f"model.size={256 if options.published else 64}"]
        config = read_detector("rendered-small", [*settings("baseline"), *more, "guide.labels=0", "guide.landmarks=0"])
        batch, size = options.batch or 16, 256 if options.published else 64
        return BaselineStage(Baseline("resnet18", aus, size), config, *data(size, batch)), batch

    return {"generator": generator, "encoder": encoder, "detector": detector, "baseline": baseline}


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="gpu" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="bf16-mixed")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, help="default: that of the stage's settings")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--published", action="store_true", help="the paper's sizes")
    parser.add_argument("--only", nargs="+", help="stages")
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device == "gpu" else f"CPU, {options.threads} threads"
    print(f"{name}, torch {torch.__version__}, {options.precision}{', published sizes' if options.published else ''}")
    print(f"{'stage':12}{'batch':>6}{'ms a step':>12}{'faces/s':>10}{'GB':>7}")
    Checkpoint.save = lambda self: None  # type: ignore[method-assign]  # only the steps are timed
    with tempfile.TemporaryDirectory() as folder:
        for stage_name, make in stages(options, Path(folder)).items():
            if options.only and stage_name not in options.only:
                continue
            clock = Clock(options.device, options.steps)
            if options.device == "gpu":
                torch.cuda.reset_peak_memory_stats()
            stage, batch = make()
            take_step = stage.take_step

            def timed_step(*arguments: Any, take_step: Any = take_step, clock: Clock = clock, stage: Any = stage) -> Any:
                losses = take_step(*arguments)
                clock.after(stage.step + 1)
                return losses

            stage.take_step = timed_step
            try:
                fit(stage, False)
            except ValueError as error:  # random labels may leave nothing to be best at
                if "no validation gave" not in str(error):
                    raise
            seconds = clock.seconds / options.steps
            print(f"{stage_name:12}{batch:6}{seconds * 1e3:12.0f}{batch / seconds:10.1f}{clock.memory:7.1f}", flush=True)


if __name__ == "__main__":
    main()
