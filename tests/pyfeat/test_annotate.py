"""FG-Net's AUs, and the evidence for them, for tables that other detectors made."""

from collections.abc import Iterator
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
from feat.utils.io import read_feat, read_openface
from matplotlib.backends.backend_agg import FigureCanvasAgg
from offline import offline_detector

from fgnet_plugin import alignment, annotate, compare, heatmaps, load, plot_heatmaps
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import AUS, LANDMARKS
from fgnet_plugin.pyfeat import fex_frames
from fgnet_plugin.pyfeat.fex import Fex
from fgnet_plugin.pyfeat.plots import plot_time_course
from fgnet_plugin.utils.made_by import MadeBy

VIDEO = "single_face.mp4"


@pytest.fixture(scope="module")
def model() -> AUModel:
    return AUModel("fgnet-rendered")


@pytest.fixture(scope="module")
def fex() -> Fex:
    """Two photos and a video; the second photo without a face."""
    inputs = [str(feat_path(name)) for name in ("multi_face.jpg", "free-mountain-vector-01.jpg", VIDEO)]
    return offline_detector().detect(inputs, skip_frames=12, batch_size=3, mixed_sizes="single", progress_bar=False)


def annotated(table: object, model: AUModel, **options: object) -> Fex:
    return annotate(table, model, progress_bar=False, **options)  # type: ignore[arg-type]


def assert_same_aus(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    np.testing.assert_allclose(found[AUS].to_numpy(float), expected[AUS].to_numpy(float), atol=1e-4)


def test_a_fex_with_other_aus_gets_fg_nets(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    other = fex.copy()
    other[AUS] = 0.25
    other.au_model = "xgb"
    MadeBy("xgb", "bundled", "bundled").note(other)
    again = annotated(other, model, batch_size=2)
    assert_same_aus(again, fex)
    assert list(again.columns) == list(fex.columns)
    assert again.au_model == "fgnet-rendered"
    assert MadeBy.of_table(again) == MadeBy(model.digest, "bundled", "bundled")
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


def of_video(fex: Fex) -> Fex:
    return fex[fex["input"] == str(feat_path(VIDEO))]


def as_openface(rows: pd.DataFrame, path: Path, drop: tuple[str, ...] = ()) -> Path:
    """The CSV file that OpenFace would write of these rows, with its blanks; the last one without success."""
    table = pd.DataFrame({"frame": rows["frame"] + 1, " confidence": 0.98, " success": 1})
    table = pd.concat([table, rows[LANDMARKS].add_prefix(" ")], axis=1)
    table = table.assign(**{" AU01_r": 2.5, " AU12_r": 5 * rows["AU12"].to_numpy(), " AU01_c": 1, " AU45_r": 1.5})
    table = table.drop(columns=list(drop))
    table.iloc[-1, 2] = 0
    table.to_csv(path, index=False)
    return path


def test_an_openface_table(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    rows, video = of_video(fex), str(feat_path(VIDEO))
    path = as_openface(rows, tmp_path / "openface.csv")
    with pytest.raises(InputError, match=r"openface\.csv is a table: say with source="):
        annotated(path, model)
    found = annotated(path, model, source=video, previous=False)
    assert_same_aus(found.iloc[:-1], rows.iloc[:-1])
    assert found.iloc[-1][AUS].isna().all()
    assert list(found.aus.columns) == AUS
    assert list(found.columns[:3]) == ["frame", "FaceScore", "success"]
    assert list(found.columns[-21:]) == [*AUS, "input"]
    assert list(found["input"]) == [video] * len(rows)
    assert list(found["frame"]) == list(rows["frame"])
    for previous, prefix in ((None, "openface_"), ("old_", "old_")):
        kept = annotated(path, model, source={str(path): video}, previous=previous)
        assert list(kept.columns) == [*found.columns, *(f"{prefix}{au}" for au in ("AU01_r", "AU12_r", "AU01_c", "AU45_r"))]
        assert list(kept[f"{prefix}AU01_r"]) == [2.5] * len(rows)
        assert list(kept[f"{prefix}AU45_r"]) == [1.5] * len(rows)


def test_what_annotate_made_of_an_openface_table_is_none_of_openface(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    """Frames are not counted back once more: as it is, and from its own file."""
    first = annotated(as_openface(of_video(fex), tmp_path / "openface.csv"), model, source=feat_path(VIDEO), previous="old_")
    first.to_csv(tmp_path / "new.csv", index=False)
    for again in (annotated(first, model), annotated(tmp_path / "new.csv", model)):
        assert_same_aus(again, first)
        assert list(again["frame"]) == list(first["frame"])
    assert heatmaps(first, rows=3, aus=["AU12"])[0].frame == of_video(fex)["frame"].iloc[3]


@pytest.mark.parametrize("drop", [(), (" AU01_r", " AU12_r", " AU01_c", " AU45_r"), (" confidence",)])
def test_openface_tables_are_known_by_their_columns(fex: Fex, model: AUModel, tmp_path: Path, drop: tuple[str, ...]) -> None:
    """However they were read: py-feat notes in the Fex where it is from, pandas does not."""
    rows, video = of_video(fex), feat_path(VIDEO)
    path = as_openface(rows, tmp_path / "openface.csv", drop)
    theirs = read_openface(str(path))
    for table in (path, theirs, pd.DataFrame(theirs), pd.read_csv(path), pd.read_csv(path)[2:]):
        before = list(table.columns) if isinstance(table, pd.DataFrame) else None
        found = annotated(table, model, source=video)
        assert_same_aus(found.iloc[:-1], rows.iloc[-len(found) : -1])
        assert list(found["frame"]) == list(rows["frame"])[-len(found) :]
        if before is not None:
            assert list(table.columns) == before
    with pytest.raises(InputError, match="the table: row 0 has the frame 0, but OpenFace, whose columns these are, counts"):
        annotated(pd.read_csv(path).assign(frame=range(len(rows))), model, source=video)


def test_openfaces_aus_beside_fg_nets(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    """The table of a CSV file, whose input is that file, is about the only video of the other."""
    rows = of_video(fex)
    path = as_openface(rows, tmp_path / "openface.csv")
    openface = read_openface(str(path))
    for new in (rows, annotated(path, model, source=feat_path(VIDEO))):
        agreement = compare({"fgnet": new, "openface": openface}).agreement.set_index("AU")
        assert agreement.loc["AU12", "n"] == len(rows) - 1
        assert agreement.loc["AU12", "pearson_r"] == pytest.approx(1, abs=1e-5)
    assert compare({"openface": openface, "fgnet": rows}).agreement.set_index("AU").loc["AU12", "n"] == len(rows) - 1


def test_an_openface_table_of_a_picture(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    photo = feat_path("multi_face.jpg")
    rows = fex[fex["input"] == str(photo)]
    table = pd.concat([pd.DataFrame({"face": range(5), " confidence": 0.9}), rows[LANDMARKS].reset_index(drop=True)], axis=1)
    table[" AU12_r"] = 5 * rows["AU12"].to_numpy()
    for frames in ({}, {"frame": 1}):
        found = annotated(table.assign(**frames), model, source=photo)
        assert_same_aus(found, rows)
        assert list(found["frame"]) == [0] * 5
        agreement = compare({"fgnet": rows, "openface": table.assign(input=str(photo), **frames)}).agreement
        assert agreement.set_index("AU").loc["AU12", ["n", "icc"]].tolist() == [5, pytest.approx(1)]


def test_aus_come_where_the_first_of_the_old_ones_was(fex: Fex, model: AUModel) -> None:
    """Also where the table has them in another order than its list of them."""
    one = fex.iloc[:1]
    names = [*LANDMARKS, "AU43", "AU12", "input", "AU01", "frame"]
    found = annotated(pd.DataFrame(one)[names], model)
    assert list(found.columns) == [*LANDMARKS, *AUS, "input", "frame"]
    table = feat.Fex(pd.DataFrame(one)[names], au_columns=["AU01", "AU12", "AU43"], landmark_columns=LANDMARKS)
    assert list(annotated(table, model).columns) == list(found.columns)


def test_a_picture_is_read_once(fex: Fex, model: AUModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def reading(path: str, **options: bool) -> torch.Tensor:
        read.append(path)
        return read_picture(path, **options)

    read_picture = fex_frames.read_picture
    monkeypatch.setattr(fex_frames, "read_picture", reading)
    photo = fex.iloc[:5]
    assert_same_aus(annotated(photo.assign(frame=range(5)), model), photo)
    assert read == [str(feat_path("multi_face.jpg"))]


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
        (fex.assign(frame=[*[0] * (len(fex) - 1), np.nan]), rf"row {len(fex) - 1} has no number in the column frame"),
        (fex[fex["input"] == str(feat_path(VIDEO))].assign(frame=5000), "has 72 frames, but the table has rows of frame 5000"),
    ):
        with pytest.raises(InputError, match=message):
            annotated(table, model)
    with pytest.raises(FileNotFoundError, match="no such file"):
        annotated(tmp_path / "missing.csv", model)
    with pytest.raises(InputError, match="no column 'input'"):  # a folder says not which of its files
        annotated(fex.drop(columns="input"), model, source=tmp_path)


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


def test_heatmaps_are_those_of_the_model_that_the_table_names(fex: Fex, tmp_path: Path) -> None:
    assert fex.au_model == "fgnet-rendered"
    assert heatmaps(fex, rows=0)[0].aus == load("fgnet-rendered").aus
    fex.to_csv(tmp_path / "fex.csv", index=False)
    old, unknown = fex.copy(), fex.copy()
    old.au_model, unknown.au_model = "xgb", "fgnet-of-later"
    for table, says in (
        (old, "has AUs of 'xgb', which is not a known FG-Net"),
        (unknown, "has AUs of 'fgnet-of-later', which is not a known FG-Net"),
        (pd.DataFrame(fex), "does not say which FG-Net"),
        (read_feat(str(tmp_path / "fex.csv")), "does not say which FG-Net"),
        (tmp_path / "fex.csv", "does not say which FG-Net"),
    ):
        with pytest.raises(InputError, match=says + ".*: say which to ask with au_model=…"):
            plot_heatmaps(table, rows=0)
        assert len(heatmaps(table, rows=0, aus=["AU12"], au_model="fgnet-rendered")) == 1


def test_maps_are_computed_on_the_face_alone(fex: Fex, model: AUModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the whole photo: of five faces on 12 megapixels, 12 AUs would take 3 GB."""
    asked: list[tuple[object, ...]] = []

    def on_photo(self: alignment.AlignedFaces, maps: torch.Tensor, boxes: list[tuple[int, int, int, int]]) -> object:
        asked.extend(boxes)
        return real(self, maps, boxes)

    real = alignment.AlignedFaces.heatmaps_to_photo
    monkeypatch.setattr(alignment.AlignedFaces, "heatmaps_to_photo", on_photo)
    found = heatmaps(fex, rows=slice(0, 5), aus=["AU12"], au_model=model)
    boxes = [(x, y, x + f.photo.shape[2], y + f.photo.shape[1]) for f in found for x, y in [f.corner]]
    assert asked == boxes
    for face in found:
        assert face.photo_maps.shape == (1, *face.photo.shape[1:])
        assert face.photo_maps.untyped_storage().nbytes() == 4 * face.photo_maps.numel()


def test_heatmaps_of_what_there_is_not(fex: Fex, model: AUModel) -> None:
    with pytest.raises(InputError, match="does not know AU28; it knows AU01"):
        heatmaps(fex, rows=0, aus=["AU28"], au_model=model)
    with pytest.raises(InputError, match=r"the table has \d+ rows"):
        heatmaps(fex, rows=1000, au_model=model)
    assert heatmaps(fex, rows=5, au_model=model) == []


def test_drawn_heatmaps(fex: Fex, model: AUModel, tmp_path: Path) -> None:
    figures = plot_heatmaps(fex, rows=[0, 1], aus=["AU12", "AU25", "AU04"], au_model=model, show="both")
    assert len(figures) == 2
    figures[0].savefig(tmp_path / "heatmaps.png")
    pixels = np.asarray(Image.open(tmp_path / "heatmaps.png").convert("RGB")).astype(int)
    red, blue = pixels[..., 0] - pixels[..., 2] > 80, pixels[..., 2] - pixels[..., 0] > 80
    assert red.sum() > 2000  # AU12 and AU25
    assert blue.sum() > 1000  # AU4
    (presence,) = plot_heatmaps(heatmaps(fex, rows=0, aus=["AU12", "AU04"], au_model=model)[0])
    FigureCanvasAgg(presence).draw()
    drawn = np.asarray(presence.canvas.buffer_rgba())[..., :3].astype(int)
    coloured = drawn.max(2) - drawn.min(2) > 60
    panels = [axis.get_window_extent() for axis in presence.axes[1:3]]
    smile, frown = (coloured[-int(box.y1) : -int(box.y0), int(box.x0) : int(box.x1)].sum() for box in panels)
    assert smile > 300
    assert frown < 0.05 * smile  # there is none, and its absence is not shown


def pairings(count: int) -> Iterator[list[tuple[int, int]]]:
    """Each two of an even count are a pair in one of these (circle method)."""
    for turn in range(count - 1):
        circle = [0, *(1 + (turn + i) % (count - 1) for i in range(count - 1))]
        yield [(circle[i], circle[-1 - i]) for i in range(count // 2)]


@pytest.mark.parametrize("count", [4, 8])
def test_curves_that_coincide_are_both_seen(fex: Fex, count: int) -> None:
    """Any two of eight, or of four, each pair at a height of its own."""
    rows = of_video(fex)
    smile = np.linspace(0, 1, len(rows)) ** 2
    for pairs in pairings(count):
        curves = {AUS[i]: 0.05 + 0.24 * k + 0.2 * smile for k, pair in enumerate(pairs) for i in pair}
        course = plot_time_course(rows.assign(**curves), aus=AUS[:count])
        course.set_dpi(110)
        canvas = FigureCanvasAgg(course)
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
        left = picture[:, : int(course.axes[0].get_window_extent().x1)]  # without the legend
        for au, line in zip(AUS[:count], course.axes[0].lines, strict=False):
            near = np.abs(left - 255 * np.array(line.get_color()[:3])).max(2) < 24
            assert near.sum() > 100, (pairs, au)
