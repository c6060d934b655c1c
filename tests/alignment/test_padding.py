"""Faces at the border of their photos: mirrored as FFHQ's, or black as the authors of FG-Net prepared BP4D and DISFA."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from ffhq_procedure import align
from photos import read_photo
from PIL import Image
from torch import Tensor

from fgnet_plugin.alignment import Padding, align_faces, align_for_network
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, load, read_info, save
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.network import FGNet, small_config
from fgnet_plugin.utils import safetensors_file

MIDDLE = slice(40, 216)
AUS = ("AU06", "AU12")


@pytest.fixture(scope="module")
def face() -> tuple[Tensor, Tensor]:
    """A photo, and the landmarks of its face."""
    golden = np.load(GOLDEN / "ffhq_alignment.npz")
    return read_photo(str(golden["name0"])), torch.from_numpy(golden["landmarks0"]).double()


@pytest.fixture(scope="module")
def cut(face: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The photo cut closely around the face, so that the square leaves it on all sides."""
    photo, points = face
    low, high = points.amin(0), points.amax(0)
    left, top = (low - 0.25 * (high - low)).clamp(min=0).int().tolist()
    right, bottom = (high + 0.3 * (high - low)).int().tolist()
    return photo[:, top:bottom, left:right].contiguous(), points - torch.tensor([left, top])


def psnr(found: Tensor, expected: np.ndarray, part: slice = slice(None)) -> float:
    """Of [3, H, W] and [H, W, 3], in dB."""
    error = found.permute(1, 2, 0)[part, part].double().numpy() - expected[part, part].astype(np.float64)
    return 10 * math.log10(255**2 / float(np.square(error).mean()))


@pytest.mark.parametrize(("padding", "samples"), [("reflect", 1024), ("constant", 4096)])
def test_padded_faces_are_those_of_the_procedures(
    padding: Padding, samples: int, face: tuple[Tensor, Tensor], cut: tuple[Tensor, Tensor]
) -> None:
    """FFHQ's 1024 samples a side and the authors' 4096; ours has fewer of either, which shows in neither."""
    for photo, points in (face, cut):
        expected = np.asarray(align(Image.fromarray(photo.permute(1, 2, 0).numpy()), points.numpy(), 256, samples, padding))
        (found,) = align_faces([photo], [points[None]], padding=padding).faces
        print(f"\n{padding}: middle {psnr(found, expected, MIDDLE):.1f} dB, whole {psnr(found, expected):.1f} dB")
        assert psnr(found, expected, MIDDLE) > 54
        assert psnr(found, expected) > 53
        (other,) = align_faces([photo], [points[None]], padding="constant" if padding == "reflect" else "reflect").faces
        assert psnr(other, expected) < 25


def test_padding_changes_padded_faces_only(face: tuple[Tensor, Tensor], cut: tuple[Tensor, Tensor]) -> None:
    """Also where faces come from the fused operation, are small, or of floating point."""
    golden = np.load(GOLDEN / "ffhq_alignment.npz")
    inside, points = read_photo(str(golden["name2"])), torch.from_numpy(golden["landmarks2"]).double()
    photos, landmarks = [inside, cut[0]], [points[None], cut[1][None]]
    black, mirrored = (align_faces(photos, landmarks, padding=kind).faces for kind in ("constant", "reflect"))
    assert torch.equal(black[0], mirrored[0])
    assert not torch.equal(black[1], mirrored[1])
    for dtype in (torch.uint8, torch.float32):
        some = [photo.to(dtype) for photo in photos]
        exact = align_faces(some, landmarks, rounded=False, padding="constant").faces
        fused = align_for_network(some, landmarks, 256, torch.float32, kernels=True, padding="constant")
        torch.testing.assert_close((fused.network_input() + 1) * 127.5, exact, rtol=0, atol=1e-3)
    small = align_faces(photos, landmarks, 64, padding="constant").faces.float()
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(black.float(), 4), small, rtol=0, atol=1)
    # Black is 0 for photos of any range, though a photo may have no such value.
    bright = align_faces([cut[0].double() / 510 + 0.5], [cut[1][None]], padding="constant").faces
    assert bright.min() < 0.4
    assert bright.max() <= 1
    with pytest.raises(ValueError, match="padding must be one of reflect, constant, got 'black'"):
        align_faces(photos, landmarks, padding="black")  # type: ignore[arg-type]


def test_detection_pads_as_the_checkpoint_says(cut: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = FGNet(dataclasses.replace(small_config(AUS, 64, 16), heatmap_size=16)).eval()
    readings = {}
    for padding in ("reflect", "constant"):
        path = save(net, tmp_path / f"{padding}.safetensors", CheckpointInfo(net.config, "test", padding=padding))
        assert read_info(path).padding == padding
        model = AUModel(path)
        found = model.read([cut[0]], [cut[1][None]])
        expected = align_faces([cut[0]], [cut[1][None]], 64, rounded=False, padding=padding).faces
        torch.testing.assert_close(found.aligned.pictures().float(), expected.round(), rtol=0, atol=1)
        readings[padding] = found.prediction.heatmaps
    assert not torch.allclose(readings["reflect"], readings["constant"])


def test_checkpoints_that_do_not_say(tmp_path: Path) -> None:
    """Of versions before: the authors' weights had black borders, our own mirrored ones."""
    config = small_config(AUS, 64, 16)
    for sources, expected in (({}, "reflect"), ({"model.pth": "0"}, "constant")):
        info = CheckpointInfo(config, "test", sources=sources)
        metadata = {key: value for key, value in info.to_metadata().items() if key != "padding"}
        path = safetensors_file.write(tmp_path / "old.safetensors", FGNet(config).state_dict(), metadata, False)
        assert read_info(path).padding == expected
        assert load(path).aus == AUS
    path = safetensors_file.write(path, FGNet(config).state_dict(), info.to_metadata() | {"padding": "pink"}, False)
    with pytest.raises(ValueError, match="padding is 'pink', not one of reflect, constant"):
        read_info(path)
