"""Finding faces on the CPU: ``make bench``."""

import statistics
from collections.abc import Iterator

import pytest
from conftest import SUMMARY
from photos import read_frames
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from fgnet_plugin.faces.finder import FaceFinder

ROUNDS, WARM_UP = 5, 1


@pytest.fixture(scope="module")
def seconds(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    found: dict[str, float] = {}
    yield found
    lines = ["faces in a frame of 640×360 px, ms", *(f"{name:39}{1e3 * value:16.0f}" for name, value in found.items())]
    request.config.stash[SUMMARY] = [*request.config.stash.get(SUMMARY, []), *lines, ""]


@pytest.fixture(scope="module")
def frames() -> list[Tensor]:
    return read_frames("single_face.mp4", range(0, 72, 9))


def test_finder(frames: list[Tensor], benchmark: BenchmarkFixture, seconds: dict[str, float]) -> None:
    finder = FaceFinder()
    benchmark.pedantic(lambda: [finder.find([frame]) for frame in frames], rounds=ROUNDS, warmup_rounds=WARM_UP)
    seconds["faces and landmarks"] = statistics.median(benchmark.stats.stats.data) / len(frames)
