"""One face of each frame: the largest, or one participant throughout."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from fgnet_plugin.inference.persons import check_faces, choose_faces, label_persons


def table(*rows: tuple[str, int, float, float]) -> pd.DataFrame:
    """Rows of input, frame, place and size of a face; a size of NaN is a frame without one."""
    columns = pd.DataFrame(rows, columns=["input", "frame", "FaceRectX", "FaceRectWidth"])
    columns.loc[columns["FaceRectWidth"].isna(), "FaceRectX"] = np.nan
    columns["FaceRectY"], columns["FaceRectHeight"] = columns["FaceRectX"], columns["FaceRectWidth"]
    return columns.assign(AU12=np.arange(len(columns)) / 10.0, Identity=np.nan, FaceScore=0.9)


@pytest.fixture
def video() -> pd.DataFrame:
    """The participant on the left, away in frame 2 and after frame 3 for long; a larger passer-by in frames 1 and 2."""
    return table(
        ("a.mp4", 0, 0, 50), ("a.mp4", 1, 200, 60), ("a.mp4", 1, 2, 50), ("a.mp4", 2, 204, 60), ("a.mp4", 3, 4, 50),
        *(("a.mp4", frame, 0, np.nan) for frame in range(4, 30)), ("a.mp4", 30, 4, 50),
        ("b.jpg", 0, 0, 10), ("b.jpg", 0, 90, 20),
    )  # fmt: skip


def test_persons_have_labels(video: pd.DataFrame) -> None:
    label_persons(video, ["a.mp4"])
    expected = ["Person_0", "Person_1", "Person_0", "Person_1", "Person_0", *[np.nan] * 26, "Person_2", np.nan, np.nan]
    pd.testing.assert_series_equal(video["Identity"], pd.Series(expected, dtype=object), check_names=False)


def test_all_faces(video: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(choose_faces(video, "all", ["a.mp4"]), video)


def test_the_largest_face(video: pd.DataFrame) -> None:
    kept = choose_faces(video, "largest", ["a.mp4"])
    assert kept["AU12"].tolist() == video["AU12"].drop([2, 32]).tolist()


def test_one_participant_throughout(video: pd.DataFrame) -> None:
    """The one who is there longest; where not, the frame's row is blank. Chosen again, nothing changes."""
    kept = choose_faces(video, "track", ["a.mp4"])
    assert kept["frame"].tolist() == [*range(31), 0]
    assert kept["FaceRectX"].iloc[[0, 1, 3, 30, 31]].tolist() == [0, 2, 4, 4, 90]
    absent = kept.iloc[2]
    assert (absent["input"], absent["frame"], absent["FaceScore"]) == ("a.mp4", 2, 0.0)
    assert absent[["FaceRectX", "FaceRectWidth", "AU12", "Identity"]].isna().all()
    pd.testing.assert_frame_equal(choose_faces(kept, "track", ["a.mp4"]), kept)


def test_other_words_are_refused() -> None:
    with pytest.raises(ValueError, match="faces must be one of 'all', 'largest', 'track', got 'first'"):
        check_faces("first")
