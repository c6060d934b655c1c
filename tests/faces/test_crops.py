"""The crop of a face and its units."""

import math

import pytest
import torch

from fgnet_plugin.faces.crops import Square, cut_crops, from_crop

SIZE = 64


def test_units_of_a_turned_square() -> None:
    """(1, 0) is the middle of the square's right edge, (0, -1) that of its upper one, whatever way it is turned."""
    squares = Square(torch.tensor([[200.0, 150.0], [0.0, 0.0]]), torch.tensor([40.0, 10.0]), torch.tensor([0.0, math.pi / 2]))
    points = from_crop(torch.tensor([[1.0, 0.0], [0.0, -1.0]]).expand(2, 2, 2), squares)
    expected = torch.tensor([[[220.0, 150.0], [200.0, 130.0]], [[0.0, 5.0], [5.0, 0.0]]])
    torch.testing.assert_close(points, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", [40.0, 150.0, 400.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_crops_show_what_the_square_holds(side: float, dtype: torch.dtype) -> None:
    """A photo whose colours are its coordinates."""
    y, x = torch.meshgrid(torch.arange(500.0), torch.arange(600.0), indexing="ij")
    photo = torch.stack([x, y, x + y]) / torch.tensor([600.0, 500.0, 1100.0]).view(3, 1, 1) * 255
    square = Square(torch.tensor([[300.0, 250.0]]), torch.tensor([side]), torch.tensor([0.3]))
    photo = photo.round().to(torch.uint8) if dtype == torch.uint8 else photo / 127.5 - 1
    (crop,) = cut_crops(photo, square, SIZE)
    at = (torch.arange(SIZE) * 2 + 1) / SIZE - 1
    units = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(1, -1, 2)
    points = from_crop(units, square)[0].T.view(2, SIZE, SIZE)
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
    torch.testing.assert_close(cut_crops(photo, square, SIZE), torch.full((3, 3, SIZE, SIZE), 200 / 127.5 - 1))
    assert cut_crops(photo, Square(*(value[:0] for value in square)), SIZE).shape == (0, 3, SIZE, SIZE)
