"""Detection without py-feat: the same table with it and without, in any batches, threads and pieces; a start in seconds."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from photos import feat_path, read_frames

from fgnet_plugin import OfflineDetector
from fgnet_plugin.errors import InputError, SkippedInput
from fgnet_plugin.inference import columns
from fgnet_plugin.inference.batches import ReadingOptions
from fgnet_plugin.inference.inputs import VideoFrames
from fgnet_plugin.inference.persons import label_persons
from fgnet_plugin.inference.stretches import StretchReader
from fgnet_plugin.utils.journal import Journal, read_table
from fgnet_plugin.utils.made_by import MadeBy

FACE, FIVE, NOBODY, CLIP = (
    str(feat_path(name)) for name in ("single_face.jpg", "multi_face.jpg", "free-mountain-vector-01.jpg", "single_face.mp4")
)
HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture(scope="module")
def detector() -> OfflineDetector:
    return OfflineDetector()


@pytest.fixture(scope="module")
def whole(detector: OfflineDetector) -> pd.DataFrame:
    return detector.detect([CLIP, FIVE, NOBODY, FACE], progress_bar=False)


def test_columns_are_py_feats() -> None:
    utils = pytest.importorskip("feat.utils")
    from feat.pretrained import AU_LANDMARK_MAP

    assert AU_LANDMARK_MAP["Feat"] == columns.AUS
    assert columns.FACEBOX == utils.FEAT_FACEBOX_COLUMNS
    assert utils.openface_2d_landmark_columns == columns.LANDMARKS
    assert columns.POSE == utils.FEAT_FACEPOSE_COLUMNS_6D
    assert columns.EMOTIONS == utils.FEAT_EMOTION_COLUMNS
    assert utils.FEAT_IDENTITY_COLUMNS[1:] == columns.IDENTITY
    assert columns.GAZE == utils.FEAT_GAZE_COLUMNS


def test_a_table_of_videos_and_photos(detector: OfflineDetector, whole: pd.DataFrame) -> None:
    """The photos have three sizes."""
    assert whole["input"].tolist() == [CLIP] * 72 + [FIVE] * 5 + [NOBODY, FACE]
    assert whole["frame"].tolist() == [*range(72), *[0] * 5, 1, 2]
    assert whole["approx_time"].tolist()[::30] == ["00:00", "00:01", "00:02"]
    assert whole["approx_time"].isna().tolist() == [False] * 72 + [True] * 7
    assert whole["Identity"].tolist()[:72] == ["Person_0"] * 72
    assert whole["Identity"][72:].isna().all()
    nobody = whole.iloc[77].dropna()
    assert dict(nobody) == {"FaceScore": 0.0, "FrameHeight": 1080.0, "FrameWidth": 1920.0, "input": NOBODY, "frame": 1}
    faces = whole.drop(index=77)
    assert faces[[*columns.FACEBOX, *columns.LANDMARKS, *columns.POSE, *detector.au_names]].notna().all(axis=None)
    assert whole[detector.au_names].shape == (len(whole), 12)  # a list, as pandas wants it
    assert whole[[au for au in columns.AUS if au not in detector.au_names]].isna().all(axis=None)
    assert whole.loc[78, "AU12"] > 0.5


def test_detector_offline_gives_the_same_numbers(whole: pd.DataFrame) -> None:
    pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)
    from offline import offline_detector

    fex = offline_detector().detect([CLIP, FIVE, NOBODY, FACE], batch_size=5, progress_bar=False)
    pd.testing.assert_frame_equal(pd.DataFrame(fex), whole, check_exact=True)


def test_without_py_feat_the_command_writes_the_same_table(tmp_path: Path) -> None:
    """Only the extra `video` can be imported; with py-feat at hand, it is not imported, nor is torch's compiler."""
    code = """
import sys
if sys.argv.pop(1) == "alone":
    from only_packages import refuse_other_packages
    others = refuse_other_packages("fgnet-plugin[video]")
    assert {"feat", "matplotlib", "scipy", "sklearn", "kornia"} - others <= {"kornia", "scipy"}
from fgnet_plugin.cli.app import main
try:
    main()
finally:
    print(sorted({"feat", "torch._dynamo", "sympy", "matplotlib", "xgboost", "torchvision"} & set(sys.modules)))
"""
    for name in ("alone", "beside"):
        arguments = ["detect", "--offline", CLIP, FIVE, "--skip-frames", "9", "--out", tmp_path / f"{name}.csv"]
        command = [sys.executable, "-c", code, name, *map(str, arguments)]
        done = subprocess.run(command, cwd=HELPERS, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "alone.csv").read_bytes() == (tmp_path / "beside.csv").read_bytes()
    assert len(read_table(tmp_path / "alone.csv")) == 13


@pytest.mark.parametrize("skip_frames", [3, 20])
def test_threads_and_pieces_change_no_digit(
    detector: OfflineDetector, skip_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video of 24 frames in stretches of 15, and one of 4 that are all searched."""

    def read(first: int, count: int | None) -> pd.DataFrame:
        frames = VideoFrames(CLIP, skip_frames)
        options = ReadingOptions(1, None, skip_frames, timed=True, stop_at_error=True)
        batches = islice(StretchReader(detector.finder, detector.fgnet).start(frames, options, first), count)
        return pd.concat([batch.rows.result() for batch in batches if batch.rows is not None], ignore_index=True)

    expected = detector.detect(CLIP, skip_frames=skip_frames, progress_bar=False)
    monkeypatch.setenv("FGNET_NUM_THREADS", "1")
    before = torch.get_num_threads()
    pieces = [read(0, 1), read(1, None)] if skip_frames == 3 else [read(0, None)]
    assert torch.get_num_threads() == before
    assert [len(piece) for piece in pieces] == ([15, 9] if skip_frames == 3 else [4])
    joined = pd.concat(pieces, ignore_index=True).assign(Identity=np.nan)
    label_persons(joined, {CLIP})
    pd.testing.assert_frame_equal(joined, expected, check_exact=True)


def test_an_interrupted_run_is_resumed(
    detector: OfflineDetector, whole: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, written = Journal.append, []

    def interrupted(journal: Journal, rows: pd.DataFrame | None) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(append(journal, rows))

    inputs, save = [CLIP, FIVE, NOBODY, FACE], tmp_path / "table.csv"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            detector.detect(inputs, progress_bar=False, save=save)
    resumed = detector.detect(inputs, progress_bar=False, save=save, resume=True)
    assert save.read_text() == whole.to_csv(index=False, lineterminator="\n")
    timeless = [name for name in whole if name != "approx_time"]  # None, or NaN where it was read back
    pd.testing.assert_frame_equal(resumed[timeless], whole[timeless], check_dtype=False, rtol=1e-6)
    with pytest.raises(InputError, match="skip_frames was null, now 3"):
        detector.detect(inputs, progress_bar=False, save=save, resume=True, skip_frames=3)


def test_what_was_left_out_before_an_interruption_is_said_again(
    detector: OfflineDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, append, written = tmp_path / "text.jpg", Journal.append, []
    text.write_text("no picture")

    def interrupted(journal: Journal, rows: pd.DataFrame | None) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(append(journal, rows))

    inputs, options = [str(text), CLIP], {"save": tmp_path / "x.csv", "errors": "skip", "skip_frames": 9, "progress_bar": False}
    monkeypatch.setattr(Journal, "append", interrupted)
    with pytest.raises(KeyboardInterrupt), pytest.warns(SkippedInput):
        detector.detect(inputs, **options)
    monkeypatch.setattr(Journal, "append", append)
    for _ in range(2):
        with pytest.warns(SkippedInput, match=r"x\.csv is complete, without rows of .*text\.jpg: it could not be read"):
            detector.detect(inputs, **options, resume=True)


def test_what_cannot_be_read_is_named_and_the_rest_kept(detector: OfflineDetector, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    with pytest.warns(SkippedInput, match=r"text\.jpg"):
        table = detector.detect([FACE, str(text), FIVE], errors="skip", progress_bar=False)
    assert table["input"].tolist() == [FACE, *[FIVE] * 5]
    with pytest.raises(InputError, match=r"text\.jpg") as caught:
        detector.detect([FACE, str(text), FIVE], progress_bar=False)
    assert caught.value.fex["input"].tolist() == [FACE]  # type: ignore[attr-defined]


def test_faces_of_tensors(detector: OfflineDetector, whole: pd.DataFrame) -> None:
    """As of a video but for the mirror images, which only photos' faces are steadied by."""
    frames = torch.stack(read_frames("single_face.mp4", [0, 15]))
    table = detector.detect(frames, progress_bar=False)
    assert table["input"].tolist() == ["tensor"] * 2
    searched = whole.iloc[[0, 15]].reset_index(drop=True)[columns.LANDMARKS]
    pd.testing.assert_frame_equal(table[columns.LANDMARKS], searched, atol=2)
    assert detector.detect(frames.float(), progress_bar=False)[columns.LANDMARKS].equals(table[columns.LANDMARKS])


def test_a_rate_that_varies_is_said(detector: OfflineDetector) -> None:
    phone = str(feat_path("face_noface.mov"))
    with pytest.warns(UserWarning, match=r"face_noface\.mov: the frame rate varies: 26\.4 frames per second on average"):
        detector.detect(phone, skip_frames=60, progress_bar=False)


def test_devices_and_weights_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="finds no such GPU"):
        OfflineDetector(device="mps")
    with pytest.raises(ValueError, match="no such checkpoint"):
        OfflineDetector(au_model="fgnet-unknown")


def test_the_table_says_what_made_it(detector: OfflineDetector, whole: pd.DataFrame, tmp_path: Path) -> None:
    made = MadeBy(detector.fgnet.digest, "bundled", "bundled")
    assert MadeBy.of_table(whole) == made
    assert MadeBy.of_table(whole[whole["frame"] > 3].copy()) == made
    detector.detect(FACE, save=tmp_path / "fex.parquet", progress_bar=False)
    assert MadeBy.of_file(tmp_path / "fex.parquet") == made
    (tmp_path / "fex.parquet.run").unlink()
    assert MadeBy.of_file(tmp_path / "fex.parquet") == made
    assert MadeBy.of_file(tmp_path / "other.csv") is None
