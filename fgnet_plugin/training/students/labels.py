"""What the teacher says of the chosen faces: computed once, and kept with the faces in 8 bits a pixel."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.alignment import align_for_network, show_faces
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.media.animation import open_video
from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.training.students.recordings import StudyRecording
from fgnet_plugin.training.students.sampling import Faces
from fgnet_plugin.utils.safetensors_file import read_tensors, write
from fgnet_plugin.utils.threads import torch_threads

FORMAT = "fgnet-plugin-labels/1"
TOGETHER = 32
"""Faces in a file of the cache: what an interruption loses at most."""
_SPARE = 1.1  # room on the disk, as a multiple of what is needed
_TURNED, _SCALED, _SHIFTED = math.radians(3), 0.04, 0.02  # of a view: standard deviations; shifts in sizes of the face
_STEPS = 255


class Coded(NamedTuple):
    """Heatmaps [..., h, h] in 8 bits: value = low + step × code."""

    code: Tensor
    """uint8 [..., h, h]"""
    low: Tensor
    """float32 [...]"""
    step: Tensor
    """float32 [...]"""


def encode(heatmaps: Tensor) -> Coded:
    """Store each heatmap in 256 even steps from its lowest to its highest value: none is off by more than half a step.

    Example:
        >>> decoded = decode_maps(encode(torch.tensor([[[-0.5, 0.25], [0.0, 1.0]]])))
        >>> bool((decoded - torch.tensor([[[-0.5, 0.25], [0.0, 1.0]]])).abs().max() <= 1.5 / 255 / 2 + 1e-6)
        True
    """
    low, high = heatmaps.flatten(-2).aminmax(dim=-1)
    step = (high - low) / _STEPS
    code = ((heatmaps - low[..., None, None]) / step.clamp(min=1e-12)[..., None, None]).round().clamp(0, _STEPS)
    return Coded(code.to(torch.uint8), low, step)


def decode_maps(coded: Coded) -> Tensor:
    """Return the heatmaps [..., h, h] float32 of what `encode` stored."""
    return coded.low[..., None, None] + coded.step[..., None, None] * coded.code


@dataclass(frozen=True, eq=False)
class Labels:
    """n faces of one recording, and V views of each; the first view is the face as it is aligned."""

    images: Tensor
    """uint8 [n, V, 3, S, S], as the student reads them."""
    heatmaps: Coded
    """[n, V, A, h, h], the teacher's, unclamped, at the student's resolution."""
    activations: Tensor
    """float32 [n, V, A], the teacher's, of its own heatmaps."""
    frame: Tensor
    """int64 [n]"""


@dataclass(frozen=True)
class Cache:
    """The cache of one training: which files it has, and how large they become.

    Args:
        folder: of the files.
        config: the student's architecture, for the sizes of faces and heatmaps.
        views: of faces to learn from; of held-out faces there is one.
        seed: of the views.
        threads: with which the teacher computes, on which its last digits depend; None: see `torch_threads`.
    """

    folder: Path
    config: FGNetConfig
    views: int
    seed: int
    threads: int | None = None

    def needed(self, views: int) -> int:
        """Compute the size of all files in bytes, of so many views of faces."""
        maps = len(self.config.aus) * (self.config.heatmap_size**2 + 12)
        return views * (3 * self.config.image_size**2 + maps)

    def check_room(self, learn: int, held_out: int, rendered: int = 0) -> str:
        """Say how large the cache of so many faces becomes. Raises InputError where the disk has no room for it."""
        needed = self.needed(learn * self.views + held_out + rendered)
        self.folder.mkdir(parents=True, exist_ok=True)
        there = sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))
        free = shutil.disk_usage(self.folder).free
        text = f"the teacher's heatmaps of {learn + held_out + rendered:,} faces take {_megabytes(needed)} in {self.folder}"
        if (needed - there) * _SPARE > free:
            raise InputError(
                f"{text}, but only {_megabytes(free)} are free there: free some space, put --work on another disk, or label "
                "fewer faces"
            )
        return text

    def views_of(self, recording: StudyRecording) -> int:
        """Return how many views of each face of a recording there are."""
        return 1 if recording.held_out else self.views

    def files(self, key: str, count: int) -> list[Path]:
        """Name the files of a recording's faces, `TOGETHER` faces in each."""
        return [self.folder / f"{key}-{part:04d}.safetensors" for part in range(-(-count // TOGETHER))]

    def missing(self, key: str, count: int) -> list[int]:
        """List the parts of a recording's faces that the cache has not got: which of `files`."""
        return [part for part, path in enumerate(self.files(key, count)) if not path.is_file()]

    def faces_in(self, count: int, parts: Sequence[int]) -> int:
        """Count the faces in parts of so many."""
        return sum(len(rows_of(part, count)) for part in parts)

    def fill(
        self, recording: StudyRecording, faces: Faces, parts: Sequence[int], teacher: AUModel, done: Callable[[int], None]
    ) -> None:
        """Ask the teacher about parts of a recording's faces. No answer depends on which parts are asked for together.

        Args:
            recording: its file must be there.
            faces: chosen of it, all.
            parts: see `missing`.
            teacher: see `AUModel`.
            done: called with a number of faces that are finished.
        """
        with open_video(recording.path) as video, torch_threads(self.threads):
            files = self.files(recording.key, len(faces))
            for part in parts:
                rows = rows_of(part, len(faces))
                read = [
                    self._read(video[int(faces.frame[row])], torch.from_numpy(faces.landmarks[row]), recording, row, teacher)
                    for row in rows
                ]
                images, maps, activations = (torch.stack(values) for values in zip(*read, strict=True))
                frame = torch.from_numpy(faces.frame[list(rows)].astype(np.int64))
                store(files[part], Labels(images, encode(maps), activations, frame))
                done(len(rows))

    def read(self, key: str, count: int) -> Labels | None:
        """Read the labels of a recording's faces; None where it has none."""
        parts = [read_tensors(path) for path in self.files(key, count)]
        if not parts:
            return None
        values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        coded = Coded(values["code"], values["low"], values["step"])
        return Labels(values["images"], coded, values["activations"], values["frame"])

    def _read(
        self, picture: Tensor, points: Tensor, recording: StudyRecording, row: int, teacher: AUModel
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a face's views as the student sees them, with the teacher's heatmaps and activations."""
        generator = torch.Generator().manual_seed((self.seed << 32) ^ int(recording.digest[:7], 16) ^ (row << 8))
        views = torch.stack([points, *(moved(points, picture, generator) for _ in range(self.views_of(recording) - 1))])
        for_student = align_for_network([picture], [views], self.config.image_size, torch.float32)
        size = teacher.net.config.image_size
        aligned = for_student
        if size != self.config.image_size or teacher.net.device.type != "cpu":
            aligned = align_for_network([picture.to(teacher.net.device)], [views], size, torch.float32)
        prediction = teacher.net.predict(aligned.network_input(), teacher.batch_size, validate=False)
        images = ((for_student.network_input() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return images.cpu(), resized(prediction.heatmaps.float().cpu(), self.config.heatmap_size), prediction.activations.cpu()


def rows_of(part: int, count: int) -> range:
    """Say which of so many faces are in a part."""
    return range(count)[part * TOGETHER : (part + 1) * TOGETHER]


def store(path: Path, labels: Labels) -> None:
    """Write a file of the cache, whole or not at all."""
    code, low, step = labels.heatmaps
    tensors = {"images": labels.images, "code": code, "low": low, "step": step}
    write(path, tensors | {"activations": labels.activations, "frame": labels.frame}, {"format": FORMAT})


def moved(points: Tensor, picture: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale and shift landmarks [68, 2] a little at random, so that the face is aligned a little differently.

    Where the face would then lie outside of the picture [3, H, W], they are returned as they are.
    """
    turn, scale, x, y = torch.randn(4, generator=generator, dtype=torch.float64).clamp(-2, 2).tolist()
    angle, factor = turn * _TURNED, math.exp(scale * _SCALED)
    cos, sin = factor * math.cos(angle), factor * math.sin(angle)
    centre = points.mean(0)
    side = float((points.amax(0) - points.amin(0)).amax())
    away = points - centre
    turned = torch.stack([cos * away[:, 0] - sin * away[:, 1], sin * away[:, 0] + cos * away[:, 1]], 1)
    result = turned + centre + side * _SHIFTED * torch.tensor([x, y], dtype=points.dtype)
    return result if bool(show_faces(result[None], picture.shape[1], picture.shape[2])[0]) else points


def resized(heatmaps: Tensor, size: int) -> Tensor:
    """Bring heatmaps [B, A, h, h] to another size, both powers of two.

    Pixel j of a map of w px lies at pixel j·S/w of the face whatever w is, so a smaller map's pixels are averages about those
    places.
    """
    have = heatmaps.shape[-1]
    if have < size:
        return F.interpolate(heatmaps, size=(size, size), mode="bilinear", align_corners=False)
    if have == size:
        return heatmaps
    factor = have // size
    line = torch.ones(factor + 1)
    line[[0, -1]] = 0.5
    kernel = (line[:, None] * line / factor**2)[None, None]
    maps = F.pad(heatmaps.flatten(0, 1)[:, None], (factor // 2, factor // 2) * 2, mode="replicate")
    return F.conv2d(maps, kernel, stride=factor)[:, 0, :size, :size].reshape(*heatmaps.shape[:2], size, size)


def coding_error(labels: Sequence[Labels]) -> dict[str, float]:
    """Measure what the cache's 8 bits cost: half a step of a heatmap is the most that a pixel is off.

    Returns:
        "largest", and "root_mean_square" of the errors, which are spread evenly over a step.
    """
    steps = torch.cat([one.heatmaps.step.flatten() for one in labels])
    return {"largest": float(steps.max()) / 2, "root_mean_square": float(steps.square().mean().sqrt()) / math.sqrt(12)}


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 1e10 else f"{size / 1e9:,.0f} GB"
