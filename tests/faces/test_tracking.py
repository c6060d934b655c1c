"""Faces followed through videos: the same faces in any batches, and who is who."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from photos import read_frames
from torch import Tensor

from fgnet_plugin.faces.finder import FaceFinder, FoundFaces
from fgnet_plugin.faces.tracking import SEARCH_EVERY, FaceTracker, link_faces


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def frames() -> list[Tensor]:
    return read_frames("single_face.mp4", range(40))


@pytest.fixture(scope="module")
def at_once(finder: FaceFinder, frames: list[Tensor]) -> list[FoundFaces]:
    return FaceTracker(finder).find(frames)


def same(some: Sequence[FoundFaces], others: Sequence[FoundFaces]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(torch.equal(one.mesh, other.mesh) and torch.equal(one.boxes, other.boxes) for one, other in pairs)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_batches(size: int, finder: FaceFinder, frames: list[Tensor], at_once: list[FoundFaces]) -> None:
    tracker = FaceTracker(finder)
    found = [faces for start in range(0, len(frames), size) for faces in tracker.find(frames[start : start + size])]
    assert same(found, at_once)


@pytest.mark.parametrize("first", [15, 22, 37])
def test_beginning_in_mid_video(first: int, finder: FaceFinder, frames: list[Tensor], at_once: list[FoundFaces]) -> None:
    tracker = FaceTracker(finder)
    needed = tracker.needed_before(first)
    assert len(needed) == first % SEARCH_EVERY
    tracker.find([frames[i] for i in needed], needed)
    assert same(tracker.find(frames[first:], range(first, len(frames))), at_once[first:])


def test_frames_out_of_order(finder: FaceFinder, frames: list[Tensor]) -> None:
    tracker = FaceTracker(finder)
    with pytest.raises(ValueError, match=r"must ascend, got \[8, 7\] after -1"):
        tracker.find(frames[7:9], [8, 7])
    with pytest.raises(ValueError, match="longer"):
        tracker.find(frames[7:9], [7])


@pytest.mark.parametrize("missing", [range(5, 9), range(13, 18), range(15, 16)])
def test_missing_frames_leave_the_others_independent_of_batches(
    missing: range, finder: FaceFinder, frames: list[Tensor], at_once: list[FoundFaces]
) -> None:
    numbers = [i for i in range(len(frames)) if i not in missing]
    found = FaceTracker(finder).find([frames[i] for i in numbers], numbers)
    tracker, singly = FaceTracker(finder), []
    for i in numbers:
        singly += tracker.find([frames[i]], [i])
    assert same(found, singly)
    before = [i for i in numbers if i < missing.start]
    assert same(found[: len(before)], at_once[: len(before)])
    later = [k for k, i in enumerate(numbers) if i >= (missing.stop - 1) // SEARCH_EVERY * SEARCH_EVERY + SEARCH_EVERY]
    assert same([found[k] for k in later], [at_once[numbers[k]] for k in later])


def test_followed_faces_are_those_that_a_search_finds(
    finder: FaceFinder, frames: list[Tensor], at_once: list[FoundFaces]
) -> None:
    for number in (0, 7, 14, 29, 39):
        (searched,) = finder.find([frames[number]])
        followed = at_once[number]
        assert len(followed) == len(searched) == 1
        apart = (followed.landmarks - searched.landmarks).norm(dim=-1).mean()
        assert apart < 0.03 * (searched.boxes[0, 2] - searched.boxes[0, 0])


def test_faces_that_leave_and_come(finder: FaceFinder, frames: list[Tensor]) -> None:
    """A lost face is not carried on, and one that enters an empty scene is found at once."""
    empty = torch.full_like(frames[0], 90)
    scene = [*frames[:4], *[empty] * 4, *frames[4:8]]
    assert [len(faces) for faces in FaceTracker(finder).find(scene)] == [1] * 4 + [0] * 4 + [1] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spans"), [("WolfgangLanger_Pexels.mp4", [(0, 60), (226, 472)]), ("single_face.mp4", [(0, 72)])]
)
def test_every_frame_with_a_visible_face(name: str, spans: list[tuple[int, int]], finder: FaceFinder) -> None:
    found = FaceTracker(finder).find(read_frames(name, range(472)))
    assert all(len(faces) == 1 for start, stop in spans for faces in found[start:stop])


def test_who_is_who() -> None:
    """Two persons cross the scene; one leaves and another one comes to the place."""
    left, right, gone = [0.0, 0, 10, 10], [100.0, 0, 110, 10], [np.nan] * 4
    frames, boxes, persons = zip(
        (0, left, 0), (0, right, 1), (1, [2.0, 0, 12, 10], 0), (1, [98.0, 0, 108, 10], 1),
        (2, [96.0, 0, 106, 10], 1), (2, [4.0, 0, 14, 10], 0), (3, gone, -1),
        (4, [5.0, 0, 15, 10], 0), (30, [5.0, 0, 15, 10], 0),
        strict=True,
    )  # fmt: skip
    assert link_faces(frames, boxes).tolist() == list(persons)
    assert link_faces([0, 1, 2, 3], [left, gone, gone, left], patience=2).tolist() == [0, -1, -1, 1]
    assert link_faces([], np.empty((0, 4))).tolist() == []
