"""Training faces that look different and keep their shapes."""

import pytest
import torch
from photos import read_photo

from fgnet_plugin.training.data.augment import change_looks


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    photo = read_photo("skimage/astronaut")[:, :256, 100:356]
    face = torch.nn.functional.avg_pool2d(photo.float(), 2) / 127.5 - 1
    return torch.stack([face, face.flip(2), face * 0.4, face.flip(1)]).repeat(8, 1, 1, 1)


def test_nothing_changes_at_strength_0(faces: torch.Tensor) -> None:
    assert torch.equal(change_looks(faces, 0.0), faces)


def test_looks_change_and_edges_stay(faces: torch.Tensor) -> None:
    torch.manual_seed(0)
    changed = change_looks(faces, 1.0)
    assert changed.shape == faces.shape
    assert changed.abs().max() <= 1
    difference = (changed - faces).abs().mean((1, 2, 3))
    assert (difference > 0.02).float().mean() > 0.8

    def edges(x: torch.Tensor) -> torch.Tensor:
        grey = torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 4)
        return torch.cat([(grey[..., 1:] - grey[..., :-1]).flatten(1), (grey[:, :, 1:] - grey[:, :, :-1]).flatten(1)], 1)

    alike = torch.nn.functional.cosine_similarity(edges(changed), edges(faces))
    others = torch.nn.functional.cosine_similarity(edges(changed), edges(faces.roll(1, 0)))
    assert alike.median() > 0.6
    assert (alike > others).float().mean() > 0.9


def test_the_same_random_numbers_change_them_alike(faces: torch.Tensor) -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(change_looks(faces, 0.7))
    assert torch.equal(*found)


def test_another_strength_is_refused(faces: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="strength"):
        change_looks(faces, 1.5)
