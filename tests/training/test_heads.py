"""MakeHuman's heads: whole at rest, moved as FACS says, with lips and lids that behave."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fgnet_plugin.training.rendered import head_data, heads, mesh
from fgnet_plugin.training.rendered.head_aus import amounts, movements
from fgnet_plugin.training.rendered.head_data import LANDMARKS, MEAN, OF_PART

WEIGHTS = Path(__file__).parents[2] / "weights"
EYE_OPENING = ((37, 41), (44, 46))


def drawn(*aus: int, level: float = 1.0, halves: tuple[int, ...] = (0, 1)) -> np.ndarray:
    found = np.zeros((len(heads.DRAWN), 2), np.float32)
    for au in aus:
        found[heads.DRAWN.index(au), list(halves)] = level
    return found


@pytest.fixture(scope="module")
def people() -> list[heads.Head]:
    return [heads.draw_head(np.random.default_rng(seed)) for seed in range(12)]


@pytest.fixture(scope="module")
def make_heads() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_heads", WEIGHTS / "make_heads.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moved(people: list[heads.Head], *aus: int, **settings: float) -> np.ndarray:
    """[68, 3]: how far AUs move the landmarks, on average, mm."""
    return np.mean([(heads.pose_head(p, drawn(*aus, **settings)) - p.vertices)[LANDMARKS] for p in people], 0)


def test_the_file_is_small_and_holds_no_objects() -> None:
    path = WEIGHTS / "makehuman-heads.npz"
    assert path.stat().st_size < 1_250_000
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "iuU" for name in file.files)


def test_a_head_follows_from_its_generator_alone() -> None:
    one, other = (heads.draw_head(np.random.default_rng(7)) for _ in range(2))
    assert one.vertices.tobytes() == other.vertices.tobytes()
    assert not np.array_equal(one.vertices, heads.draw_head(np.random.default_rng(8)).vertices)


def test_heads_at_rest_are_whole(people: list[heads.Head]) -> None:
    for person in people:
        assert person.vertices.shape == (head_data.N, 3)
        assert np.isfinite(person.vertices).all()
        assert heads.lips_parted(person.vertices) == 0
        assert np.abs(person.eyes.mean(0)[1:]).max() < 1e-3, "the origin lies between the eyeballs"
        assert person.ancestry.sum() == pytest.approx(1, abs=1e-5)
        points = person.vertices[LANDMARKS]
        assert 85 < points[27, 1] - points[8, 1] < 150, "a face's height"
        assert min(points[a, 1] - points[b, 1] for a, b in EYE_OPENING) > 4
        assert (np.diff(points[:17, 0]) > -2).all(), "the jaw's landmarks run from right to left"
    spread = np.std([person.vertices[LANDMARKS] for person in people], 0)
    assert spread[8, 1] > 2
    assert spread[30, 2] > 1


def test_age_is_drawn_from_a_range() -> None:
    ages = [heads.draw_head(np.random.default_rng(seed), age=(60, 70)).age for seed in range(5)]
    assert min(ages) >= 60
    assert max(ages) <= 70


def test_people_of_one_kind_have_the_macro_targets_of_that_kind() -> None:
    weights = head_data.macro_weights(25, 1.0, 0.5, 1.0, np.array([0, 1, 0], np.float32))
    on = {head_data.MACRO_NAMES[i]: float(weights[i]) for i in np.flatnonzero(weights)}
    assert on == {"female-young-averagemuscle-maxweight": 1.0, "asian-female-young": 1.0}


def test_landmarks_are_symmetric_and_lie_on_the_meshs_landmarks() -> None:
    left_of = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37]
    left_of += [36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    np.testing.assert_allclose(MEAN[LANDMARKS[left_of]] * [-1, 1, 1], MEAN[LANDMARKS], atol=0.3)
    away = head_data.TO_MESH[LANDMARKS] - mesh.neutral()[mesh.arrays()["dlib68"].astype(int), :2]
    assert np.linalg.norm(away, axis=1)[17:].max() < 4, "units of 0.78 mm"


@pytest.mark.parametrize(
    ("au", "point", "axis", "least"),
    [
        (1, 21, 1, 6), (2, 18, 1, 5), (4, 21, 1, -4), (4, 21, 0, 2), (5, 37, 1, 2.5), (6, 41, 1, 1.5), (7, 41, 1, 2.5),
        (9, 31, 1, 2.5), (10, 51, 1, 3.5), (11, 50, 1, 0.7), (12, 48, 0, -5), (12, 48, 1, 5), (14, 48, 2, -2), (15, 48, 1, -4),
        (17, 57, 1, 4), (18, 48, 0, 2.5), (20, 48, 0, -5), (22, 48, 0, 2), (23, 48, 0, 3), (25, 57, 1, -3),
        (26, 8, 1, -6), (27, 8, 1, -12), (34, 48, 2, 2.5), (43, 37, 1, -3),
    ],
)  # fmt: skip
def test_an_au_moves_its_landmark(people: list[heads.Head], au: int, point: int, axis: int, least: float) -> None:
    """By `least` mm at least, and in that direction: x to the subject's left, y up, z forwards; points of the right half."""
    assert moved(people, au)[point, axis] / least > 1


@pytest.mark.parametrize("au", [14, 24])
def test_tight_lips_are_no_smiles(people: list[heads.Head], au: int) -> None:
    mouth = slice(48, 60)
    tight, smile = moved(people, au)[mouth].ravel(), moved(people, 12)[mouth].ravel()
    assert np.corrcoef(tight, smile)[0, 1] < 0.6
    assert moved(people, au)[48, 1] < 1.5, "the corner doesn't rise"


@pytest.mark.parametrize("au", [1, 2, 4, 6, 10, 12, 14, 15, 20, 43])
def test_one_half_moves_alone(people: list[heads.Head], au: int) -> None:
    points = np.linalg.norm(moved(people, au, halves=(0,)), axis=1)
    right, left = (points[MEAN[LANDMARKS, 0] * side > 15].max() for side in (-1, 1))
    assert right > 1.5
    assert left < 0.2 * right


@pytest.mark.parametrize("level", [1.0, 1.4])
@pytest.mark.parametrize("aus", [(12,), (15,), (17,), (20,), (23,), (24,), (28,), (12, 6), (15, 17), (14,)])
def test_lips_stay_shut_without_an_au_that_parts_them(people: list[heads.Head], aus: tuple[int, ...], level: float) -> None:
    assert max(heads.lips_parted(heads.pose_head(p, drawn(*aus, level=level))) for p in people) < 0.5


@pytest.mark.parametrize(("au", "least", "most"), [(25, 3, 9), (26, 8, 20), (27, 18, 40)])
def test_lips_part(people: list[heads.Head], au: int, least: float, most: float) -> None:
    gaps = [heads.lips_parted(heads.pose_head(p, drawn(au))) for p in people]
    assert least < min(gaps)
    assert max(gaps) < most


def test_a_raised_upper_lip_parts_the_lips_when_it_is_strong(people: list[heads.Head]) -> None:
    weak, strong = ([heads.lips_parted(heads.pose_head(p, drawn(10, level=level))) for p in people] for level in (0.4, 1.5))
    assert max(weak) < 0.5
    assert np.mean(strong) > 1


def test_intensities_of_other_aus_are_refused(people: list[heads.Head]) -> None:
    with pytest.raises(ValueError, match=r"drawn must be \[25, 2\], AUs by halves of the face, got \[20, 2\]"):
        heads.pose_head(people[0], np.zeros((20, 2), np.float32))


def test_shut_eyes_are_shut_and_lids_stay_out_of_the_eyeballs(people: list[heads.Head]) -> None:
    for person in people:
        for aus, gaze in (((43,), (0, 0)), ((43, 6, 7), (0, 0)), ((43, 5), (0, 0.3)), ((43,), (0, -0.4))):
            v = heads.pose_head(person, drawn(*aus), gaze)
            assert max(v[LANDMARKS[a], 1] - v[LANDMARKS[b], 1] for a, b in EYE_OPENING) < 1.0, aus
        for aus in ((), (5,), (6, 7), (6, 7, 12), (43,)):
            v = heads.pose_head(person, drawn(*aus))
            for eye, points in zip(person.eyes, (range(36, 42), range(42, 48)), strict=True):
                assert np.linalg.norm(v[LANDMARKS[list(points)]] - eye, axis=1).min() > person.eye_radius


def test_squinting_lids_never_cross(people: list[heads.Head]) -> None:
    for person in people:
        v = heads.pose_head(person, drawn(6, 7, 4, 9, 12, level=1.4))
        assert min(v[LANDMARKS[a], 1] - v[LANDMARKS[b], 1] for a, b in EYE_OPENING) > 0


def test_upper_lids_follow_the_gaze(people: list[heads.Head]) -> None:
    for person in people:
        down, up = (heads.pose_head(person, drawn(), (0, angle))[LANDMARKS[37], 1] for angle in (-0.4, 0.4))
        assert down + 2 < person.vertices[LANDMARKS[37], 1] < up


def test_the_jaw_takes_the_lower_teeth_and_the_tongue_along(people: list[heads.Head]) -> None:
    for person in people:
        moves = heads.pose_head(person, drawn(26)) - person.vertices
        assert np.abs(moves[OF_PART[head_data.UPPER_TEETH]]).max() == 0
        assert moves[OF_PART[head_data.LOWER_TEETH], 1].max() < -3
        assert moves[OF_PART[head_data.TONGUE], 1].mean() < -2
        assert np.abs(moves[OF_PART[head_data.EYES]]).max() == 0


def test_aus_of_one_muscle_do_not_add_up_without_end() -> None:
    brow = next(i for i, m in enumerate(movements()) if m.most < 1.6)
    found = [amounts(drawn(4, level=level))[brow] for level in (0, 0.4, 0.8, 1.2, 3)]
    assert found[:3] == pytest.approx([0, 0.4, 0.8])
    assert 0.8 < found[3] < 1.2
    assert found[3] < found[4] < movements()[brow].most


def test_the_jaw_goes_to_the_side_that_is_named(people: list[heads.Head]) -> None:
    right, left = (moved(people, 30, halves=(half,))[8, 0] for half in (0, 1))
    assert right < -3
    assert left == pytest.approx(-right, rel=0.2)


def test_scales_join_targets_that_are_opposites(make_heads: ModuleType) -> None:
    scales, ends = make_heads.opposites(["nose/nose-trans-down", "nose/nose-trans-in", "head/head-oval", "nose/nose-trans-up"])
    assert scales == ["nose/nose-trans-down/up", "nose/nose-trans-in", "head/head-oval"]
    assert ends.tolist() == [[0, 3], [-1, 1], [-1, 2]]


def test_targets_keep_the_eyeballs_in_their_place(make_heads: ModuleType) -> None:
    eye = "v {0} 7 0\nv {1} 7 0\nv {0} 7.2 0\n"
    groups = {name: "f 1/1 2/1 3/1" for parts in make_heads.PARTS.values() for name in parts}
    groups |= {"helper-r-eye": "f 4/1 5/1 6/1", "body": "f 7/1 8/1 9/1\nf 7/1 8/1 10/1"}
    body = "v 0 7 1\nv 1 7 1\nv 0 8 1\nv 0 0 1\n"
    faces = "".join(f"g {name}\n{face}\n" for name, face in groups.items())
    base = make_heads.BaseMesh(eye.format(0.3, 0.4) + eye.format(-0.3, -0.4) + body + "vt 0.5 0.5\n" + faces)
    assert base.kept.tolist() == list(range(9)), "the foot is cut off"
    displacement = make_heads.target(b"# a comment\n6 0 0.1 0\n", 10)
    displacement[:, 1] += 0.5  # somebody taller
    assert base.cut(displacement)[[0, 3, 6, 7], 1].tolist() == [0, 0, 1000, 0]
