"""Faces and their 68 landmarks in photos, without a download: scikit-image's cascade and a small network of this package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgnet_plugin.faces.cascade import TILTS, Candidates, find_windows, merged
from fgnet_plugin.faces.crops import CROP_SIZE, MIRRORED, Square, crop_square, cut_crops, from_crop
from fgnet_plugin.faces.landmark_net import load_landmark_net
from fgnet_plugin.media.images import ImageLike, read_photo
from fgnet_plugin.utils.threads import thread_count, torch_threads

_FIRST_CONFIDENCE = 0.2  # a first look with less is no face: the second one costs as much again
_MOST_CANDIDATES = 64  # of a photo
_AGREE = 0.12  # mean distance of the landmarks of two looks, or of a crop and its mirror image, as a part of its side
_SCALE = 0.5, 2.0  # the second crop's side, as a multiple of the first's
_SAME = 0.5  # faces whose centres are closer than this part of the larger one's half side are one face
_CASCADE_SHARE = 0.2  # of the score; the rest is the network's
_SURE_SUPPORT = 20.0  # windows at which the cascade's share is full
_FOREHEAD = 0.25  # added above the landmarks for the box, as a part of their height
_BATCH = 64  # crops that go through the network at once


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """The n faces of one photo, the surest first; n may be 0. On the CPU."""

    boxes: Tensor
    """[n, 5] float32: x1, y1, x2, y2 in pixels of the photo, forehead to chin, perhaps beyond its border; score in [0, 1]."""
    landmarks: Tensor
    """[n, 68, 2] float32, in pixels of the photo, dlib's order."""

    @property
    def scores(self) -> Tensor:
        """[n] in [0, 1]."""
        return self.boxes[:, 4]

    def __len__(self) -> int:
        return len(self.boxes)


class FaceFinder:
    """Finds faces. Each photo is looked at by itself: nothing is carried from one frame of a video to the next.

    Args:
        weights: of the landmark network; by default those that come with the package.
        device: where the landmark network runs. The search itself runs on the CPU.
        threshold: score in [0, 1] from which something counts as a face.
        smallest_face: pixels from cheek to cheek of the smallest faces; by default 30 (faces of 40 px are then found almost
            always), or a 24th of the photo's longer side where that is more. Half of it takes about four times as long.
        thorough: look for tilted faces (15° to 35°) in every photo. Off, only where no upright one is found: a third of the
            time, and what a video wants. Upright faces come out the same either way.

    Raises:
        CheckpointError: weights that are missing or no landmark network's.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        device: torch.device | str = "cpu",
        threshold: float = 0.8,
        smallest_face: float | None = None,
        thorough: bool = True,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {threshold}")
        if smallest_face is not None and not smallest_face >= 8:
            raise ValueError(f"smallest_face must be at least 8 px, got {smallest_face}")
        self.net = load_landmark_net(weights, device)
        self.device = torch.device(device)
        self.threshold, self.smallest_face, self.thorough = threshold, smallest_face, thorough

    @torch.no_grad()
    def find(
        self, images: Iterable[ImageLike], threshold: float | None = None, thorough: bool | None = None
    ) -> list[FoundFaces]:
        """Faces of photos.

        Args:
            images: photos, of any sizes; see `read_photo`. A tensor [N, 3, H, W] is N photos.
            threshold, thorough: for this call, instead of the finder's own.

        Returns:
            For each photo its faces.

        Raises:
            TypeError, ValueError, OSError: what is no photo; see `read_photo`.
        """
        if isinstance(images, (str, Path)) or (isinstance(images, (np.ndarray, Tensor)) and images.ndim == 3):
            raise TypeError("images must be several photos; a single one goes in as [photo]")
        photos = [read_photo(image) for image in images]
        threshold = self.threshold if threshold is None else threshold
        thorough = self.thorough if thorough is None else thorough
        upright = self._search(photos, (0.0,))
        found = self._faces(photos, [merged(windows) for windows in upright], threshold)
        again = [i for i, faces in enumerate(found) if thorough or not len(faces)]
        tilted = self._search([photos[i] for i in again], TILTS)
        both = [merged(np.concatenate([upright[i], windows])) for i, windows in zip(again, tilted, strict=True)]
        for i, faces in zip(again, self._faces([photos[i] for i in again], both, threshold), strict=True):
            found[i] = _joint(found[i], faces)
        return found

    def _search(self, photos: Sequence[Tensor], tilts: Sequence[float]) -> list[npt.NDArray[np.float64]]:
        """The cascade's windows in each photo; several photos at once, one on each core."""
        if len(photos) < 2:
            return [find_windows(photo, self.smallest_face, tilts) for photo in photos]
        count = thread_count()
        with torch_threads(1), ThreadPoolExecutor(count) as pool:  # torch's own threads on top would only be in the way
            return list(pool.map(lambda photo: find_windows(photo, self.smallest_face, tilts), photos))

    def _faces(self, photos: Sequence[Tensor], candidates: Sequence[Candidates], threshold: float) -> list[FoundFaces]:
        """The candidates that the network takes for faces, in two looks: at the cascade's crop, at the straightened one."""
        owner = torch.tensor(
            [i for i, found in enumerate(candidates) for _ in found.support[:_MOST_CANDIDATES]], dtype=torch.int64
        )
        square = _joined([Square(*(value[:_MOST_CANDIDATES] for value in found.square)) for found in candidates])
        support = torch.cat([torch.empty(0), *(found.support[:_MOST_CANDIDATES] for found in candidates)])
        first, sure, _ = self._look(photos, owner, square)
        closer = crop_square(first)
        ratio = closer.side / square.side
        kept = (sure > _FIRST_CONFIDENCE) & (ratio > _SCALE[0]) & (ratio < _SCALE[1])
        owner, support, first, square = owner[kept], support[kept], first[kept], Square(*(value[kept] for value in closer))
        second, sure, apart = self._look(photos, owner, square, mirrored=True)
        apart = torch.maximum(apart, (second - first).norm(dim=-1).mean(1) / square.side)
        scores = (1 - _CASCADE_SHARE) * sure + _CASCADE_SHARE * (support / _SURE_SUPPORT).clamp(max=1)
        scores = torch.where(apart < _AGREE, scores, 0.0)
        kept = (scores >= threshold) & (scores > 0)
        owner, second, scores = owner[kept], second[kept], scores[kept]
        return [_distinct(second[owner == i], scores[owner == i]) for i in range(len(photos))]

    def _look(
        self, photos: Sequence[Tensor], owner: Tensor, square: Square, mirrored: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the network says of F crops, perhaps averaged with what it says of their mirror images.

        Returns:
            Landmarks [F, 68, 2] in pixels, confidences [F] in [0, 1], and how far the two answers lie apart, [F], as a part of
            the crop's side.
        """
        squares = [Square(*(value[owner == i] for value in square)) for i in range(len(photos))]
        crops = [cut_crops(photo, of_photo) for photo, of_photo in zip(photos, squares, strict=True)]
        points, confidences, apart = [torch.empty(0, 68, 2)], [torch.empty(0)], [torch.empty(0)]
        for chunk in torch.split(torch.cat([torch.empty(0, 3, CROP_SIZE, CROP_SIZE), *crops]), _BATCH):
            units, logits = other, other_logits = self.net(chunk.to(self.device))
            if mirrored:
                other, other_logits = self.net(chunk.flip(3).to(self.device))
                other = other[:, list(MIRRORED)] * other.new_tensor([-1.0, 1.0])
            points.append(((units + other) / 2).float().cpu())
            confidences.append(((logits + other_logits) / 2).float().sigmoid().cpu())
            apart.append((units - other).norm(dim=-1).mean(1).float().cpu() / 2)
        return from_crop(torch.cat(points), square), torch.cat(confidences), torch.cat(apart)


def find_faces(images: Iterable[ImageLike]) -> list[FoundFaces]:
    """Faces of photos, with the bundled weights on the CPU; see `FaceFinder`, which keeps the weights for more photos."""
    return FaceFinder().find(images)


def face_boxes(landmarks: Tensor) -> Tensor:
    """Landmarks [..., 68, 2] -> boxes from chin to forehead [..., 4]: x1, y1, x2, y2."""
    low, high = landmarks.amin(-2), landmarks.amax(-2)
    forehead = torch.stack([torch.zeros_like(low[..., 0]), _FOREHEAD * (high - low)[..., 1]], -1)
    return torch.cat([low - forehead, high], -1)


def _joined(squares: Sequence[Square]) -> Square:
    empty = torch.empty(0)
    return Square(
        torch.cat([empty.view(0, 2), *(square.centre for square in squares)]),
        torch.cat([empty, *(square.side for square in squares)]),
        torch.cat([empty, *(square.angle for square in squares)]),
    )


def _joint(upright: FoundFaces, both: FoundFaces) -> FoundFaces:
    """The upright faces as they are, whether or not tilted ones were looked for, and of the others what is new."""
    if not len(upright) or not len(both):
        return upright if len(upright) else both
    new = ~_same(upright.landmarks, both.landmarks).any(0)
    boxes, landmarks = torch.cat([upright.boxes, both.boxes[new]]), torch.cat([upright.landmarks, both.landmarks[new]])
    order = boxes[:, 4].argsort(descending=True, stable=True)
    return FoundFaces(boxes[order], landmarks[order])


def _same(some: Tensor, others: Tensor) -> Tensor:
    """Landmarks [n, 68, 2], [m, 68, 2] -> which of them lie on each other: [n, m] bool."""
    (centre, side, _), (other_centre, other_side, _) = crop_square(some), crop_square(others)
    distance = (centre[:, None] - other_centre).norm(dim=-1)
    return distance < _SAME * torch.maximum(side[:, None], other_side) / 2


def _distinct(landmarks: Tensor, scores: Tensor) -> FoundFaces:
    """The surest first, and of those that lie on each other the surest only."""
    order = scores.argsort(descending=True, stable=True)
    landmarks, scores = landmarks[order], scores[order]
    same = _same(landmarks, landmarks)
    kept: list[int] = []
    for i in range(len(scores)):
        if not same[i, kept].any():
            kept.append(i)
    boxes = torch.cat([face_boxes(landmarks[kept]), scores[kept, None]], 1)
    return FoundFaces(boxes, landmarks[kept])
