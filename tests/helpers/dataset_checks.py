"""What a dataset must be: the rows of one process, and nothing else in the folder."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from fgnet_plugin import OfflineDetector
from fgnet_plugin.scale import read_dataset
from fgnet_plugin.scale.recordings import list_recordings
from fgnet_plugin.scale.work import Worker


def expected_rows(clips: list[str]) -> pd.DataFrame:
    """What one process makes of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OfflineDetector().detect(clips, errors="skip", time=True, progress_bar=False)


def assert_equal(out: Path, expected: pd.DataFrame) -> None:
    """All rows, to the last digit; and nothing in the folder but them."""
    inputs = expected["input"].drop_duplicates().tolist()
    found = pd.DataFrame(read_dataset(out, inputs))
    text = dict.fromkeys(["input", "approx_time", "Identity"], "str")
    pd.testing.assert_frame_equal(found.astype(text), expected.reset_index(drop=True).astype(text), check_exact=True)
    assert_clean(out)


def assert_clean(out: Path) -> None:
    assert not [path for path in out.rglob("*") if path.is_file() and not is_expected(path)]


def is_expected(path: Path) -> bool:
    return path.name in ("part-0.parquet", "run.json") or path.suffix == ".jsonl"


@pytest.fixture(scope="module", autouse=True)
def environment_of_workers() -> Iterator[None]:
    """Processes that Ray starts find the detectors that fail, and are not kept waiting by the tests beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        patch.setenv("RAY_worker_niceness", "0")
        yield


def memory_after_each(out: Path, clips: list[str]) -> list[float]:
    """Megabytes that this process holds after each recording that its worker has done."""
    worker = Worker(str(out), OfflineDetector, {"skip_frames": 4}, 1, 9_000)
    worker.start()
    memory = []
    for recording in list_recordings(clips):
        assert worker.begin(recording).state == "done"
        memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return memory
