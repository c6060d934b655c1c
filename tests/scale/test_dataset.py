"""Detection in several processes: the rows of one process, whatever fails; nothing is done twice or left behind."""

import functools
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest
from dataset_checks import (  # noqa: F401  (a fixture)
    assert_clean,
    assert_equal,
    environment_of_workers,
    expected_rows,
    memory_after_each,
)
from dataset_faults import StandInDetector, end_at_clip, end_of_process
from in_process import without_ray
from photos import feat_path
from pyarrow.dataset import dataset

from fgnet_plugin import OfflineDetector
from fgnet_plugin.errors import InputError, OutputError
from fgnet_plugin.media import video as video_module
from fgnet_plugin.scale import DifferentSettingsError, Report, detect_dataset, read_dataset, status
from fgnet_plugin.scale.recordings import Recording, list_recordings
from fgnet_plugin.scale.settings import versions
from fgnet_plugin.scale.work import Worker
from fgnet_plugin.utils.made_by import MadeBy

pytest.importorskip("ray", reason="Ray is not installed")
FILES = Path(__file__).parents[1] / "media" / "files"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Videos, one damaged midway, pictures, one of them without a face, and three files that can't be read."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("single_face.mp4", "multi_face.jpg", "free-mountain-vector-01.jpg", "single_face.jpg"):
        shutil.copy(feat_path(name), folder)
    for name in ("dam1.mp4", "concat.ts"):
        shutil.copy(FILES / name, folder)
    (folder / "corrupt.mp4").write_bytes(b"corrupt" * 99)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "z_cut.jpg").write_bytes((folder / "multi_face.jpg").read_bytes()[:9000])
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def expected(clips: list[str]) -> pd.DataFrame:
    """What one process makes of them."""
    return expected_rows(clips)


@pytest.fixture(scope="module")
def filled(clips: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A dataset of all clips, in parts of one batch."""
    out = tmp_path_factory.mktemp("filled") / "corpus"
    return out, detect_dataset(clips, out, workers=2, segment_frames=1)


def test_two_processes_do_as_one(filled: tuple[Path, Report], expected: pd.DataFrame) -> None:
    out, report = filled
    assert_equal(out, expected)
    assert report.threads == {1}
    assert report.lost == 0
    assert report.frames == 139
    assert {Path(name).name: outcome.faces for name, outcome in report.done.items()} == {
        "single_face.mp4": 72,
        "multi_face.jpg": 5,
        "free-mountain-vector-01.jpg": 0,
        "single_face.jpg": 1,
        "dam1.mp4": 40,
        "concat.ts": 24,
    }


def test_what_failed_has_its_reason(filled: tuple[Path, Report], clips: list[str]) -> None:
    out, report = filled
    found = status(out)
    assert (found.inputs, found.done, found.frames, found.rows, found.faces) == (9, 6, 139, 143, 142)
    reasons = {Path(name).name: reason for name, reason in found.failed.items()}
    assert sorted(reasons) == ["corrupt.mp4", "empty.mp4", "z_cut.jpg"]
    assert "is empty (0 bytes)" in reasons["empty.mp4"]
    assert "cannot be read as a video" in reasons["corrupt.mp4"]
    assert reasons["z_cut.jpg"].startswith(str(Path(clips[0]).with_name("z_cut.jpg")))
    ((name, gap),) = found.incomplete.items()
    assert Path(name).name == "dam1.mp4"
    assert "frames 12 to 19 (1.20 to 1.90 s) cannot be decoded" in gap
    assert found.failed == report.failed
    assert found.incomplete == report.incomplete


@pytest.mark.slow
@pytest.mark.parametrize("segment_frames", [30, 75])
def test_parts_of_any_length(segment_frames: int, clips: list[str], expected: pd.DataFrame, tmp_path: Path) -> None:
    """A clip as long as two batches and a half, and as five."""
    detect_dataset(clips, tmp_path / "corpus", workers=2, segment_frames=segment_frames)
    assert_equal(tmp_path / "corpus", expected)


def test_a_finished_dataset_is_left_as_it_is(filled: tuple[Path, Report], clips: list[str], tmp_path: Path) -> None:
    """Ray is not even started; failed files are tried again on request, and changed ones refused."""
    out = shutil.copytree(filled[0], tmp_path / "corpus")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    report = detect_dataset(clips, out)
    assert report.before == 6
    assert report.failed == filled[1].failed
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(InputError, match="holds a dataset already"):
        detect_dataset(clips, out, resume=False)


def test_a_changed_input_is_refused(tmp_path: Path) -> None:
    clip = tmp_path / "a.jpg"
    shutil.copy(feat_path("single_face.jpg"), clip)
    with without_ray():
        detect_dataset([clip], tmp_path / "corpus", detector=StandInDetector, workers=1)
        clip.write_bytes(b"other")
        with pytest.raises(InputError, match=r"a\.jpg has been changed since its rows were written: delete .*recording=a-"):
            detect_dataset([clip], tmp_path / "corpus", detector=StandInDetector, workers=1)


def test_a_killed_worker_and_a_clip_that_crashes(clips: list[str], expected: pd.DataFrame, tmp_path: Path) -> None:
    """One process dies in the middle of a part, once; another whenever it opens a clip: that clip alone fails."""
    whole = [name for name in clips if Path(name).suffix in (".ts", ".mp4")]
    killed = functools.partial(end_of_process, str(tmp_path / "marker"), 40)
    report = detect_dataset(whole, tmp_path / "killed", detector=killed, workers=2, segment_frames=30)
    assert report.lost == 1
    assert {Path(name).name for name in report.failed} == {"corrupt.mp4", "empty.mp4"}
    assert_equal(tmp_path / "killed", expected[expected["input"].isin(whole)])


@pytest.mark.slow
def test_a_clip_that_crashes_its_reader(clips: list[str], expected: pd.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "crashed"
    report = detect_dataset(clips, out, detector=functools.partial(end_at_clip, "concat.ts"), workers=2)
    assert report.lost == 3
    reasons = {Path(name).name: reason for name, reason in status(out).failed.items()}
    assert reasons["concat.ts"].startswith("given up after 3 attempts: its process died (")
    assert len(reasons) == 4
    assert_equal(out, expected[~expected["input"].str.endswith("concat.ts")])
    report = detect_dataset(clips, out, workers=1, retry_failed=True)
    assert len(report.failed) == 3
    assert_equal(out, expected)


def test_other_settings_weights_and_versions_are_refused(tmp_path: Path) -> None:
    photo = str(feat_path("single_face.jpg"))
    (recording,) = list_recordings([photo])
    other = Recording("other-0123456789ab", photo, "other", recording.size)
    with without_ray():
        detect_dataset([photo], tmp_path, detector=StandInDetector, workers=1)
        another = functools.partial(StandInDetector, "x")
        with pytest.raises(DifferentSettingsError, match=r"was begun with other settings.* face_model was .stand-in., now .x"):
            detect_dataset([feat_path("multi_face.jpg")], tmp_path, detector=another, workers=1)
        with pytest.raises(DifferentSettingsError, match=r"face_detection_threshold was null, now 0\.9"):
            begin(tmp_path, other, {"face_detection_threshold": 0.9})
        run = json.loads((tmp_path / "_fgnet" / "run.json").read_text())
        run["settings"]["versions"]["torch"] = "1.0"
        run["settings"]["checkpoint"] = "0123"
        (tmp_path / "_fgnet" / "run.json").write_text(json.dumps(run))
        now = versions()["torch"]
        with pytest.raises(DifferentSettingsError, match=f'checkpoint was "0123", now null; .*torch was "1.0", now "{now}"'):
            begin(tmp_path, other, {})


def begin(out: Path, recording: Recording, options: dict[str, object]) -> None:
    worker = Worker(str(out), StandInDetector, options, 1, 100)
    with without_ray():
        worker.start()
    worker.begin(recording)


def test_an_index_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many parts a recording has, and though a worker begins it again after an interruption."""
    clip = str(feat_path("single_face.mp4"))
    (recording,) = list_recordings([clip])
    counted = []
    scan = video_module.scan
    monkeypatch.setattr(video_module, "scan", lambda *args: counted.append(args) or scan(*args))
    with without_ray():
        worker = Worker(str(tmp_path / "corpus"), OfflineDetector, {}, 1, 30)
        worker.start()
    parts = worker.begin(recording)
    assert (parts.state, parts.parts, parts.frames) == ("parts", ((0, 30), (30, 60), (60, 72)), 72)
    worker.read(recording, (60, 72))
    assert worker.begin(recording).missing == ((0, 30), (30, 60))
    assert worker.commit(recording, parts.parts).missing == ((0, 30), (30, 60))
    worker.read(recording, (0, 30))
    worker.read(recording, (30, 60))
    assert worker.commit(recording, parts.parts).frames == 72
    assert len(counted) == 1
    assert_clean(tmp_path / "corpus")


def test_shards_then_another_number_of_them(tmp_path: Path) -> None:
    """One after the other; two at once are in `test_kills`."""
    photos = [tmp_path / f"{i}.jpg" for i in range(12)]
    for photo in photos:
        shutil.copy(feat_path("single_face.jpg"), photo)
    shards = [[one for one in list_recordings(list(map(str, photos))) if one.in_shard((i, 3))] for i in (1, 2, 3)]
    assert sum(map(len, shards)) == 12
    assert all(shards)
    with without_ray():
        reports = [
            detect_dataset(photos, tmp_path / "corpus", detector=StandInDetector, workers=1, shard=shard)
            for shard in ((1, 3), (1, 2), (2, 2))
        ]
    assert len(reports[0].done) == len(shards[0])
    assert status(tmp_path / "corpus").done == 12
    assert len(read_dataset(tmp_path / "corpus")) == 12


@pytest.mark.slow
def test_the_memory_of_a_worker_does_not_grow(tmp_path: Path) -> None:
    """Over 50 recordings, each of 6 frames; in a process of its own, as Ray's workers are, free of what other tests left."""
    clips = [str(shutil.copy(FILES / "concat.ts", tmp_path / f"{i}.ts")) for i in range(50)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        memory = child.submit(memory_after_each, tmp_path / "corpus", clips).result()
    assert max(memory[20:]) < max(memory[:20]) + 50, memory


def test_bad_arguments(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    photo = str(feat_path("single_face.jpg"))
    with pytest.raises(InputError, match="holds something else than a dataset"):
        detect_dataset(photo, tmp_path)
    with pytest.raises(InputError, match="is no dataset"):
        status(tmp_path)
    with pytest.raises(ValueError, match="shard must be"):
        detect_dataset(photo, tmp_path / "new", shard=(0, 4))
    with pytest.raises(ValueError, match="detect can't have save, time here"):
        detect_dataset(photo, tmp_path / "new", detect={"save": "a.csv", "time": True})
    with pytest.raises(ValueError, match="is given twice"):
        detect_dataset([photo, photo], tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        begin(tmp_path / "file" / "corpus", list_recordings([photo])[0], {})


def test_reading_back(filled: tuple[Path, Report], expected: pd.DataFrame, clips: list[str]) -> None:
    """Some inputs and columns; and as other programs read the folder."""
    out, _ = filled
    clip = next(name for name in clips if name.endswith("single_face.mp4"))
    some = read_dataset(out, [clip], ["AU12", "frame", "anger"])
    assert list(some.columns) == ["AU12", "frame", "anger"]
    assert some["AU12"].tolist() == expected.loc[expected["input"] == clip, "AU12"].tolist()
    assert some["anger"].isna().all()
    made_by = MadeBy.of_table(some)  # for calibrations
    assert made_by == MadeBy.of_settings(status(out).settings)
    assert made_by.face_model == "bundled"
    with pytest.raises(InputError, match=r"has no rows of nobody\.mp4"):
        read_dataset(out, ["nobody.mp4"])
    with pytest.raises(ValueError, match="has no column AU99"):
        read_dataset(out, columns=["AU99"])


def test_other_programs_read_the_folder(filled: tuple[Path, Report], expected: pd.DataFrame) -> None:
    """As docs/scale.md says."""
    out, _ = filled
    means = expected.groupby("input")["AU12"].mean().dropna()
    by_pandas = pd.read_parquet(out, columns=["input", "frame", "AU12"])
    assert len(by_pandas) == 143
    by_arrow = dataset(out, partitioning="hive").to_table(columns=["input", "AU12", "recording"]).to_pandas()
    assert by_arrow["recording"].nunique() == 6
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    by_polars = polars.scan_parquet(f"{out}/*/*.parquet").group_by("input").agg(polars.col("AU12").mean()).collect()
    by_duckdb = duckdb.sql(f"select input, avg(AU12) from '{out}/*/*.parquet' group by input").fetchall()
    for found in (
        by_pandas.groupby("input")["AU12"].mean(),
        by_arrow.groupby("input")["AU12"].mean(),
        pd.Series(dict(by_polars.iter_rows())),
        pd.Series(dict(by_duckdb)),
    ):
        pd.testing.assert_series_equal(
            found.dropna().sort_index().astype(float), means.astype(float), check_names=False, rtol=1e-5
        )


def test_a_file_of_300_rows_is_small(filled: tuple[Path, Report], clips: list[str], tmp_path: Path) -> None:
    """Real rows, though of fewer frames: those of the clip, four times and a bit."""
    from fgnet_plugin.scale.layout import Layout
    from fgnet_plugin.scale.settings import read_run
    from fgnet_plugin.scale.table import TableWriter

    clip = next(name for name in clips if name.endswith("single_face.mp4"))
    rows = pd.DataFrame(read_dataset(filled[0], [clip]))
    rows = pd.concat([rows] * 5, ignore_index=True)[:300]
    rows["frame"] = range(300)
    numbers = rows.select_dtypes("float32").columns
    rows[numbers] *= 1 + 0.001 * (rows.index // 72).to_numpy()[:, None].astype("float32")  # nothing repeats itself
    writer = TableWriter(tmp_path / "a.parquet", read_run(Layout(filled[0]))["columns"])
    writer.add(rows)
    writer.close({})
    assert (tmp_path / "a.parquet").stat().st_size < 160_000
