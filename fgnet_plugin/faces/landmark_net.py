"""The 68 landmarks of a face from a small crop of it, and the convention of that crop. Needs torch and nothing else.

A crop is a turned square of the photo: its centre in pixels, its side in pixels, and an angle in radians. Inside it,
points have units: (-1, -1) is the square's top left corner and (1, 1) its bottom right corner, whatever its size.
Landmarks are in dlib's order, their pixel coordinates are indices: (0, 0) is the centre of the photo's first pixel.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.faces.crops import CROP_SIZE
from fgnet_plugin.utils.paths import data_folder
from fgnet_plugin.utils.safetensors_file import LANDMARKS, read_metadata, read_tensors

WEIGHTS, FORMAT = "face-landmarks.safetensors", LANDMARKS
"""Name of the network's file, and the "format" in its metadata."""


_REACH = 1.2
"""The maps cover the crop and this much around it, in half sides: points may lie outside."""


class Residual(nn.Module):
    """Two 3×3 convolutions with BatchNorm beside a shortcut; the first may halve the resolution."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, out_channels, h/stride, w/stride]."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


class LandmarkNet(nn.Module):
    """Landmarks of a face, and whether there is one, from a crop of 64 px: 1.2 M parameters, 0.16 GFLOP a crop.

    Down to 4 px and up again to 16 px, where each point has a map of its own; the point is the mean position under the map's
    softmax (integral regression, Sun et al., ECCV 2018), which learns from far fewer faces than a linear layer. The same
    network reads the crop of a first guess (off by 8 % of its side, 0.74 to 1.35 times as large, turned by up to 35°)
    and the straightened crop of a second look (`crop_square`).
    """

    grid: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True))
        self.to16 = nn.Sequential(Residual(24, 24, 1), Residual(24, 48, 2), Residual(48, 48, 1))
        self.to8 = nn.Sequential(Residual(48, 96, 2), Residual(96, 96, 1))
        self.to4 = nn.Sequential(Residual(96, 128, 2), Residual(128, 128, 1))
        self.up8, self.up16 = Residual(128, 96, 1), Residual(96, 64, 1)
        self.across8, self.across16 = nn.Conv2d(96, 128, 1), nn.Conv2d(48, 96, 1)
        self.maps = nn.Conv2d(64, 68, 1)
        self.confidence = nn.Linear(128, 1)
        at = _REACH * ((torch.arange(16.0) * 2 + 1) / 16 - 1)
        self.register_buffer("grid", torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(-1, 2), persistent=False)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """What the crops show.

        Args:
            crops: [B, 3, 64, 64] RGB in [-1, 1].

        Returns:
            Landmarks [B, 68, 2] in crop units, and the logit [B] of the crop showing a face.

        Raises:
            ValueError: another shape.
        """
        if crops.ndim != 4 or crops.shape[1:] != (3, CROP_SIZE, CROP_SIZE):
            raise ValueError(f"crops must have shape [B, 3, {CROP_SIZE}, {CROP_SIZE}], got {list(crops.shape)}")
        at16 = self.to16(self.stem(crops))  # [B, 48, 16, 16]
        at8 = self.to8(at16)  # [B, 96, 8, 8]
        at4 = self.to4(at8)  # [B, 128, 4, 4]
        up = self.up8(F.interpolate(at4, scale_factor=2.0) + self.across8(at8))  # [B, 96, 8, 8]
        up = self.up16(F.interpolate(up, scale_factor=2.0) + self.across16(at16))  # [B, 64, 16, 16]
        weights = self.maps(up).float().flatten(2).softmax(-1)  # [B, 68, 256]
        # No matrix product: under autocast it would round positions to 8 bits.
        points = torch.stack([(weights * along).sum(-1) for along in self.grid.float().unbind(-1)], -1)
        return points, self.confidence(at4.mean((2, 3)))[:, 0]


def load_landmark_net(path: str | Path | None = None, device: torch.device | str = "cpu") -> LandmarkNet:
    """The landmark network in float32, ready to look; by default with the weights of this package.

    Raises:
        CheckpointError: no such file, or one that is damaged or holds something else.
    """
    if path is None:
        path = data_folder("weights") / WEIGHTS
        missing = f"the landmark network's weights come with the package, but this version lacks {path}"
    else:
        path = Path(path)
        missing = (
            f"{path}: no such file; weights of the landmark network are wanted, such as {WEIGHTS} from `fgnet train landmarks`"
        )
    if not path.is_file():
        raise CheckpointError(missing)
    net = LandmarkNet()
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} holds no landmark network (its format is {metadata.get('format')!r}, wanted is {FORMAT!r})"
        )
    try:
        net.load_state_dict(read_tensors(path, check="digest" in metadata))  # float16 becomes the network's float32
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is of another version of this package: {reason} …") from error
    return net.eval().requires_grad_(False).to(device)
