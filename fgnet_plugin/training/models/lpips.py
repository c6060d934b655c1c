"""LPIPS: how different two pictures look, by a classifier's feature maps (Zhang et al. 2018), with the user's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.checkpoints.other_networks import read_weights

MAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
"""After which of torchvision's layers maps are compared: all ReLUs of AlexNet, the last one before each pooling of VGG-16."""
CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
_NAMES = {"alex": "alexnet", "vgg": "vgg16"}


class Lpips(nn.Module):
    """LPIPS version 0.1, frozen.

    Args:
        net: which classifier.
        backbone: torchvision's weights of it for ImageNet, ``alexnet-owt-7be5be79.pth`` or ``vgg16-397923af.pth``.
        linear: the channels' weights, as in ``lpips/weights/v0.1/alex.pth`` of richzhang/PerceptualSimilarity; empty: the copy
            of that file that comes with torchmetrics.

    Raises CheckpointError: a file is missing, truncated, or of another network; the message names it and the tensors.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, net: Literal["alex", "vgg"], backbone: Path | str, linear: Path | str = "") -> None:
        from torchmetrics.functional import image as torchmetrics_image  # slow to import, as torchvision is
        from torchvision import models

        super().__init__()
        name = _NAMES[net]
        with torch.device("meta"):
            self.layers = getattr(models, name)(weights=None).features[: MAPS[net][-1] + 1]
        wanted = {f"features.{key}": tuple(tensor.shape) for key, tensor in self.layers.state_dict().items()}
        origin = (
            "where there is a network, save torchvision's weights with torch.save("
            f'torchvision.models.{name}(weights="IMAGENET1K_V1").state_dict(), "{Path(backbone).name}")'
        )
        state = read_weights(backbone, wanted, f"torchvision's {name}", origin)
        self.layers.load_state_dict({key.removeprefix("features."): tensor for key, tensor in state.items()}, assign=True)
        linear = linear or Path(torchmetrics_image.__file__).parent / "lpips_models" / f"{net}.pth"
        wanted = {f"lin{i}.model.1.weight": (1, channels, 1, 1) for i, channels in enumerate(CHANNELS[net])}
        origin = f"it is lpips/weights/v0.1/{net}.pth of https://github.com/richzhang/PerceptualSimilarity"
        for i, tensor in enumerate(read_weights(linear, wanted, f"LPIPS with {name}", origin).values()):
            self.register_buffer(f"linear{i}", tensor)
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.458, 0.448, 0.450])[:, None, None])
        self.taken = MAPS[net]
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """[B, 3, S, S] twice, in [-1, 1] -> [B]; 0 where they are the same. S at least 64 for AlexNet, 32 for VGG."""
        total = images.new_zeros(len(images))
        for i, (one, other) in enumerate(zip(self.maps(images), self.maps(others), strict=True)):
            total = total + F.conv2d((one - other).square(), self.get_buffer(f"linear{i}")).mean((1, 2, 3))
        return total

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps, each pixel's channels of length 1."""
        x, found = (images - self.mean) / self.deviation, []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.taken:
                found.append(F.normalize(x, dim=1, eps=1e-10))
        return found
