"""ArcFace's IR-SE-50: whether two faces are of the same person, with weights that the user has (Deng et al. 2019).

Its trunk is the one that pSp's encoder starts from, and FG-Net's encoder has: stem and units are the encoder's.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.checkpoints import published
from fgnet_plugin.checkpoints.other_networks import read_weights
from fgnet_plugin.network.config import ANY_AU, FGNetConfig
from fgnet_plugin.network.encoder import Encoder

SIZE = 112
"""Side of the face that the network reads, px."""
FACE_SIZE, TOP, BOTTOM, LEFT, RIGHT = 256, 35, 223, 32, 220
"""What of an aligned face of 256 px is looked at, px."""
COUNT = "num_batches_tracked"
"""Of BatchNorm's training steps: nothing reads it here, and files may lack it."""
ORIGIN = "it is model_ir_se50.pth of InsightFace_Pytorch, which pSp's README links to"


class FaceRecognition(nn.Module):
    """Aligned faces -> embeddings of length 1; frozen.

    Args:
        path: ``model_ir_se50.pth``.
        config: whose encoder has the same trunk.

    Raises CheckpointError: the file is missing, truncated, or of another network; the message names it and the tensors.
    """

    def __init__(self, path: Path | str, config: FGNetConfig | None = None) -> None:
        super().__init__()
        config = FGNetConfig(ANY_AU) if config is None else config
        channels = config.encoder_channels[-1]
        with torch.device("meta"):
            encoder = Encoder(config)
            self.stem, self.groups = encoder.stem, encoder.groups
            self.norm_maps, self.norm = nn.BatchNorm2d(channels), nn.BatchNorm1d(channels)
            self.linear = nn.Linear(channels * (SIZE // 16) ** 2, channels)
        state = self.state_dict()
        for name in state:
            if name.endswith(COUNT):
                state[name] = torch.tensor(0)
        names = trunk_names(config) | {
            name: f"output_layer.{number}.{name.partition('.')[2]}"
            for part, number in (("norm_maps", 0), ("linear", 3), ("norm", 4))
            for name in state
            if name.startswith(f"{part}.") and not name.endswith(COUNT)
        }
        wanted = {names[name]: tuple(value.shape) for name, value in state.items() if name in names}
        found = read_weights(path, wanted, "ArcFace's IR-SE-50", ORIGIN)
        self.load_state_dict(state | {ours: found[theirs] for ours, theirs in names.items()}, assign=True)
        self.eval().requires_grad_(False)

    def forward(self, faces: Tensor) -> Tensor:
        """Aligned faces [B, 3, S, S] in [-1, 1] -> [B, 512]."""
        if faces.shape[-1] != FACE_SIZE:
            faces = F.interpolate(faces, size=(FACE_SIZE, FACE_SIZE), mode="bilinear", antialias=True)
        x = self.stem(F.adaptive_avg_pool2d(faces[:, :, TOP:BOTTOM, LEFT:RIGHT], SIZE))
        for group in self.groups:
            x = group(x)
        return F.normalize(self.norm(self.linear(self.norm_maps(x).flatten(1))), dim=1)

    def difference(self, faces: Tensor, others: Tensor) -> Tensor:
        """1 - cosine of the embeddings of faces [B, 3, S, S] and of others: [B], from 0 to 2."""
        return 1 - (self(faces) * self(others)).sum(1)


def trunk_names(config: FGNetConfig) -> dict[str, str]:
    """Each tensor of the encoder's stem and units, as `Encoder` names them -> its name in ``model_ir_se50.pth``."""
    return {
        name.removeprefix("encoder."): source.names[0]
        for name, source in published.sources(config).items()
        if source.names[0].startswith(("input_layer.", "body.")) and not name.endswith(COUNT)
    }


def read_trunk(path: Path | str, config: FGNetConfig) -> dict[str, Tensor]:
    """Read stem and units of an encoder from ``model_ir_se50.pth``, by the names of `Encoder`. Errors as `FaceRecognition`."""
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Encoder(config).state_dict().items()}
    names = trunk_names(config)
    found = read_weights(path, {theirs: shapes[ours] for ours, theirs in names.items()}, "ArcFace's IR-SE-50", ORIGIN)
    return {ours: found[theirs] for ours, theirs in names.items()}


def is_face_recognition(path: Path | str) -> bool:
    """Say whether a file of ``torch.save`` is laid out as ``model_ir_se50.pth``. Raises CheckpointError: it can't be read."""
    content = published.read_torch_file(Path(path))
    return isinstance(content, dict) and "input_layer.0.weight" in content
