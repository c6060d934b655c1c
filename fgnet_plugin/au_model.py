"""FG-Net made ready to read faces off whole frames: alignment, batches, faces that can't be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fgnet_plugin.alignment import AlignedFaces, align_faces, show_faces
from fgnet_plugin.checkpoints import load, read_info
from fgnet_plugin.errors import CheckpointError, DownloadError
from fgnet_plugin.network import Prediction
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.process import torch_threads
from fgnet_plugin.weights import download, manifest, resolve

DEFAULT = "fgnet-bp4d"
"""What the name "fgnet" stands for."""


def names() -> tuple[str, ...]:
    """What `au_model` may be called: ``"fgnet"``, which is `DEFAULT`, and every name of ``fgnet weights list``."""
    return ("fgnet", *(name for name, entry in manifest().items() if entry.kind != "pretrained"))


def is_fgnet(au_model: object) -> bool:
    """Whether an `au_model` is FG-Net's: one of `names`, or the path of a checkpoint.

    Raises ValueError for a name that begins like FG-Net's and is none.
    """
    if isinstance(au_model, Path):
        return True
    if not isinstance(au_model, str):
        return False
    if au_model in names() or au_model.endswith(".safetensors") or "/" in au_model or "\\" in au_model:
        return True
    if Path(au_model).is_file():
        return True
    if au_model.startswith("fgnet"):
        raise ValueError(f"unknown au_model {au_model!r}; FG-Net's are {', '.join(names())}, or the path of a checkpoint")
    return False


@dataclass(frozen=True, eq=False)
class Reading:
    """What FG-Net says of F faces on several frames."""

    aus: tuple[str, ...]
    """Names of the A action units that the checkpoint knows."""
    scores: Tensor
    """[F, A] float32 on the CPU, in [0, 1] (`fgnet_plugin.network.scores`); NaN where the landmarks show no face."""
    read: Tensor
    """[F] int64: which of the faces were read; the others have NaN scores."""
    prediction: Prediction
    """Of the faces that were read, on the model's device."""
    aligned: AlignedFaces
    """The faces that were read: float32 in [0, 255]."""


class AUModel:
    """FG-Net that reads the faces of frames.

    Args:
        au_model: one of `names`, or the path of a checkpoint.
        device: where faces are aligned and read.
        batch_size: faces that go through the network at once; it bounds the memory, not the result.
        precision: see `FGNet.prepare`.
        fetch: download published weights that are not on this machine, with a progress bar; otherwise they are an error.

    Raises:
        CheckpointError, DownloadError: no such weights; the message says how to get them.
    """

    def __init__(
        self,
        au_model: str | Path = "fgnet",
        device: torch.device | str = "cpu",
        batch_size: int = 8,
        precision: Precision = "float32",
        fetch: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"au_batch_size must be at least 1, got {batch_size}")
        self.name = DEFAULT if au_model == "fgnet" else str(au_model)
        self.path = _file(self.name, fetch)
        self.net = load(self.path, device, precision)
        self.digest = read_info(self.path).digest
        self.batch_size, self.precision = batch_size, precision

    @property
    def aus(self) -> tuple[str, ...]:
        """The action units that the checkpoint knows: ``("AU01", …)``."""
        return self.net.aus

    def read(self, frames: Sequence[Tensor], landmarks: Sequence[Tensor]) -> Reading:
        """The AUs of all faces of several frames.

        Args:
            frames: N frames [3, H, W], uint8 or floating point in [0, 255], RGB, of any sizes, on any device.
            landmarks: for each frame [n, 68, 2], in its pixels; n may be 0, and landmarks NaN.

        Returns:
            `Reading`; faces keep the order of frames and, within one, of its landmarks.
        """
        device = self.net.device
        valid = [
            show_faces(points, *frame.shape[1:]) if len(points) else torch.zeros(0, dtype=torch.bool)
            for frame, points in zip(frames, landmarks, strict=True)
        ]
        needed = [i for i, faces in enumerate(valid) if faces.any()]
        with torch.inference_mode(), torch_threads():
            photos = [as_uint8(frames[i]).to(device) for i in needed]
            chosen = [landmarks[i][valid[i].to(landmarks[i].device)] for i in needed]
            # Not rounded: landmarks differ in their last digits between batches, and a flipped pixel shows in the scores.
            aligned = align_faces(photos, chosen, self.net.config.image_size, rounded=False)
            prediction = self.net.predict((aligned.faces / 255 - 0.5) / 0.5, self.batch_size, validate=False)
        read = torch.cat([torch.zeros(0, dtype=torch.bool), *valid]).nonzero()[:, 0]
        scores = torch.full((sum(len(points) for points in landmarks), len(self.aus)), float("nan"))
        scores[read] = prediction.scores.float().cpu()
        return Reading(self.aus, scores, read, prediction, aligned)


def as_uint8(frame: Tensor) -> Tensor:
    """Pixel values in [0, 255] of any type, rounded; what lies beyond, as after a resize, is clipped."""
    return frame if frame.dtype == torch.uint8 else frame.float().round().clamp(0, 255).to(torch.uint8)


def _file(name: str, fetch: bool) -> Path:
    """The checkpoint's file, downloaded if need be."""
    entry = manifest().get(name)
    if fetch and entry is not None and entry.kind == "published" and not entry.path.is_file():
        try:
            return download(name)
        except DownloadError as error:
            raise DownloadError(
                f"{error}\nWithout a download there is au_model='fgnet-rendered', a small network trained on rendered faces"
            ) from error
    if entry is None and not Path(name).is_file():
        raise CheckpointError(f"{name}: no such checkpoint; give the path of a file, or one of {', '.join(names())}")
    return resolve(name)
