"""Alignment beside FFHQ's own procedure, both on one core of the CPU: ``make bench``."""

import statistics
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from conftest import GOLDEN, SUMMARY
from ffhq_procedure import align
from photos import read_rgb
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from fgnet_plugin.alignment import align_faces

FACES = 32
ROUNDS, WARM_UP = 3, 1
AT_LEAST = 5.0


class Case:
    """32 faces: the same few, moved a little."""

    def __init__(self, name: str, which: tuple[int, ...]) -> None:
        self.name = name
        golden = np.load(GOLDEN / "ffhq_alignment.npz")
        shifts = np.random.default_rng(0).uniform(-2, 2, (FACES, 1, 2)).astype(np.float32)
        chosen = [which[i % len(which)] for i in range(FACES)]
        pictures = {i: read_rgb(str(golden[f"name{i}"])) for i in which}
        self.landmarks = [golden[f"landmarks{i}"] + shift for i, shift in zip(chosen, shifts, strict=True)]
        self.pil = [Image.fromarray(pictures[i]) for i in chosen]
        self.photos = [torch.from_numpy(pictures[i].copy()).permute(2, 0, 1) for i in chosen]

    def ours(self) -> torch.Tensor:
        return align_faces(self.photos, [points[None] for points in self.landmarks]).faces

    def ffhqs(self) -> list[Image.Image]:
        return [align(photo, points) for photo, points in zip(self.pil, self.landmarks, strict=True)]


@pytest.fixture(scope="module")
def seconds(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], float]]:
    found: dict[tuple[str, str], float] = {}
    yield found
    lines = ["alignment on one core, ms a face       FFHQ's procedure   ours   ratio"]
    for case in dict.fromkeys(case for case, _ in found):
        if {(case, "ours"), (case, "ffhqs")} <= found.keys():
            theirs, ours = (1e3 * found[case, code] / FACES for code in ("ffhqs", "ours"))
            lines.append(f"{case:39}{theirs:16.1f}{ours:7.1f}{theirs / ours:8.1f}   (wanted: {AT_LEAST})")
    request.config.stash[SUMMARY] = [*request.config.stash.get(SUMMARY, []), *lines, ""]


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {name: Case(name, which) for name, which in (("within the photo", (1, 2, 3)), ("across its border", (0,)))}


@pytest.mark.parametrize("name", ["within the photo", "across its border"])
@pytest.mark.parametrize("code", ["ours", "ffhqs"])
def test_alignment(
    name: str, code: str, cases: dict[str, Case], benchmark: BenchmarkFixture, seconds: dict[tuple[str, str], float]
) -> None:
    run = getattr(cases[name], code)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as PIL uses
    try:
        benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=WARM_UP)
    finally:
        torch.set_num_threads(threads)
    seconds[name, code] = statistics.median(benchmark.stats.stats.data)
