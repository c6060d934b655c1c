"""Some frames of a video: their rows are those of the whole table, and the file's index is read once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photos import feat_path

from fgnet_plugin import OfflineDetector
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.final_table import TableOptions
from fgnet_plugin.inference.inputs import VideoFrames
from fgnet_plugin.media import video as video_module
from fgnet_plugin.media.video import Video
from fgnet_plugin.media.video_index import VideoIndex

FACE, CLIP = str(feat_path("single_face.jpg")), str(feat_path("single_face.mp4"))
FILES = Path(__file__).parents[1] / "media" / "files"


@pytest.fixture(scope="module")
def detector() -> OfflineDetector:
    return OfflineDetector()


@pytest.fixture(scope="module")
def whole(detector: OfflineDetector) -> pd.DataFrame:
    return detector.detect([CLIP, FACE], progress_bar=False)


def assert_part(part: pd.DataFrame, whole: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(part.reset_index(drop=True), whole.reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("frames", [(0, 15), (20, 37), (44, 46), (60, 500)])
def test_on_and_off_the_grid(frames: tuple[int, int], detector: OfflineDetector, whole: pd.DataFrame) -> None:
    part = detector.detect([CLIP, FACE], frames=frames, progress_bar=False)
    wanted = whole["frame"].between(*frames, inclusive="left") | (whole["input"] == FACE)
    assert_part(part, whole[wanted])


def test_with_skipped_frames_and_py_feats_detector(detector: OfflineDetector, whole: pd.DataFrame) -> None:
    """The batches of `batch_detector` are not those that faces are tracked in."""
    assert_part(
        detector.detect(CLIP, frames=(31, 70), skip_frames=4, progress_bar=False),
        detector.detect(CLIP, skip_frames=4, progress_bar=False).query("31 <= frame < 70"),
    )
    pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)
    from offline import batch_detector

    part, every = (
        batch_detector().detect(CLIP, batch_size=4, frames=frames, progress_bar=False) for frames in ((22, 31), None)
    )
    assert_part(pd.DataFrame(part), pd.DataFrame(every).query("22 <= frame < 31"))


def test_a_range_that_is_resumed(detector: OfflineDetector, whole: pd.DataFrame, tmp_path: Path) -> None:
    frames = VideoFrames.__getitem__

    def until_50(self: VideoFrames, i: int) -> dict[str, object]:
        if i >= 50:
            raise KeyboardInterrupt
        return frames(self, i)

    table = tmp_path / "part.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoFrames, "__getitem__", until_50)
        with pytest.raises(KeyboardInterrupt):
            detector.detect(CLIP, frames=(20, 66), save=table, progress_bar=False)
    with pytest.raises(InputError, match=r"frames was \[20, 66\], now \[20, 67\]"):
        detector.detect(CLIP, frames=(20, 67), save=table, resume=True, progress_bar=False)
    part = detector.detect(CLIP, frames=(20, 66), save=table, resume=True, progress_bar=False)
    np.testing.assert_array_equal(part["AU12"].astype(np.float32), whole["AU12"][20:66])


def test_impossible_ranges(detector: OfflineDetector) -> None:
    for frames in ((5, 5), (-1, 3)):
        with pytest.raises(ValueError, match="frames must be the first frame and the one after the last"):
            detector.detect(CLIP, frames=frames)
    with pytest.raises(InputError, match="has 72 frames"):
        detector.detect(CLIP, frames=(72, 80))


def test_cuts_are_whole_batches(detector: OfflineDetector) -> None:
    assert detector.plan(CLIP).cuts(20) == [(0, 30), (30, 60), (60, 72)]
    assert detector.plan(CLIP, skip_frames=4).cuts(1) == [(0, 60), (60, 72)]
    assert detector.plan(CLIP).cuts(1000) == [(0, 72)]


@pytest.mark.parametrize("name", ["concat.ts", "midgop.ts", "vfr_webcam.mp4", "a.wmv", "dam1.mp4"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_index_is_handed_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Video(FILES / name)
    before.index.save(tmp_path / "index.npz")
    monkeypatch.delattr(video_module, "scan")
    after = Video(FILES / name, VideoIndex.load(tmp_path / "index.npz"))
    assert (len(before), before.fps, before.index.seams.tolist()) == (len(after), after.fps, after.index.seams.tolist())
    assert before.index.stated_end == after.index.stated_end
    for i in (0, len(before) // 2, len(before) - 1):
        assert before.time(i) == after.time(i)
        assert outcome(before, i) == outcome(after, i)


def outcome(video: Video, i: int) -> object:
    try:
        return video[i].tolist()
    except InputError as error:
        return str(error)


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"index\.npz is no index of a video, or damaged"):
        VideoIndex.load(tmp_path / "index.npz")


def test_a_run_takes_indexes(detector: OfflineDetector, whole: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Video(CLIP).index
    monkeypatch.delattr(video_module, "scan")
    run = detector.plan(CLIP, frames=(30, 40), indexes={CLIP: index}, table=TableOptions("aus"))
    rows = pd.concat(run.rows(), ignore_index=True)
    np.testing.assert_array_equal(rows["AU12"], whole["AU12"][30:40])
    assert "x_0" not in rows
