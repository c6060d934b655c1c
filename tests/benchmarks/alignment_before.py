"""Alignment of 32 faces in 1080p frames, on one thread of the CPU: this version beside an earlier one, in turns.

    python tests/benchmarks/alignment_before.py ../earlier-checkout [--rounds 9]

Both go through `AUModel`, from frames and landmarks to what the network reads, with an empty network. Two ways:

- "on the CPU": all of it, sampling included; the faces' pixels must be equal.
- "for a GPU": what is left to the CPU where a GPU samples and reads the faces: checks, squares, the copy to memory that the GPU
  reads, the crop's operands. The kernel's launch is left out.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

FACES = 32


def faces_in_frames() -> tuple[list[Tensor], list[Tensor]]:
    """1080p frames with a face each, at many sizes and angles, all within their frames."""
    generator = torch.Generator().manual_seed(0)
    frames = [torch.randint(0, 256, (3, 1080, 1920), dtype=torch.uint8, generator=generator) for _ in range(4)]
    with np.load(Path(__file__).parents[1] / "golden" / "ffhq_alignment.npz") as golden:
        shape = torch.from_numpy(golden["landmarks1"]).double()
    shape = (shape - shape.mean(0)) / (shape.amax(0) - shape.amin(0)).max()
    landmarks = []
    for _ in range(FACES):
        side, turn, x, y = torch.rand(4, generator=generator, dtype=torch.float64)
        cosine, sine = (turn - 0.5).cos(), (turn - 0.5).sin()
        turned = shape @ torch.stack([torch.stack([cosine, sine]), torch.stack([-sine, cosine])])
        points = turned * (100 + 100 * side) + torch.stack([700 + 500 * x, 480 + 120 * y])
        landmarks.append(points.float()[None])
    return [frames[i % len(frames)] for i in range(FACES)], landmarks


class Network:
    """Takes the place of FG-Net: keeps the faces that it is given."""

    def __init__(self, kernels: bool, prediction: type) -> None:
        self.device, self.config, self.aus = torch.device("cpu"), SimpleNamespace(image_size=256), ("AU12",)
        self.kernels, self.prediction, self.faces = kernels, prediction, torch.empty(0)

    def predict(self, faces: Tensor, *_: object, **__: object) -> Any:
        self.faces = faces
        return self.prediction(self.aus, torch.empty(len(faces), 1, 1, 1), torch.zeros(len(faces), 1))


class Uploads:
    """Takes the place of the model's streams: copies to memory that is there already, as pinned memory is."""

    def __init__(self) -> None:
        self.memory, self.bytes = torch.empty(2**28, dtype=torch.uint8), 0

    def send(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        sent, start = [], 0
        for picture in pictures:
            sent.append(self.memory[start : start + picture.numel()].view(picture.shape).copy_(picture))
            start += picture.numel()
        self.bytes = start
        return sent

    def fetch(self, tensor: Tensor) -> Any:
        return SimpleNamespace(result=lambda: tensor, wait=lambda: tensor)

    def computing(self) -> Any:
        return contextlib.nullcontext()

    def hand_over(self, tensors: Sequence[Tensor]) -> None: ...


def calls() -> tuple[dict[str, Callable[[], object]], Callable[[], dict[str, object]]]:
    """What is timed, of the version that is imported; and what it made."""
    try:
        au_model = importlib.import_module("fgnet_plugin.inference.au_model")
        crop, nvrtc = (importlib.import_module(f"fgnet_plugin.ops.{name}") for name in ("ffhq_crop", "nvrtc"))
        launching = crop.ffhq_crop_cuda
    except ImportError:  # before the package had folders
        au_model = importlib.import_module("fgnet_plugin.au_model")
        crop, nvrtc = (importlib.import_module(f"fgnet_plugin.network.ops.{name}") for name in ("crop", "nvrtc"))
        launching = crop._ffhq_crop_cuda
    align = importlib.import_module("fgnet_plugin.alignment.align")
    nvrtc.launch = lambda *_, **__: None

    def model(kernels: bool, streams: Uploads | None) -> Any:
        made = au_model.AUModel.__new__(au_model.AUModel)
        made.net, made.batch_size, made._replayed, made._streams = Network(kernels, au_model.Prediction), FACES, None, streams
        made._lock = contextlib.nullcontext()
        return made

    frames, landmarks = faces_in_frames()
    uploads = Uploads()
    on_cpu, for_gpu = model(False, None), model(True, uploads)

    def run(on: Any) -> None:
        (on.submit if hasattr(on, "submit") else on.begin)(frames, landmarks).result()

    def without_launch() -> None:
        usual = align.ffhq_crop
        align.ffhq_crop = lambda *operands, normalised: launching(*operands, normalised)
        os.environ["FGNET_KERNELS"] = "1"  # what asked for the kernels before the model did
        try:
            run(for_gpu)
        finally:
            align.ffhq_crop = usual
            del os.environ["FGNET_KERNELS"]

    def made() -> dict[str, object]:
        run(on_cpu)
        pixels = on_cpu.net.faces
        return {"pixels": hashlib.sha256(pixels.numpy().tobytes()).hexdigest(), "faces": len(pixels), "uploaded": uploads.bytes}

    return {"on the CPU": lambda: run(on_cpu), "for a GPU": without_launch}, made


def work() -> None:
    """In a process of its own: for each line read, times the call that it names; at the end, says what was made."""
    torch.set_num_threads(1)
    timed, made = calls()
    for line in sys.stdin:
        start = time.process_time()
        timed[line.strip()]()
        print(json.dumps(time.process_time() - start), flush=True)
    print(json.dumps(made()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="checkout of the earlier version")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    checkouts = {"before": options.before, "now": Path(__file__).parents[2]}
    processes = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--work"],
            env={**os.environ, "PYTHONPATH": str(path.resolve()), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, path in checkouts.items()
    }
    print(f"alignment of {FACES} faces in 1080p frames, CPU time on one thread, median of {options.rounds} in turns, ms a face")
    for way in ("on the CPU", "for a GPU"):
        seconds: dict[str, list[float]] = {name: [] for name in processes}
        for _ in range(options.rounds + 1):
            for name, process in processes.items():
                assert process.stdin is not None
                assert process.stdout is not None
                print(way, file=process.stdin, flush=True)
                seconds[name].append(json.loads(process.stdout.readline()))
        before, now = (1e3 * statistics.median(found[1:]) / FACES for found in seconds.values())  # the first warms up
        print(f"{way:12} before {before:7.3f}   now {now:7.3f}   ratio {before / now:5.1f}")
    made = {name: json.loads(process.communicate()[0]) for name, process in processes.items()}
    for process in processes.values():
        assert process.returncode == 0
    print(f"uploaded, MB: before {made['before']['uploaded'] / 1e6:.0f}, now {made['now']['uploaded'] / 1e6:.0f}")
    equal = made["before"]["pixels"] == made["now"]["pixels"]
    print(f"pixels of {made['now']['faces']} faces are {'equal' if equal else 'NOT EQUAL'}")
    sys.exit(not equal)


if __name__ == "__main__":
    work() if "--work" in sys.argv else main()
