"""Faces of videos are tracked: the same in any batches and after an interruption; each person has a label."""

from pathlib import Path

import pandas as pd
import pytest
from photos import feat_path

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from offline import batch_detector

from fgnet_plugin.utils.journal import Journal

FACES = [
    "FaceRectX",
    "FaceRectY",
    "FaceRectWidth",
    "FaceRectHeight",
    "FaceScore",
    "Pitch",
    "Roll",
    "Yaw",
    "x_36",
    "y_48",
    "Identity",
]


def faces(batch_size: int, **options: object) -> pd.DataFrame:
    fex = batch_detector().detect(str(feat_path("single_face.mp4")), batch_size=batch_size, progress_bar=False, **options)
    return pd.DataFrame(fex)[FACES]


@pytest.mark.parametrize("skip_frames", [2, 20])
def test_batches_and_an_interruption_change_no_digit(skip_frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = faces(1, skip_frames=skip_frames)
    assert (expected["Identity"] == "Person_0").all()
    assert expected.notna().all(axis=None)
    pd.testing.assert_frame_equal(faces(16, skip_frames=skip_frames), expected, check_exact=True)
    append, written = Journal.append, []

    def interrupted(journal: Journal, rows: pd.DataFrame | None) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(append(journal, rows))

    save = tmp_path / "fex.csv"
    monkeypatch.setattr(Journal, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        faces(5 if skip_frames == 2 else 1, skip_frames=skip_frames, save=save)
    monkeypatch.setattr(Journal, "append", append)
    resumed = faces(5 if skip_frames == 2 else 1, skip_frames=skip_frames, save=save, resume=True)
    pd.testing.assert_frame_equal(resumed, expected, check_dtype=False, rtol=1e-6)
