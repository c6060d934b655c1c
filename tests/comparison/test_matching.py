"""Rows of several models that are the same face: by file, frame and box."""

import numpy as np
import pandas as pd
import pytest
from fex_rows import AUS, RECTANGLE, faces, frames, row, with_aus

from fgnet_plugin.comparison.agreement import compare
from fgnet_plugin.comparison.matching import box_iou, match
from fgnet_plugin.errors import InputError


def test_faces_are_matched_by_their_boxes() -> None:
    found = compare({"a": faces([0, 1, 2]), "b": faces([2, 0, 1], shift=2.0), "c": faces([1, 2])})
    assert len(found.predictions["a"]) == 9
    assert found.predictions["a"].equals(found.predictions["b"])
    assert row(found.agreement, model_a="a", model_b="b")["pearson_r"] == pytest.approx(1)
    assert row(found.agreement, model_a="b", model_b="c")[["n", "icc"]].tolist() == [6, pytest.approx(1)]
    assert found.predictions["c"]["AU01"].isna().tolist() == [True, False, False] * 3


def test_faces_elsewhere_are_not_matched() -> None:
    with pytest.raises(InputError, match=r"'b' and 'a' have 3 frames in common, but no face in the same place"):
        compare({"a": faces([0, 1]), "b": faces([0, 1], shift=50.0)})


def test_a_face_that_another_model_found_is_kept() -> None:
    """The first model saw no face where the others saw two."""
    a, b = faces([0, 1]), faces([0, 1])
    blank = a["frame"] == 1
    a = a[~(blank & a["AU01"].duplicated())].copy()
    a.loc[blank, ["AU01", *RECTANGLE]] = np.nan
    a = a.drop_duplicates(["frame", "AU01"])
    found = compare({"a": a, "b": b, "c": faces([1, 0])})
    assert row(found.agreement, model_a="a", model_b="b")["n"] == 4
    assert row(found.agreement, model_a="b", model_b="c")[["n", "icc"]].tolist() == [6, pytest.approx(1)]


def test_landmarks_serve_where_boxes_are_missing() -> None:
    table = faces([1, 0])
    corners = {f"{axis}_{i}": table[f"FaceRect{axis.upper()}"] + 80.0 * (i % 2) for axis in "xy" for i in range(68)}
    table = pd.concat([table.drop(columns=RECTANGLE), pd.DataFrame(corners)], axis=1)
    assert row(compare({"a": faces([0, 1]), "b": table}).agreement)["icc"] == pytest.approx(1)


def test_the_best_pairing_of_boxes() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [4, 0, 14, 10], [np.nan] * 4])
    np.testing.assert_allclose(box_iou(boxes, boxes[:2]), [[1, 6 / 14], [6 / 14, 1], [0, 0]])
    here, there = match(np.zeros(3, dtype=int), boxes, np.zeros(2, dtype=int), boxes[[1, 0]])
    assert sorted(zip(here, there, strict=True)) == [(0, 1), (1, 0)]


def test_rows_in_another_order_and_more_of_them() -> None:
    a = with_aus(frames(30, files=2), 0)
    b = a.sample(frac=1, random_state=0)[:40]
    agreement = compare({"a": a, "b": b}).agreement
    assert (agreement["n"] == 40).all()
    assert agreement["icc"].tolist() == pytest.approx([1] * len(AUS))


@pytest.mark.parametrize("folder", ["/elsewhere", r"C:\clips", "."])
def test_files_in_other_folders(folder: str) -> None:
    a = with_aus(frames(5, files=3), 0)
    b = a.assign(input=a["input"].str.replace("/videos/", folder + ("\\" if "\\" in folder else "/")))
    found = compare({"a": a, "b": b[::-1]})
    assert found.agreement["icc"].tolist() == pytest.approx([1] * len(AUS))
    assert found.predictions["a"].index[0] == ("/videos/v0.mp4", 0)


def test_equal_names_in_several_folders() -> None:
    rows = pd.concat([frames(4, folder="/one/anna"), frames(4, folder="/one/ben")], ignore_index=True)
    a = with_aus(rows, 0)
    b = a.assign(input=a["input"].str.replace("/one", "/other"))[::-1]
    assert compare({"a": a, "b": b}).agreement["icc"].tolist() == pytest.approx([1] * len(AUS))


def test_pictures_have_one_frame() -> None:
    a = pd.DataFrame({"input": [f"{i}.jpg" for i in range(5)], "frame": range(5), "AU01": np.linspace(0, 1, 5)})
    b = a[::-1].assign(frame=range(5))
    assert row(compare({"a": a, "b": b}).agreement)[["n", "icc"]].tolist() == [5, pytest.approx(1)]
    assert row(compare({"a": a, "b": b.drop(columns="frame")}).agreement)["n"] == 5


def test_openfaces_pictures_match_by_their_names() -> None:
    a = pd.DataFrame({"input": [f"{i}.jpg" for i in range(5)], "frame": range(5), "AU01": np.linspace(0, 1, 5)})
    openface = pd.DataFrame({"input": a["input"], "confidence": 0.9, "AU01_r": 5 * a["AU01"]})[::-1]
    for table in (openface, openface.assign(frame=1), openface.assign(frame=range(5))):
        assert row(compare({"a": a, "openface": table}).agreement)[["n", "icc"]].tolist() == [5, pytest.approx(1)]


def test_a_table_that_names_itself_names_no_video() -> None:
    """As py-feat's reader of OpenFace's tables has it."""
    a = with_aus(frames(10), 0)
    itself = a.assign(input="out/openface.CSV")
    for tables in ({"a": a, "b": itself}, {"b": itself, "a": a}, {"b": itself, "c": a.assign(input="other.csv")}):
        found = compare(tables)
        assert found.agreement["icc"].tolist() == pytest.approx([1] * len(AUS))
        assert len(found.predictions["b"]) == 10
    labels = a[["input", "frame"]].assign(AU01=[0, 1] * 5)
    assert row(compare({"b": itself}, labels).accuracy, AU="AU01")["n"] == 10
    with pytest.raises(InputError, match="'b' has no column input"):
        compare({"a": with_aus(frames(5, files=2), 0), "b": itself})
    two = with_aus(frames(5, files=2), 0).replace({"input": r"mp4$"}, {"input": "csv"}, regex=True)  # names that tell apart
    assert compare({"a": two, "b": two[::-1]}).agreement["icc"].tolist() == pytest.approx([1] * len(AUS))


def test_frames_alone_and_rows_alone() -> None:
    a = with_aus(frames(10), 0)
    for columns in (["input"], ["input", "frame"]):
        agreement = compare({"a": a.drop(columns=columns), "b": a.drop(columns=columns)}).agreement
        assert agreement["icc"].tolist() == pytest.approx([1] * len(AUS))
    assert (compare({"a": a, "b": a[3:].drop(columns="input")}).agreement["n"] == 7).all()


def test_py_feats_table() -> None:
    feat = pytest.importorskip("feat")
    a = feat.Fex(with_aus(frames(5), 0), au_columns=AUS)
    found = compare({"a": a, "b": a})
    assert type(found.predictions["a"]) is pd.DataFrame
    assert (found.agreement["n"] == 5).all()
