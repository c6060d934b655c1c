"""Speed on a GPU: faces a second by batch size and precision, by part, beside the published code: ``make gpu``.

    python3 tests/benchmarks/gpu.py [--quick]

Runs with torch, scikit-image, pytest and safetensors alone. FGNET_DEVICE=cpu with --quick rehearses it without a GPU.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import torch
from conftest import write_published
from published_code import PublishedNetwork

from fgnet_plugin import convert_published, load
from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.network import FGNet, FGNetConfig

DEVICE = torch.device(os.environ.get("FGNET_DEVICE", "cuda"))
GFLOP = 511  # one face, as the published code computes it
QUICK = "--quick" in sys.argv


def wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(run: Callable[[], object], budget: float = 3.0) -> float:
    """Median seconds of a call, after warm-up, in about `budget` seconds."""
    for _ in range(1 if QUICK else 3):
        run()
    wait()
    found: list[float] = []
    start = time.perf_counter()
    while len(found) < 2 or (time.perf_counter() - start < budget and not QUICK):
        before = time.perf_counter()
        run()
        wait()
        found.append(time.perf_counter() - before)
    return sorted(found)[len(found) // 2]


def matrix_rate(dtype: torch.dtype, n: int = 512 if QUICK else 8192) -> float:
    """GFLOP/s of a square matrix product of random numbers."""
    a, b = (torch.randn(n, n, device=DEVICE).to(dtype) for _ in range(2))
    return 2 * n**3 / seconds(lambda: a @ b) / 1e9


def print_parts(net: FGNet, faces: torch.Tensor) -> None:
    codes = net.encoder(faces, net.config.n_layers)
    styles = net.generator.mapping(codes)
    maps = net.generator(styles, net.config.heatmap_size)
    parts: dict[str, Callable[[], object]] = {
        "encoder": lambda: net.encoder(faces, net.config.n_layers),
        "mapping": lambda: net.generator.mapping(codes),
        "generator": lambda: net.generator(styles, net.config.heatmap_size),
        "interpreter": lambda: net.interpreter(maps),
    }
    for part, run in parts.items():
        print(f"  {part:26}{seconds(run, 1.0) * 1e3:10.2f} ms")


@torch.no_grad()
def main() -> None:
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU (a rehearsal)"
    print(f"{name}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        files = write_published(Path(folder), FGNetConfig(aus=corpus_aus("BP4D")), seed=1)
        checkpoint = convert_published(*files, "BP4D", Path(folder) / "fgnet.safetensors")
        print(f"{'':22}{'batch':>6}{'faces/s':>10}{'share of matrix rate':>22}{'GB':>7}")
        for label in ("published", "float32", "TF32", "bfloat16", "float16"):
            if QUICK and label not in ("published", "bfloat16"):
                continue
            precision = label if label in ("bfloat16", "float16") else "float32"
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = label == "TF32"
            rate = matrix_rate(getattr(torch, precision))
            if label == "published":
                try:
                    net: Callable[[torch.Tensor], object] = PublishedNetwork(*files, device=DEVICE)
                except pytest.skip.Exception as reason:
                    print(f"published code: {reason}")
                    continue
            else:
                model = net = load(checkpoint, DEVICE, precision)  # type: ignore[arg-type]
            for batch in (1,) if QUICK else (1, 8, 32, 128):
                faces = torch.rand(batch, 3, 256, 256, device=DEVICE) * 2 - 1
                if DEVICE.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                try:
                    taken = seconds(lambda net=net, faces=faces: net(faces))
                except torch.OutOfMemoryError:
                    print(f"{label:22}{batch:6}   out of memory")
                    continue
                memory = torch.cuda.max_memory_allocated() / 1e9 if DEVICE.type == "cuda" else float("nan")
                share = GFLOP * batch / taken / rate
                print(f"{label:22}{batch:6}{batch / taken:10.1f}{share:21.0%}{memory:8.1f}", flush=True)
                if label == "bfloat16" and batch in (1, 32):
                    print_parts(model, faces)
            net = None  # type: ignore[assignment]


if __name__ == "__main__":
    main()
