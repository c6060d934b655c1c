"""Speed on a GPU: faces a second by batch size and precision, by part, beside the published code: ``make gpu``.

    python3 tests/benchmarks/gpu.py [--quick]

Runs with torch, scikit-image, pytest and safetensors alone. FGNET_DEVICE=cpu with --quick rehearses it without a GPU.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.extend(str(Path(__file__).parents[1] / name) for name in (".", "helpers"))

import pytest
import torch
from conftest import write_published
from published_code import PublishedNetwork

from fgnet_plugin import convert_published, load
from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.network import FGNet, FGNetConfig, interpreter
from fgnet_plugin.network.cuda_graphs import Replayed
from fgnet_plugin.ops.decode_heatmaps import decode_heatmaps

DEVICE = torch.device(os.environ.get("FGNET_DEVICE", "cuda"))
GFLOP = 511  # one face, as the published code computes it
QUICK = "--quick" in sys.argv
BATCHES = (1,) if QUICK else (1, 8, 32, 128)


def wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(run: Callable[[], object], budget: float = 2.0) -> float:
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


def parts(net: FGNet, faces: torch.Tensor) -> dict[str, Callable[[], object]]:
    """The network's parts as detection calls them, each of the one before's result."""
    with torch.no_grad():
        codes = net.encoder(faces, net.config.n_layers)
        styles = net.generator.mapping(codes)
        maps = net.generator(styles, net.config.heatmap_size)
        heatmaps = net.interpreter([m.clone() for m in maps])
    return {
        "encoder": lambda: net.encoder(faces, net.config.n_layers),
        "mapping": lambda: net.generator.mapping(codes),
        "generator": lambda: net.generator(styles, net.config.heatmap_size),
        "interpreter": lambda: net.interpreter(list(maps)),
        "decode": lambda: decode_heatmaps(heatmaps, kernels=net.kernels),
    }


def print_row(label: str, batch: int, run: Callable[[], object], rate: float) -> float | None:
    """One line of the table; returns faces a second."""
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        taken = seconds(run)
    except RuntimeError as error:  # OutOfMemoryError is one; the other rows still count
        print(f"{label:26}{batch:6}   {type(error).__name__}: {str(error).splitlines()[0][:200]}", flush=True)
        return None
    memory = torch.cuda.max_memory_allocated() / 1e9 if DEVICE.type == "cuda" else float("nan")
    print(f"{label:26}{batch:6}{batch / taken:10.1f}{GFLOP * batch / taken / rate:21.0%}{memory:8.1f}", flush=True)
    return batch / taken


def drawn_faces(batch: int) -> torch.Tensor:
    return torch.rand(batch, 3, 256, 256, device=DEVICE) * 2 - 1


@torch.no_grad()
def main() -> None:
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU (a rehearsal)"
    print(f"{name}, torch {torch.__version__}")
    best: dict[str, float] = {}
    shares: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_published(Path(folder), FGNetConfig(aus=corpus_aus("BP4D")), seed=1)
        checkpoint = convert_published(*files, "BP4D", Path(folder) / "fgnet.safetensors")
        print(f"{'':26}{'batch':>6}{'faces/s':>10}{'share of matrix rate':>22}{'GB':>7}")
        for label in ("float32", "TF32", "bfloat16", "float16", "published"):
            if QUICK and label not in ("published", "bfloat16"):
                continue
            precision = label if label in ("bfloat16", "float16") else "float32"
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = (
                label != "float32" and label != "published"
            )
            rate = matrix_rate(getattr(torch, precision))
            print(f"{label + ': matrix product':26}{rate / 1e3:16.0f} TFLOP/s")
            if label == "published":
                try:
                    net: Callable[[torch.Tensor], object] = PublishedNetwork(*files, device=DEVICE)
                except (pytest.skip.Exception, Exception) as reason:  # its CUDA extensions may not compile here
                    print(f"published code: {type(reason).__name__}: {str(reason)[:300]}")
                    continue
                at = [batch for batch in BATCHES if batch <= 32]  # its kernels count the elements of a map in 32 bits
                found = [print_row(label, batch, partial(net, drawn_faces(batch)), rate) for batch in at]
            else:
                model = load(checkpoint, DEVICE, precision, fuse=True)  # type: ignore[arg-type]
                detect = Replayed(model, max(BATCHES))
                at = [batch for batch in BATCHES if label != "float32" or batch <= 32]  # plain float32 takes seconds a batch
                found = [print_row(label, batch, partial(detect, drawn_faces(batch)), rate) for batch in at]
            if any(found):
                best[label] = max(value for value in found if value is not None)
            if label == "bfloat16":
                batch = 1 if QUICK else 32
                x = drawn_faces(batch)
                print_row("  without CUDA graphs", batch, partial(model.detect, x), rate)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(interpreter, "TAPS_FROM", 10**9)
                    other = load(checkpoint, DEVICE, "bfloat16", fuse=True)
                print_row("  taps after upsampling", batch, partial(other.detect, x), rate)
                difference = (other.detect(x)[1] - model.detect(x)[1]).abs().max()
                print(f"    activations differ by at most {difference:.1e}")
                other = load(checkpoint, DEVICE, "bfloat16")
                print_row("  without fusing, kernels", batch, partial(other.predict, x, batch, validate=False), rate)
                del other
                for batch in (1,) if QUICK else (1, 32):
                    for part, run in parts(model, drawn_faces(batch)).items():
                        shares.append(f"  {part:24}{batch:6}{seconds(run, 1.0) * 1e3:10.2f} ms")
                del x, run  # they hold the model and its maps
            net = model = detect = None  # type: ignore[assignment]
    print("bfloat16 by part, each launched by itself, without CUDA graphs:", *shares, sep="\n")
    if "published" in best:
        for label in best.keys() - {"published"}:
            print(f"{label}: {best[label] / best['published']:.1f} × the published code's faces/s, the best batch of each")


if __name__ == "__main__":
    main()
