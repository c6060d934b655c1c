"""Steps of the published training at full size: python full_size_training.py psp.pt BATCH ACCUMULATE STEPS [THREADS]

The published start (pSp's file), loss and optimiser, on the same BATCH pictures in every step, through ACCUMULATE parts of the
batch. Prints a JSON object: the loss of each step, its seconds, and the peak memory in GiB.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from skimage import data

sys.path.extend(str(Path(__file__).parents[1] / name) for name in (".", "helpers"))
from peak_memory import peak

from fgnet_plugin.training.config.detector import read_detector
from fgnet_plugin.training.data.loading import StepSampler
from fgnet_plugin.training.models.start import detector
from fgnet_plugin.training.stages.detector import DetectorStage


class Pictures:
    """Cuttings of a portrait, with random AUs and landmarks."""

    def __init__(self, count: int, aus: int) -> None:
        self.photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)
        self.count, self.aus = count, aus

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        random = torch.Generator().manual_seed(index)
        top, left = torch.randint(0, 120, (2,), generator=random).tolist()
        return {
            "image": self.photo[:, top : top + 256, left : left + 256],
            "landmarks": torch.rand(68, 2, generator=random) * 160 + 48,
            "labels": torch.randint(0, 2, (self.aus,), generator=random).float(),
        }


class Watch(pl.Callback):
    """Notes each step's mean loss and seconds."""

    def __init__(self, accumulate: int) -> None:
        self.accumulate, self.losses, self.seconds = accumulate, [], []
        self._parts: list[float] = []

    def on_train_batch_start(self, *arguments: Any) -> None:
        if not self._parts:
            self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, stage: Any, outputs: Any, *rest: Any) -> None:
        self._parts.append(outputs["loss"].item() * self.accumulate)  # Lightning divides it
        if len(self._parts) == self.accumulate:
            self.losses.append(sum(self._parts) / self.accumulate)
            self.seconds.append(round(time.perf_counter() - self._began, 1))
            self._parts = []
            print(f"step {len(self.losses)}: {self.losses[-1]:.4f}, {self.seconds[-1]} s", file=sys.stderr, flush=True)


def main(psp: str, batch: int, accumulate: int, steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    changes = [f"model.psp={psp}", f"trainer.accumulate={accumulate}", f"optimiser.batch_size={batch}", "trainer.workers=0"]
    config = read_detector("bp4d", changes)
    aus = config.data.csv.aus
    torch.manual_seed(config.trainer.seed)
    net, _ = detector(config.model, aus)
    count = sum(parameter.numel() for parameter in net.parameters())
    corpus = Pictures(batch, len(aus))
    stage = DetectorStage(net, config, corpus, corpus, StepSampler(batch, batch, epochs=steps))
    stage.sampler.divide(1, 0, accumulate)
    watch = Watch(accumulate)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=config.optimiser.clip,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[watch],
    )
    trainer.fit(stage)
    assert trainer.global_step == steps
    found = {"parameters": count, "losses": watch.losses, "seconds": watch.seconds, "peak_gib": peak() / 2**30}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, (*sys.argv[2:], *(["2"] if len(sys.argv) < 6 else []))))
