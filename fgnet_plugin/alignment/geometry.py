"""The square that FFHQ cuts out for a face, and aligned faces with the way back to their photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class AlignedFaces:
    """F aligned faces and where they came from.

    Example:
        >>> from fgnet_plugin.alignment import align_faces
        >>> photo = torch.zeros(1, 3, 200, 300, dtype=torch.uint8)
        >>> landmarks = 100 + 20 * torch.randn(1, 68, 2, generator=torch.Generator().manual_seed(0))
        >>> aligned = align_faces(photo, landmarks)
        >>> corners = torch.tensor([[[0.0, 0.0], [255.0, 255.0]]])
        >>> aligned.points_to_photo(corners).round().tolist()
        [[[71.0, 205.0], [117.0, 1.0]]]
    """

    faces: Tensor
    """[F, 3, size, size], dtype, range and device of the photos; or, `normalised`, what FG-Net reads."""
    photo: Tensor
    """[F] int64: which photo each face is from. Faces keep the order of photos and, within a photo, of its landmarks."""
    to_photo: Tensor
    """[F, 2, 3] float32: pixel (x, y, 1) of the aligned face -> pixel of the photo."""
    photo_sizes: tuple[tuple[int, int], ...]
    """Height and width of each photo (not of each face)."""
    normalised: bool = False
    """Whether `faces` are (x/255 - 0.5)/0.5 of 8-bit values, channels-last, as `align_for_network` may make them."""

    def __len__(self) -> int:
        return len(self.faces)

    def network_input(self) -> Tensor:
        """Return what FG-Net reads of faces in [0, 255]: [F, 3, size, size] in [-1, 1]; `faces` itself where `normalised`."""
        return self.faces if self.normalised else (self.faces / 255 - 0.5) / 0.5

    def pictures(self) -> Tensor:
        """Return what to show of faces in [0, 255]: [F, 3, size, size] uint8; of normalised ones, a level off at most."""
        faces = (self.faces.float() * 0.5 + 0.5) * 255 if self.normalised else self.faces
        return faces if faces.dtype == torch.uint8 else faces.round().clamp(0, 255).to(torch.uint8)

    def points_to_photo(self, points: Tensor) -> Tensor:
        """Map points of the aligned faces to pixels of their photos; [F, P, 2] both."""
        linear, shift = self.to_photo[:, :, :2].to(points), self.to_photo[:, None, :, 2].to(points)
        return points @ linear.transpose(1, 2) + shift

    def points_to_face(self, points: Tensor) -> Tensor:
        """Map pixels of the photos to points of the aligned faces: the inverse of `points_to_photo`; [F, P, 2] both."""
        linear, shift = self.to_photo[:, :, :2].to(points), self.to_photo[:, None, :, 2].to(points)
        return (points - shift) @ torch.linalg.inv(linear).transpose(1, 2)

    def heatmaps_to_photo(self, heatmaps: Tensor, boxes: Sequence[tuple[int, int, int, int]] | None = None) -> list[Tensor]:
        """Warp the faces' maps onto the pixels of their photos, bilinearly; 0 outside of the aligned square.

        Args:
            heatmaps: [F, A, h, w] floating point. Pixel j of a map is pixel ``j · size / w`` of the aligned face: where the
                training targets have it.
            boxes: F parts of the photos, (x0, y0, x1, y1) in pixels, x1 and y1 exclusive: only these are computed.

        Returns:
            For each face [A, H, W], the size of its photo, or with `boxes` [A, y1 - y0, x1 - x0]. A map of a full HD photo
            takes 8 MB.

        Raises:
            ValueError: another number of faces or boxes, or a box without a pixel.
        """
        from kornia.geometry.transform import warp_affine  # its import takes seconds, and only this needs it

        if heatmaps.ndim != 4 or len(heatmaps) != len(self):
            raise ValueError(f"heatmaps must have shape [{len(self)}, A, h, w], got {list(heatmaps.shape)}")
        if boxes is None:
            boxes = [(0, 0, self.photo_sizes[photo][1], self.photo_sizes[photo][0]) for photo in self.photo.tolist()]
        if len(boxes) != len(self) or any(len(box) != 4 or box[2] <= box[0] or box[3] <= box[1] for box in boxes):
            raise ValueError(f"boxes must be {len(self)} times (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {list(boxes)}")
        size, (h, w) = self.faces.shape[-1], heatmaps.shape[2:]
        matrix = self.to_photo.to(heatmaps) * heatmaps.new_tensor([size / w, size / h, 1.0])
        on_photos = []
        for maps, of_face, (x0, y0, x1, y1) in zip(heatmaps, matrix, boxes, strict=True):
            shifted = of_face - of_face.new_tensor([[0.0, 0.0, x0], [0.0, 0.0, y0]])
            on_photos.append(warp_affine(maps[None], shifted[None], (y1 - y0, x1 - x0), align_corners=True)[0])
        return on_photos


def ffhq_square(landmarks: Tensor) -> Tensor:
    """Compute the corners of the square that FFHQ cuts out for a face.

    Its x axis runs along the line of the eyes, averaged with the normal of the line from eyes to mouth; half its side is
    the larger of twice the distance of the eyes and 1.8 times that of eyes and mouth; its centre lies a tenth of the way
    from eyes to mouth.

    Args:
        landmarks: [..., 68, 2] floating point.

    Returns:
        [..., 4, 2]: top left, bottom left, bottom right and top right as the face sees it, in the landmarks' coordinates.
        NaN where all landmarks are equal.

    Raises:
        ValueError: another shape.

    Example:
        >>> face = torch.zeros(68, 2)
        >>> face[42:48, 0], face[48], face[54] = 40.0, torch.tensor([0.0, 50.0]), torch.tensor([40.0, 50.0])
        >>> ffhq_square(face).tolist()
        [[-70.0, -85.0], [-70.0, 95.0], [110.0, 95.0], [110.0, -85.0]]
    """
    if landmarks.shape[-2:] != (68, 2):
        raise ValueError(f"landmarks must have shape [..., 68, 2], got {list(landmarks.shape)}")
    right_eye, left_eye = landmarks[..., 36:42, :].mean(-2), landmarks[..., 42:48, :].mean(-2)
    eyes, across = (right_eye + left_eye) / 2, left_eye - right_eye
    down = (landmarks[..., 48, :] + landmarks[..., 54, :]) / 2 - eyes
    x = across - _quarter_turn(down)
    half = torch.maximum(2.0 * across.norm(dim=-1), 1.8 * down.norm(dim=-1))
    x = x / x.norm(dim=-1, keepdim=True) * half[..., None]
    y = _quarter_turn(x)
    centre = eyes + 0.1 * down
    return torch.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y], -2)


def _quarter_turn(vector: Tensor) -> Tensor:
    """(x, y) -> (-y, x)."""
    x, y = vector.unbind(-1)
    return torch.stack([-y, x], -1)
