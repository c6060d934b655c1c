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

    Mirror images, by which `FaceFinder` steadies the points in photos, are read only where every frame is searched: that takes
    twice as long. The points differ by about 1 % of the distance between the eyes.

    Frames 0, 15, 30, … (multiples of `search_every`) are searched as photos are. In those between, FaceMesh reads each face
    again where it was in the frame before; where one is lost, or there was none, the frame is searched for upright faces. So
    what is found in a frame depends on the frames since the last such multiple and on nothing else: neither on how frames are
    put into batches, nor on where a run begins or was interrupted. Faces that enter the scene beside others are found at the
    next multiple. After missing frames, faces are followed from the last frame that is there; where the first frames of a
    stretch are missing, the next one is searched in their place.

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
        self._begun = -1  # the stretch that `_last` belongs to

    def needed_before(self, first: int) -> range:
        """Numbers of the frames that have to go through `find` before frame `first`, where the tracker begins in mid-video."""
        return range(first - first % self.search_every, first)

    def find(self, frames: Sequence[Tensor], numbers: Sequence[int] | None = None) -> list[FoundFaces]:
        """Find the faces of the next frames.

        Args:
            frames: uint8 [3, H, W] RGB each.
            numbers: of the frames, ascending; by default from the last call's on, or from 0. Numbers that are left out are
                frames that can't be read. To begin in mid-video, find the faces of `needed_before` first.

        Returns:
            The faces of each frame.

        Raises:
            ValueError: the numbers don't ascend, or are not as many as the frames.
        """
        numbers = range(self._number, self._number + len(frames)) if numbers is None else numbers
        if any(number < least for least, number in zip([self._number, *(n + 1 for n in numbers)], numbers, strict=False)):
            raise ValueError(f"the numbers of a video's frames must ascend, got {list(numbers)} after {self._number - 1}")
        numbered = list(zip(numbers, frames, strict=True))
        stretches = [list(group) for _, group in groupby(numbered, lambda pair: pair[0] // self.search_every)]
        cores = min(thread_count(), len(stretches)) if self.finder.device.type == "cpu" else 1
        with torch_threads(1):  # the networks are too small for several, with which the last digits would change
            if cores < 2:
                followed = self._follow(stretches)
            else:
                share = -(-len(stretches) // cores)
                parts = [stretches[start : start + share] for start in range(0, len(stretches), share)]
                with ThreadPoolExecutor(cores) as pool:
                    followed = [faces for part in pool.map(self._follow, parts) for faces in part]
        found = [faces for stretch in followed for faces in stretch]
        if found:
            self._number, self._last = numbers[-1] + 1, found[-1]
            self._begun = numbers[-1] // self.search_every
        return found

    @torch.no_grad()
    def _follow(self, stretches: Sequence[Sequence[tuple[int, Tensor]]]) -> list[list[FoundFaces]]:
        """The faces of frames of several stretches, each between two multiples of `search_every`, the first included.

        The stretches are followed side by side: FaceMesh reads faces of one frame of each at once.
        """
        begun = [stretch[0][0] // self.search_every == self._begun for stretch in stretches]
        found: list[list[FoundFaces]] = [[self._last] if known else [] for known in begun]
        for i in range(max(map(len, stretches), default=0)):
            there = [k for k, stretch in enumerate(stretches) if i < len(stretch)]
            known = [k for k in there if found[k] and len(found[k][-1])]
            followed = self.finder.follow([stretches[k][i][1] for k in known], [found[k][-1] for k in known]) if known else []
            faces_of = dict(zip(known, followed, strict=True))
            for k in there:
                faces = faces_of.get(k)
                if faces is None:
                    searched, frame = not found[k], stretches[k][i][1]
                    (faces,) = self.finder.find_alike([frame], self.threshold, searched, mirror=self.search_every == 1)
                found[k].append(faces)
        return [faces[1:] if known else faces for faces, known in zip(found, begun, strict=True)]


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
