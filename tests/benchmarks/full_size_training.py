"""Steps of the published training at full size: python full_size_training.py psp.pt BATCH ACCUMULATE STEPS [THREADS]

The published start (pSp's file), loss and optimiser, on the same BATCH pictures in every step, through ACCUMULATE parts of the
batch. Prints a JSON object: the loss of each step, its seconds, and the peak memory in GiB.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from lightning.fabric import Fabric
from skimage import data

sys.path.extend(str(Path(__file__).parents[1] / name) for name in (".", "helpers"))
from peak_memory import peak

from fgnet_plugin.training.config.detector import read_detector
from fgnet_plugin.training.data.loading import StepSampler, micro_batches
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
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    stage.setup(fabric.device)
    forward, losses, seconds = fabric.setup_module(stage), [], []
    for share in stage.train_dataloader():
        began = time.perf_counter()
        losses.append(stage.take_step(list(micro_batches(share, accumulate)), fabric, forward)["loss"].item())
        stage.step += 1
        seconds.append(round(time.perf_counter() - began, 1))
        print(f"step {stage.step}: {losses[-1]:.4f}, {seconds[-1]} s", file=sys.stderr, flush=True)
    assert stage.step == steps
    found = {"parameters": count, "losses": losses, "seconds": seconds, "peak_gib": peak() / 2**30}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, (*sys.argv[2:], *(["2"] if len(sys.argv) < 6 else []))))
