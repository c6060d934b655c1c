"""The face finder and landmark network of this package in the places of py-feat's."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import feat.detector
import numpy as np
import torch
from feat.utils.image_operations import extract_face_from_bbox_torch
from torch import Tensor, nn

from fgnet_plugin.faces.finder import FaceFinder, FoundFaces
from fgnet_plugin.inference.au_model import as_uint8
from fgnet_plugin.pyfeat.datasets import Item
from fgnet_plugin.utils.threads import torch_threads

NAME = "bundled"
"""`face_model` and `landmark_model` of the networks that come with this package."""
_told = threading.local()  # by each thread for its next call: one detector may work in several


def tell_landmarks(faces_data: Sequence[dict[str, Any]]) -> None:
    """What `GivenLandmarks` is to answer next in this thread: "landmarks" of the faces of a batch."""
    _told.answer = torch.cat([faces["landmarks"] for faces in faces_data])


class GivenLandmarks(nn.Module):
    """A landmark model as py-feat calls it, which answers what it was told: the face finder has looked already."""

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [F, 3, S, S] -> landmarks [F, 136]: x_0, y_0, … in [0, 1] of the crop, its middle where there is no face."""
        answer: Tensor = _told.answer
        return answer.to(crops.device).nan_to_num(0.5)  # py-feat's models compute on these rows, too, and blank them


def of_pixel_centres(batch_data: Item, counts: Sequence[int]) -> np.ndarray[Any, Any]:
    """What landmarks lack, [F, 1], after py-feat has scaled them back to the original frame as if pixels had no extent.

    The bundled network's landmarks are pixel indices, and the middle of the first pixel of a shrunk frame is not that of the
    frame's first pixel.
    """
    scale = torch.as_tensor(batch_data["Scale"]).double().numpy()
    return np.repeat(0.5 / scale - 0.5, counts)[:, None].astype(np.float32)


class BundledFaces:
    """py-feat's `detect_faces`, from `FaceFinder`."""

    def __init__(self, device: torch.device) -> None:
        self.finder = FaceFinder(device=device)

    def find(self, frames: Sequence[Tensor], threshold: float | None) -> list[FoundFaces]:
        """The faces of frames [3, H, W] of any sizes; see `FaceFinder`."""
        with torch_threads():
            photos = [as_uint8(frame).cpu() for frame in frames]
            return self.finder.find(photos, threshold)

    def detect_faces(
        self, images: Tensor, face_size: int, threshold: float | None, wants_resmasknet: bool
    ) -> list[dict[str, Any]]:
        """The dictionaries that `Detectorv1.detect_faces` makes, one a frame, and in each "landmarks": [n, 136] of the crop.

        Args:
            images: [B, 3, H, W], uint8 or floating point in [0, 255].
            face_size: pixels a side of the crops for py-feat's other models.
            threshold: see `FaceFinder`.
            wants_resmasknet: also make the larger crops that this emotion model reads.
        """
        unit = images.float() / 255
        return [
            _as_pyfeats(unit[i : i + 1], i, found, face_size, wants_resmasknet)
            for i, found in enumerate(self.find(list(images), threshold))
        ]


def _as_pyfeats(frame: Tensor, i: int, found: FoundFaces, face_size: int, wants_resmasknet: bool) -> dict[str, Any]:
    """One frame's dictionary; where there is no face, one row of NaN with score 0."""
    nothing = not len(found)
    boxes = frame.new_full((1, 4), float("nan")) if nothing else found.boxes[:, :4].to(frame)
    cut = boxes.nan_to_num(0.0)
    crops, expanded = _cut(frame, cut, face_size=face_size)
    expanded = expanded.to(frame.dtype)
    if nothing:
        crops, expanded = torch.zeros_like(crops), torch.full_like(expanded, float("nan"))
        landmarks = frame.new_full((1, 136), float("nan"))
    else:
        corner, size = expanded[:, None, :2], (expanded[:, 2:] - expanded[:, :2])[:, None]
        landmarks = ((found.landmarks.to(frame) - corner) / size).flatten(1)
    faces = {
        "face_id": i,
        "faces": crops,
        "boxes": boxes,
        "new_boxes": expanded,
        "poses": frame.new_full((len(boxes), 6), float("nan")),
        "scores": frame.new_zeros(1) if nothing else found.scores.to(frame),
        "image_size": tuple(frame.shape[2:]),
        "landmarks": landmarks,
    }
    if wants_resmasknet:
        larger, _ = _cut(frame, cut, expand_bbox=1.1, face_size=224)
        faces["resmasknet_faces"] = torch.full_like(larger, float("nan")) if nothing else larger
    return faces


def _cut(frame: Tensor, boxes: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """py-feat's crops, face by face: it copies the frame for each face, which for a large photo of a group is much memory."""
    crops, expanded = zip(*(extract_face_from_bbox_torch(frame, box[None], **options) for box in boxes), strict=True)
    return torch.cat(crops), torch.cat(expanded)


@contextmanager
def without_retinaface() -> Iterator[None]:
    """Inside, `Detectorv1` makes no RetinaFace, and so fetches none: py-feat has no way to leave its face model out."""
    before = feat.detector.Retinaface
    feat.detector.Retinaface = lambda device: None
    try:
        yield
    finally:
        feat.detector.Retinaface = before
