"""Use this package's face finder and landmark network in the places of py-feat's."""

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
from fgnet_plugin.faces.tracking import FaceTracker
from fgnet_plugin.inference.au_model import as_uint8
from fgnet_plugin.inference.inputs import Item
from fgnet_plugin.utils.threads import torch_threads

_next_batch = threading.local()  # by thread: one detector may work in several


def set_landmarks(faces_data: Sequence[dict[str, Any]]) -> None:
    """Set what `PrecomputedLandmarks` returns next in this thread: "landmarks" of the faces of a batch."""
    _next_batch.landmarks = torch.cat([faces["landmarks"] for faces in faces_data])


class PrecomputedLandmarks(nn.Module):
    """A landmark model as py-feat calls it, which returns the landmarks that the face finder computed before."""

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [F, 3, S, S] -> landmarks [F, 136]: x_0, y_0, … in [0, 1] of the crop, its middle where there is no face."""
        landmarks: Tensor = _next_batch.landmarks
        return landmarks.to(crops.device).nan_to_num(0.5)  # py-feat's models compute on these rows, too, and blank them


def pixel_centre_shift(batch_data: Item, counts: Sequence[int]) -> np.ndarray[Any, Any]:
    """Compute what landmarks lack, [F, 1], after py-feat has scaled them to the original frame as if pixels had no extent.

    The bundled network's landmarks are pixel indices, and the middle of the first pixel of a shrunk frame is not that of the
    frame's first pixel.
    """
    scale = torch.as_tensor(batch_data["Scale"]).double().numpy()
    return np.repeat(0.5 / scale - 0.5, counts)[:, None].astype(np.float32)


class BundledFaces:
    """py-feat's `detect_faces`, from `FaceFinder`."""

    def __init__(self, device: torch.device) -> None:
        self.finder = FaceFinder(device=device)

    def find(
        self,
        frames: Sequence[Tensor],
        threshold: float | None,
        tracker: FaceTracker | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[FoundFaces]:
        """Find the faces of frames [3, H, W]: of any sizes with `FaceFinder`, of a video with its `FaceTracker`."""
        with torch_threads():
            photos = [as_uint8(frame).cpu() for frame in frames]
            return self.finder.find(photos, threshold) if tracker is None else tracker.find(photos, numbers)

    def detect_faces(
        self,
        images: Tensor,
        face_size: int,
        threshold: float | None,
        wants_resmasknet: bool,
        tracker: FaceTracker | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Make the dictionaries of `Detectorv1.detect_faces`, one per frame, and in each "landmarks": [n, 136] of the crop.

        Args:
            images: [B, 3, H, W], uint8 or floating point in [0, 255].
            face_size: pixels a side of the crops for py-feat's other models.
            threshold: see `FaceFinder`.
            tracker: of the video whose next frames these are; it has its own threshold.
            numbers: of the frames, for the tracker; see `FaceTracker.find`.
            wants_resmasknet: also make the larger crops that this emotion model reads.
        """
        unit = images.float() / 255
        return [
            _pyfeat_faces(unit[i : i + 1], i, faces, face_size, wants_resmasknet)
            for i, faces in enumerate(self.find(list(images), threshold, tracker, numbers))
        ]


def _pyfeat_faces(frame: Tensor, i: int, faces: FoundFaces, face_size: int, wants_resmasknet: bool) -> dict[str, Any]:
    """Make one frame's dictionary; where there is no face, one row of NaN with score 0."""
    nothing = not len(faces)
    boxes = frame.new_full((1, 4), float("nan")) if nothing else faces.boxes[:, :4].to(frame)
    cut = boxes.nan_to_num(0.0)
    crops, expanded = _cut(frame, cut, face_size=face_size)
    expanded = expanded.to(frame.dtype)
    if nothing:
        crops, expanded = torch.zeros_like(crops), torch.full_like(expanded, float("nan"))
        landmarks = frame.new_full((1, 136), float("nan"))
    else:
        corner, size = expanded[:, None, :2], (expanded[:, 2:] - expanded[:, :2])[:, None]
        landmarks = ((faces.landmarks.to(frame) - corner) / size).flatten(1)
    converted = {
        "face_id": i,
        "faces": crops,
        "boxes": boxes,
        "new_boxes": expanded,
        "poses": frame.new_full((1, 6), float("nan")) if nothing else _img2pose_signs(faces.pose).to(frame),
        "scores": frame.new_zeros(1) if nothing else faces.scores.to(frame),
        "image_size": tuple(frame.shape[2:]),
        "landmarks": landmarks,
    }
    if wants_resmasknet:
        larger, _ = _cut(frame, cut, expand_bbox=1.1, face_size=224)
        converted["resmasknet_faces"] = torch.full_like(larger, float("nan")) if nothing else larger
    return converted


def _img2pose_signs(pose: Tensor) -> Tensor:
    """Turn poses [n, 6] of `FoundFaces` into those of img2pose, which `Detectorv1.forward` turns into py-feat's columns."""
    pitch, roll, yaw, *place = pose.unbind(1)
    return torch.stack([-pitch, yaw, -roll, *place], 1)


def _cut(frame: Tensor, boxes: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """Cut py-feat's crops face by face: it copies the frame for each, which for a large photo of a group takes much memory."""
    crops, expanded = zip(*(extract_face_from_bbox_torch(frame, box[None], **options) for box in boxes), strict=True)
    return torch.cat(crops), torch.cat(expanded)


@contextmanager
def without_retinaface() -> Iterator[None]:
    """Keep `Detectorv1` from making, and fetching, a RetinaFace: py-feat has no way to leave its face model out."""
    before = feat.detector.Retinaface
    feat.detector.Retinaface = lambda device: None
    try:
        yield
    finally:
        feat.detector.Retinaface = before
