"""Adaptive discriminator augmentation: what it does to pictures, its gradients, its probability, a training with it."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("lightning", reason="the extra `train` is not installed")

from test_pretraining import Smooth, assert_gradient, generator_settings
from toy_training import assert_same_last_checkpoint, snapshots_in, toy_corpus

from fgnet_plugin.training.config.pretraining import Ada, read_generator
from fgnet_plugin.training.models import gan_augment
from fgnet_plugin.training.models.gan_augment import AdaptiveAugmentation, augment, blit, move, recolour
from fgnet_plugin.training.models.warp import SYM6, mirrored, sample, warp
from fgnet_plugin.training.stages.gan_losses import discriminator_loss, r1_penalty
from fgnet_plugin.training.train import train_generator

UNCHANGED = torch.eye(2, 3)[None]


def smooth_picture(size: int) -> Tensor:
    """[1, 3, size, size], no details below 8 px."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([torch.sin(x / 3), torch.cos(y / 4), torch.sin((x + 2 * y) / 7)])[None].double()


def symmetries(picture: np.ndarray) -> list[np.ndarray]:
    """The picture turned by 0, 1, 2, 3 right angles, each as it is and mirrored: [C, S, S]."""
    turned = [np.rot90(picture, k, (1, 2)) for k in range(4)]
    return [one for picture in turned for one in (picture, picture[:, :, ::-1])]


def test_nothing_changes_where_nothing_falls_to_a_picture() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(4, 3, 8, 8)
    assert augment(pictures, 0.0) is pictures
    many = pictures[:1].expand(1000, -1, -1, -1)
    for operation, operations in ((blit, 1), (move, 4), (recolour, 5)):
        same = (operation(many, 0.05) == many).flatten(1).all(1).float().mean()
        expected = 0.95**operations if operations > 1 else (1 - 0.025) * (1 - 0.0375) * (1 - 0.05 * (1 - 1 / 4))
        if operation is recolour:
            expected *= 1 + 0.05 / 2 / 0.95  # an inversion that is chosen is none half of the time
        assert same == pytest.approx(expected, abs=0.03), operation
    assert torch.equal(augment(pictures, 1e-9), pictures)


def test_whole_pixels_are_moved_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each result is one of the 8 symmetries of the square, moved by up to a pixel of 8 and mirrored at the border."""
    torch.manual_seed(0)
    picture = torch.rand(3, 8, 8)
    found = blit(picture.expand(300, -1, -1, -1), 1.0).numpy()
    wide = [np.pad(one, ((0, 0), (1, 1), (1, 1)), mode="symmetric") for one in symmetries(picture.numpy())]
    possible = {one[:, y : y + 8, x : x + 8].tobytes() for one in wide for y in range(3) for x in range(3)}
    assert {one.tobytes() for one in found} <= possible
    # Each of the symmetries as often as the others at p = 1. Below, the picture as it is is more frequent than any other:
    # so the generator can find out which way up faces are, and the augmentation does not leak.
    monkeypatch.setattr(gan_augment, "SHIFT", 0.0)
    possible = [one.tobytes() for one in symmetries(picture.numpy())]
    for p in (1.0, 0.5):
        found = blit(picture.expand(4000, -1, -1, -1), p).numpy()
        shares = np.bincount([possible.index(one.tobytes()) for one in found], minlength=8) / 4000
        turns, mirror = np.array([1 - p * 3 / 4, p / 4, p / 4, p / 4]), np.array([1 - p / 2, p / 2])
        assert shares == pytest.approx(np.outer(turns, mirror).ravel(), abs=0.03)


def test_the_wavelet_is_orthogonal() -> None:
    taps = np.array(SYM6)
    assert taps.sum() == pytest.approx(math.sqrt(2))
    assert [taps[2 * k :] @ taps[: 12 - 2 * k] for k in range(6)] == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-10)
    highpass = taps[::-1] * (-1) ** np.arange(12)
    assert [highpass @ np.arange(12.0) ** k for k in range(6)] == pytest.approx([0] * 6, abs=1e-5)  # vanishing moments


def test_warps_are_where_they_should_be_and_antialiased() -> None:
    assert mirrored(torch.arange(-3, 7), 3).tolist() == [2, 1, 0, 0, 1, 2, 2, 1, 0, 0]
    picture, size, inner = smooth_picture(48), 48, slice(10, -10)
    noise = torch.rand(1, 3, 48, 48, dtype=torch.float64)
    assert torch.allclose(warp(noise, UNCHANGED)[..., inner, inner], noise[..., inner, inner], atol=1e-9)
    assert torch.allclose(
        warp(torch.ones(1, 3, 16, 16), torch.tensor([[[0.3, 2.0, 3.0], [-2.0, 0.3, 1.0]]])), torch.ones(1), atol=1e-5
    )
    assert torch.allclose(
        warp(picture, torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]]))[..., inner, inner],
        picture.flip(3)[..., inner, inner],
        atol=0.01,
    )
    # Any map, against the function that the picture is made of.
    maps = torch.tensor([[[0.8, -0.5, 0.1], [0.4, 0.9, -0.2]]], dtype=torch.float64)
    line = (torch.arange(size) + 0.5).double() / size * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    at_x, at_y = ((row[0] * x + row[1] * y + row[2] + 1) * size / 2 - 0.5 for row in maps[0])
    expected = torch.stack([torch.sin(at_x / 3), torch.cos(at_y / 4), torch.sin((at_x + 2 * at_y) / 7)])
    inside = ((at_x > 4) & (at_x < size - 5) & (at_y > 4) & (at_y < size - 5)).expand(3, -1, -1)
    assert (warp(picture, maps)[0] - expected)[inside].abs().max() < 0.03
    # Stripes of one pixel, at half the size, are grey: a plain sampler would take every other one.
    stripes = torch.arange(48).remainder(2).mul(2.0).sub(1).expand(1, 3, 48, 48).contiguous()
    assert warp(stripes, 2 * UNCHANGED)[..., 16:32, 16:32].abs().max() < 0.05


def test_colours_are_turned_and_reflected(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 4, 4, dtype=torch.float64) * 2 - 1
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION"):
        monkeypatch.setattr(gan_augment, name, 0.0)
    found = recolour(picture.expand(2000, -1, -1, -1), 1.0)
    assert torch.allclose(found.norm(dim=1), picture.norm(dim=1).expand(2000, -1, -1), atol=1e-5)
    luma, before = found.mean(1), picture.mean(1)
    assert torch.allclose(luma.abs(), before.abs().expand(2000, -1, -1), atol=1e-5)  # hues turn around grey
    inverted = (luma * before < 0).all(2).all(1)
    assert inverted.double().mean() == pytest.approx(0.5, abs=0.04)
    assert torch.equal(inverted, (luma * before < 0).any(2).any(1))
    chroma = (found - luma[:, None])[:, :, 0, 0]
    assert chroma.mean(0).norm() < 0.1 * chroma[0].norm()  # all hues alike
    monkeypatch.setattr(gan_augment, "SATURATION", 1.0)
    grey = torch.full((50, 3, 2, 2), 0.3)
    assert torch.allclose(recolour(grey, 1.0).abs(), grey, atol=1e-5)


def seeded(p: float, seed: int = 3) -> object:
    """The augmentation as a function: of the same random numbers each time."""

    def apply(pictures: Tensor) -> Tensor:
        torch.manual_seed(seed)
        return augment(pictures, p)

    return apply


def test_it_can_be_differentiated_twice() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    apply = seeded(1.0)
    assert torch.autograd.gradcheck(apply, pictures, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: apply(x).pow(3), pictures, fast_mode=True)
    grid = torch.rand(2, 5, 5, 2, dtype=torch.float64) * 3 - 1.5
    assert torch.autograd.gradcheck(lambda x: sample(x, grid), pictures, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: sample(x, grid).pow(3), pictures)
    plain = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    assert torch.equal(sample(pictures, grid), plain)


def test_r1_sees_through_it() -> None:
    """The penalty at p = 1 is that of the pictures as they were before, and so is its gradient by a weight."""
    net, apply, e = Smooth(), seeded(1.0), 1e-5
    pictures = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    live = pictures.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(net(apply(live)).sum(), live)
    with torch.no_grad():
        for i in range(0, pictures[0].numel(), 7):
            moved = torch.zeros(3 * 8 * 8, dtype=torch.float64)
            moved[i] = e
            up, down = (net(apply(pictures + sign * moved.view(3, 8, 8))) for sign in (1, -1))
            assert torch.allclose(gradient.flatten(1)[:, i], (up - down) / (2 * e), rtol=1e-6, atol=1e-9)
    penalty = r1_penalty(lambda x: net(apply(x)), pictures)
    assert penalty.item() == pytest.approx(gradient.square().sum((1, 2, 3)).mean().item())
    penalty.backward()
    assert_gradient(lambda: r1_penalty(lambda x: net(apply(x)), pictures), net.conv.weight)


def test_autocast_does_not_reach_it() -> None:
    pictures = torch.rand(2, 3, 16, 16)
    expected = seeded(1.0)(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(seeded(1.0)(pictures), expected)
        assert seeded(1.0)(pictures.bfloat16()).dtype == torch.float32


def test_the_probability_follows_the_signs() -> None:
    ada = AdaptiveAugmentation(Ada(target=0.6, images=1000, every=2, limit=0.1), batch=20)
    real, doubtful = torch.full((20,), 3.0), torch.cat([torch.ones(12), -torch.ones(8)])
    ada.adapt(real, 0)
    assert (float(ada.p), float(ada.overfitting)) == (0, 0)
    ada.adapt(doubtful, 1)  # mean sign (20 + 4) / 40 = 0.6: on the target
    assert (float(ada.p), float(ada.overfitting)) == (0, pytest.approx(0.6))
    for step in range(2, 6):
        ada.adapt(real, step)
    assert float(ada.p) == pytest.approx(2 * 20 * 2 / 1000)
    for step in range(6, 10):
        ada.adapt(real, step)
    assert float(ada.p) == pytest.approx(0.1)  # the limit
    for step in range(10, 20):
        ada.adapt(doubtful, step)
    assert float(ada.p) == 0
    assert ada.overfitting == pytest.approx(0.2)


@pytest.mark.parametrize(("few", "limit"), [(True, 0.8), (True, 1e-9), (False, 0.8)])
def test_a_discriminator_that_overfits_sees_more_of_it(few: bool, limit: float) -> None:
    """Real and generated pictures are noise alike: a discriminator that knows 8 of them by heart is held at the target."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(1), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))
    ada, adam = (
        AdaptiveAugmentation(Ada(images=4000, limit=limit), batch=8),
        torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.0, 0.99)),
    )
    known, overfitting = torch.randn(8, 3, 8, 8), []
    for step in range(120):
        real = net(ada(known if few else torch.randn(8, 3, 8, 8)))
        adam.zero_grad()
        discriminator_loss(real, net(ada(torch.randn(8, 3, 8, 8)))).backward()
        adam.step()
        ada.adapt(real.detach(), step)
        overfitting.append(float(ada.overfitting))
    late = np.mean(overfitting[60:])
    if not few:
        assert late < 0.2
        assert ada.p == 0
    elif limit < 0.1:  # next to no augmentation: it tells all of them from others
        assert late > 0.95
    else:
        assert 0.5 < late < 0.7
        assert 0.03 < ada.p < limit


def test_a_training_logs_it_and_resumes_exactly(tmp_path: Path) -> None:
    """Half-way between two adaptations."""
    toy_corpus(tmp_path, n=24)
    more = ["ada={target: -0.9, images: 100, every: 2}", "optimiser.batches_per_epoch=2", "optimiser.validate_every=2"]
    with snapshots_in(tmp_path) as folders:
        train_generator(read_generator("generator-small", [*generator_settings(tmp_path / "out", tmp_path / "Toy"), *more]))
    rows = [row for row in csv.DictReader((tmp_path / "out" / "metrics.csv").open()) if row["ada_p"]]
    p, overfitting = ([float(row[name]) for row in rows] for name in ("ada_p", "ada_rt"))
    assert p == pytest.approx([0, 0.16, 0.16, 0.32])  # 16 images of 100 at a time: the signs' mean is above -0.9
    assert all(-0.9 < value <= 1 for value in overfitting)
    state = torch.load(folders[3] / "last.ckpt", weights_only=True)["state_dict"]
    assert state["ada.p"].item() == pytest.approx(0.16)
    assert state["ada.signs"][1] == 8  # of the one step since the last adaptation
    out = shutil.copytree(folders[3], tmp_path / "resumed")
    train_generator(read_generator("generator-small", [*generator_settings(out, tmp_path / "Toy"), *more]), resume=True)
    assert_same_last_checkpoint(out, folders[4])


def test_settings() -> None:
    config = read_generator("generator-ada")
    assert config.ada == Ada(0.6, 500_000, 4, 0.8)
    assert read_generator("generator").ada is None
    for change, says in (("{target: 1.0}", "target must be"), ("{limit: 0}", "limit in"), ("{every: 0}", "at least 1")):
        with pytest.raises(ValueError, match=says):
            read_generator("generator", [f"ada={change}"])
