"""BlazeFace and FaceMesh against the original runtime, and their weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from photos import read_photo
from torch import Tensor

from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.faces import pretrained
from fgnet_plugin.faces.blazeface import BlazeFace, anchor_centres, load_blazeface
from fgnet_plugin.faces.face_mesh import DLIB_68, FaceMesh, load_face_mesh
from fgnet_plugin.utils.safetensors_file import write


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "face_networks.npz", allow_pickle=False) as file:
        return dict(file)


def thinned(places: np.ndarray) -> Tensor:
    """The pictures [n, 3, 192, 192] that record_face_networks.py describes, in [0, 255]."""
    pictures = []
    for name, *numbers in places:
        top, left, step = map(int, numbers)
        pictures.append(read_photo(name)[:, top : top + 192 * step : step, left : left + 192 * step : step])
    return torch.stack(pictures).float()


def test_blazeface(golden: dict[str, np.ndarray]) -> None:
    with torch.no_grad():
        logits, boxes = load_blazeface()(thinned(golden["scenes"]) / 127.5 - 1)
    theirs = torch.from_numpy(golden["logits"])
    assert (logits.sigmoid() - theirs.sigmoid()).abs().max() < 1e-5
    assert (theirs.amax(1) > 0).tolist() == [True, True, True, False]
    regressors = torch.from_numpy(golden["regressors"]).unflatten(2, (8, 2))
    centres = anchor_centres(48, 48, torch.device("cpu"))[golden["anchors"]][:, None]
    position = torch.tensor([1.0, 0, 1, 1, 1, 1, 1, 1])[:, None]  # all but the size are relative to the anchor
    assert (boxes[:, golden["anchors"]] - regressors - centres * position).abs().max() < 1e-3


def test_face_mesh(golden: dict[str, np.ndarray]) -> None:
    with torch.no_grad():
        points, presence = load_face_mesh()(thinned(golden["crops"]) / 255)
    theirs = torch.from_numpy(golden["presence"])
    assert (presence.sigmoid() - theirs.sigmoid()).abs().max() < 1e-4
    assert (theirs.sigmoid() > 0.9).tolist() == [True] * 5 + [False]
    assert (points - torch.from_numpy(golden["points"])).abs().max() < 0.005


def test_pictures_larger_than_those_of_the_training(golden: dict[str, np.ndarray]) -> None:
    """A face is found at the same place, wherever it lies in a larger picture."""
    net = load_blazeface()
    scene = thinned(golden["scenes"])[:1] / 127.5 - 1
    canvas = torch.full((1, 3, 256, 320), -1.0)
    canvas[..., 64:, 96:288] = scene
    with torch.no_grad():
        (logits, boxes), (wide_logits, wide_boxes) = net(scene), net(canvas)
    assert wide_logits.shape == (1, 64 * 80)
    best, wide_best = boxes[0, logits[0].argmax()], wide_boxes[0, wide_logits[0].argmax()]
    shift = torch.tensor([[96.0, 64.0]]) * torch.tensor([1.0, 0, 1, 1, 1, 1, 1, 1])[:, None]
    assert (wide_best - shift - best).abs().max() < 2
    assert wide_logits.max() > 2


def test_the_landmarks_are_symmetric(golden: dict[str, np.ndarray]) -> None:
    """dlib's point i and its mirror image are mirror images in a frontal face's mesh, too."""
    from fgnet_plugin.faces.crops import MIRRORED

    assert len(set(DLIB_68)) == 68
    face = torch.from_numpy(golden["points"])[2][list(DLIB_68)]
    middle = face[[8, 27, 30, 33, 51, 57], 0].mean()
    mirrored = face[list(MIRRORED)] * torch.tensor([-1.0, 1, 1]) + torch.tensor([2 * middle, 0, 0])
    assert (mirrored - face)[:, :2].norm(dim=1).max() < 12  # of 192, the head is not quite straight


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 32, got \[1, 3, 192, 200\]"):
        BlazeFace()(torch.zeros(1, 3, 192, 200))
    with pytest.raises(ValueError, match=r"\[B, 3, 192, 192\], got \[1, 3, 64, 64\]"):
        FaceMesh()(torch.zeros(1, 3, 64, 64))


def test_weights_that_are_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = load_blazeface()
    assert not net.training
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in net.parameters())
    monkeypatch.setattr(pretrained, "data_folder", lambda name: tmp_path)
    with pytest.raises(CheckpointError, match="come with the package, but this installation lacks"):
        load_blazeface()
    write(tmp_path / "face-mesh.safetensors", {"a": torch.zeros(1)}, {"format": "other/1"})
    with pytest.raises(CheckpointError, match="no face network of this version"):
        load_face_mesh()
    (tmp_path / "blazeface-full-range.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match=r"blazeface-full-range\.safetensors: not a safetensors file, or truncated"):
        load_blazeface()
