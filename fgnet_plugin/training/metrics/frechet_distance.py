"""How far generated faces are from real ones: Fréchet distance of a network's features that was trained here.

The usual FID needs Inception's weights from the web, and knows flowers and dogs. This one has the landmark network of this
package look at the faces (`faces.landmark_net.LandmarkNet`). Its numbers are to be compared with one another only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from fgnet_plugin.faces.crops import CROP_SIZE
from fgnet_plugin.faces.landmark_net import load_landmark_net


class LandmarkFeatures(nn.Module):
    """What the landmark network sees in a face: its last maps' means, and its middle ones' means and spreads."""

    num_features = 128 + 2 * 48

    def __init__(self) -> None:
        super().__init__()
        self.net = load_landmark_net().eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, S, S], aligned faces -> [B, num_features]."""
        small = F.interpolate(images.float() / 127.5 - 1, size=(CROP_SIZE, CROP_SIZE), mode="bilinear", antialias=True)
        at16 = self.net.to16(self.net.stem(small))
        at4 = self.net.to4(self.net.to8(at16))
        return torch.cat([at4.mean((2, 3)), at16.mean((2, 3)), at16.std((2, 3))], 1)


class FaceDistance(FrechetInceptionDistance):
    """torchmetrics' FID with `LandmarkFeatures`: ``update(images, real=…)``, ``compute()``; `reset` keeps the real faces."""

    def __init__(self) -> None:
        super().__init__(feature=LandmarkFeatures(), reset_real_features=False)
