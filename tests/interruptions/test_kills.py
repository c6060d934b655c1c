"""A few kills; ``python tests/interruptions/kills.py`` has a hundred."""

import os
from pathlib import Path

import pytest
from kills import Killer, make_inputs
from photos import feat_path

pytest.importorskip("av")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals as on Linux and macOS")
@pytest.mark.parametrize("out", ["table.csv", "table.parquet"])
def test_a_run_that_is_killed_again_and_again_gives_the_same_tables(tmp_path: Path, out: str) -> None:
    make_inputs(tmp_path, feat_path("single_face.mp4"), feat_path("single_face.jpg"))
    killer = Killer(tmp_path, out, seed=1)
    killer.run_to_the_end(4)
    assert sum(killer.places.values()) > 0
