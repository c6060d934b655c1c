"""How far generated faces are from real ones: Fréchet distance of what FaceMesh sees in them.

The usual FID needs Inception's weights from the web, and knows flowers and dogs. This one has the bundled network that fits
meshes to faces look at them (`faces.face_mesh.FaceMesh`). Its numbers are to be compared with one another only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from fgnet_plugin.faces.face_mesh import CROP_SIZE, load_face_mesh


class FaceMeshFeatures(nn.Module):
    """What FaceMesh sees in a face: the means of its trunk's last maps, and means and spreads of the maps at 24 px.

    The last maps (128, 6 px) hold the shape of the whole face, from which the mesh is read; the middle ones (64, 24 px) hold
    texture: skin, hair, grain, blur. FaceMesh has no normalisation between them that would hide the latter. An aligned face
    fills its picture about as much as FaceMesh's crop, so the whole picture is read.
    """

    num_features = 128 + 2 * 64

    def __init__(self) -> None:
        super().__init__()
        net = load_face_mesh()
        self.to24 = nn.Sequential(net.stem, net.trunk[:8])
        self.to6 = net.trunk[8:]

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, S, S], aligned faces -> [B, num_features]."""
        crops = F.interpolate(images.float() / 255, size=(CROP_SIZE, CROP_SIZE), mode="bilinear", antialias=True)
        at24 = self.to24(crops)  # [B, 64, 24, 24]
        at6 = self.to6(at24)  # [B, 128, 6, 6]
        return torch.cat([at6.mean((2, 3)), at24.mean((2, 3)), at24.std((2, 3))], 1)


class FaceDistance(FrechetInceptionDistance):
    """torchmetrics' FID with `FaceMeshFeatures`: ``update(images, real=…)``, ``compute()``; `reset` keeps the real faces."""

    def __init__(self) -> None:
        super().__init__(feature=FaceMeshFeatures(), reset_real_features=False)
