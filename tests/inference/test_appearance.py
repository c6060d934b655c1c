"""How faces look, and whether a recording looks unlike others: warnings of those, and few of like ones."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.filters import gaussian

from fgnet_plugin.faces import FaceFinder
from fgnet_plugin.inference.appearance import QUALITIES, Looks, describe, unlike

NAMES = [quality.name for quality in QUALITIES]
MEDIANS = np.array([0.45, 0.35, 0.3, 1.3, 0.0, 0.1, 180.0, -5.0, 0.0, 0.0])
SPREADS = np.array([0.15, 0.2, 0.2, 0.1, 0.1, 0.3, 0.2, 6.0, 4.0, 8.0])


def recordings(count: int, seed: int, within: float = 0.5, faces: int = 50) -> list[NDArray[np.float64]]:
    """Faces of recordings like one another: normally distributed, or their logarithms."""
    rng = np.random.default_rng(seed)
    ratios = np.array([quality.logarithmic for quality in QUALITIES])
    found = []
    for _ in range(count):
        away = SPREADS * (rng.normal(size=len(NAMES)) + within * rng.normal(size=(faces, len(NAMES))))
        found.append(np.where(ratios, MEDIANS * np.exp(away), MEDIANS + away))
    return found


def looks_of(faces: list[NDArray[np.float64]]) -> Looks:
    return Looks.of(faces, [str(i) for i in range(len(faces))])


def test_faces_are_described_by_light_colour_sharpness_and_pose() -> None:
    photo = data.astronaut()[:300, 60:360].astype(float)
    picture = torch.from_numpy(photo).permute(2, 0, 1).to(torch.uint8)
    (found,) = FaceFinder().find([picture])

    def described(changed: NDArray[np.float64]) -> dict[str, float]:
        image = torch.from_numpy(changed.clip(0, 255).round().astype(np.uint8)).permute(2, 0, 1)
        return dict(zip(NAMES, describe(image, found.landmarks)[0].tolist(), strict=True))

    plain, grey = described(photo), described(photo.mean(2, keepdims=True).repeat(3, 2))
    assert grey["saturation"] < 0.01 < 0.2 < plain["saturation"]
    assert grey["warmth"] == pytest.approx(1, abs=0.01)
    assert described(photo * 0.3)["brightness"] == pytest.approx(0.3 * plain["brightness"], rel=0.02)
    assert described(photo * 0.3)["contrast"] == pytest.approx(plain["contrast"], rel=0.02)
    assert described(128 + 0.4 * (photo - 128))["contrast"] < 0.7 * plain["contrast"]
    assert described(gaussian(photo, 2, channel_axis=2))["sharpness"] < 0.6 * plain["sharpness"]
    noise = np.random.default_rng(0).normal(0, 25, photo.shape)
    assert described(photo + noise)["sharpness"] > 1.2 * plain["sharpness"]
    for name, by_mesh in zip(("pitch", "roll", "yaw"), torch.rad2deg(found.pose[0, :3]).tolist(), strict=True):
        assert plain[name] == pytest.approx(by_mesh, abs=12)
    assert np.isnan(describe(picture, torch.full((1, 68, 2), torch.nan))).all()


@pytest.mark.parametrize("people", [8, 30])
def test_of_like_recordings_one_of_twenty_is_called_unlike_at_most(people: int) -> None:
    alarms = []
    for seed in range(20):
        faces = recordings(people + 10, seed)
        looks = looks_of(faces[:people])
        alarms += [bool(unlike(one, looks)) for one in faces[people:]]
    assert np.mean(alarms) < 0.08  # 5 %, and two standard errors of 200


def test_several_recordings_of_a_person_count_as_one_person() -> None:
    """Ten people are filmed three times each, always alike: others are not unlike because each is like himself."""
    faces = [one for person in recordings(10, 3) for one in (person, person * 1.001, person * 0.999)]
    looks = Looks.of(faces, [str(i // 3) for i in range(30)])
    assert looks.people == 10
    assert np.mean([bool(unlike(one, looks)) for one in recordings(60, 4)]) < 0.1


@pytest.mark.parametrize(
    ("quality", "factor", "word"), [(0, 0.25, "darker"), (2, 0.02, "less colourful"), (5, 0.1, "less sharp")]
)
@pytest.mark.parametrize("people", [8, 30])
def test_recordings_unlike_the_others_are_told(people: int, quality: int, factor: float, word: str) -> None:
    *of_study, other = recordings(people + 1, 1)
    looks = Looks.from_json(looks_of(of_study).to_json())
    assert looks is not None
    other[:, quality] = MEDIANS[quality] * factor
    assert str(unlike(other, looks)[0]).startswith(f"{word} than all of them: {NAMES[quality]} ")


def test_few_faces_of_a_recording_are_no_reason_to_call_it_unlike() -> None:
    looks = looks_of(recordings(30, 0, within=3.0))
    alarms = [bool(unlike(one[:1], looks)) for seed in range(1, 5) for one in recordings(25, seed, within=3.0)]
    assert np.mean(alarms) < 0.1
    assert unlike(np.full((3, len(NAMES)), np.nan), looks) == []


def test_a_card_keeps_few_numbers() -> None:
    card = looks_of(recordings(600, 0, faces=2)).to_json()
    assert len(card["recordings"]) == len(card["person"]) == 500
    assert Looks.from_json({}) is None
    assert Looks.from_json(card | {"qualities": ["age"]}) is None
    assert Looks.of([], []).to_json()["recordings"] == []
