"""Checks of photos, landmarks and squares: which faces can be aligned, and error messages for the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgnet_plugin.alignment.geometry import ffhq_square

Landmarks = Tensor | npt.NDArray[np.floating]

_LEAST_SIDE = 4.0  # px; a square of less is no face


def checked_photos(images: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Check photos and list them; TypeError or ValueError says which one `align_faces` does not take, and what to do."""
    if isinstance(images, Tensor) and images.ndim != 4:
        hint = "; a single photo goes in as photo[None]" if images.ndim == 3 else ""
        raise ValueError(f"images must have shape [N, 3, H, W], or be a sequence of photos, got {list(images.shape)}{hint}")
    photos = list(images)
    for i, photo in enumerate(photos):
        if not isinstance(photo, Tensor):
            raise TypeError(
                f"photo {i} must be a torch tensor [3, H, W], got {type(photo).__name__}; "
                "an array [H, W, 3] goes in as torch.from_numpy(array).permute(2, 0, 1)"
            )
        if photo.dtype != torch.uint8 and not photo.is_floating_point():
            raise TypeError(f"photo {i} must be uint8 or floating point, got {photo.dtype}")
        if photo.ndim != 3 or photo.shape[0] != 3 or not photo.numel():
            hint = "; channels come first: photo.permute(2, 0, 1)" if photo.ndim == 3 and photo.shape[2] == 3 else ""
            raise ValueError(f"photo {i} must have shape [3, H, W], got {list(photo.shape)}{hint}")
        if photo.dtype != photos[0].dtype or photo.device != photos[0].device:
            raise TypeError(
                f"photos must share dtype and device; photo {i} is {photo.dtype} on {photo.device}, "
                f"photo 0 {photos[0].dtype} on {photos[0].device}"
            )
    return photos


def checked_points(landmarks: Landmarks | Sequence[Landmarks], photos: int) -> tuple[Tensor, list[int]]:
    """Check landmarks and join those of all faces, [F, 68, 2] in float64 on the CPU; and list the photo of each."""
    one_each = isinstance(landmarks, (Tensor, np.ndarray))
    if isinstance(landmarks, (Tensor, np.ndarray)) and (landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2)):
        raise ValueError(f"landmarks of one face a photo must have shape [N, 68, 2], got {list(landmarks.shape)}")
    of_photos = [torch.as_tensor(points) for points in landmarks]
    if len(of_photos) != photos:
        raise ValueError(f"{photos} photos need the landmarks of {photos} photos, got {len(of_photos)}")
    if one_each:
        of_photos = [points[None] for points in of_photos]
    for i, points in enumerate(of_photos):
        if points.ndim != 3 or points.shape[1:] != (68, 2):
            hint = "; a single face goes in as points[None]" if points.shape == (68, 2) else ""
            raise ValueError(f"landmarks of photo {i} must have shape [n, 68, 2], got {list(points.shape)}{hint}")
    photo_of = [i for i, points in enumerate(of_photos) for _ in points]
    together = [points.detach().to("cpu", torch.float64) for points in of_photos]
    return torch.cat([*together, torch.empty(0, 68, 2, dtype=torch.float64)]), photo_of


def show_faces(landmarks: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
    """Decide which landmarks can be aligned: finite, not all but equal, their square not outside of a photo of that size.

    Args:
        landmarks: [n, 68, 2] in pixels of the photo.
        height, width: of the photo, or [n] of each face's.

    Returns:
        [n] bool on the CPU. `align_faces` raises ValueError for the others.

    Example:
        >>> face = 100 + 20 * torch.randn(68, 2, generator=torch.Generator().manual_seed(0))
        >>> landmarks = torch.stack([face, face + 5000, torch.full((68, 2), float("nan"))])
        >>> show_faces(landmarks, height=200, width=300)
        tensor([ True, False, False])
    """
    squares = ffhq_square(landmarks.detach().to("cpu", torch.float64))
    broken, outside = _faults(squares, height, width)
    return ~(broken | outside)


def _faults(squares: Tensor, height: int | Tensor, width: int | Tensor) -> tuple[Tensor, Tensor]:
    """Find squares [F, 4, 2] that are none, or lie outside of their photos: [F] bool each."""
    side = (squares[:, 3] - squares[:, 0]).norm(dim=-1)
    broken = ~squares.isfinite().all(-1).all(-1) | (side < _LEAST_SIDE)
    (left, top), (right, bottom) = squares.amin(1).unbind(-1), squares.amax(1).unbind(-1)
    return broken, (right < 0) | (bottom < 0) | (left > width - 1) | (top > height - 1)


def check_squares(corners: Tensor, photo_of: list[int], photos: list[Tensor]) -> None:
    """Raise ValueError for the first face that can't be cut out; its message names photo and face."""
    sizes = torch.tensor([photos[i].shape[1:] for i in photo_of], device="cpu").view(-1, 2)
    broken, outside = _faults(corners, *sizes.unbind(-1))
    wrong = (broken | outside).nonzero()[:, 0].tolist()
    if not wrong:
        return
    face, photo = wrong[0], photo_of[wrong[0]]
    (height, width), (x, y) = sizes[face].tolist(), corners[face].mean(0).tolist()
    fault = "show no face: they are NaN or all but equal; leave that face out"
    if not broken[face]:
        fault = (
            f"lie outside of it ({width}×{height} px; the face's square has its middle at {x:.0f}, {y:.0f}); landmarks must be "
            "in pixels of the photo"
        )
    raise ValueError(f"landmarks of face {photo_of[:face].count(photo)} in photo {photo} {fault}")
