"""Heatmap targets against the published code's, unknown labels, and the loss."""

import math
import re

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from torch import Tensor

from fgnet_plugin import action_units
from fgnet_plugin.action_units import CENTRES, CORPUS_AUS, Centre, au_centres, au_name
from fgnet_plugin.training.data import heatmap_targets as module
from fgnet_plugin.training.data.heatmap_targets import au_positions, heatmap_loss, heatmap_targets

EVERY_AU = tuple(au_name(number) for number in CENTRES)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(GOLDEN / "heatmap_targets.npz").items()}


def deviation(golden: dict[str, Tensor], corpus: str) -> float:
    found = heatmap_targets(golden["landmarks"][None], golden[f"labels_{corpus}"][None], CORPUS_AUS[corpus])
    return float((found.heatmaps[0, :, 1::3, 1::3] - golden[f"heatmaps_{corpus}"]).abs().max())


@pytest.mark.parametrize("corpus", ["BP4D", "DISFA"])
def test_targets_are_the_published_ones(corpus: str, golden: dict[str, Tensor]) -> None:
    assert deviation(golden, corpus) < 1e-5


@pytest.mark.parametrize("mutation", ["narrower", "not cut off", "AU06 not moved down", "AU17 moved down by IOD"])
def test_wrong_targets_are_noticed(mutation: str, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    if mutation == "narrower":
        monkeypatch.setattr(module, "SIGMA", 19.5)
    elif mutation == "not cut off":
        monkeypatch.setattr(module, "_SMALLEST", 0.0)
    elif mutation == "AU06 not moved down":
        monkeypatch.setitem(action_units.CENTRES, 6, CENTRES[43])
    else:
        monkeypatch.setitem(action_units.CENTRES, 17, (Centre((56,), 1.0), Centre((58,), 1.0)))
    assert deviation(golden, "BP4D") > 1e-3


def test_a_batch_of_any_size_is_the_faces_singly(golden: dict[str, Tensor]) -> None:
    faces = golden["landmarks"] + 20 * torch.randn(9, 1, 2, generator=torch.Generator().manual_seed(1))
    labels = (torch.arange(9 * len(EVERY_AU)) % 3).view(9, -1).float()
    labels[labels == 2] = math.nan
    together = heatmap_targets(faces, labels, EVERY_AU, size=128)
    for i in range(9):
        alone = heatmap_targets(faces[i : i + 1], labels[i : i + 1], EVERY_AU, size=128)
        assert torch.equal(alone.heatmaps[0], together.heatmaps[i])
        assert torch.equal(alone.known[0], together.known[i])
    none = heatmap_targets(faces[:0], labels[:0], EVERY_AU)
    assert none.heatmaps.shape == (0, len(EVERY_AU), 128, 128)
    assert heatmap_targets(faces, labels[:, :0], ()).heatmaps.shape == (9, 0, 128, 128)


def test_other_sizes_show_the_same(golden: dict[str, Tensor]) -> None:
    """The share of the map that an AU covers, and with it the activation, is the same at any size."""
    landmarks, labels = golden["landmarks"][None], golden["labels_BP4D"][None]
    usual = heatmap_targets(landmarks, labels, CORPUS_AUS["BP4D"])
    for size in (32, 64):
        small = heatmap_targets(landmarks, labels, CORPUS_AUS["BP4D"], size=size)
        step = 128 // size
        torch.testing.assert_close(small.heatmaps, usual.heatmaps[:, :, ::step, ::step])
    half = heatmap_targets(landmarks / 2, labels, CORPUS_AUS["BP4D"], image_size=128)
    torch.testing.assert_close(half.heatmaps, usual.heatmaps)
    narrow = heatmap_targets(landmarks, labels, CORPUS_AUS["BP4D"], sigma=5.0)
    assert (narrow.heatmaps.abs().sum((2, 3)) < usual.heatmaps.abs().sum((2, 3)) / 4).all()


def test_every_au_peaks_at_its_centres(golden: dict[str, Tensor]) -> None:
    landmarks = golden["landmarks"][None].double()
    places = au_positions(landmarks, EVERY_AU)[0]  # [A, 2, 2]
    found = heatmap_targets(landmarks, torch.ones(1, len(EVERY_AU)), EVERY_AU, size=256, sigma=3.0)
    assert found.heatmaps.dtype == torch.float64
    for name, two, heatmap in zip(EVERY_AU, places, found.heatmaps[0], strict=True):
        assert all(0 < value < 255 for value in two.flatten().tolist()), name
        for x, y in two.round().int().tolist():
            assert heatmap[y, x] > 0.95, name
        assert heatmap.max() <= 1


def test_autocast_does_not_round_the_points(golden: dict[str, Tensor]) -> None:
    landmarks, labels = golden["landmarks"][None], torch.ones(1, len(EVERY_AU))
    usual = heatmap_targets(landmarks, labels, EVERY_AU)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(heatmap_targets(landmarks, labels, EVERY_AU).heatmaps, usual.heatmaps)


def test_unknown_labels_are_masked(golden: dict[str, Tensor]) -> None:
    landmarks = golden["landmarks"].expand(2, 68, 2)
    labels = torch.tensor([[1.0, 0.0, math.nan], [9.0, 1.0, 0.0]])
    found = heatmap_targets(landmarks, labels, ("AU01", "AU12", "AU43"), size=32)
    assert found.known.tolist() == [[True, True, False], [False, True, True]]
    assert found.heatmaps.flatten(2).sum(2).sign().tolist() == [[1, -1, 0], [0, 1, -1]]
    for kind in (torch.int64, torch.uint8):
        same = heatmap_targets(landmarks, labels.nan_to_num(9).to(kind), ("AU01", "AU12", "AU43"), size=32)
        assert torch.equal(same.heatmaps, found.heatmaps)
    flags = heatmap_targets(landmarks[:1], torch.tensor([[True, False]]), ("AU01", "AU12"), size=32)
    assert torch.equal(flags.heatmaps, found.heatmaps[:1, :2])


def test_the_loss_leaves_unknown_aus_out() -> None:
    heatmaps = torch.randn(2, 3, 8, 8, requires_grad=True)
    targets, known = torch.randn(2, 3, 8, 8), torch.tensor([[True, False, True], [False, False, True]])
    loss = heatmap_loss(heatmaps, targets, known)
    expected = torch.stack([(heatmaps[i, j] - targets[i, j]).square().mean() for i, j in ((0, 0), (0, 2), (1, 2))]).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    reached = heatmaps.grad.flatten(2).abs().sum(2) > 0
    assert torch.equal(reached, known)


def test_the_loss_of_nothing_is_zero_with_a_gradient_of_zero() -> None:
    heatmaps = torch.randn(2, 3, 8, 8, requires_grad=True)
    loss = heatmap_loss(heatmaps, torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not heatmaps.grad.any()
    with pytest.raises(ValueError, match="do not fit"):
        heatmap_loss(heatmaps, torch.zeros(2, 3, 8, 8), torch.zeros(2, 2, dtype=torch.bool))


def test_refusals(golden: dict[str, Tensor]) -> None:
    landmarks = golden["landmarks"][None]
    with pytest.raises(ValueError, match=re.escape("landmarks must have shape [B, 68, 2], got [68, 2]")):
        heatmap_targets(landmarks[0], torch.ones(1, 1), ("AU01",))
    with pytest.raises(ValueError, match=re.escape("[..., 68, 2], got [1, 60, 2]")):
        heatmap_targets(landmarks[:, :60], torch.ones(1, 1), ("AU01",))
    with pytest.raises(ValueError, match=re.escape("labels must have shape [1, 2], got [1, 1]")):
        heatmap_targets(landmarks, torch.ones(1, 1), ("AU01", "AU12"))
    with pytest.raises(ValueError, match=r"labels must be 0, 1, or NaN or 9 for unknown; got \[2\.0\]"):
        heatmap_targets(landmarks, torch.tensor([[2.0]]), ("AU01",))
    with pytest.raises(ValueError, match="unknown action unit 99"):
        heatmap_targets(landmarks, torch.ones(1, 1), ("AU99",))
    broken = landmarks.clone()
    broken[0, 21, 0] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        heatmap_targets(broken, torch.ones(1, 1), ("AU01",))
    assert heatmap_targets(broken, torch.ones(1, 1), ("AU12",)).heatmaps.isfinite().all()  # which needs other points
    unlabelled = heatmap_targets(broken, torch.full((1, 1), math.nan), ("AU01",))
    assert not unlabelled.heatmaps.any()


def test_an_au_without_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(CENTRES) == set(action_units.NAMES)
    monkeypatch.delitem(action_units.CENTRES, 11)
    with pytest.raises(ValueError, match=r"AU11 has no place on the face .* known are AU01, AU02"):
        au_centres("AU11")
