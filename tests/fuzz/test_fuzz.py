"""A share of the fuzz; ``make fuzz`` runs it long."""

from pathlib import Path

import fuzz
import mutations
import pytest
import readers

FEW = {"videos": 250, "pictures": 250}
"""Files of a kind, 60 of each other."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", readers.KINDS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    if kind == "videos":
        pytest.importorskip("av")
    (tmp_path / "scratch").mkdir()
    report = fuzz.run(kind, range(FEW.get(kind, 60)), tmp_path)
    assert report.failures == {}
    assert report.outcomes["refused"] > 10


def test_a_seed_gives_the_same_file() -> None:
    originals = [bytes(range(256)) * 4, b"a,b\n1,2\n" * 50]
    files = [mutations.mutated(originals, seed) for seed in range(200)]
    assert files == [mutations.mutated(originals, seed) for seed in range(200)]
    assert len(set(files)) > 180
    assert sum(file in originals for file in files) < 10


def test_what_goes_wrong_is_reported() -> None:
    report = fuzz.Report()
    report.add(3, "error", "KeyError in a.py:1 | 'x'", 0.1)
    report.add(4, "hang", "over 10 s", 10.0)
    report.add(5, "refused", "InputError: a.png is damaged", 0.1)
    assert report.failures == {"error: KeyError in a.py:1": [(3, "'x'")], "hang: over 10 s": [(4, "")]}
    assert report.slowest == (10.0, 4)
    assert not readers.is_refusal(ValueError("bad"), Path("fuzzed.csv"))
    assert readers.is_refusal(ValueError("fuzzed.csv is bad"), Path("fuzzed.csv"))
    assert not readers.is_refusal(KeyError("fuzzed.csv"), Path("fuzzed.csv"))
