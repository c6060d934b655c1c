"""Speed of detection on the CPU, beside the machine's own rate and the published code: ``make bench``.

The machine's rate is that of a float32 matrix product, as measured in the same run. On processors where torch's matrix
library is slower than its convolutions (MKL on AMD), shares of it exceed 1; the rate of a plain convolution stands beside it.
"""

import platform
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import SUMMARY
from published_code import PublishedNetwork
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fgnet_plugin import load
from fgnet_plugin.network import FGNet, normalize

PUBLISHED_GFLOP = {"encoder": 145, "generator": 151, "interpreter": 215}
"""Arithmetic of one face, counted on the published code; 511 in all."""
ROUNDS, WARM_UP = 7, 2


class Table:
    """Median seconds of each thing timed in this run, printed when all are done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.gflop: dict[str, float] = {}

    def lines(self) -> Iterator[str]:
        product = self.gflop["product"] / self.seconds["product"]
        conv = self.gflop["conv"] / self.seconds["conv"]
        machine = platform.processor() or platform.machine()
        yield f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32"
        yield f"matrix product {product:.0f} GFLOP/s; 5×5 convolution, 512 channels, 64 px: {conv:.0f} GFLOP/s"
        yield ""
        yield "one face          published code's  ours: executed                share of         published"
        yield "                  GFLOP             GFLOP     seconds  GFLOP/s    matrix  conv     seconds   ratio"
        for name, seconds in self.seconds.items():
            part, _, batch = name.partition(" ")
            if not batch.startswith("ours"):
                continue
            total = sum(PUBLISHED_GFLOP.values()) if part.startswith("batch") else PUBLISHED_GFLOP[part]
            theirs = self.seconds.get(name.replace("ours", "published"))
            beside = f"{theirs:9.2f} {theirs / seconds:7.2f}" if theirs else "        -       -"
            rate = total / seconds
            done = self.gflop[name]
            yield f"{part:16}{total:9}{done:17.0f}{seconds:12.2f}{rate:9.0f}{rate / product:10.2f}{rate / conv:6.2f}{beside}"
        yield ""
        yield "GFLOP/s and shares: the published code's arithmetic over our time."
        yield "Seconds a face over (511 GFLOP / matrix rate):"
        for batch in ("batch1", "batch4"):
            limit = sum(PUBLISHED_GFLOP.values()) / product
            for code in ("ours", "published"):
                if f"{batch} {code}" in self.seconds:
                    yield f"  {batch} {code}: {self.seconds[f'{batch} {code}'] / limit:.2f}"


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    found = Table()
    yield found
    if {"product", "conv"} <= found.seconds.keys():  # else only some of the benchmarks were asked for
        request.config.stash[SUMMARY] = list(found.lines())


@pytest.fixture(scope="module")
def published_net(full_files: tuple[Path, Path]) -> PublishedNetwork:
    return PublishedNetwork(*full_files)


@pytest.fixture(scope="module")
def frozen_net(full_checkpoint: Path) -> FGNet:
    return load(full_checkpoint).requires_grad_(False)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def timed(benchmark: BenchmarkFixture, table: Table, name: str, run: Callable[[], object], faces: int = 1) -> None:
    with FlopCounterMode(display=False) as counter:  # it stumbles over weights that want gradients, see `frozen_net`
        run()
    benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=WARM_UP)
    table.seconds[name] = statistics.median(benchmark.stats.stats.data) / faces
    table.gflop[name] = counter.get_total_flops() / 1e9 / faces


def test_matrix_product(benchmark: BenchmarkFixture, table: Table) -> None:
    a, b = torch.randn(2, 4096, 4096)
    timed(benchmark, table, "product", lambda: a @ b)


def test_convolution(benchmark: BenchmarkFixture, table: Table) -> None:
    x, weight = (torch.randn(n, 512, k, k).contiguous(memory_format=torch.channels_last) for n, k in ((1, 64), (512, 5)))
    timed(benchmark, table, "conv", lambda: F.conv2d(x, weight, padding=2))


Network = FGNet | PublishedNetwork


@pytest.fixture
def network(code: str, request: pytest.FixtureRequest) -> Network:
    return request.getfixturevalue("frozen_net" if code == "ours" else "published_net")


def parts(net: Network) -> dict[str, Callable[..., object]]:
    """The mapping network counts with the encoder."""
    if isinstance(net, PublishedNetwork):
        return net.parts()
    return {
        "encoder": lambda faces: net.generator.mapping(net.encoder(faces, net.config.n_layers)),
        "generator": lambda styles: net.generator(styles, net.config.heatmap_size),
        "interpreter": net.interpreter,
    }


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("code", ["ours", "published"])
def test_face(code: str, batch: int, network: Network, benchmark: BenchmarkFixture, table: Table, crops: Tensor) -> None:
    faces = normalize(crops[:batch]).contiguous()
    timed(benchmark, table, f"batch{batch} {code}", lambda: network(faces), batch)


@pytest.mark.parametrize("part", ["encoder", "generator", "interpreter"])
@pytest.mark.parametrize("code", ["ours", "published"])
def test_part(code: str, part: str, network: Network, benchmark: BenchmarkFixture, table: Table, crops: Tensor) -> None:
    value: object = normalize(crops[:1]).contiguous()
    for name, run in parts(network).items():
        if name == part:
            timed(benchmark, table, f"{part} {code}", lambda run=run, value=value: run(value))
            return
        value = run(value)
