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


def mesh_frame() -> Tensor:
    """[3, 468], for `posed`: the shares of the points in the direction to the left, in that down, and in the centre."""
    shares = torch.zeros(3, POINTS)
    for row, points, sign in ((0, _LEFT, 1), (0, _RIGHT, -1), (1, _MIDDLE, 1), (1, _TOP, -1), (2, _STABLE, 1)):
        for point in points:
            shares[row, point] += sign / len(points)
    return shares


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

    frame: Tensor  # see `posed`

    def __init__(
        self, image_size: int, rows: int, style_dim: int, width: int = 256, noise: float = 0.12, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.image_size, self.rows, self.style_dim, self.noise = image_size, rows, style_dim, noise
        self.mesh = FaceMesh().requires_grad_(False)
        self.register_buffer("frame", mesh_frame())
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
            right, up, near = self.mesh.canonical.unbind(1)
            mean = posed(torch.stack([right, -up, -near], 1)[None], self.frame)
            shape = posed(points, self.frame)
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
        dtype, device = self.mesh.canonical.dtype, faces.device
        with torch.autocast(device.type, enabled=False):
            # Nothing here comes from the CPU's memory, or no CUDA graph could hold it.
            at = (torch.arange(CROP_SIZE, device=device, dtype=dtype) * (2 / CROP_SIZE) + (1 / CROP_SIZE - 1)) * _SIDE
            y, x = torch.meshgrid(at + _CENTRE[1], at + _CENTRE[0], indexing="ij")
            grid = torch.stack([x, y], 2).expand(len(faces), -1, -1, -1)
            crops = F.grid_sample(faces.to(dtype), grid, padding_mode="border", align_corners=False)
            points, presence = self.mesh(((crops + 1) / 2).contiguous(memory_format=torch.channels_last))
            x, y, z = (points * (2 * _SIDE / CROP_SIZE)).unbind(2)  # 0 to 2 across FaceMesh's crop, on the face's scale
            return torch.stack([x + (_CENTRE[0] - _SIDE), y + (_CENTRE[1] - _SIDE), z], 2), presence.sigmoid()


def posed(mesh: Tensor, frame: Tensor) -> Tensor:
    """Turn meshes so that the faces look straight ahead and are upright, all of one size and in one place.

    The frame is that of points which facial muscles hardly move, so it stays where it is while the face moves.

    Args:
        mesh: [B, 468, 3], x to the right, y down, z away from the camera, on one scale.
        frame: [3, 468], see `mesh_frame`.

    Returns:
        [B, 468, 3] with the same axes; the stable points' mean is 0, and their root mean square distance from it 1.
    """
    # No matrix products: TF32 would round the points.
    across, down, centre = (frame[..., None] * mesh[:, None]).sum(2).unbind(1)
    across = F.normalize(across, dim=1)
    down = F.normalize(down - (down * across).sum(1, keepdim=True) * across, dim=1)
    axes = torch.stack([across, down, torch.linalg.cross(across, down)], 1)
    mesh = mesh - centre[:, None]
    size = (frame[2] * mesh.square().sum(2)).sum(1).sqrt()
    return (mesh[:, :, None] * axes[:, None]).sum(3) / size[:, None, None].clamp(min=1e-6)
