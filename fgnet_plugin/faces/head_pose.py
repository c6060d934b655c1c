"""Head pose from face meshes: the rotation and scale that lay MediaPipe's mean face on the mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from fgnet_plugin.faces.face_mesh import DLIB_68

_RIGID = [*range(27, 36), 36, 39, 42, 45]  # of dlib's landmarks: nose and corners of the eyes, which no muscle moves far
_FLIP = 1.0, -1.0, -1.0  # in photos y points down, and z away from the camera


def head_pose(mesh: Tensor, canonical: Tensor, height: int, width: int) -> Tensor:
    """Estimate the poses of heads.

    The angles are py-feat's `Pitch`, `Roll` and `Yaw`: positive where the subject looks up, tilts the head to his own right
    shoulder, and turns to his own right. Applied to an upright head: roll first, then pitch, then yaw.

    Args:
        mesh: [n, 468, 3], pixels of the photo; see `FoundFaces`.
        canonical: [468, 3], `FaceMesh.canonical`.
        height, width: of the photo.

    Returns:
        [n, 6]: pitch, roll and yaw in radians; and where the middle of the mean face lies, in cm from the camera: to the right
        in the photo, down, and away from it. For that, heads are taken to be of mean size, and the focal length to be height +
        width, in pixels, as img2pose does: photos say neither.

    Example:
        >>> mean_face = torch.rand(468, 3)
        >>> seen_from_in_front = (10 * mean_face * torch.tensor([1.0, -1, -1]))[None]
        >>> pitch, roll, yaw, x, y, distance = head_pose(seen_from_in_front, mean_face, height=480, width=640)[0].tolist()
        >>> round(abs(yaw), 3), round(distance)
        (0.0, 112)
    """
    ours = canonical.double()
    seen = mesh.double() * torch.tensor(_FLIP, dtype=torch.float64)
    ours_centre, seen_centre = ours.mean(0), seen.mean(1, keepdim=True)
    ours = ours - ours_centre
    # Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 1991
    u, s, vh = torch.linalg.svd((seen - seen_centre).transpose(1, 2) @ ours)
    sign = (u @ vh).det().sign()  # a mirror image is no rotation
    s[:, 2] *= sign
    u[:, :, 2] *= sign[:, None]
    rotation, scale = u @ vh, s.sum(1) / ours.square().sum()  # scale in pixels a cm
    centre = seen_centre[:, 0] - scale[:, None] * (rotation @ ours_centre)
    away = (height + width) / scale
    x, y = (centre[:, 0] - (width - 1) / 2) / scale, (-centre[:, 1] - (height - 1) / 2) / scale
    return torch.cat([_angles(rotation), torch.stack([x, y, away], 1)], 1).float()


def landmark_pose(landmarks: Tensor, canonical: Tensor) -> Tensor:
    """Estimate the poses of heads from 68 landmarks: less exact than `head_pose`, and the same whatever found the landmarks.

    Args:
        landmarks: [n, 68, 2], pixels of the photo, in dlib's order.
        canonical: [468, 3], `FaceMesh.canonical`.

    Returns:
        [n, 3]: pitch, roll and yaw in radians, see `head_pose`.

    Example:
        >>> from fgnet_plugin.faces.face_mesh import DLIB_68, load_face_mesh
        >>> mean_face = load_face_mesh().canonical
        >>> points = mean_face[list(DLIB_68), :2] * torch.tensor([1.0, -1.0])
        >>> bool(landmark_pose(points[None], mean_face).abs().max() < 0.01)
        True
    """
    ours = canonical.double()[list(DLIB_68)][_RIGID]
    ours = ours - ours.mean(0)
    seen = landmarks.double()[:, _RIGID] * torch.tensor(_FLIP[:2], dtype=torch.float64)
    seen = seen - seen.mean(1, keepdim=True)
    # Weak perspective: the best linear map, and the first two rows of the rotation that is nearest to it.
    u, _, vh = torch.linalg.svd((torch.linalg.pinv(ours) @ seen).transpose(1, 2), full_matrices=False)
    rows = u @ vh
    return _angles(torch.cat([rows, torch.linalg.cross(rows[:, :1], rows[:, 1:])], 1)).float()


def _angles(rotation: Tensor) -> Tensor:
    """Pitch, roll and yaw [n, 3] of rotations [n, 3, 3]."""
    pitch = torch.asin(-rotation[:, 1, 2].clamp(-1, 1))
    yaw = torch.atan2(rotation[:, 0, 2], rotation[:, 2, 2])
    roll = torch.atan2(rotation[:, 1, 0], rotation[:, 1, 1])
    return torch.stack([-pitch, roll, -yaw], 1)
