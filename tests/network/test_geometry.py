"""The encoder's branch that hears the face's mesh."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from photos import read_photo
from torch import Tensor

from fgnet_plugin import load
from fgnet_plugin.alignment import align_faces
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, save
from fgnet_plugin.faces.face_mesh import load_face_mesh
from fgnet_plugin.faces.finder import FaceFinder, FoundFaces
from fgnet_plugin.network import FGNet, FGNetConfig, small_config
from fgnet_plugin.network.geometry import Geometry, posed

CONFIG = dataclasses.replace(small_config(("AU06", "AU12"), 64, 32), image_size=128, trunk_size=64, geometry="mesh468")


@pytest.fixture(scope="module")
def astronaut() -> tuple[Tensor, FoundFaces]:
    photo = read_photo("skimage/astronaut")
    return photo, FaceFinder().find([photo])[0]


@pytest.fixture(scope="module")
def faces(astronaut: tuple[Tensor, FoundFaces]) -> Tensor:
    """A face as the network reads it, and its mirror image."""
    face = align_faces([astronaut[0]], [astronaut[1].landmarks], 128).faces / 127.5 - 1
    return torch.cat([face, face.flip(3)])


@pytest.fixture(scope="module")
def net() -> FGNet:
    torch.manual_seed(0)
    net = FGNet(CONFIG).eval()
    assert net.encoder.geometry is not None
    net.encoder.geometry.mesh.load_state_dict(load_face_mesh().state_dict())
    return net


def geometry_of(net: FGNet) -> Geometry:
    assert net.encoder.geometry is not None
    return net.encoder.geometry


def test_an_aligned_face_has_the_shape_that_is_found_in_the_photo(
    net: FGNet, faces: Tensor, astronaut: tuple[Tensor, FoundFaces]
) -> None:
    geometry = geometry_of(net)
    points, presence = geometry.measure(faces)
    assert (presence > 0.99).all()
    here, there = posed(points[:1], geometry.frame), posed(astronaut[1].mesh, geometry.frame)
    between_eyes = (there[0, 33] - there[0, 263]).norm()
    error = (here - there).norm(dim=2) / between_eyes
    assert error.mean() < 0.05
    assert error.max() < 0.2


def test_a_mirrored_face_has_a_mirrored_shape(net: FGNet, faces: Tensor) -> None:
    geometry = geometry_of(net)
    shape, other = posed(geometry.measure(faces)[0], geometry.frame)
    back = other[geometry.mesh.mirrored] * torch.tensor([-1.0, 1, 1])
    assert (back - shape).norm(dim=1).mean() < 0.05


def test_shapes_do_not_depend_on_size_place_and_pose(net: FGNet) -> None:
    geometry = geometry_of(net)
    mesh = geometry.mesh.canonical[None] * torch.tensor([1.0, -1, -1])
    yaw, roll = 0.4, -0.2
    about_y = torch.tensor([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_z = torch.tensor([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    moved = 3 * mesh @ (about_z @ about_y).T + torch.tensor([5.0, -2, 1])
    torch.testing.assert_close(posed(moved, geometry.frame), posed(mesh, geometry.frame), rtol=0, atol=1e-5)


def test_where_no_face_is_the_mesh_says_nothing(net: FGNet) -> None:
    codes = geometry_of(net)(torch.zeros(1, 3, 128, 128))
    assert codes.abs().max() < 1e-3


def test_mesh_and_pixels_both_count(net: FGNet, faces: Tensor) -> None:
    geometry = geometry_of(net)
    with torch.no_grad():
        codes, of_mesh = net.encoder(faces), geometry(faces)
        hook = geometry.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        of_pixels = net.encoder(faces)
        hook.remove()
    torch.testing.assert_close(codes, of_pixels + of_mesh, rtol=0, atol=1e-5)
    assert of_mesh.abs().max() > 1e-2


def test_training_changes_neither_face_mesh_nor_what_it_measures(faces: Tensor, net: FGNet) -> None:
    torch.manual_seed(0)
    trained = FGNet(dataclasses.replace(CONFIG, geometry_alone=0.5))
    trained.load_state_dict(net.state_dict())
    geometry = geometry_of(trained.train())
    before = {name: value.clone() for name, value in geometry.mesh.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], lr=0.1)
    trained(faces).square().mean().backward()
    optimiser.step()
    assert not geometry.mesh.training
    assert all(torch.equal(value, before[name]) for name, value in geometry.mesh.state_dict().items())
    assert geometry.codes.weight.grad is not None
    assert geometry.codes.weight.grad.abs().sum() > 0


def test_faces_that_hear_the_mesh_alone(faces: Tensor, net: FGNet) -> None:
    one = FGNet(dataclasses.replace(CONFIG, geometry_alone=0.999))
    one.load_state_dict(net.state_dict())
    one.train()
    geometry = geometry_of(one)
    geometry.eval()  # without its noise
    with torch.no_grad():
        torch.testing.assert_close(one.encoder(faces), geometry(faces), rtol=0, atol=1e-5)


def test_a_fused_model_and_a_file_give_the_same(net: FGNet, faces: Tensor, tmp_path: Path) -> None:
    expected = net.predict(faces).heatmaps
    path = save(net, tmp_path / "net.safetensors", CheckpointInfo(CONFIG, "test"))
    torch.testing.assert_close(load(path).predict(faces).heatmaps, expected, rtol=0, atol=1e-5)
    for kernels in (False, True):
        fused = load(path).fuse(kernels)
        torch.testing.assert_close(fused.predict(faces).heatmaps, expected, rtol=0, atol=1e-4)


def test_half_precision_leaves_the_measurement_alone(net: FGNet, faces: Tensor, tmp_path: Path) -> None:
    path = save(net, tmp_path / "net.safetensors", CheckpointInfo(CONFIG, "test"))
    half = load(path, precision="bfloat16")
    assert torch.equal(geometry_of(half).measure(faces)[0], geometry_of(load(path)).measure(faces)[0])


def test_files_of_networks_without_it_are_as_before() -> None:
    published = FGNetConfig(("AU12",))
    assert not {"geometry", "trunk_size", "geometry_alone"} & json.loads(published.to_json()).keys()
    assert FGNetConfig.from_json(CONFIG.to_json()) == CONFIG


@pytest.mark.parametrize(
    ("field", "value"), [("geometry", "mesh478"), ("geometry_alone", 1.0), ("trunk_size", 128), ("trunk_size", 96)]
)
def test_sizes_that_do_not_fit(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(CONFIG, **{field: value})
