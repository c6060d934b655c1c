"""The baselines that FG-Net is compared with, their networks and their file.

A ResNet, or FG-Net's own encoder with a linear layer: either reads each AU off the whole face.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fgnet_plugin.checkpoints.mismatches import raise_mismatches
from fgnet_plugin.checkpoints.other_networks import read_weights
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNetConfig, normalize
from fgnet_plugin.network.encoder import Encoder
from fgnet_plugin.utils import safetensors_file

BASELINE_FILE = "baseline.safetensors"
ENCODER = "encoder"
KINDS = ("resnet18", "resnet34", "resnet50", ENCODER)
SMALLEST = 32
"""Side of the smallest face that a ResNet, which halves it five times, can read, px."""
_IMAGENET_MEAN, _IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of pixels in [0, 1]


class Baseline(nn.Module):
    """A network with one logit an AU; its weights are random, see `start_from_imagenet`.

    It is torchvision's ResNet (He et al., CVPR 2016), or with kind "encoder" FG-Net's encoder of these `sizes`, and a linear
    layer that reads all rows of its codes. With `imagenet`, a ResNet reads pixels in the units of ImageNet's networks: less the
    mean colour there, in standard deviations.

    Raises ValueError for an unknown kind or too small a face, for an encoder without sizes or of other faces, or where
    torchvision is not installed.
    """

    def __init__(
        self, kind: str, aus: Sequence[str], image_size: int, imagenet: bool = False, sizes: FGNetConfig | None = None
    ) -> None:
        super().__init__()
        if kind not in KINDS or not aus or image_size < SMALLEST:
            raise ValueError(
                f"a baseline is one of {', '.join(KINDS)}, of at least one AU and faces of at least {SMALLEST} px; "
                f"got {kind}, {len(aus)} AUs and {image_size} px"
            )
        self.kind, self.aus, self.image_size, self.imagenet, self.sizes = kind, tuple(aus), image_size, imagenet, sizes
        if (kind == ENCODER) != (sizes is not None) or (sizes is not None and (sizes.image_size != image_size or imagenet)):
            raise ValueError("a baseline needs sizes where it is an encoder, those of its faces, and only there")
        if sizes is not None:
            self.encoder = Encoder(sizes)
            self.linear = nn.Linear(sizes.n_styles * sizes.style_dim, len(self.aus))
            return
        try:
            models = importlib.import_module("torchvision.models")
        except ImportError as error:
            raise ValueError('baselines need torchvision; run: pip install "fgnet-plugin[train]"') from error
        self.resnet: nn.Module = getattr(models, kind)(weights=None, num_classes=len(self.aus))

    @property
    def last_layer(self) -> nn.Linear:
        """The one that has an output for each AU."""
        layer = self.linear if self.sizes is not None else self.resnet.fc
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, faces: Tensor) -> Tensor:
        """Logits [B, A] float32 of aligned faces [B, 3, S, S]: uint8, or floating point in [-1, 1]."""
        size = self.image_size
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, size, size):
            raise ValueError(f"faces must have shape [B, 3, {size}, {size}], got {list(faces.shape)}")
        pixels = normalize(faces)
        if self.sizes is not None:
            return self.linear(self.encoder(pixels).flatten(1)).float()
        if self.imagenet:
            mean, sd = (pixels.new_tensor(values)[:, None, None] for values in (_IMAGENET_MEAN, _IMAGENET_SD))
            pixels = (pixels / 2 + 0.5 - mean) / sd
        return self.resnet(pixels).float()


def activations(logits: Tensor) -> Tensor:
    """Logits -> activations in [-1, 1], above 0 where the AU's probability exceeds one half: 2·sigmoid(logit) − 1."""
    return 2 * torch.sigmoid(logits) - 1


def imagenet_weights(path: Path | str, model: Baseline) -> dict[str, Tensor]:
    """Read torchvision's weights of a ResNet for ImageNet, but for its last layer, whose classes are no AUs.

    Args:
        path: a state dict of torchvision's ``resnet18``, …: ``.safetensors``, or a file of ``torch.save``, of which nothing is
            executed.
        model: the network that they must fit.

    Raises:
        CheckpointError: missing (the message says how to make one), truncated, of another network, or with NaN.
    """
    wanted = {
        name: tuple(tensor.shape)
        for name, tensor in model.resnet.state_dict().items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    origin = (
        "where there is a network, save torchvision's weights with torch.save("
        f'torchvision.models.{model.kind}(weights="DEFAULT").state_dict(), "{Path(path).name}")'
    )
    return read_weights(path, wanted, f"torchvision's {model.kind}", origin)


def start_from_imagenet(path: Path | str, kind: str, aus: Sequence[str], image_size: int) -> Baseline:
    """Make a baseline that starts from torchvision's weights for ImageNet; errors as those of `imagenet_weights`."""
    model = Baseline(kind, aus, image_size, imagenet=True)
    model.resnet.load_state_dict(imagenet_weights(path, model), strict=False)
    return model


@dataclass(frozen=True)
class BaselineInfo:
    """What a baseline's metadata says."""

    kind: str
    aus: tuple[str, ...]
    image_size: int
    corpus: str = ""
    """What it was trained on."""
    fold: int | None = None
    """Test fold of the corpus, where there is one."""
    training: dict[str, Any] = field(default_factory=dict)
    """Summary of the training, its recipe included."""
    licence: str = ""
    imagenet: bool = False
    """See `Baseline`."""
    sizes: FGNetConfig | None = None
    """Of an encoder."""
    digest: str = field(default="", compare=False)
    """SHA-256 over metadata and tensors, once it is in a file."""


def save_baseline(model: Baseline, path: Path | str, info: BaselineInfo, half: bool = False) -> Path:
    """Write a baseline; an existing file is replaced only by a complete new one.

    Raises ValueError where the metadata is of another network, OSError where the file can't be written.
    """
    about = [(of.kind, of.aus, of.image_size, of.imagenet, of.sizes) for of in (info, model)]
    if about[0] != about[1]:
        raise ValueError("the metadata is not that of the model")
    metadata = {
        "format": safetensors_file.BASELINE,
        "kind": info.kind,
        "aus": json.dumps(info.aus),
        "image_size": str(info.image_size),
        "corpus": info.corpus,
        "training": json.dumps(info.training),
        "licence": info.licence,
    }
    if info.fold is not None:
        metadata["fold"] = str(info.fold)
    if info.imagenet:
        metadata["pixels"] = "imagenet"
    if info.sizes is not None:
        metadata["architecture"] = info.sizes.to_json()
    return safetensors_file.write(Path(path), model.state_dict(), metadata, half)


def is_baseline(path: Path | str) -> bool:
    """Return whether a file says that it holds a baseline; false for files that can't be read."""
    return safetensors_file.has_format(Path(path), safetensors_file.BASELINE)


def read_baseline(path: Path | str) -> BaselineInfo:
    """Read a baseline's metadata, without its weights. Raises CheckpointError as `load_baseline` does."""
    path = Path(path)
    metadata = safetensors_file.read_metadata(path)
    if metadata.get("format") != safetensors_file.BASELINE:
        raise CheckpointError(f"{path}: no baseline (its metadata lacks format = {safetensors_file.BASELINE})")
    with safetensors_file.reading(path):
        return BaselineInfo(
            kind=metadata["kind"],
            aus=tuple(json.loads(metadata["aus"])),
            image_size=int(metadata["image_size"]),
            corpus=metadata["corpus"],
            fold=int(metadata["fold"]) if "fold" in metadata else None,
            training=json.loads(metadata["training"]),
            licence=metadata["licence"],
            imagenet=metadata.get("pixels") == "imagenet",
            sizes=FGNetConfig.from_json(metadata["architecture"]) if "architecture" in metadata else None,
            digest=metadata["digest"],
        )


def load_baseline(path: Path | str, device: torch.device | str = "cpu") -> tuple[Baseline, BaselineInfo]:
    """Load a baseline in evaluation mode, and its metadata.

    Raises CheckpointError, naming the file, where it is missing, truncated, damaged, or another kind of file.
    """
    path = Path(path)
    info = read_baseline(path)
    tensors = safetensors_file.read_tensors(path)
    model = Baseline(info.kind, info.aus, info.image_size, info.imagenet, info.sizes).eval()
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # lists the tensors
        raise_mismatches(path, [line.strip() for line in str(error).splitlines()[1:]])
    return model.to(device), info
