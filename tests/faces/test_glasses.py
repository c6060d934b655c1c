"""Glasses: on photos on which some are drawn, and where nothing can be said."""

import torch
from photos import FACES, read_photo
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from fgnet_plugin.faces.finder import FaceFinder
from fgnet_plugin.faces.glasses import eye_strips, glasses

PHOTOS = [name for name in FACES if name != "pyfeat/multi_face.jpg"]


def with_glasses(photo: Tensor, points: Tensor) -> Tensor:
    """The photo with a dark frame before the eyes of the face with these landmarks."""
    picture: Image.Image = to_pil_image(photo)
    draw = ImageDraw.Draw(picture)
    eyes = [points[first : first + 6].mean(0) for first in (36, 42)]
    radius = float((eyes[1] - eyes[0]).norm()) * 0.36
    line = max(2, round(radius / 8))
    for x, y in (eye.tolist() for eye in eyes):
        draw.rounded_rectangle(
            (x - radius, y - 0.6 * radius, x + radius, y + 0.8 * radius), radius / 3, None, (20, 18, 15), line
        )
    (left, y), (right, _) = (eye.tolist() for eye in eyes)
    draw.line((left + radius, y, right - radius, y), (20, 18, 15), line)
    return pil_to_tensor(picture)


def test_drawn_glasses_are_seen() -> None:
    finder, bare, worn = FaceFinder("cpu"), [], []
    for name in PHOTOS:
        photo = read_photo(name)
        points = finder.find([photo], 0.5)[0].landmarks[:1]
        bare.append(float(glasses(photo, points)))
        worn.append(float(glasses(with_glasses(photo, points[0]), points)))
    assert max(bare) < 0.5
    assert min(worn) > 0.5
    half = torch.nn.functional.interpolate(photo[None].float(), scale_factor=0.5, mode="area")[0].byte()
    assert abs(float(glasses(half, points / 2 - 0.25)) - bare[-1]) < 0.2


def test_where_nothing_can_be_said() -> None:
    frame = torch.randint(0, 255, (3, 90, 120), dtype=torch.uint8)
    points = torch.zeros(4, 68, 2)
    points[:, 36:42] = torch.tensor([40.0, 30.0])
    points[:, 42:48] = torch.tensor([72.0, 30.0])
    points[1] += 1000  # outside
    points[2] = torch.nan
    points[3, 42:48] = torch.tensor([44.0, 30.0])  # 4 px
    assert glasses(frame, points).isnan().tolist() == [False, True, True, True]
    assert glasses(frame, torch.empty(0, 68, 2)).shape == (0,)


def test_strips_are_cut_where_the_eyes_are() -> None:
    """At 32 px between the eyes a pixel is a pixel; at twice as many, the mean of four."""
    frame = torch.arange(120.0).expand(3, 90, 120).byte()
    points = torch.zeros(1, 68, 2)
    points[:, 36:42] = torch.tensor([40.0, 40.0])
    points[:, 42:48] = torch.tensor([71.5, 40.0])
    strip = eye_strips(frame, points)[0] * 255
    torch.testing.assert_close(strip[0], torch.linspace(40 - 15.75, 71.5 + 15.75, 64), atol=0.01, rtol=0)
    large = torch.nn.functional.interpolate(frame[None].float(), scale_factor=2, mode="nearest")[0].byte()
    twice = eye_strips(large, 2 * points + 0.5)[0] * 255
    torch.testing.assert_close(twice, strip, atol=0.3, rtol=0)
