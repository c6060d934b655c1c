"""Head pose: known rotations of the mean face, rendered heads of known pose, mirrored photos."""

import math

import numpy as np
import pytest
import torch
from photos import read_photo
from torch import Tensor

from fgnet_plugin.faces.face_mesh import load_face_mesh
from fgnet_plugin.faces.finder import FaceFinder
from fgnet_plugin.faces.head_pose import head_pose

HEIGHT, WIDTH = 480, 640


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


def rotation(pitch: float, roll: float, yaw: float) -> Tensor:
    """Degrees, py-feat's signs -> [3, 3] for points whose x goes to the subject's left, y up, z towards the camera."""
    p, r, y = (math.radians(angle) for angle in (-pitch, roll, -yaw))
    about_x = torch.tensor([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_y = torch.tensor([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_z = torch.tensor([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (0.0, -30.0, 0.0), (-25.0, 170.0, -35.0)])
def test_known_rotations(angles: tuple[float, float, float]) -> None:
    canonical = load_face_mesh().canonical
    scale, place = 12.0, torch.tensor([100.0, -80.0, 0.0])  # pixels a cm; x right, y up
    mesh = (canonical @ rotation(*angles).T * scale + place) * torch.tensor([1.0, -1, -1])
    pose = head_pose(mesh[None], canonical, HEIGHT, WIDTH)[0]
    torch.testing.assert_close(pose[:3].rad2deg(), torch.tensor(angles), rtol=0, atol=0.01)
    expected = [(100 - (WIDTH - 1) / 2) / scale, (80 - (HEIGHT - 1) / 2) / scale, (HEIGHT + WIDTH) / scale]
    torch.testing.assert_close(pose[3:], torch.tensor(expected), rtol=1e-4, atol=1e-3)
    assert head_pose(mesh[:0].view(0, 468, 3), canonical, HEIGHT, WIDTH).shape == (0, 6)


def test_what_the_signs_mean() -> None:
    """A nose that points up, to the subject's right, which is the photo's left, and a head that leans to its right."""
    canonical = load_face_mesh().canonical
    tip, top, chin = 1, 10, 152
    for angles, point, axis, sign in (((20.0, 0, 0), tip, 1, 1), ((0, 0, 20.0), tip, 0, -1), ((0, 20.0, 0), top, 0, -1)):
        shift = (canonical[point] - canonical[chin]) @ (rotation(*angles) - torch.eye(3)).T
        assert sign * shift[axis] > 0


@pytest.mark.parametrize("name", ["pyfeat/45-m7-di-ph.jpg", "pyfeat/single_face.jpg"])
def test_mirrored_photos(name: str, finder: FaceFinder) -> None:
    photo = read_photo(name)
    one, other = (faces.pose[0, :3].rad2deg() for faces in finder.find([photo, photo.flip(2)]))
    torch.testing.assert_close(other, one * torch.tensor([1.0, -1, -1]), rtol=0, atol=4)


@pytest.mark.slow
def test_rendered_heads(finder: FaceFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean error at yaws to ±40° and pitches to ±25°."""
    pytest.importorskip("cv2", reason="the renderer needs OpenCV")
    pytest.importorskip("numba", reason="the renderer needs numba")
    from fgnet_plugin.training.rendered import muscles, scene
    from fgnet_plugin.training.rendered.domains import domain

    size, errors = 320, []

    def framed(landmarks: np.ndarray) -> np.ndarray:
        low, high = landmarks.min(0), landmarks.max(0)
        scale = size / (2.2 * (high - low).max())
        shift = size / 2 - scale * (low + high) / 2
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)

    tilts = (-25.0, 0.0), (0.0, 15.0), (25.0, 0.0)
    poses = [(pitch, roll, yaw) for yaw in (-40.0, -20.0, 0.0, 20.0, 40.0) for pitch, roll in tilts]
    for seed, angles in enumerate(poses):
        rng = np.random.default_rng(seed)
        monkeypatch.setattr(scene, "rotation", lambda *_, angles=angles: rotation(*angles).numpy())
        person = scene.draw_person(rng, domain("studio"))
        neutral = np.zeros((len(muscles.DRAWN), 2), np.float32)
        rgba = scene.draw_picture(rng, domain("studio"), person, neutral, framed, (size, size)).rgba
        linear = rgba[..., :3] + (1 - rgba[..., 3:]) * 0.3
        photo = (np.clip(linear / linear[rgba[..., 3] > 0].mean() * 0.25, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
        (faces,) = finder.find([photo])
        if len(faces):
            errors.append((faces.pose[0, :3].rad2deg() - torch.tensor(angles)).abs())
    print(f"\n{len(errors)} heads: mean error of pitch, roll, yaw {torch.stack(errors).mean(0).tolist()}")
    assert len(errors) >= len(poses) - 1
    assert (torch.stack(errors).mean(0) <= 5).all()
