"""BlazeFace, full-range variant: boxes and six key points of faces of 5 to 45 % of the picture's side.

Bazarevsky et al.: BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs, CVPR Workshops 2019. The weights are
Google's, trained on pictures of 192 × 192; the network is convolutional and reads larger pictures at once.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.faces.blaze_blocks import DepthwiseSeparable, PointwiseConv, SamePaddedConv, add_shortcut
from fgnet_plugin.faces.pretrained import load_bundled

WEIGHTS = "blazeface-full-range.safetensors"
INPUT_SIZE = 192
"""Pixels a side of the pictures that it was trained on."""
STRIDE = 4
"""Pixels between neighbouring anchors."""
SIDE_MULTIPLE = 32
"""The sides of the pictures are multiples of this number."""
KEY_POINTS = ("right_eye", "left_eye", "nose_tip", "mouth", "right_ear", "left_ear")
"""The points of a face, named from the subject's view."""


class DoubleBlazeBlock(nn.Module):
    """Two depthwise separable convolutions with a bottleneck between them, beside a shortcut."""

    def __init__(self, channels: int, bottleneck: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.reduce = DepthwiseSeparable(channels, bottleneck, stride)
        self.expand = DepthwiseSeparable(bottleneck, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, out_channels, h/stride, w/stride]."""
        y = self.expand(F.relu(self.reduce(x), inplace=True))
        return F.relu(add_shortcut(y, x, self.stride), inplace=True)


class UpsampleMerge(nn.Module):
    """Double the resolution of the coarser features, add the finer ones of the encoder, refine."""

    def __init__(self, coarse: int, fine: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.top, self.lateral = PointwiseConv(coarse, channels), PointwiseConv(fine, channels)
        self.blocks = nn.Sequential(*(DoubleBlazeBlock(channels, channels // 2, channels) for _ in range(blocks)))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """[B, coarse, h, w], [B, fine, 2h, 2w] -> [B, channels, 2h, 2w]."""
        top = F.interpolate(F.relu(self.top(coarse), inplace=True), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.blocks(F.relu(self.lateral(fine), inplace=True).add_(top))


class BlazeFace(nn.Module):
    """Detects faces; 520,000 parameters.

    Example:
        >>> logits, boxes = BlazeFace()(torch.zeros(1, 3, 192, 192))
        >>> list(logits.shape), list(boxes.shape)
        ([1, 2304], [1, 2304, 8, 2])
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SamePaddedConv(3, 32, 2)
        self.to_4 = nn.Sequential(
            DoubleBlazeBlock(32, 8, 32), DoubleBlazeBlock(32, 8, 32), DoubleBlazeBlock(32, 12, 48, 2),
            DoubleBlazeBlock(48, 12, 48), DoubleBlazeBlock(48, 16, 64),
        )  # fmt: skip
        self.to_8 = nn.Sequential(
            DoubleBlazeBlock(64, 24, 96, 2), DoubleBlazeBlock(96, 32, 128), DoubleBlazeBlock(128, 32, 128)
        )
        self.to_16 = nn.Sequential(
            DoubleBlazeBlock(128, 36, 144, 2), DoubleBlazeBlock(144, 48, 192), DoubleBlazeBlock(192, 64, 256)
        )
        self.to_32 = nn.Sequential(DoubleBlazeBlock(256, 96, 384, 2), *(DoubleBlazeBlock(384, 96, 384) for _ in range(3)))
        self.up_16, self.up_8, self.up_4 = (
            UpsampleMerge(384, 256, 96, 2), UpsampleMerge(96, 128, 64, 2), UpsampleMerge(64, 64, 48, 1)
        )  # fmt: skip
        self.logits, self.regressors = PointwiseConv(48, 1), PointwiseConv(48, 16)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Detect faces in pictures of one size.

        Args:
            pictures: [B, 3, H, W] RGB in [-1, 1]; H and W multiples of 32.

        Returns:
            For each of the N = H/4 · W/4 anchors, row by row: the logit of a face [B, N]; and [B, N, 8, 2], x and y each: the
            box's centre, its size, and `KEY_POINTS`, in pixels of the picture, continuous: (0, 0) is its top left corner.

        Raises:
            ValueError: another shape.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or any(side % SIDE_MULTIPLE for side in pictures.shape[2:]):
            raise ValueError(
                f"pictures must have shape [B, 3, H, W], H and W multiples of {SIDE_MULTIPLE}, got {list(pictures.shape)}"
            )
        at_4 = self.to_4(F.relu(self.stem(pictures), inplace=True))  # [B, 64, H/4, W/4]
        at_8 = self.to_8(at_4)  # [B, 128, H/8, W/8]
        at_16 = self.to_16(at_8)  # [B, 256, H/16, W/16]
        at_32 = self.to_32(at_16)  # [B, 384, H/32, W/32]
        features = self.up_4(self.up_8(self.up_16(at_32, at_16), at_8), at_4)  # [B, 48, H/4, W/4]
        logits = self.logits(features).flatten(1).float()
        boxes = self.regressors(features).flatten(2).transpose(1, 2).float().unflatten(2, (8, 2))  # [B, N, 8, 2]
        centres = anchor_centres(features.shape[2], features.shape[3], boxes.device)[None, :, None]
        # The size, at index 1, is no position.
        return logits, torch.cat([boxes[:, :, :1] + centres, boxes[:, :, 1:2], boxes[:, :, 2:] + centres], 2)


@functools.lru_cache(maxsize=64)
def anchor_centres(rows: int, columns: int, device: torch.device) -> Tensor:
    """Centres of the anchors of a picture, x and y in pixels: [rows · columns, 2]."""
    y, x = (torch.arange(count, dtype=torch.float32, device=device) * STRIDE + STRIDE / 2 for count in (rows, columns))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2)


def load_blazeface(device: torch.device | str = "cpu") -> BlazeFace:
    """BlazeFace with the weights that come with the package, in float32. Raises CheckpointError where they are missing."""
    return load_bundled(BlazeFace(), WEIGHTS, device)
