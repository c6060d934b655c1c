"""FG-Net made ready to read faces off whole frames: alignment, batches, faces that can't be read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fgnet_plugin.alignment import AlignedFaces, align_for_network, show_faces
from fgnet_plugin.checkpoints.download import download
from fgnet_plugin.checkpoints.fgnet import load, read_info
from fgnet_plugin.checkpoints.registry import manifest, resolve
from fgnet_plugin.errors import CheckpointError, DownloadError
from fgnet_plugin.inference.cuda_streams import Streams
from fgnet_plugin.network import Prediction
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.utils.threads import torch_threads

if TYPE_CHECKING:
    from fgnet_plugin.network.cuda_graphs import Replayed

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


def default_precision(device: torch.device | str) -> Precision:
    """What FG-Net computes in where nobody says: half precision on NVIDIA GPUs with tensor cores for it, else float32."""
    device = torch.device(device)
    return half_precision(torch.cuda.get_device_capability(device)) if device.type == "cuda" else "float32"


def half_precision(capability: tuple[int, int]) -> Precision:
    """The precision that a CUDA device of this compute capability is fastest in, bfloat16 where it has both halves."""
    if capability >= (8, 0):
        return "bfloat16"
    return "float16" if capability >= (7, 0) else "float32"


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
    """The faces that were read, float32: see `AlignedFaces.pictures` for what to show of them."""


class Pending:
    """A `Reading` that is on its way: what `AUModel.begin` returns."""

    def __init__(self, finish: Callable[[], Reading]) -> None:
        self._finish: Callable[[], Reading] | None = finish
        self._reading: Reading | None = None

    def result(self) -> Reading:
        """The reading, the same one at every call; the first may have to wait for the GPU."""
        if self._finish is not None:
            self._reading, self._finish = self._finish(), None
        assert self._reading is not None
        return self._reading


class AUModel:
    """FG-Net that reads the faces of frames.

    On an NVIDIA GPU its weights are fused for detection, and its work is queued on a stream of its own: between `begin` and
    the result, the CPU and py-feat's models go on. Several threads may share a model.

    Args:
        au_model: one of `names`, or the path of a checkpoint.
        device: where faces are aligned and read.
        batch_size: faces that go through the network at once; it bounds the memory, not the result.
        precision: see `FGNet.prepare`. None: bfloat16 on NVIDIA GPUs of compute capability 8.0 and more, float16 on those of
            7.x, and float32 everywhere else.
        fetch: download published weights that are not on this machine, with a progress bar; otherwise they are an error.
        compile: give the network to torch.compile, too, which takes minutes at the first faces; see `Replayed`.

    Raises:
        CheckpointError, DownloadError: no such weights; the message says how to get them.
        ValueError: an unknown precision, or a batch_size below 1.
    """

    def __init__(
        self,
        au_model: str | Path = "fgnet",
        device: torch.device | str = "cpu",
        batch_size: int = 8,
        precision: Precision | None = None,
        fetch: bool = True,
        compile: bool = False,  # noqa: A002  (torch's word for it)
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"au_batch_size must be at least 1, got {batch_size}")
        self.name = DEFAULT if au_model == "fgnet" else str(au_model)
        self.path = _file(self.name, fetch)
        self.precision: Precision = default_precision(device) if precision is None else precision
        """What the network computes in."""
        self.net = load(self.path, device, self.precision, fuse=torch.device(device).type == "cuda")
        self.digest = read_info(self.path).digest
        self.batch_size, self.compile = batch_size, compile
        self._attach()

    def _attach(self) -> None:
        """Makes what belongs to the process and its GPU, and is in no copy."""
        self._lock = threading.Lock()  # the order in which threads queue their work is that of a stream
        self._streams = Streams(self.net.device) if self.net.device.type == "cuda" else None
        self._replayed: Replayed | None = None
        if self._streams is not None or self.compile:
            from fgnet_plugin.network.cuda_graphs import Replayed

            self._replayed = Replayed(self.net, self.batch_size, compile=self.compile)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_streams", "_replayed")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._attach()

    @property
    def aus(self) -> tuple[str, ...]:
        """The action units that the checkpoint knows: ``("AU01", …)``."""
        return self.net.aus

    @property
    def overlaps(self) -> bool:
        """Whether the CPU may do other things between `begin` and the result; else all is done when `begin` returns."""
        return self._streams is not None

    def read(self, frames: Sequence[Tensor], landmarks: Sequence[Tensor]) -> Reading:
        """The AUs of all faces of several frames.

        Args:
            frames: N frames [3, H, W], uint8 or floating point in [0, 255], RGB, of any sizes, on any device.
            landmarks: for each frame [n, 68, 2], in its pixels; n may be 0, and landmarks NaN.

        Returns:
            `Reading`; faces keep the order of frames and, within one, of its landmarks.
        """
        return self.begin(frames, landmarks).result()

    def begin(self, frames: Sequence[Tensor], landmarks: Sequence[Tensor]) -> Pending:
        """Begins to `read`: on an NVIDIA GPU it queues the work and returns at once (landmarks then belong on the CPU).

        Readings are computed in the order in which they were begun. Until a result is there, its frames may be freed, but not
        changed.
        """
        valid = [
            show_faces(points, *frame.shape[1:]) if len(points) else torch.zeros(0, dtype=torch.bool)
            for frame, points in zip(frames, landmarks, strict=True)
        ]
        needed = [i for i, faces in enumerate(valid) if faces.any()]
        photos = [frames[i] for i in needed]
        read = torch.cat([torch.zeros(0, dtype=torch.bool), *valid]).nonzero()[:, 0]
        scores = torch.full((sum(len(points) for points in landmarks), len(self.aus)), float("nan"))
        with torch.inference_mode(), torch_threads():
            chosen = [landmarks[i][valid[i].to(landmarks[i].device)] for i in needed]
            if self._streams is not None:
                return self._queue(self._streams, photos, chosen, read, scores)
            aligned, prediction = self._compute([as_uint8(photo).to(self.net.device) for photo in photos], chosen)
        return Pending(lambda: self._reading(read, scores, prediction.scores.float().cpu(), prediction, aligned))

    def _queue(
        self, streams: Streams, photos: Sequence[Tensor], landmarks: Sequence[Tensor], read: Tensor, scores: Tensor
    ) -> Pending:
        """`begin` on streams; `read` and `scores` as in `_reading`."""
        with self._lock:
            # What is on the CPU is uploaded as bytes; what is on a device is rounded there.
            sent = streams.send([as_uint8(photo) if photo.device.type == "cpu" else photo for photo in photos])
            with streams.computing():
                aligned, prediction = self._compute([as_uint8(photo) for photo in sent], landmarks)
                arriving = streams.fetch(prediction.scores.float())

        def finish() -> Reading:
            found = arriving.wait()
            streams.hand_over(
                [prediction.heatmaps, prediction.activations, aligned.faces, aligned.photo, aligned.to_photo]
                if len(found)
                else []
            )
            return self._reading(read, scores, found, prediction, aligned)

        return Pending(finish)

    def _compute(self, photos: Sequence[Tensor], landmarks: Sequence[Tensor]) -> tuple[AlignedFaces, Prediction]:
        """Photos on the model's device and their faces, all of which can be aligned -> the faces and what they show."""
        # Not rounded: landmarks differ in their last digits between batches, and a flipped pixel shows in the scores.
        # float32 in any precision: the encoder's trunk stays so.
        size, kernels = self.net.config.image_size, self.net.kernels
        aligned = align_for_network(photos, landmarks, size, torch.float32, kernels=kernels)
        faces = aligned.network_input()
        if self._replayed is None or not len(faces):
            return aligned, self.net.predict(faces, self.batch_size, validate=False)
        return aligned, Prediction(self.aus, *self._replayed(faces))

    def _reading(self, read: Tensor, scores: Tensor, found: Tensor, prediction: Prediction, aligned: AlignedFaces) -> Reading:
        """Which faces were read [n], scores [F, A] to be filled in, those found [n, A] -> the result."""
        scores[read] = found
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
