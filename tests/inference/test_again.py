"""Looking at the faces of a table again: sides that a mirror swaps, and spread over crops."""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import feat_path, moved, read_photo, turned
from PIL import Image, ImageOps

from fgnet_plugin import OfflineDetector
from fgnet_plugin.errors import InputError
from fgnet_plugin.faces.crops import MIRRORED
from fgnet_plugin.inference.columns import LANDMARKS
from fgnet_plugin.inference.sides import SIDED, sides, whole_faces
from fgnet_plugin.inference.uncertainty import uncertainty

PHOTOS = [str(feat_path(name)) for name in ("0-f1-su-ph.jpg", "0-f15-hao-ph.jpg", "15-f13-anc-ph.jpg", "single_face.jpg")]
CLIP = str(feat_path("single_face.mp4"))


@pytest.fixture(scope="module")
def detector() -> OfflineDetector:
    return OfflineDetector()


@pytest.fixture(scope="module")
def table(detector: OfflineDetector) -> pd.DataFrame:
    return detector.detect(PHOTOS, progress_bar=False)


def mirrored(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The table of the mirrored pictures, which are written to a folder."""
    table, points = table.copy(), table[LANDMARKS].to_numpy().reshape(-1, 2, 68)
    for row, path in enumerate(table["input"]):
        with Image.open(path) as picture:
            ImageOps.mirror(picture.convert("RGB")).save(folder / f"{row}.png")
        table.loc[row, "input"] = str(folder / f"{row}.png")
    points = points[:, :, list(MIRRORED)]
    points[:, 0] = table[["FrameWidth"]].to_numpy() - 1 - points[:, 0]
    table[LANDMARKS] = points.reshape(-1, 136)
    return table


def test_a_mirror_swaps_sides(detector: OfflineDetector, table: pd.DataFrame, tmp_path: Path) -> None:
    found = sides(table, detector.fgnet)
    swapped = sides(mirrored(table, tmp_path), detector.fgnet)
    aus = [au for au in detector.au_names if au in SIDED]
    assert list(found) == [f"{au}_{side}" for au in aus for side in ("left", "right")]
    assert found.notna().all(axis=None)
    left, right = found.filter(like="_left").to_numpy(), found.filter(like="_right").to_numpy()
    assert np.abs(left - swapped.filter(like="_right").to_numpy()).max() < 0.02
    assert np.abs(right - swapped.filter(like="_left").to_numpy()).max() < 0.02
    assert np.abs(left - right).max() > 0.1  # something is swapped
    smiling = found.loc[1, ["AU12_left", "AU12_right"]]
    assert (smiling > 0.5).all()
    assert (found.loc[2, ["AU12_left", "AU12_right"]] < 0.5).all()


@settings(max_examples=8, deadline=None)
@given(
    face=st.integers(0, len(PHOTOS) - 1),
    degrees=st.floats(-20, 20),
    size=st.floats(0.3, 0.5),
    light=st.floats(-0.6, 0.6),
)
def test_any_mirrored_face_swaps_its_sides(
    face: int,
    degrees: float,
    size: float,
    light: float,
    detector: OfflineDetector,
    table: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Photos that are turned, made smaller, and lit from one side, so that their halves differ."""
    folder = tmp_path_factory.mktemp("photos")
    row = table.iloc[[face]].reset_index(drop=True)
    photo, matrix = turned(read_photo(f"pyfeat/{Path(PHOTOS[face]).name}"), degrees, size)
    points = torch.from_numpy(row[LANDMARKS].to_numpy(np.float64).reshape(2, 68).T.copy())
    row[LANDMARKS] = moved(points, matrix.double()).numpy().T.reshape(1, 136)
    row["FrameHeight"], row["FrameWidth"] = float(photo.shape[1]), float(photo.shape[2])
    row["input"] = str(folder / "photo.png")
    lit = (photo * (1 + light * torch.linspace(-1, 1, photo.shape[2]))).round().clamp(0, 255).byte()
    Image.fromarray(lit.permute(1, 2, 0).numpy()).save(folder / "photo.png")
    left, right = (frame.to_numpy() for frame in _by_side(sides(row, detector.fgnet)))
    other_left, other_right = (frame.to_numpy() for frame in _by_side(sides(mirrored(row, folder), detector.fgnet)))
    assert np.abs(left - other_right).max() < 1e-4
    assert np.abs(right - other_left).max() < 1e-4
    assert np.abs(left - right).max() > 0.02  # the halves are told apart


def _by_side(found: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return found.filter(like="_left"), found.filter(like="_right")


@pytest.mark.slow
def test_sides_with_a_network_of_the_published_size(full_checkpoint: Path, table: pd.DataFrame) -> None:
    """With weights by formula: the published ones can't be had here, and what they tell of sides is not known."""
    with pytest.warns(UserWarning, match="of other weights than"):
        found = sides(table.iloc[[3]], full_checkpoint)
    aus = [f"AU{number:02d}" for number in (1, 2, 4, 6, 7, 10, 12, 14, 15)]  # of BP4D's twelve, those that one side can show
    assert list(found) == [f"{au}_{side}" for au in aus for side in ("left", "right")]
    left, right = (frame.to_numpy() for frame in _by_side(found))
    assert ((left >= 0) & (left <= 1) & (right >= 0) & (right <= 1)).all()
    assert (left != right).all()


def test_whole_faces() -> None:
    """Where the middle line is off the middle, the faces are moved before they are halved."""
    face = torch.arange(8.0).expand(1, 3, 8, 8)
    left, right = whole_faces(face, torch.tensor([3.5]))
    assert left[0, 0, 0].tolist() == [7, 6, 5, 4, 4, 5, 6, 7]
    assert right[0, 0, 0].tolist() == [0, 1, 2, 3, 3, 2, 1, 0]
    left, right = whole_faces(face, torch.tensor([4.5]))
    assert left[0, 0, 0].tolist() == pytest.approx([7, 7, 6, 5, 5, 6, 7, 7], abs=1e-5)
    assert right[0, 0, 0].tolist() == pytest.approx([1, 2, 3, 4, 4, 3, 2, 1], abs=1e-5)
    for half in whole_faces(torch.rand(2, 3, 16, 16), torch.tensor([7.0, 9.3])):
        assert torch.equal(half, half.flip(-1))


def test_spread(detector: OfflineDetector, table: pd.DataFrame) -> None:
    rows = table.iloc[[3, 0]]
    found = uncertainty(rows, detector.fgnet, passes=4, seed=1)
    assert list(found.index) == [3, 0]
    assert list(found) == [f"{au}_{what}" for au in detector.au_names for what in ("mean", "spread")]
    assert (found.filter(like="_spread") > 0).all(axis=None)
    for au in detector.au_names:
        assert (abs(found[f"{au}_mean"] - rows[au]) < 4 * found[f"{au}_spread"] + 0.1).all()
    alone = uncertainty(rows.iloc[[1]], detector.fgnet, passes=4, seed=1)
    assert np.abs(alone.to_numpy() - found.iloc[[1]].to_numpy()).max() < 1e-4
    assert not np.allclose(uncertainty(rows.iloc[[1]], detector.fgnet, passes=4, seed=2), alone)


def test_spread_beside_the_table_of_a_run(detector: OfflineDetector, tmp_path: Path) -> None:
    save, beside = tmp_path / "fex.csv", tmp_path / "fex_uncertainty.csv"
    options = {"skip_frames": 36, "save": save, "relative_to": Path(CLIP).parent, "uncertainty": 2, "progress_bar": False}
    fex = detector.detect(CLIP, **options)
    found = pd.read_csv(beside)
    assert found[["input", "frame"]].to_numpy().tolist() == [["single_face.mp4", 0], ["single_face.mp4", 36]]
    alone = uncertainty(fex.assign(input=CLIP), detector.fgnet, passes=2)
    np.testing.assert_allclose(found[list(alone)], alone, atol=1e-5)
    written = beside.read_bytes()
    beside.unlink()  # as where only the table was complete
    detector.detect(CLIP, resume=True, **options)
    assert beside.read_bytes() == written

    with pytest.raises(ValueError, match="uncertainty is about a table that is written: give save, too"):
        detector.detect(CLIP, uncertainty=2)
    with pytest.raises(ValueError, match="uncertainty needs landmarks"):
        detector.detect(CLIP, **options | {"columns": "aus"})
    with pytest.raises(ValueError, match="at least 2, got 1"):
        detector.detect(CLIP, **options | {"uncertainty": 1})
    with pytest.raises(ValueError, match="can't be told of a tensor"):
        detector.detect(torch.zeros(1, 3, 64, 64), save=save, uncertainty=2)
    other = copy.copy(detector)
    other.fgnet, other.info = None, {**detector.info, "au_model": "xgb"}
    with pytest.raises(ValueError, match="not of those of xgb"):
        other.detect(CLIP, **options)


def test_frames_of_a_video(detector: OfflineDetector) -> None:
    """Rows in any order; rows without a face are NaN."""
    whole = detector.detect(CLIP, skip_frames=24, progress_bar=False)
    rows = whole.iloc[[2, 0, 1]].copy()
    rows.loc[0, LANDMARKS] = np.nan
    found = sides(rows, detector.fgnet)
    assert found.loc[0].isna().all()
    pd.testing.assert_frame_equal(found.loc[[1, 2]], sides(whole, detector.fgnet).loc[[1, 2]], atol=1e-4)
    assert uncertainty(rows, detector.fgnet, passes=2).loc[0].isna().all()


def test_what_is_refused_and_said(detector: OfflineDetector, table: pd.DataFrame, tmp_path: Path) -> None:
    row = table.iloc[[0]]
    with pytest.warns(UserWarning, match="1 face is turned too far"):
        assert sides(row, detector.fgnet, most_turned=-1).isna().all(axis=None)
    with pytest.raises(InputError, match="no column x_0"):
        sides(row.drop(columns="x_0"), detector.fgnet)
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        uncertainty(row.assign(input=str(tmp_path / "gone.jpg")), detector.fgnet)
    with pytest.raises(InputError, match="another file than the table is about"):
        sides(row.assign(input=PHOTOS[3]), detector.fgnet)
    with pytest.raises(InputError, match="has 72 frames, but the table has rows of frame 99"):
        sides(row.assign(input=CLIP, frame=99, FrameHeight=360, FrameWidth=640), detector.fgnet)
    with pytest.raises(ValueError, match="passes"):
        uncertainty(row, detector.fgnet, passes=1)
    with pytest.warns(UserWarning, match="the table are of other weights than fgnet-rendered-1"):
        uncertainty(row, "fgnet-rendered-1", passes=2)
