"""Run FG-Net on the faces of whole frames: alignment, batches, faces that can't be read."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.alignment import AlignedFaces, align_for_network, show_faces
from fgnet_plugin.alignment.align import Send
from fgnet_plugin.checkpoints.download import download
from fgnet_plugin.checkpoints.fgnet import load, read_info
from fgnet_plugin.checkpoints.registry import manifest, resolve
from fgnet_plugin.errors import CheckpointError, DownloadError
from fgnet_plugin.inference.cuda_streams import Streams
from fgnet_plugin.network import Prediction
from fgnet_plugin.network.cuda_graphs import Replayed
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.utils.deferred import Deferred
from fgnet_plugin.utils.threads import torch_threads

DEFAULT = "fgnet-bp4d"
"""What the name "fgnet" stands for."""
_SMALL = 128  # pixels a side of the faces that a small FG-Net reads


def names() -> tuple[str, ...]:
    """List what `au_model` may be called: ``"fgnet"``, which is `DEFAULT`, and every name of ``fgnet weights list``."""
    return ("fgnet", *(name for name, entry in manifest().items() if entry.kind != "pretrained"))


def is_fgnet(au_model: object) -> bool:
    """Tell whether an `au_model` is FG-Net's: one of `names`, or the path of a checkpoint.

    Raises ValueError for an unknown name that begins with "fgnet".
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
    """Choose FG-Net's precision: half precision on NVIDIA GPUs whose tensor cores support it, else float32."""
    device = torch.device(device)
    return half_precision(torch.cuda.get_device_capability(device)) if device.type == "cuda" else "float32"


def half_precision(capability: tuple[int, int]) -> Precision:
    """Choose the fastest precision for a CUDA device of this compute capability: bfloat16 where it has it, then float16."""
    if capability >= (8, 0):
        return "bfloat16"
    return "float16" if capability >= (7, 0) else "float32"


@dataclass(frozen=True, eq=False)
class Reading:
    """FG-Net's result for F faces on several frames."""

    aus: tuple[str, ...]
    """Names of the A action units, see `AUModel.aus`."""
    scores: Tensor
    """[F, A] float32 on the CPU, in [0, 1] (`fgnet_plugin.network.scores`); NaN where the landmarks show no face."""
    read: Tensor
    """[F] int64: indices of the faces that were read; the others have NaN scores."""
    prediction: Prediction
    """Of the faces that were read, on the model's device."""
    aligned: AlignedFaces
    """The faces that were read, float32: see `AlignedFaces.pictures` for what to show of them."""


class AUModel:
    """FG-Net for the faces of whole frames.

    On an NVIDIA GPU, and where it is small, its weights are fused for detection. On an NVIDIA GPU, its work is queued on its
    own stream: between `submit` and the result, the CPU and py-feat's models go on. Several threads may share a model.

    Args:
        au_model: one of `names`, or the path of a checkpoint.
        device: where faces are aligned and read.
        batch_size: faces that go through the network at once; it bounds the memory, not the result.
        precision: see `FGNet.prepare`. None: bfloat16 on NVIDIA GPUs of compute capability 8.0 and more, float16 on those of
            7.x, and float32 everywhere else.
        fetch: download published weights that are not on this machine, with a progress bar; otherwise they are an error.
        compile: use torch.compile, too, which takes minutes at the first faces; see `Replayed`.
        weak_aus: of a student, also show the AUs on which it agrees too little with its teacher; otherwise this model does as
            if it did not know them, so that they are NaN in tables, and have no heatmaps. A warning names them.

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
        weak_aus: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"au_batch_size must be at least 1, got {batch_size}")
        self.name = DEFAULT if au_model == "fgnet" else str(au_model)
        self.path = _file(self.name, fetch)
        self.precision: Precision = default_precision(device) if precision is None else precision
        """What the network computes in."""
        info, on_cuda = read_info(self.path), torch.device(device).type == "cuda"
        self.small = info.config.image_size <= _SMALL
        """Whether the network is small: on a CPU one core for each face is quicker than several."""
        # On the CPU, a large network keeps the published code's layout and with it its rounding.
        channels_last = True if self.small else None
        self.net = load(self.path, device, self.precision, channels_last, fuse=on_cuda or self.small)
        self.digest, self.padding = info.digest, info.padding
        self._hide(() if weak_aus else info.weak_aus)
        self.shown_weak = info.weak_aus if weak_aus else ()
        """AUs that would be hidden by default."""
        if self.hidden:
            warnings.warn(
                f"{self.name}: {', '.join(self.hidden)} agree too little with the teacher's and are NaN, without heatmaps; "
                "weak_aus=True, or --weak-aus, shows them",
                stacklevel=2,
            )
        self.batch_size, self.compile = batch_size, compile
        self._attach()

    def _hide(self, aus: tuple[str, ...]) -> None:
        self.hidden = aus
        """AUs that the checkpoint knows, and that are not among `aus`."""
        self.aus: tuple[str, ...] = tuple(au for au in self.net.aus if au not in aus)
        """The action units that it reads: ``("AU01", …)``."""
        self._channels = [self.net.aus.index(au) for au in self.aus]

    def showing(self, aus: Collection[str]) -> AUModel:
        """Return this model, showing also the hidden AUs that are named, such as those that a table has scores of."""
        hidden = tuple(au for au in self.hidden if au not in aus)
        if hidden == self.hidden:
            return self
        model = copy.copy(self)
        model._hide(hidden)
        return model

    def _attach(self) -> None:
        """Make what belongs to this process and its GPU, which copies and pickles leave out."""
        self._lock = threading.Lock()  # a stream works in the order in which threads queue
        self._streams = Streams(self.net.device) if self.net.device.type == "cuda" else None
        graphs = self._streams is not None or self.compile
        self._replayed = Replayed(self.net, self.batch_size, compile=self.compile) if graphs else None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_streams", "_replayed")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._attach()

    @property
    def overlaps(self) -> bool:
        """Whether the CPU may do other things between `submit` and the result; else all is done when `submit` returns."""
        return self._streams is not None

    def read(self, frames: Sequence[Tensor], landmarks: Sequence[Tensor]) -> Reading:
        """Compute the AUs of all faces of several frames.

        Args:
            frames: N frames [3, H, W], uint8 or floating point in [0, 255], RGB, of any sizes, on any device.
            landmarks: for each frame [n, 68, 2], in its pixels; n may be 0, and landmarks NaN.

        Returns:
            `Reading`; faces keep the order of frames and, within one, of its landmarks.
        """
        return self.submit(frames, landmarks).result()

    def submit(self, frames: Sequence[Tensor], landmarks: Sequence[Tensor]) -> Deferred[Reading]:
        """Start to `read`: on an NVIDIA GPU it queues the work and returns at once (landmarks then belong on the CPU).

        Readings are computed in the order of their submission. Until a result is returned, its frames may be freed, but not
        changed.
        """
        counts = [len(points) for points in landmarks]
        sizes = torch.tensor([frame.shape[1:] for frame in frames]).view(-1, 2).repeat_interleave(torch.tensor(counts), 0)
        points = torch.cat([torch.empty(0, 68, 2), *(points.detach().cpu() for points in landmarks)])
        shown = show_faces(points, *sizes.unbind(1))
        valid, read = torch.split(shown, counts), shown.nonzero()[:, 0]
        needed = [i for i, faces in enumerate(valid) if faces.any()]
        photos = [frames[i] for i in needed]
        scores = torch.full((len(points), len(self.aus)), float("nan"))
        with torch.inference_mode(), torch_threads():
            chosen = [landmarks[i][valid[i].to(landmarks[i].device)] for i in needed]
            if self._streams is not None:
                return self._queue(self._streams, photos, chosen, read, scores)
            aligned, prediction = self._compute([as_uint8(photo).to(self.net.device) for photo in photos], chosen)
        return Deferred(lambda: self._reading(read, scores, prediction.scores.float().cpu(), prediction, aligned))

    def _queue(
        self, streams: Streams, photos: Sequence[Tensor], landmarks: Sequence[Tensor], read: Tensor, scores: Tensor
    ) -> Deferred[Reading]:
        """`submit` on streams; `read` and `scores` as in `_reading`."""
        with self._lock:
            # Frames of the CPU are uploaded as bytes, and only the faces' parts; those of a device are rounded there.
            boxes = all(photo.device.type == "cpu" for photo in photos)
            photos = [as_uint8(photo) if photo.device.type == "cpu" else photo for photo in photos]
            photos = photos if boxes else streams.send(photos)
            with streams.computing():
                send = streams.send if boxes else None
                aligned, prediction = self._compute([as_uint8(photo) for photo in photos], landmarks, send)
                on_cpu = streams.fetch(prediction.scores.float())

        def wait() -> Reading:
            computed = on_cpu.result()
            if len(computed):
                streams.hand_over([prediction.heatmaps, prediction.activations, aligned.faces, aligned.photo, aligned.to_photo])
            return self._reading(read, scores, computed, prediction, aligned)

        return Deferred(wait)

    def _compute(
        self, photos: Sequence[Tensor], landmarks: Sequence[Tensor], send: Send | None = None
    ) -> tuple[AlignedFaces, Prediction]:
        """Align the faces of photos, all with valid landmarks, and run the network on them.

        The photos are on the model's device, or `send` brings what is needed of them there.
        """
        # Pixels are not rounded: landmarks differ in their last digits between batches, and a flipped pixel shows in the
        # scores. They are float32 in any precision, as the encoder's trunk is.
        size, kernels = self.net.config.image_size, self.net.kernels
        aligned = align_for_network(photos, landmarks, size, torch.float32, kernels=kernels, padding=self.padding, send=send)
        faces = aligned.network_input()
        if self._replayed is None or not len(faces):
            return aligned, self.predict(faces)
        return aligned, self._shown(Prediction(self.net.aus, *self._replayed(faces)))

    def predict(self, faces: Tensor) -> Prediction:
        """Read aligned faces [n, 3, S, S] in [-1, 1], as `FGNet.predict` does: of `aus`."""
        return self._shown(self.net.predict(faces, self.batch_size, validate=False))

    def _shown(self, prediction: Prediction) -> Prediction:
        """Leave out the hidden AUs: here for tables, heatmaps, overlays, reports and halves of faces alike."""
        if not self.hidden:
            return prediction
        return Prediction(self.aus, prediction.heatmaps[:, self._channels], prediction.activations[:, self._channels])

    def lacking(self, aus: Sequence[str]) -> str:
        """Say in a clause that some AUs are not read, and which are."""
        unknown, weak = [au for au in aus if au not in self.hidden], [au for au in aus if au in self.hidden]
        parts = [f"does not know {', '.join(unknown)}"] if unknown else []
        if weak:
            parts.append(f"hides {', '.join(weak)}, which agree too little with its teacher's (weak_aus=True shows them)")
        return f"{self.name} {' and '.join(parts)}; it knows {', '.join(self.aus)}"

    def _reading(
        self, read: Tensor, scores: Tensor, computed: Tensor, prediction: Prediction, aligned: AlignedFaces
    ) -> Reading:
        """Put the computed scores [n, A] of the faces that were read [n] in their places among all scores [F, A]."""
        scores[read] = computed
        return Reading(self.aus, scores, read, prediction, aligned)


def as_uint8(frame: Tensor) -> Tensor:
    """Round pixel values in [0, 255] of any type to uint8; what lies beyond, as after a resize, is clipped."""
    return frame if frame.dtype == torch.uint8 else frame.float().round().clamp(0, 255).to(torch.uint8)


def _file(name: str, fetch: bool) -> Path:
    """Find the checkpoint's file; download it if need be."""
    entry = manifest().get(name)
    if fetch and entry is not None and entry.kind == "published" and not entry.path.is_file():
        try:
            return download(name)
        except DownloadError as error:
            raise DownloadError(
                f"{error}\nWithout a download, use au_model='fgnet-rendered', a small network trained on rendered faces"
            ) from error
    if entry is None and not Path(name).is_file():
        raise CheckpointError(f"{name}: no such checkpoint; give the path of a file, or one of {', '.join(names())}")
    return resolve(name)
