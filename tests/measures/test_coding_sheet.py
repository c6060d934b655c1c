"""Coding sheets: the chances that they state, what they are blind to, and how many frames are enough."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_scores import made_sample, tables
from photos import feat_path
from PIL import Image

from fgnet_plugin import measures
from fgnet_plugin.errors import InputError

CLIP = str(feat_path("single_face.mp4"))


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """Thirty people with 20 to 200 frames; AU15 is rare."""
    rng = np.random.default_rng(0)
    table, _ = tables(made_sample(rng, 30, rng.integers(20, 201, 30)))
    return table.assign(AU15=np.where(rng.random(len(table)) < 0.03, 0.9, rng.random(len(table)) * 0.2))


def test_the_weights_are_the_chances(scores: pd.DataFrame) -> None:
    """Weighted means over many draws have no bias, though rare AUs are drawn more often."""
    means, plain = np.empty((144, 2)), np.empty((144, 2))
    for seed in range(144):
        sheet = measures.coding_sheet(scores, "subject", 300, seed=seed)
        drawn = scores.set_index(["input", "frame"]).loc[list(zip(sheet["input"], sheet["frame"], strict=True))]
        values = np.stack([drawn["AU12"], drawn["AU15"] > 0.5], 1)
        means[seed] = (sheet["weight"].to_numpy()[:, None] * values).sum(0) / len(scores)
        plain[seed] = values.mean(0)
    truth = np.array([scores["AU12"].mean(), (scores["AU15"] > 0.5).mean()])
    assert (abs(means.mean(0) - truth) < 3 * means.std(0) / 12).all()
    assert plain[:, 1].mean() > 2 * truth[1]


def test_people_give_equally_many(scores: pd.DataFrame) -> None:
    sheet = measures.coding_sheet(scores, "subject", 315)
    counts = sheet["subject"].value_counts()
    assert len(sheet) == 315
    assert set(counts) == {10, 11}
    assert not sheet.duplicated(["input", "frame"]).any()
    few = measures.coding_sheet(scores, "subject", 1200)["subject"].value_counts()
    available = scores["subject"].value_counts()
    assert (few[available.index] <= available).all()
    assert few.sum() == 1200


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000), st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_any_count(count: int, seed: int, faces: list[int]) -> None:
    rng = np.random.default_rng(seed)
    table, _ = tables(made_sample(rng, len(faces), np.array(faces)))
    if count > len(table):
        with pytest.raises(InputError, match="are to be coded"):
            measures.coding_sheet(table, "subject", count, seed=seed)
        return
    sheet = measures.coding_sheet(table, "subject", count, seed=seed)
    assert len(sheet) == count
    assert not sheet.duplicated(["input", "frame"]).any()
    assert (sheet["weight"] >= 1 - 1e-9).all()
    pd.testing.assert_frame_equal(sheet, measures.coding_sheet(table, "subject", count, seed=seed))


def test_all_faces_have_the_weight_one(scores: pd.DataFrame) -> None:
    assert measures.coding_sheet(scores, "subject", len(scores))["weight"].tolist() == pytest.approx([1] * len(scores))


def test_how_many_are_enough() -> None:
    """With the planned number, simulated intervals are as narrow as wanted."""
    rng = np.random.default_rng(1)
    table, _ = tables(made_sample(rng, 400, 50, spread=0.3))
    plan = measures.coding_plan(table, "subject", 0.04).iloc[0]
    each = int(plan["per_person"])
    truth, person = table["AU12"].to_numpy() >= 0.5, pd.factorize(table["subject"])[0]
    means = []
    for _ in range(300):
        who = rng.integers(400, size=400)
        drawn = who[:, None] * 50 + rng.permuted(np.tile(np.arange(50), (400, 1)), axis=1)[:, :each]
        means.append(truth[drawn].mean())
    assert person[50] == 1
    assert 1.96 * np.std(means) < 0.045
    assert plan["frames"] == 400 * each
    few = measures.coding_plan(table.head(500), "subject", 0.02).iloc[0]
    assert np.isinf(few["frames"])
    assert few["people_needed"] > 10


def test_folder_and_way_back(tmp_path: Path) -> None:
    fex = pd.DataFrame({"input": CLIP, "frame": range(72), "FaceRectX": 180.0, "FaceRectY": 80.0, "FaceRectWidth": 100.0})
    fex = fex.assign(FaceRectHeight=120.0, AU12=np.linspace(0, 1, 72))
    sheet = measures.coding_sheet(fex, "input", 12, seed=3)
    path = measures.write_coding_sheet(sheet, tmp_path / "coding", ["AU12", "AU06"])
    written = pd.read_csv(path, dtype=str)
    assert list(written.columns) == ["face", "AU12", "AU06"]
    assert sheet["frame"].tolist() != sorted(sheet["frame"])
    assert sorted(file.name for file in (tmp_path / "coding" / "faces").iterdir()) == [f"{i:04}.png" for i in range(1, 13)]
    with Image.open(tmp_path / "coding" / "faces" / "0001.png") as crop:
        assert crop.size == (170, 204)  # a third more on every side of the box
    with pytest.raises(InputError, match=r"sheet\.csv is there already"):
        measures.write_coding_sheet(sheet, tmp_path / "coding", ["AU12"])
    truth = fex["AU12"].to_numpy()[sheet["frame"]] > 0.5
    written.assign(AU12=truth.astype(int), AU06="").drop(index=2).to_csv(path, index=False)
    labels = measures.read_coding_sheet(path, tmp_path / "coding" / "key.csv")
    assert len(labels) == 11
    assert labels["AU12"].tolist() == np.delete(truth, 2).astype(int).tolist()
    assert labels["weight"].sum() == pytest.approx(np.delete(sheet["weight"].to_numpy(), 2).sum())
    other = tmp_path / "other.csv"
    pd.DataFrame({"face": ["0099"], "AU12": [1]}).to_csv(other, index=False)
    with pytest.raises(InputError, match=r"key\.csv lacks face 0099"):
        measures.read_coding_sheet(other, tmp_path / "coding" / "key.csv")
    pd.DataFrame({"face": ["0001", "0001"], "AU12": [1, 0]}).to_csv(other, index=False)
    with pytest.raises(InputError, match="face 0001 twice"):
        measures.read_coding_sheet(other, tmp_path / "coding" / "key.csv")


def test_bad_tables(scores: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'person'"):
        measures.coding_sheet(scores, "person", 10)
    with pytest.raises(InputError, match="no scores of AU09"):
        measures.coding_sheet(scores, "subject", 10, aus=["AU09"])
    with pytest.raises(InputError, match="no column FaceRectX"):
        measures.write_coding_sheet(measures.coding_sheet(scores, "subject", 10), tmp_path / "a", ["AU12"])
    boxes = scores.assign(**dict.fromkeys(["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"], 10.0))
    with pytest.raises(FileNotFoundError, match=r"\.mp4"):
        measures.write_coding_sheet(measures.coding_sheet(boxes, "subject", 10), tmp_path / "b", ["AU12"])
    photo = pd.DataFrame({"input": CLIP, "frame": [0], "FaceRectX": 9000.0, "FaceRectY": 0.0, "AU12": 0.5})
    sheet = measures.coding_sheet(photo.assign(FaceRectWidth=10.0, FaceRectHeight=10.0), "input", 1)
    with pytest.raises(InputError, match=r"single_face\.mp4, frame 0: the face's box lies outside"):
        measures.write_coding_sheet(sheet, tmp_path / "c", ["AU12"])
    with pytest.raises(ValueError, match="half_width"):
        measures.coding_plan(scores, "subject", 5)
