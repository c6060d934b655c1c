"""The crop of a face, its units, and the network that reads it."""

import pytest
import torch
from torch import Tensor

from fgnet_plugin.faces.crops import CROP_MARGIN, Square, crop_square, cut_crops, from_crop, to_crop
from fgnet_plugin.faces.landmark_net import LandmarkNet


@pytest.fixture
def face() -> Tensor:
    """Something face-like: [68, 2], upright, 100 px wide and 120 px high, its middle at (200, 150)."""
    points = torch.rand(68, 2, generator=torch.Generator().manual_seed(0)) * 80 + torch.tensor([160.0, 120.0])
    points[0], points[16], points[8] = torch.tensor([150.0, 140.0]), torch.tensor([250.0, 140.0]), torch.tensor([200.0, 210.0])
    points[24] = torch.tensor([220.0, 90.0])
    points[36:42], points[42:48] = torch.tensor([180.0, 130.0]), torch.tensor([220.0, 130.0])
    return points


def turned(points: Tensor, degrees: float, about: Tensor) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    matrix = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    return (points - about) @ matrix.T + about


@pytest.mark.parametrize("degrees", [0.0, 25.0, -70.0])
def test_the_square_holds_the_whole_face_upright(degrees: float, face: Tensor) -> None:
    middle = torch.tensor([200.0, 150.0])
    square = crop_square(turned(face, degrees, middle))
    torch.testing.assert_close(square.centre, middle, atol=1e-3, rtol=0)
    assert square.side.item() == pytest.approx(CROP_MARGIN * 120, rel=1e-5)
    assert torch.rad2deg(square.angle).item() == pytest.approx(degrees, abs=1e-3)
    units = to_crop(turned(face, degrees, middle), square)
    assert units.abs().max().item() == pytest.approx(1 / CROP_MARGIN, rel=1e-4)
    torch.testing.assert_close(units, (face - middle) * 2 / square.side, atol=1e-4, rtol=0)


def test_points_come_back(face: Tensor) -> None:
    faces = torch.stack([face, turned(face, 33, face[3]) * 3, face / 5])
    square = crop_square(faces)
    torch.testing.assert_close(from_crop(to_crop(faces, square), square), faces)


@pytest.mark.parametrize("side", [40.0, 150.0, 400.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_crops_show_what_the_square_holds(side: float, dtype: torch.dtype) -> None:
    """A photo whose colours are its coordinates."""
    y, x = torch.meshgrid(torch.arange(500.0), torch.arange(600.0), indexing="ij")
    photo = torch.stack([x, y, x + y]) / torch.tensor([600.0, 500.0, 1100.0]).view(3, 1, 1) * 255
    square = Square(torch.tensor([[300.0, 250.0]]), torch.tensor([side]), torch.tensor([0.3]))
    photo = photo.round().to(torch.uint8) if dtype == torch.uint8 else photo / 127.5 - 1
    (crop,) = cut_crops(photo, square)
    at = (torch.arange(64) * 2 + 1) / 64 - 1
    units = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(1, -1, 2)
    points = from_crop(units, square)[0].T.view(2, 64, 64)
    inside = (points[0] > 5) & (points[0] < 594) & (points[1] > 5) & (points[1] < 494)
    found = (crop[:2] + 1) / 2 * torch.tensor([600.0, 500.0]).view(2, 1, 1)
    assert ((found - points).abs() * inside).max() < (1.5 if dtype == torch.uint8 else 0.05)


def test_beyond_the_border_the_photo_goes_on() -> None:
    photo = torch.full((3, 40, 30), 200, dtype=torch.uint8)
    square = Square(
        torch.tensor([[0.0, 0.0], [500.0, 500.0], [-300.0, -300.0]]),
        torch.tensor([60.0, 300.0, 300.0]),
        torch.tensor([0.1, 0.0, 0.5]),
    )
    torch.testing.assert_close(cut_crops(photo, square), torch.full((3, 3, 64, 64), 200 / 127.5 - 1))
    assert cut_crops(photo, Square(*(value[:0] for value in square))).shape == (0, 3, 64, 64)


def test_network_shapes_and_size() -> None:
    net = LandmarkNet().eval()
    points, confidence = net(torch.zeros(2, 3, 64, 64))
    assert points.shape == (2, 68, 2)
    assert confidence.shape == (2,)
    assert sum(value.numel() for value in net.state_dict().values()) * 2 < 3e6  # bytes as float16
    with pytest.raises(ValueError, match=r"\[B, 3, 64, 64\], got \[1, 3, 32, 32\]"):
        net(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"\[\.\.\., 68, 2\], got \[2, 67, 2\]"):
        crop_square(torch.zeros(2, 67, 2))
