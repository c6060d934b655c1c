"""FaceMesh: 468 points of a face in three dimensions from a crop of it.

Kartynnik et al.: Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs, CVPR Workshops 2019. The weights are
Google's.
"""

from __future__ import annotations

import functools
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.faces.blaze_blocks import DepthwiseSeparable, PointwiseConv, SamePaddedConv, add_shortcut
from fgnet_plugin.faces.pretrained import load_bundled

WEIGHTS = "face-mesh.safetensors"
CROP_SIZE = 192
"""Pixels a side of the crops that `FaceMesh` reads."""
POINTS = 468
_AT_ONCE = 4
"""Crops that a CPU reads at once: the maps of more don't fit into its caches."""

DLIB_68 = (
    *(127, 234, 93, 132, 58, 136, 150, 176), 152, *(400, 379, 365, 288, 361, 323, 454, 356),  # jaw, chin, jaw
    *(70, 63, 105, 66, 107), *(336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4), *(98, 97, 2, 326, 327),  # bridge of the nose, nostrils
    *(33, 160, 158, 133, 153, 144), *(362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181), *(78, 82, 13, 312, 308, 317, 14, 87),  # outer and inner lips
)  # fmt: skip
"""The mesh points that lie where dlib's 68 landmarks do, in dlib's order; those of the jaw are spaced evenly, as dlib's are."""


class BlazeBlock(nn.Module):
    """A depthwise separable convolution beside a shortcut, with a PReLU."""

    def __init__(self, channels: int, out_channels: int | None = None, stride: int = 1) -> None:
        super().__init__()
        out_channels, self.stride = out_channels or channels, stride
        self.conv = DepthwiseSeparable(channels, out_channels, stride)
        self.activation = nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, out_channels, h/stride, w/stride]."""
        return self.activation(add_shortcut(self.conv(x), x, self.stride))


class WholeMapConv(nn.Conv2d):
    """A convolution whose kernel is as large as the map, as a matrix product; on a CPU always of `_AT_ONCE` maps.

    Matrix products of few rows round differently for each number of rows, and a crop's result may not depend on the others.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, k, k] -> [B, out_channels]."""
        rows, weight = (value.permute(0, 2, 3, 1).flatten(1) for value in (x, self.weight))
        if x.device.type != "cpu":
            return F.linear(rows, weight, self.bias)
        missing = -len(rows) % _AT_ONCE
        parts = torch.split(F.pad(rows, (0, 0, 0, missing)), _AT_ONCE)
        return torch.cat([F.linear(part, weight, self.bias) for part in parts])[: len(rows)]


class FaceMesh(nn.Module):
    """Fits a face mesh; 600,000 parameters.

    Its buffer `canonical` [468, 3] is MediaPipe's mean face in cm: x to the subject's left, y up, z towards the camera.

    Example:
        >>> points, presence = FaceMesh()(torch.zeros(2, 3, 192, 192))
        >>> list(points.shape), list(presence.shape)
        ([2, 468, 3], [2])
    """

    canonical: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(SamePaddedConv(3, 16, 2), nn.PReLU(16))
        widths = (16, 32, 64, 128, 128)  # at 96, 48, 24, 12, 6 px
        stages = [BlazeBlock(16), BlazeBlock(16)]
        for channels, out_channels in pairwise(widths):
            stages += [BlazeBlock(channels, out_channels, 2), BlazeBlock(out_channels), BlazeBlock(out_channels)]
        self.trunk = nn.Sequential(*stages)
        self.presence = nn.Sequential(BlazeBlock(128, stride=2), *_head(1))
        self.points = nn.Sequential(BlazeBlock(128, stride=2), BlazeBlock(128), BlazeBlock(128), *_head(POINTS * 3))
        self.register_buffer("canonical", torch.zeros(POINTS, 3))

    @functools.cached_property
    def mirrored(self) -> Tensor:
        """[468] on the CPU: point i of a mirrored face is point ``mirrored[i]`` of the face."""
        face = self.canonical.float().cpu()
        return torch.cdist(face * face.new_tensor([-1.0, 1, 1]), face).argmin(1)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Fit the mesh to faces that stand upright and fill two thirds of their crops.

        Args:
            crops: [B, 3, 192, 192] RGB in [0, 1].

        Returns:
            Points [B, 468, 3] in pixels of the crop, continuous: (0, 0) is its top left corner; z grows away from the camera on
            the scale of x. The logit [B] of the crop showing a face.

        Raises:
            ValueError: another shape.
        """
        if crops.ndim != 4 or crops.shape[1:] != (3, CROP_SIZE, CROP_SIZE):
            raise ValueError(f"crops must have shape [B, 3, {CROP_SIZE}, {CROP_SIZE}], got {list(crops.shape)}")
        if crops.device.type == "cpu" and len(crops) > _AT_ONCE:
            points, presence = zip(*(self._fit(part) for part in torch.split(crops, _AT_ONCE)), strict=True)
            return torch.cat(points), torch.cat(presence)
        return self._fit(crops)

    def _fit(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(self.stem(crops))  # [B, 128, 6, 6]
        points = self.points(features).float().view(-1, POINTS, 3)
        return points, self.presence(features).float().flatten()


def _head(outputs: int) -> list[nn.Module]:
    """[B, 128, 3, 3] -> [B, outputs]."""
    return [PointwiseConv(128, 32), nn.PReLU(32), BlazeBlock(32), WholeMapConv(32, outputs, 3)]


def landmarks_68(mesh: Tensor) -> Tensor:
    """The mesh [..., 468, 3] at dlib's 68 landmarks: [..., 68, 2]."""
    return mesh[..., list(DLIB_68), :2]


def load_face_mesh(device: torch.device | str = "cpu") -> FaceMesh:
    """FaceMesh with the weights that come with the package, in float32. Raises CheckpointError where they are missing."""
    return load_bundled(FaceMesh(), WEIGHTS, device)
