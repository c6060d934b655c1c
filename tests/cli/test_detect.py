"""`fgnet detect` and `fgnet compare` as people use them: tables, pictures, messages, exit codes, interrupted runs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photos import feat_path
from PIL import Image

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from huggingface_hub import constants
from offline import remembered_faces

from fgnet_plugin.cli.app import main
from fgnet_plugin.inference.columns import AUS
from fgnet_plugin.pyfeat.annotate import annotate
from fgnet_plugin.utils.journal import read_table

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")

FACE, FIVE, CLIP = feat_path("single_face.jpg"), feat_path("multi_face.jpg"), feat_path("single_face.mp4")
# Scores depend in their last digits on the number of threads, which py-feat's import changes for child processes.
ONE_THREAD = "FGNET_NUM_THREADS", "1"
COMMAND = [sys.executable, "-m", "fgnet_plugin"]
VIDEO = ("detect", "--offline", "a.mp4", "b.mp4")  # 72 frames each, in stretches of 15
Fgnet = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def _remembered() -> Iterator[None]:
    with remembered_faces():
        yield


def run_command(*arguments: object) -> int:
    """The command in this process: exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fgnet", *map(str, arguments)])
        try:
            main()
        except SystemExit as done:
            return done.code if isinstance(done.code, int) else 0
    return 0


@pytest.fixture
def fgnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fgnet:
    """The command in this process and a folder of the test's own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv(*ONE_THREAD)

    return lambda *arguments: (run_command(*arguments), *capsys.readouterr())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.mp4, b.mp4, and whole.csv: what VIDEO makes of them without interruption."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(CLIP, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(*ONE_THREAD)
        assert run_command(*VIDEO, "--out", "whole.csv") == 0
    return folder


def _one_thread() -> dict[str, str]:
    return os.environ | dict([ONE_THREAD])


def shown(picture: str | Path) -> bool:
    """Whether there is something on a picture."""
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    return min(pixels.shape[:2]) > 200 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


@pytest.mark.slow
def test_photos_folders_and_patterns_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Nothing but the progress bar and what is left out is on standard error: no warnings of other libraries."""
    from feat.utils.io import read_feat

    folder = tmp_path / "my clips"
    folder.mkdir()
    shutil.copy(CLIP, folder / "a.mp4")
    shutil.copy(FIVE, folder / "five.jpg")
    (folder / "._a.mp4").write_text("left by macOS")
    (folder / "notes.txt").write_text("no picture")
    shutil.copy(CLIP, tmp_path / "pattern1.mp4")
    (tmp_path / "pattern2.mp4").mkdir()
    inputs = [str(FACE), "my clips", "pattern*.mp4", str(FACE)]
    arguments = ["--offline", *inputs, "--out", "new/x.csv", "--skip-frames", "36", "--plots", "p", "--heatmaps"]
    done = subprocess.run([*COMMAND, "detect", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = "warning: my clips: left out ._a.mp4 (hidden); notes.txt (no picture or video)"
    assert {re.sub(r"^ *\d+%\|.*frame(/s|)\]$", "", line) for line in done.stderr.splitlines()} == {"", said}
    fex = read_feat(str(tmp_path / "new" / "x.csv"))
    videos = ["my clips/a.mp4"] * 2, ["pattern1.mp4"] * 2
    assert fex["input"].tolist() == [str(FACE), *videos[0], *["my clips/five.jpg"] * 5, *videos[1]]
    assert fex["frame"].tolist() == [0, 0, 36, 1, 1, 1, 1, 1, 0, 36]
    assert fex.aus.columns.tolist() == AUS
    assert fex["AU12"].notna().all()
    assert re.search(r"five\.jpg +1 +1 +5\n", done.stdout)
    assert re.search(r"present in % of faces: AU +1   2   4 .*\n.*single_face\.jpg( +\d+){12}\n", done.stdout)
    assert "table: new/x.csv (10 rows)" in done.stdout
    names = ["a", "five", "pattern1", "single_face"]
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == sorted(
        f"{name}{kind}.png" for name in names for kind in ("", "-heatmaps")
    )
    assert all(shown(path) for path in (tmp_path / "p").iterdir())


def test_a_table_that_is_there_is_not_replaced_by_mistake(fgnet: Fgnet) -> None:
    Path("x.csv").write_text("precious")
    code, _, err = fgnet("detect", "--offline", FACE, "--out", "x.csv")
    assert (code, err) == (
        1,
        "error: x.csv holds a table already; --overwrite replaces it, or choose another file with --out\n",
    )
    assert Path("x.csv").read_text() == "precious"
    assert fgnet("detect", "--offline", FACE, "--out", "x.csv", "--overwrite")[0] == 0
    assert len(read_table(Path("x.csv"))) == 1


def test_parquet_has_what_csv_has(fgnet: Fgnet) -> None:
    for out in ("x.csv", "x.parquet"):
        assert fgnet("detect", "--offline", FACE, FIVE, "--out", out)[0] == 0
    assert sorted(path.name for path in Path().iterdir()) == ["x.csv", "x.csv.run", "x.parquet", "x.parquet.run"]
    pd.testing.assert_frame_equal(pd.read_parquet("x.parquet"), read_table(Path("x.csv")), check_exact=True)
    code, out, _ = fgnet("detect", "--offline", FACE, FIVE, "--out", "x.parquet", "--resume")
    assert (code, "table: x.parquet (6 rows, complete already)" in out) == (0, True)
    code, out, _ = fgnet("detect", "--out", "x.parquet", "--resume", "--json")
    said = json.loads(out)
    assert (code, said["table"], said["rows"], said["seconds"]) == (0, "x.parquet", 6, None)
    assert [(of["input"], of["faces"]) for of in said["inputs"]] == [(str(FACE), 1), (str(FIVE), 5)]


def test_broken_files_among_good_ones_are_skipped(fgnet: Fgnet) -> None:
    Path("empty.mp4").write_bytes(b"")
    Path("text.mp4").write_text("dear diary")
    Path("cut.jpg").write_bytes(FACE.read_bytes()[:40000])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(FACE).save("turned.jpg", exif=exif)
    inputs = ["empty.mp4", FACE, "cut.jpg", "turned.jpg", "text.mp4"]
    code, out, err = fgnet("detect", "--offline", *inputs, "--out", "x.csv")
    assert code == 1
    told = [line.removeprefix("warning: ") for line in err.splitlines() if "warning:" in line]
    assert [line.split()[0] for line in told] == ["empty.mp4", "text.mp4", "cut.jpg"]
    end = "error: 3 of 5 inputs not read, or not to the end; the first that failed comes first:\n"
    assert err.endswith(end + "".join(f"  {line}\n" for line in told))
    assert read_table(Path("x.csv"))["input"].tolist() == [str(FACE), "turned.jpg"]
    assert "table: x.csv (2 rows)" in out
    code, out, err = fgnet("detect", "--offline", *inputs, "--out", "x.csv", "--resume")
    assert (code, "complete already" in out) == (1, True)
    assert "x.csv is complete, without rows of cut.jpg: it could not be read" in err
    code, _, err = fgnet("detect", "--offline", "cut.jpg", "--out", "y.csv")
    assert (code, "error: none of the inputs could be read" in err, Path("y.csv").exists()) == (1, True, False)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Missing argument"),
        ([FACE, "--batch-size", "0"], 2, "--batch-size"),
        ([FACE, "--skip-frames", "none"], 2, "--skip-frames"),
        ([FACE, "--out", "x.xlsx"], 2, "--out must end in .csv or .parquet, not '.xlsx', or be a folder"),
        ([FACE, "--heatmaps"], 2, "--heatmaps needs --plots FOLDER"),
        (["no.jpg", FACE, "no.mp4"], 1, "error: 2 files can't be read:\n  no.jpg: no such file; check the path\n  no.mp4: no"),
        (["nothing here"], 1, "error: nothing here: no pictures or videos in this folder\n"),
        (["*.avi"], 1, "error: *.avi: no file matches this pattern\n"),
        ([FACE, "--out", "file/x.csv"], 1, "error: file/x.csv can't be written (File exists: file); choose another place\n"),
        ([FACE, "--au-model", "nope"], 1, "got 'nope'"),
        ([FACE, "--au-model", "nope.safetensors"], 1, "error: nope.safetensors: no such checkpoint; give the path of a file"),
        ([FACE, "--au-model", "fgnet-bp4d"], 1, "fgnet weights download fgnet-bp4d"),
        ([FACE, "--precision", "half"], 1, "error: unknown precision 'half'; use one of float32, bfloat16, float16"),
        ([FACE, "--device", "tpu"], 1, "error: device must be cpu, cuda, mps or auto, got 'tpu'"),
    ],
)
def test_wrong_usage(
    arguments: list[object], code: int, says: str, fgnet: Fgnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FGNET_HOME", str(tmp_path))
    Path("file").write_text("precious")
    Path("nothing here").mkdir()
    found, _, err = fgnet("detect", "--offline", *arguments)
    assert found == code, err
    assert says in err
    assert sorted(path.name for path in Path().iterdir()) == ["file", "nothing here"]


def test_without_network_it_fails_at_once_and_says_what_to_do(
    fgnet: Fgnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub and a proxy that nobody answers at."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for name, value in {"HTTPS_PROXY": "http://127.0.0.1:9", "FGNET_MIRROR": "", "FGNET_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    begun = time.monotonic()
    code, _, err = fgnet("detect", FACE)
    assert code == 1
    assert time.monotonic() - begun < 60
    models = "'retinaface'", "'mobilefacenet'", "'resmasknet'", "'arcface'", "'l2cs'"
    assert all(model in err for model in models)
    assert "FG-Net's weights are missing, too: fgnet weights download fgnet-bp4d; or to get fgnet-bp4d by hand:" in err
    assert "fgnet detect --offline" in err or "fgnet-rendered" in err
    assert not list(tmp_path.glob("fex.csv*"))


def interrupted(folder: Path, out: str, growing: Path, how: signal.Signals, batches: int) -> tuple[int, str]:
    """VIDEO, ended by a signal once that many batches are in the growing table: exit code and standard error."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, VIDEO), "--out", out],
        cwd=folder,
        env=_one_thread(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells in the background ignore it
    )
    progress = folder / f"{out}.run"
    while process.poll() is None and not (progress.is_file() and progress.read_bytes().count(b"\n") > batches):
        time.sleep(0.01)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.skipif(os.name == "nt", reason="signals as on Linux and macOS")
@pytest.mark.parametrize(
    ("out", "how", "batches"),
    [
        pytest.param("x.csv", signal.SIGINT, 3, marks=pytest.mark.slow),
        pytest.param("x.csv", signal.SIGKILL, 7, marks=pytest.mark.slow),  # in the second video
        ("x.parquet", signal.SIGINT, 3),
    ],
)
def test_an_interrupted_run_goes_on(out: str, how: signal.Signals, batches: int, clips: Path, fgnet: Fgnet) -> None:
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clips / name, name)
    whole = read_table(clips / "whole.csv")
    growing = Path("x.csv" if out == "x.csv" else "x.parquet.csv")
    code, err = interrupted(Path.cwd(), out, growing, how, batches)
    done = len(Path(f"{out}.run").read_text().splitlines()) - 1
    assert batches <= done < 10
    frames = 72 * (done // 5) + 15 * (done % 5)
    if how == signal.SIGINT:
        assert (code, "Traceback" in err) == (130, False)
        assert f"\ninterrupted: {frames} complete frames are in {out}; the same command with --resume continues\n" in err
        kept = pd.read_parquet(out) if out == "x.parquet" else read_table(growing)
        pd.testing.assert_frame_equal(kept, whole.loc[: frames - 1, kept.columns], check_exact=True)
    before = growing.read_bytes()
    assert f"{out} holds an interrupted run; --resume continues it" in fgnet(*VIDEO, "--out", out)[2]
    code, _, err = fgnet(*VIDEO, "--faces", "largest", "--out", out, "--resume")
    changed = f"error: {out} was begun with other settings (--faces was all, now largest): leave such options out to continue, "
    assert (code, err) == (1, changed + "start anew with --overwrite, or choose another file\n")
    assert growing.read_bytes() == before
    code, output, err = fgnet(*VIDEO, "--out", out, "--resume")
    assert (code, f"table: {out} (144 rows)" in output) == (0, True), err
    if out == "x.csv":
        assert growing.read_bytes() == (clips / "whole.csv").read_bytes()
    else:
        pd.testing.assert_frame_equal(pd.read_parquet(out), whole, check_exact=True)
    assert sorted(path.name for path in Path().iterdir()) == ["a.mp4", "b.mp4", out, f"{out}.run"]
    table = Path(out).read_bytes()
    code, output, _ = fgnet(*VIDEO, "--out", out, "--resume")
    assert (code, f"table: {out} (144 rows, complete already)" in output, Path(out).read_bytes() == table) == (0, True, True)
    for other in (VIDEO[:3], [*VIDEO, "--skip-frames", 5], [*VIDEO, "--au-model", "fgnet-bp4d"]):
        code, _, err = fgnet(*other, "--out", out, "--resume")
        assert code == 1
    Path(f"{out}.run").unlink()
    code, _, err = fgnet(*VIDEO, "--out", out, "--resume")
    assert (code, f"error: {out} exists, but not {out}.run, which says how it was made" in err) == (1, True)


def test_names_are_text(fgnet: Fgnet) -> None:
    """In CSV and Parquet, when a run is continued, in labels, and for AUs that are added."""
    names = ["001", "NA", "1e5", "TRUE"]
    for name in names:
        shutil.copy(FACE, name)
    assert fgnet("detect", "--offline", *names[:2], "--out", "some.csv")[0] == 0
    assert read_table(Path("some.csv"))["input"].tolist() == names[:2]
    for out in ("all.csv", "all.parquet"):
        code, summary, err = fgnet("detect", "--offline", *names, "--batch-size", 2, "--out", out)
        assert (code, [line.split()[0] for line in summary.splitlines()[2:6]]) == (0, names), err
        assert read_table(Path(out))["input"].tolist() == names
        assert fgnet("detect", "--offline", *names, "--batch-size", 2, "--out", out, "--resume")[0] == 0
    assert annotate("all.csv", "fgnet-rendered", progress_bar=False)["input"].tolist() == names
    for table in (read_table(Path("all.csv")), pd.read_parquet("all.parquet")):
        assert table["input"].tolist() == names
    labels = read_table(Path("all.csv"))[["input", "frame"]].assign(AU12=[0, 1, 1, 0])
    labels.to_csv("labels.csv", index=False)
    code, _, err = fgnet("compare", "all.csv", "all.parquet", "--labels", "labels.csv", "--names", "a,b", "--out", "t.csv")
    assert (code, err) == (0, "")
    assert set(pd.read_csv("t-accuracy.csv")["n"]) == {4}


def test_compare(fgnet: Fgnet, small_checkpoint: Path) -> None:
    shutil.copy(CLIP, "a.mp4")
    for name, more in {"rendered.csv": (), "small.parquet": ("--au-model", small_checkpoint)}.items():
        assert fgnet("detect", "--offline", "a.mp4", FIVE, "--skip-frames", 12, *more, "--out", name)[0] == 0
    rendered = read_table(Path("rendered.csv"))
    labels = rendered[["input", "frame", "FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]].copy()
    labels["AU12"] = (rendered["AU12"] > 0.5).astype(int)
    labels.to_csv("labels.csv", index=False)
    both = "compare", "rendered.csv", "small.parquet"
    code, out, err = fgnet(*both, "--out", "t.csv", "--plot", "p.png")
    assert (code, err) == (0, "")
    assert "picture: p.png" in out
    agreement = pd.read_csv("t.csv").set_index("AU")
    assert agreement.index.tolist() == ["AU01", "AU06", "AU12"]
    assert agreement["n"].tolist() == [11] * 3
    assert agreement.loc["AU12", ["model_a", "model_b"]].tolist() == ["rendered", "small"]
    assert np.isclose(agreement.loc["AU12", "mean_a"], rendered["AU12"].mean())
    assert shown("p.png")
    code, out, err = fgnet(*both, "--labels", "labels.csv", "--names", "mine,other", "--out", "t.csv", "--plot", "q.png")
    assert (code, "table: t-accuracy.csv" in out) == (0, True), err
    accuracy = pd.read_csv("t-accuracy.csv").set_index(["AU", "model"])
    assert accuracy.loc[("AU12", "mine"), ["auc", "f1"]].tolist() == [1, 1]
    assert shown("q.png")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["x.csv"], 2, "give at least two tables to compare"),
        (["x.csv", "y.csv", "--names", "a"], 2, "--names must be 2 different names with commas between them"),
        (["x.csv", "y.csv", "--names", "a,a"], 2, "--names must be 2 different names"),
        (["x.csv", "folder/x.csv"], 2, "--names must be 2 different names"),
        (["x.csv", "nope.csv"], 1, "error: nope.csv: no such file; check the path\n"),
        (["x.csv", "nope.parquet"], 1, "error: nope.parquet: no such file; check the path\n"),
        (["x.csv", "text.csv"], 1, "error: 'text' has no values of AUs; expected columns such as AU01"),
        (["x.csv", "text.parquet"], 1, "error: text.parquet is not a readable parquet file ("),
        (["x.csv", "y.csv", "--labels", "nope.csv"], 1, "error: nope.csv: no such file; check the path\n"),
        (["x.csv", "y.csv", "--labels", "text.csv"], 1, "error: labels have no AUs; expected columns such as AU01"),
        (["x.csv", "y.csv", "--plot", "p.xyz"], 1, "Format 'xyz' is not supported"),
    ],
)
def test_compare_with_wrong_arguments(arguments: list[str], code: int, says: str, clips: Path, fgnet: Fgnet) -> None:
    for name in ("x.csv", "y.csv"):
        shutil.copy(clips / "whole.csv", name)
    for name in ("text.csv", "text.parquet"):
        Path(name).write_text("dear,diary\n1,2\n")
    found, _, err = fgnet("compare", *arguments)
    assert (found, says in err) == (code, True), err


COMMANDS = "detect", "status", "slurm", "annotate", "compare", "report", "summarize", "sample", "calibrate", "apply-calibration"
COMMANDS = *COMMANDS, "estimate", "contrast", "sides", "uncertainty", "cascade", "events", "labels", "provenance", "bids"
COMMANDS = *COMMANDS, "doctor", "demo", "overlay", "weights", "train"


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_fits_a_narrow_window(command: list[str], fgnet: Fgnet) -> None:
    code, out, _ = fgnet(*command, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "..." not in re.sub(r"\[ARGS\]\.\.\.|(inputs|arguments)[\]}]?\.\.\.|tables(\})?\.\.\.", "", out), (
        "a sentence that is cut"
    )
