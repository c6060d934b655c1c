"""Follow faces through a video: some frames are searched, between them each face is looked for where it was last."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgnet_plugin.faces.finder import FaceFinder, FoundFaces
from fgnet_plugin.utils.threads import thread_count, torch_threads

SEARCH_EVERY = 15
"""Frames from one search to the next, half a second of most videos."""
_SAME_FACE = 0.3  # intersection over union of a face's boxes in two frames


class FaceTracker:
    """Finds the faces of a video's frames.

    Frames 0, 15, 30, … (multiples of `search_every`) are searched as photos are. In those between, FaceMesh reads each face
    again where it was in the frame before; where one is lost, or there was none, the frame is searched for upright faces. So
    what is found in a frame depends on the frames since the last such multiple and on nothing else: neither on how frames are
    put into batches, nor on where a run begins or was interrupted. Faces that enter the scene beside others are found at the
    next multiple.

    Args:
        finder: of the faces.
        threshold: score in [0, 1] instead of the finder's.
        search_every: fewer than 15 where not all frames of the video are read.

    Example:
        >>> tracker = FaceTracker(FaceFinder())
        >>> found = tracker.find(frames[:40]) + tracker.find(frames[40:])  # doctest: +SKIP
    """

    def __init__(self, finder: FaceFinder, threshold: float | None = None, search_every: int = SEARCH_EVERY) -> None:
        self.finder, self.threshold = finder, finder.threshold if threshold is None else threshold
        self.search_every = search_every
        self._number, self._last = 0, FoundFaces.none()

    def needed_before(self, first: int) -> range:
        """Numbers of the frames that have to go through `find` before frame `first`, where the tracker begins in mid-video."""
        return range(first - first % self.search_every, first)

    def find(self, frames: Sequence[Tensor], first: int | None = None) -> list[FoundFaces]:
        """Find the faces of the next frames.

        Args:
            frames: uint8 [3, H, W] RGB each.
            first: number of the first one; by default the one after the last call's, or 0. Elsewhere the tracker can begin
                at multiples of `search_every` only.

        Returns:
            The faces of each frame.

        Raises:
            ValueError: another number.
        """
        first = self._number if first is None else first
        if first != self._number and first % self.search_every:
            raise ValueError(f"frame {first} follows neither the last one nor a multiple of {self.search_every}")
        numbered = [(number, frame) for number, frame in enumerate(frames, first)]
        stretches = [list(group) for _, group in groupby(numbered, lambda pair: pair[0] // self.search_every)]
        if self.finder.device.type == "cpu" and len(stretches) > 1:
            with torch_threads(1), ThreadPoolExecutor(min(thread_count(), len(stretches))) as pool:
                found = [faces for stretch in pool.map(self._follow, stretches) for faces in stretch]
        else:
            found = [faces for stretch in stretches for faces in self._follow(stretch)]
        if found:
            self._number, self._last = first + len(found), found[-1]
        return found

    @torch.no_grad()
    def _follow(self, stretch: Sequence[tuple[int, Tensor]]) -> list[FoundFaces]:
        """The faces of frames between two multiples of `search_every`, the first included."""
        found, last = [], self._last
        for number, frame in stretch:
            searched = number % self.search_every == 0
            faces = self.finder.follow(frame, last) if len(last) and not searched else None
            if faces is None:
                (faces,) = self.finder.find_alike([frame], self.threshold, turned=searched)
            found.append(faces)
            last = faces
        return found


def link_faces(frames: Sequence[int], boxes: npt.ArrayLike, patience: int = SEARCH_EVERY) -> npt.NDArray[np.int64]:
    """Number the persons of a video by where their faces are.

    A face is that of the person whose last box overlaps most with its own, if it does by 30 % (intersection over union) and
    was seen at most `patience` different frames ago.

    Args:
        frames: [n], frame of each face, in ascending order.
        boxes: [n, 4], x1, y1, x2, y2; NaN where the frame has no face.
        patience: see above.

    Returns:
        [n]: 0, 1, … in order of appearance; -1 for NaN.

    Example:
        >>> link_faces([0, 0, 1], [[0, 0, 9, 9], [50, 0, 59, 9], [51, 0, 60, 9]]).tolist()
        [0, 1, 1]
    """
    box = np.asarray(boxes, float).reshape(-1, 4)
    persons = np.full(len(box), -1)
    order = np.unique(np.asarray(frames), return_inverse=True)[1]
    last: list[tuple[int, npt.NDArray[np.float64]]] = []  # of each person: which frame, box
    for frame, group in groupby(range(len(box)), lambda row: int(order[row])):
        rows = [row for row in group if np.isfinite(box[row]).all()]
        near = [person for person, (seen, _) in enumerate(last) if frame - seen <= patience]
        pairs = sorted(((_overlap(box[row], last[person][1]), row, person) for row in rows for person in near), reverse=True)
        taken: set[int] = set()
        for overlap, row, person in pairs:
            if overlap >= _SAME_FACE and persons[row] < 0 and person not in taken:
                persons[row] = person
                taken.add(person)
        for row in rows:
            if persons[row] < 0:
                persons[row] = len(last)
                last.append((frame, box[row]))
            last[persons[row]] = frame, box[row]
    return persons


def _overlap(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Intersection over union."""
    edges = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    shared = edges.prod()
    return float(shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared))
