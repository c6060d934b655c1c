"""How fast faces are drawn: 128 px, one process a core, as training does it."""

import os

import pytest
from conftest import SUMMARY
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.data import DataLoader

from fgnet_plugin.training.rendered import RenderedCorpus
from fgnet_plugin.utils.threads import single_threaded

FACES = 512


def test_rendering(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    workers = os.cpu_count() or 1
    corpus = RenderedCorpus(("studio", "webcam", "street"), size=128, length=FACES)
    corpus[0]  # compiles, and fills the caches that the workers inherit

    def draw() -> None:
        for _ in DataLoader(corpus, batch_size=16, num_workers=workers, worker_init_fn=single_threaded):
            pass

    benchmark.pedantic(draw, rounds=3, warmup_rounds=0)
    rate = FACES / benchmark.stats.stats.min
    line = f"rendered faces of 128 px: {rate:.0f}/s on {workers} cores (wanted: 150)"
    request.config.stash[SUMMARY] = [*request.config.stash.get(SUMMARY, []), line, ""]
