"""Programs that fill datasets are killed at chosen moments, and started again: the rows are those of one process, once each."""

import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from dataset_checks import assert_equal, environment_of_workers, expected_rows  # noqa: F401  (a fixture)
from photos import feat_path

from fgnet_plugin.scale import detect_dataset, status
from fgnet_plugin.scale.layout import is_running
from fgnet_plugin.scale.reading import list_inputs

pytest.importorskip("ray", reason="Ray is not installed")
_BOUND = 360.0  # seconds within which each program must end: 12 to 25 as a rule, several times that on slow machines
PROGRAM = """
import functools, os, sys
from pathlib import Path
from dataset_faults import end_of_driver
from fgnet_plugin.scale import detect_dataset
if __name__ == "__main__":
    marker, moment, out, *clips = sys.argv[1:]
    detector = functools.partial(end_of_driver, marker, moment, os.getpid())
    detect_dataset(clips, out, detector=detector, workers=2, segment_frames=30)
"""

TWO_NODES = """
import sys
from ray.cluster_utils import Cluster
from fgnet_plugin.scale import detect_dataset
if __name__ == "__main__":
    out, *clips = sys.argv[1:]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1)]

    def kill_one(progress):
        if progress.frames and progress.workers == 2 and nodes:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    report = detect_dataset(clips, out, workers=2, address=cluster.address, progress=kill_one, segment_frames=15)
    cluster.shutdown()
    assert not nodes
    assert report.lost >= 1, report
    assert not report.failed
"""
"""Two raylets on this machine stand for two nodes; one is killed with its worker once the first rows are there."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    shutil.copy(feat_path("single_face.mp4"), folder)
    shutil.copy(feat_path("multi_face.jpg"), folder)
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def expected(clips: list[str]) -> pd.DataFrame:
    return expected_rows(clips)


def start(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *map(str, arguments)], stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after", "during"])
def test_the_program_is_killed(moment: str, clips: list[str], expected: pd.DataFrame, tmp_path: Path) -> None:
    """Before a recording's file is in its place; after that, before the log says so; and while the parts are put together."""
    out = tmp_path / "corpus"
    program = start("-c", PROGRAM, tmp_path / "marker", moment, out, *clips)
    program.communicate(timeout=_BOUND)
    assert program.returncode == -signal.SIGKILL
    found = status(out)
    assert not found.failed
    done = list_inputs(out)  # the other worker may have done the photo meanwhile
    assert len(done) in ({1, 2} if moment == "after" else {0, 1})
    assert moment != "during" or not any(name.endswith(".mp4") for name in done)
    await_workers(out)
    report = detect_dataset(clips, out, workers=2, segment_frames=30)
    assert not report.failed
    assert_equal(out, expected)


def await_workers(out: Path) -> None:
    """Wait until the workers of a killed program are gone, too."""
    deadline = time.monotonic() + 90
    while any(is_running(int(path.name.split("-")[-2])) for path in (out / "_fgnet" / "tmp").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_two_shards_at_once_then_one(clips: list[str], expected: pd.DataFrame, tmp_path: Path) -> None:
    """Then a run over all, which finds everything done."""
    command = ["-m", "fgnet_plugin", "detect", "--offline", *clips, "--out", tmp_path / "corpus", "--workers", "1"]
    programs = [start(*command, "--shard", f"{i}/2") for i in (1, 2)]
    assert [program.communicate(timeout=_BOUND)[1] is not None and program.returncode for program in programs] == [0, 0]
    report = detect_dataset(clips, tmp_path / "corpus", workers=1)
    assert report.before == len(clips)
    assert_equal(tmp_path / "corpus", expected)


@pytest.mark.slow
def test_one_of_two_nodes_is_killed(
    clips: list[str], expected: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    (clip,) = (name for name in clips if name.endswith(".mp4"))
    copies = [str(shutil.copy(clip, tmp_path / f"{i}.mp4")) for i in range(5)]
    program = start("-c", TWO_NODES, tmp_path / "corpus", *copies)
    errors = program.communicate(timeout=_BOUND)[1]
    assert program.returncode == 0, errors.decode()[-5000:]
    rows = expected[expected["input"] == clip]
    assert_equal(tmp_path / "corpus", pd.concat([rows.assign(input=name) for name in copies]))
