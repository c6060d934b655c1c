"""`fgnet detect` into a folder, and `fgnet status`; most of it without Ray, which other tests start."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dataset_checks import environment_of_workers  # noqa: F401  (a fixture)
from in_process import without_ray
from photos import feat_path
from typer.testing import CliRunner, Result

from fgnet_plugin.cli.app import app
from fgnet_plugin.cli.detect_dataset import progress_text
from fgnet_plugin.scale import Progress, read_dataset


@pytest.fixture(autouse=True)
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    shutil.copy(feat_path("single_face.jpg"), "clips/a.jpg")
    Path("clips/b.mp4").write_bytes(b"no video")


def fgnet(*arguments: str) -> Result:
    with without_ray():
        return CliRunner().invoke(app, arguments)


def test_a_folder_as_out_is_a_dataset() -> None:
    command = ("detect", "clips", "--offline", "--out", "corpus", "--workers", "1", "--relative-to", "clips")
    done = fgnet(*command)
    assert done.exit_code == 1
    assert "recordings done   1\nfailed            1\nrows, faces       1, 1\n" in done.stdout
    assert "dataset: corpus" in done.stdout
    assert "error: 1 input not read:\n  b.mp4: clips/b.mp4 cannot be read as a video" in done.stderr
    assert read_dataset("corpus")["input"].tolist() == ["a.jpg"]
    again = fgnet(*command)
    assert "recordings done   1, 1 of them before" in again.stdout
    Path("clips/b.mp4").write_bytes(Path("clips/a.jpg").read_bytes())
    assert "failed            1" in fgnet(*command).stdout
    assert fgnet(*command, "--retry-failed").exit_code == 0


def test_status() -> None:
    fgnet("detect", "clips", "--offline", "--out", "corpus")
    done = fgnet("status", "corpus")
    assert done.exit_code == 0
    assert done.stdout.startswith("recordings done   1 of 2\nfailed            1\nnot whole         0\nframes            1\n")
    assert fgnet("status", "corpus", "--failed").stdout.startswith("clips/b.mp4\tclips/b.mp4 cannot be read as a video")
    with pytest.raises(ValueError, match="clips is no dataset"):
        CliRunner().invoke(app, ["status", "clips"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--out", "corpus", "--shard", "0/3"), "--shard must be I/N, with I from 1 to N, not '0/3'"),
        (("--out", "corpus", "--shard", "3"), "not '3'"),
        (("--out", "fex.csv", "--shard", "1/3"), "--shard is for a dataset: --out must be a folder, not fex.csv"),
        (("--out", "fex.csv", "--retry-failed"), "--retry-failed is for a dataset"),
        (("--out", "corpus", "--plots", "plots"), "--plots: not for a dataset, only for a table"),
        (("--out", "corpus", "--estimate"), "--estimate is for a table"),
        (("--out", "corpus.xlsx"), "--out must end in .csv or .parquet, not '.xlsx', or be a folder"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], says: str) -> None:
    done = fgnet("detect", "clips", "--offline", *arguments)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())


def test_commands_take_datasets() -> None:
    """As they take the table of the same recordings."""
    shutil.copy(feat_path("single_face.mp4"), "clips/b.mp4")
    detect = ("detect", "clips", "--offline", "--skip-frames", "8", "--columns", "faces")
    assert fgnet(*detect, "--out", "corpus").exit_code == fgnet(*detect, "--out", "fex.csv").exit_code == 0
    done = fgnet("compare", "corpus", "fex.csv", "--out", "agreement.csv")
    assert done.exit_code == 0, done.output
    agreement = pd.read_csv("agreement.csv")
    assert agreement["n"].eq(10).all()
    assert agreement["icc"].round(6).eq(1).all()
    for name in ("corpus", "fex.csv"):
        done = fgnet("summarize", name, "--out", f"of {name}")
        assert done.exit_code == 0, done.output
    for file in ("long.csv", "events.csv"):
        found, expected = (pd.read_csv(Path(f"of {name}", file)) for name in ("corpus", "fex.csv"))
        pd.testing.assert_frame_equal(found, expected, rtol=1e-6)
    assert fgnet("annotate", "corpus", "--au-model", "fgnet-rendered", "--out", "again.csv").exit_code == 0
    again, before = (pd.read_csv(name)["AU12"] for name in ("again.csv", "fex.csv"))
    assert np.abs(again - before).max() < 1e-3
    with pytest.raises(ValueError, match="clips is a folder, and no dataset of fgnet detect: name its tables"):
        CliRunner().invoke(app, ["compare", "clips", "fex.csv"], catch_exceptions=False)


def test_progress_is_said_in_a_line() -> None:
    progress = Progress(40, 12, 1, 9_000, 90_000, 30.0, 2, 1)
    assert progress_text(progress) == (
        "12 of 40 recordings, 9,000 of about 90,000 frames, 30.0 frames/s, about 45 min left, 2 workers, 1 failed, "
        "1 worker lost"
    )
    assert "left" not in progress_text(Progress(40))
