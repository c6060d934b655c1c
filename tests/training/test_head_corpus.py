"""Rendered heads: the same for the same seed, labelled by what is seen, lit, combed and cut as they should be."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgnet_plugin.training.rendered import (
    complexion,
    hair,
    head_corpus,
    head_data,
    head_expressions,
    head_light,
    head_scene,
    head_shader,
    head_sheets,
    heads,
    headwear,
    props,
    raster,
)
from fgnet_plugin.training.rendered.head_corpus import AUS, PERSON, HeadCorpus

DIGEST = """
import hashlib
from fgnet_plugin.training.rendered.head_corpus import HeadCorpus
faces = HeadCorpus(("studio", "webcam", "street", "press"), size=48, seed=4)
print(hashlib.sha256(b"".join(t.numpy().tobytes() for i in (7, 2) for t in faces[i].values())).hexdigest())
"""


def person(seed: int = 3) -> head_scene.HeadPerson:
    rng = np.random.default_rng(seed)
    found = head_scene.draw_person(rng, head_sheets.CALM, heads.draw_head(rng))
    return replace(found, style=replace(found.style, length=0.0))


def drawn(**aus: float) -> np.ndarray:
    """Intensities of ``heads.DRAWN``, both halves alike, of AUs given as ``au12=1``."""
    found = np.zeros((len(heads.DRAWN), 2), np.float32)
    for name, level in aus.items():
        found[heads.DRAWN.index(int(name[2:]))] = level
    return found


def shot(who: head_scene.HeadPerson, gaze: tuple[float, float] = (0.0, 0.0), size: int = 96, **aus: float) -> head_corpus.Shot:
    rng = np.random.default_rng(1)
    return head_corpus.photograph(rng, head_sheets.CALM, who, drawn(**aus), np.array(gaze, np.float32), size, "aligned")


def box(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The part of a picture around some landmarks."""
    (left, top), (right, bottom) = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    return image[top : bottom + 1, left : right + 1].astype(float)


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_process() -> None:
    faces = HeadCorpus(("studio", "webcam", "street", "press"), size=48, seed=4)
    faces[0], faces[9]
    here = hashlib.sha256(b"".join(t.numpy().tobytes() for i in (7, 2) for t in faces[i].values())).hexdigest()
    there = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there
    other = HeadCorpus(("studio", "webcam", "street", "press"), size=48, seed=5)
    assert not torch.equal(other[7]["image"], faces[7]["image"])


@pytest.mark.parametrize("framing", ["aligned", "photo"])
def test_a_face_is_what_training_needs(framing: head_corpus.Framing) -> None:
    item = HeadCorpus(("press",), size=40, seed=1, framing=framing)[3]
    assert item["image"].shape == (3, 40, 40)
    assert item["image"].dtype == torch.uint8
    assert item["landmarks"].shape == (68, 2)
    assert item["labels"].shape == item["intensities"].shape == (20,) == (len(AUS),)
    who = dict(zip(PERSON, item["person"].tolist(), strict=True))
    assert 10 <= who["age"] <= 90
    assert who["african"] + who["asian"] + who["european"] == pytest.approx(1, abs=1e-5)
    assert -90 < who["ita"] < 90
    assert 0 <= who["blur"] <= 0.9
    assert 0.35 <= who["resolution"] <= 1


def test_labels_are_those_of_all_twenty_aus_and_do_not_touch() -> None:
    rng, seen = np.random.default_rng(0), []
    for _ in range(1500):
        levels, gaze = head_expressions.draw_expression(rng, heads.DRAWN)
        assert np.abs(gaze).max() <= 0.5
        labels, intensities = head_expressions.label(levels, heads.DRAWN, parted=0.0)
        known = [i for i, au in enumerate(head_expressions.LABELLED) if au not in (25, 26, 43)]
        assert (intensities[known][labels[known] == 1] >= head_expressions.PRESENT).all()
        assert (intensities[known][labels[known] == 0] == 0).all()
        for a, b in head_expressions.EXCLUSIVE:
            assert min(levels[heads.DRAWN.index(a)].max(), levels[heads.DRAWN.index(b)].max()) == 0
        seen.append(labels)
    present, absent = (np.stack(seen) == 1).mean(0), (np.stack(seen) == 0).mean(0)
    opened = head_expressions.LABELLED.index(25)  # here the lips were said to be shut
    assert (np.delete(present, opened) > 0.02).all()
    assert (absent > 0.4).all()


def test_labels_follow_what_is_seen() -> None:
    at = {au: i for i, au in enumerate(head_expressions.LABELLED)}
    smile = drawn(au12=1)
    for parted, expected in ((0.0, 0.0), (1.5, np.nan), (4.0, 1.0)):
        labels, _ = head_expressions.label(smile, heads.DRAWN, parted)
        np.testing.assert_equal(labels[at[25]], np.float32(expected))
    labels, _ = head_expressions.label(smile, heads.DRAWN, 4.0, mouth_hidden=True)
    assert np.isnan(labels[[at[au] for au in (12, 25, 26)]]).all()
    assert labels[at[4]] == 0
    assert head_expressions.label(drawn(au27=1), heads.DRAWN, 30.0)[0][at[26]] == 1
    for shut, expected in ((0.2, 0.0), (0.5, np.nan), (1.0, 1.0)):
        np.testing.assert_equal(head_expressions.label(drawn(au43=shut), heads.DRAWN, 0.0)[0][at[43]], np.float32(expected))


def test_neutral_faces_are_common() -> None:
    rng = np.random.default_rng(2)
    quiet = [not (head_expressions.draw_expression(rng, heads.DRAWN)[0] > 0.5).any() for _ in range(600)]
    assert 0.08 < np.mean(quiet) < 0.4


def test_skin_has_measured_tones() -> None:
    np.testing.assert_allclose(complexion.linear_rgb(np.array([100.0, 0, 0], np.float32)), 1, atol=0.01)
    rng, found = np.random.default_rng(1), []
    for ancestry in np.eye(3, dtype=np.float32):
        people = [complexion.draw_complexion(rng, ancestry, 0.0, 30.0) for _ in range(60)]
        found.append(np.mean([p.ita for p in people]))
        for p in people:  # redder than yellow, never green
            assert p.skin[0] > p.skin[1] > 0.6 * p.skin[2]
            assert p.brows.max() <= 0.2
    assert found[0] < 0 < found[1] < found[2]


def test_light_comes_from_where_its_lamp_is() -> None:
    one = head_light.surroundings(np.array([[1.0, 0, 0]]), np.ones((1, 3)))
    toward, away = (head_shader.irradiance(one, x, 0.0, 0.0, 0) for x in (1.0, -1.0))
    assert toward == pytest.approx(1, abs=0.1)
    assert away == pytest.approx(0, abs=0.1)
    directions = np.random.default_rng(0).normal(size=(4000, 3))
    all_round = head_light.surroundings(
        directions / np.linalg.norm(directions, axis=1, keepdims=True), np.full((4000, 3), 1 / 4000)
    )
    shades = [head_shader.irradiance(all_round, *axis, 1) for axis in np.eye(3)]
    np.testing.assert_allclose(shades, 0.25, atol=0.02)


def test_the_head_shades_itself_from_the_key_lamp() -> None:
    rng = np.random.default_rng(0)
    keep = np.ones(head_data.N, np.float32)
    body = np.ascontiguousarray(head_data.TRIANGLES[head_data.PART == head_data.BODY])
    light = head_light.draw_light(rng, head_sheets.CALM, head_data.MEAN, body, keep, np.eye(3, dtype=np.float32))
    light = light._replace(hardness=1.0)
    beyond = light.key * 300
    assert head_shader.lit_share(light, *(head_data.MEAN[head_data.LANDMARKS[30]] + beyond)) == pytest.approx(1, abs=1e-6)
    assert head_shader.lit_share(light, *(np.array([0, -20, -70]) - 60 * light.key)) == pytest.approx(0, abs=1e-6)


def test_hair_stays_on_the_head_and_out_of_the_eyes() -> None:
    rng = np.random.default_rng(5)
    outward = raster.normals(head_data.MEAN, head_data.TRIANGLES)
    centre, radii = hair.skull(head_data.MEAN)
    lengths = []
    for _ in range(40):
        style = hair.draw_style(rng, float(rng.integers(2)), float(rng.uniform(15, 80)), float(rng.random()))
        strands = hair.grow(rng, style, head_data.MEAN, outward)
        lengths.append(style.length)
        if style.length == 0:
            assert len(strands) == 0
            continue
        assert np.isfinite(strands).all()
        inside = (((strands[:, 1:] - centre) / radii) ** 2).sum(-1) < 0.9
        assert inside.mean() < 0.25
        x, y, z = np.moveaxis(strands[:, 2:], -1, 0)
        assert ((np.abs(x) < 40) & (y < 0) & (y > -60) & (z > -10)).mean() < 0.01
    assert 0 in lengths
    assert max(lengths) > 150


def test_headwear_covers_hair_and_leaves_the_face() -> None:
    outward = raster.normals(head_data.MEAN, head_data.TRIANGLES)
    rng, kinds = np.random.default_rng(0), set()
    for _ in range(40):
        worn = headwear.draw_headwear(rng, 1.0)
        kinds.add(worn.kind)
        shell = headwear.fit(worn, head_data.MEAN, outward)
        kept = shell.vertices[shell.keep > 0]
        assert len(kept) > 20
        front = kept[(np.abs(kept[:, 0]) < 30) & (kept[:, 2] > -10) & (kept[:, 1] > -75)]
        assert front[:, 1].min() > 8
    assert kinds == {"cap", "beanie", "band", "scarf"}


def test_the_mouth_opens_and_bares_teeth() -> None:
    who = person()
    shut, opened = shot(who), shot(who, au26=1, au25=1)
    assert shut.parted == 0
    assert opened.parted > 8
    lips = box(opened.image, opened.landmarks[60:68])
    assert lips.min() < 0.5 * box(shut.image, shut.landmarks[48:60]).mean()


def test_irises_turn_with_the_gaze() -> None:
    who = person()

    def darkest(look: float) -> float:
        """Where along the right eye the iris is: 0 at the outer corner, 1 at the inner one."""
        found = shot(who, gaze=(look, 0.0), size=160)
        eye = box(found.image, found.landmarks[36:42]).mean(-1)
        dark = np.clip(np.percentile(eye, 60) - eye, 0, None).mean(0)
        return float((dark * np.linspace(0, 1, len(dark))).sum() / dark.sum())

    assert darkest(-0.4) < darkest(0.0) - 0.05 < darkest(0.4) - 0.1


def test_a_cut_photo_keeps_the_face() -> None:
    found = shot(person(), size=128)
    image = found.image.copy()
    props.cut_photo(np.random.default_rng(0), image, found.landmarks)
    face = np.s_[int(found.landmarks[36:48, 1].min()) : int(found.landmarks[57, 1]), 56:72]
    np.testing.assert_array_equal(image[face], found.image[face])
    assert np.abs(image[:4].astype(float) - np.median(image, (0, 1))).mean() < 40


def test_what_is_before_the_mouth_is_told() -> None:
    image, landmarks = np.full((96, 96, 3), 0.5, np.float32), shot(person()).landmarks
    hidden = [
        props.draw_occluder(np.random.default_rng(i), image.copy(), landmarks, np.full(3, 0.3, np.float32)) for i in range(20)
    ]
    assert all(cover.min() >= 0 and cover.max() <= 1 for cover in hidden)
    assert sum(cover.max() > 0.9 for cover in hidden) >= 15


def test_bad_arguments_are_named() -> None:
    for bad, named in (
        ({"domains": "studio"}, "sequence of names"),
        ({"domains": ("sea",)}, "sea"),
        ({"framing": "wide"}, "wide"),
        ({"size": 8}, "8"),
    ):
        with pytest.raises(ValueError, match=named):
            HeadCorpus(**bad)
    with pytest.raises(IndexError, match="face 3 of 3"):
        HeadCorpus(("studio",), length=3)[3]


def test_sheets_are_written(tmp_path: Path) -> None:
    head_sheets.au_sheet(tmp_path / "aus.png", size=32, people=1)
    with Image.open(tmp_path / "aus.png") as sheet:
        assert sheet.size == (150 + 2 * 32, 20 * 32)
    head_sheets.face_sheet(tmp_path / "faces.png", ("studio",), size=32, columns=2)
    with Image.open(tmp_path / "faces.png") as sheet:
        assert sheet.size == (64, 64)
    with pytest.raises(OSError, match="missing"):
        head_sheets.face_sheet(tmp_path / "missing" / "faces.png", ("studio",), size=32, columns=1)
