"""Colours of heatmaps: absence leaves the face as it is, and presence is on the scale of the scores."""

import numpy as np
import torch

from fgnet_plugin.inference.evidence import CLEAR, PRESENCE_COLOURS, face_region, presence, tinted


def test_the_darkest_place_has_the_score() -> None:
    maps = torch.full((2, 16, 16), -0.8)
    maps[:, 5:8, 5:8] = torch.tensor([0.9, 0.5])[:, None, None]
    maps[:, 9, 9] = 0.25
    found = presence(maps, torch.tensor([0.9, 0.6]))
    torch.testing.assert_close(found.amax((1, 2)), torch.tensor([0.9, 0.6]))
    torch.testing.assert_close(found[:, 9, 9], torch.tensor([0.9 * 0.25 / 0.9, 0.6 * 0.5]))
    assert int((found > 0).sum()) == 2 * 10


def test_absence_and_a_shifted_decision_show_nothing() -> None:
    absent, shifted = -torch.rand(1, 16, 16), torch.full((1, 16, 16), 0.15)
    shifted[0, 4:12, 4:12] = -0.5
    assert presence(absent, torch.tensor([0.1])).count_nonzero() == 0
    assert presence(shifted, torch.tensor([0.6])).count_nonzero() == 0
    shifted[0, 8, 8] = 0.15 + CLEAR / 2
    torch.testing.assert_close(presence(shifted, torch.tensor([0.6])).max(), torch.tensor(0.3))


def test_other_pixels_are_measured_by_the_whole_map() -> None:
    maps = torch.zeros(1, 8, 8)
    maps[0, 3, 3], maps[0, 5, 5] = 1.0, 0.5
    torch.testing.assert_close(presence(maps, torch.tensor([0.8]), maps[:, 4:, 4:]).max(), torch.tensor(0.4))


def test_colours_darken_and_nothing_changes_at_zero() -> None:
    brightness = PRESENCE_COLOURS @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(brightness) < 0.5).all()
    assert brightness[0] - brightness[-1] > 180
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(tinted(picture, np.zeros((4, 5))), picture)
    assert (tinted(picture, np.ones((4, 5))).mean((0, 1)) < [130, 70, 60]).all()


def test_regions_stay_in_the_frame() -> None:
    to_photo = torch.tensor([[2.0, 0.0, -20.0], [0.0, 2.0, 30.0]])
    assert face_region(to_photo, 64, 100, 200) == (0, 29, 107, 100)
