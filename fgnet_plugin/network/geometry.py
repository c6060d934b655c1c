"""What the shape of a face says about its action units: an optional branch of the encoder. Not part of the paper.

A network that learns from rendered faces alone carries over to photos in shapes rather than in pixels. FaceMesh was trained
on photos; its points are measured on renderings and photos alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.faces.face_mesh import CROP_SIZE, POINTS, FaceMesh

# Mesh points that facial muscles hardly move: at the temples and the eyes' outer corners of either side, on the forehead, and
# at the height of the ears.
_RIGHT, _LEFT = (33, 246, 127, 234, 93, 162, 21, 54), (263, 466, 356, 454, 323, 389, 251, 284)
_TOP, _MIDDLE = (10, 109, 338, 67, 297, 151, 9, 8), (127, 234, 93, 132, 356, 454, 323, 361)
_BRIDGE = 6, 168, 197, 195  # of the nose
_STABLE = (*_RIGHT, *_LEFT, *_TOP, *_BRIDGE)
_CENTRE, _SIDE = (0.0, 0.14), 0.96  # of the square that FaceMesh wants in a face aligned as FFHQ is, from -1 to 1
_SCALE = 0.1  # about as far as the points of faces lie from those of the mean face, in their size


class Geometry(nn.Module):
    """Aligned faces -> what their meshes add to the latent codes.

    Args:
        image_size: side of the faces, px.
        rows, style_dim: shape of the latent codes.
        width: of the hidden layer after the mesh.
        noise: standard deviation of what is added to the points in training, where the size of a face is 1 (`posed`). It keeps
            the layers from reading what only drawn faces have.
        dropout: of the hidden layers, in training.
    """

    def __init__(
        self, image_size: int, rows: int, style_dim: int, width: int = 256, noise: float = 0.12, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.image_size, self.rows, self.style_dim, self.noise = image_size, rows, style_dim, noise
        self.mesh = FaceMesh().requires_grad_(False)
        self.hidden = nn.Sequential(
            nn.Linear(POINTS * 3, width),
            nn.LeakyReLU(0.1),
            nn.Dropout(dropout),
            nn.Linear(width, width // 2),
            nn.LeakyReLU(0.1),
            nn.Dropout(dropout),
        )
        self.codes = nn.Linear(width // 2, rows * style_dim)

    def train(self, mode: bool = True) -> Geometry:
        """Set training mode as torch does, but never FaceMesh's: it measures and does not learn."""
        super().train(mode)
        self.mesh.train(False)
        return self

    def forward(self, faces: Tensor, rows: int | None = None) -> Tensor:
        """[B, 3, S, S] in [-1, 1] -> [B, rows (default: all), style_dim] float32; zeros where FaceMesh sees no face."""
        rows = self.rows if rows is None else rows
        points, presence = self.measure(faces)
        with torch.autocast(faces.device.type, enabled=False):  # bfloat16 would round the points
            mean = posed(self.mesh.canonical[None] * self.mesh.canonical.new_tensor((1.0, -1.0, -1.0)))
            shape = posed(points)
            if self.training and self.noise:
                shape = shape + self.noise * torch.randn_like(shape)
            codes = self.codes(self.hidden(((shape - mean) / _SCALE).flatten(1)))
            codes = codes * presence[:, None]
        return codes.view(-1, self.rows, self.style_dim)[:, :rows]

    @torch.no_grad()
    def measure(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Run FaceMesh on aligned faces.

        Args:
            faces: [B, 3, S, S] in [-1, 1].

        Returns:
            [B, 468, 3]: x to the right, y down and z away from the camera, the face's corners at ±1; and [B] in [0, 1], how
            sure FaceMesh is of seeing a face.
        """
        dtype = self.mesh.canonical.dtype
        with torch.autocast(faces.device.type, enabled=False):
            square = faces.new_tensor([[[_SIDE, 0.0, _CENTRE[0]], [0.0, _SIDE, _CENTRE[1]]]], dtype=dtype)
            grid = F.affine_grid(square, [1, 3, CROP_SIZE, CROP_SIZE], align_corners=False).expand(len(faces), -1, -1, -1)
            crops = F.grid_sample(faces.to(dtype), grid, padding_mode="border", align_corners=False)
            points, presence = self.mesh(((crops + 1) / 2).contiguous(memory_format=torch.channels_last))
            points = points * (2 * _SIDE / CROP_SIZE)  # 0 to 2 across FaceMesh's crop, on the face's scale
            return points - points.new_tensor((_SIDE - _CENTRE[0], _SIDE - _CENTRE[1], 0.0)), presence.sigmoid()


def posed(mesh: Tensor) -> Tensor:
    """Turn meshes so that the faces look straight ahead and are upright, all of one size and in one place.

    The frame is that of points which facial muscles hardly move, so it stays where it is while the face moves.

    Args:
        mesh: [B, 468, 3], x to the right, y down, z away from the camera, on one scale.

    Returns:
        [B, 468, 3] with the same axes; the stable points' mean is 0, and their root mean square distance from it 1.
    """
    across = F.normalize(mesh[:, _LEFT].mean(1) - mesh[:, _RIGHT].mean(1), dim=1)
    down = mesh[:, _MIDDLE].mean(1) - mesh[:, _TOP].mean(1)
    down = F.normalize(down - (down * across).sum(1, keepdim=True) * across, dim=1)
    axes = torch.stack([across, down, torch.linalg.cross(across, down)], 1)
    stable = mesh[:, _STABLE]
    centre = stable.mean(1, keepdim=True)
    size = (stable - centre).square().sum(2).mean(1).sqrt()
    return (mesh - centre) @ axes.transpose(1, 2) / size[:, None, None].clamp(min=1e-6)
