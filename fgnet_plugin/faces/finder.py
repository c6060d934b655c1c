"""Faces and their landmarks in photos, without a download: BlazeFace finds them, FaceMesh fits a mesh to each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fgnet_plugin.faces.blazeface import load_blazeface
from fgnet_plugin.faces.crops import Square, cut_crops, from_crop
from fgnet_plugin.faces.face_mesh import CROP_SIZE, POINTS, landmarks_68, load_face_mesh
from fgnet_plugin.faces.head_pose import head_pose
from fgnet_plugin.faces.search import SMALLEST_FACE, Detections, detect, detect_best
from fgnet_plugin.media.images import ImageLike, read_photo
from fgnet_plugin.utils.threads import thread_count, torch_threads

THRESHOLD = 0.5
"""Score from which something counts as a face by default."""
_PRESENCE = 0.9  # FaceMesh's, below which a crop shows no face; faces reach 0.999, cups and cats up to 0.89
_CROP_MARGIN = 1.5  # FaceMesh's crop, as a multiple of the longer side of the face's box
_EYE_CORNERS = 33, 263  # mesh points on a line that is level in FaceMesh's crop
_SETTLED, _MOST_FITS = math.radians(4), 4  # FaceMesh reads a face again while its crop turns by more, and at most so often
_SURELY_UPRIGHT = 0.85, math.radians(60)  # a face of lower score, or that leans more, may be upside down or sideways
_TURN_CROP = 128, 2.0  # pixels a side of the crops that tell, and their side as a multiple of the box's
_SAME = 0.3  # faces whose centres are closer than this part of the larger one's side are one face
_BATCH = 32  # crops, or frames, that go through a network at once on a GPU


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """The n faces of one photo, in order of falling scores; n may be 0. On the CPU, in pixels of the photo.

    The middle of the photo's first pixel is (0, 0).

    Example:
        >>> photo = torch.zeros(3, 480, 640, dtype=torch.uint8)  # nobody to be seen
        >>> [found] = find_faces([photo])
        >>> len(found), list(found.boxes.shape)
        (0, [0, 5])
    """

    boxes: Tensor
    """[n, 5] float32: x1, y1, x2, y2 from forehead to chin, perhaps beyond the photo's border; score in [0, 1]."""
    landmarks: Tensor
    """[n, 68, 2] float32, dlib's order."""
    mesh: Tensor
    """[n, 468, 3] float32, MediaPipe's order: x, y, and the depth away from the camera on the same scale."""
    presence: Tensor
    """[n] float32 in [0, 1]: how sure FaceMesh is of seeing a face."""
    pose: Tensor
    """[n, 6] float32: pitch, roll and yaw in radians, and the place in cm; see `head_pose`."""

    @classmethod
    def none(cls) -> FoundFaces:
        """No face."""
        shapes = (0, 5), (0, 68, 2), (0, POINTS, 3), (0,), (0, 6)
        return cls(*(torch.empty(shape) for shape in shapes))

    @property
    def scores(self) -> Tensor:
        """[n] in [0, 1]."""
        return self.boxes[:, 4]

    def __len__(self) -> int:
        return len(self.boxes)


class FaceFinder:
    """Finds faces. Each photo is looked at by itself: nothing is carried from one frame of a video to the next.

    Args:
        device: where the networks run. On a GPU in half precision, photos of one size at once.
        threshold: score in [0, 1] from which something counts as a face.
        smallest_face: pixels from cheek to cheek of the smallest faces that are looked for; half of it takes up to four times
            as long.

    Raises:
        CheckpointError: the bundled weights are missing.

    Example:
        >>> from skimage import data
        >>> (found,) = FaceFinder().find([data.astronaut()])
        >>> len(found), list(found.landmarks.shape), round(found.presence.item(), 2)
        (1, [1, 68, 2], 1.0)
    """

    def __init__(
        self, device: torch.device | str = "cpu", threshold: float = THRESHOLD, smallest_face: float = SMALLEST_FACE
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {threshold}")
        if not smallest_face >= 8:
            raise ValueError(f"smallest_face must be at least 8 px, got {smallest_face}")
        self.device = torch.device(device)
        self.detector, self.mesh = load_blazeface(self.device), load_face_mesh(self.device)
        if self.device.type != "cpu":
            self.detector.half()
            self.mesh.half()
        self.threshold, self.smallest_face = threshold, smallest_face

    @torch.no_grad()
    def find(self, images: Iterable[ImageLike], threshold: float | None = None) -> list[FoundFaces]:
        """Find the faces of photos.

        Faces that lean by up to 45° are found at once. Where most lean more, or there is none, the photo is turned by quarters.

        Args:
            images: photos, of any sizes; see `read_photo`. A tensor [N, 3, H, W] is N photos.
            threshold: for this call, instead of the finder's.

        Returns:
            For each photo its faces.

        Raises:
            TypeError, ValueError, OSError: an image is no photo; see `read_photo`.

        Example:
            >>> found = FaceFinder().find(["party.jpg", "portrait.jpg"], threshold=0.7)  # doctest: +SKIP
            >>> [len(faces) for faces in found]  # doctest: +SKIP
            [5, 1]
        """
        if isinstance(images, (str, Path)) or (isinstance(images, (np.ndarray, Tensor)) and images.ndim == 3):
            raise TypeError("images must be several photos; a single one goes in as [photo]")
        photos = [read_photo(image) for image in images]
        threshold = self.threshold if threshold is None else threshold
        if self.device.type == "cpu":
            return self._find_on_cores(photos, threshold)
        found: dict[int, FoundFaces] = {}
        for indices in _of_one_size(photos):
            found.update(zip(indices, self.find_alike([photos[i] for i in indices], threshold), strict=True))
        return [found[i] for i in range(len(photos))]

    def _find_on_cores(self, photos: Sequence[Tensor], threshold: float) -> list[FoundFaces]:
        """One photo on each core: the networks are too small for several, and the numbers don't depend on the other photos."""

        @torch.no_grad()
        def find_one(photo: Tensor) -> FoundFaces:
            return self.find_alike([photo], threshold)[0]

        cores = min(thread_count(), len(photos))
        with torch_threads(1):
            if cores < 2:
                return [find_one(photo) for photo in photos]
            with ThreadPoolExecutor(cores) as pool:
                return list(pool.map(find_one, photos))

    def find_alike(
        self, photos: Sequence[Tensor], threshold: float, turned: bool = True, mirror: bool = True
    ) -> list[FoundFaces]:
        """Find the faces of photos of one size [3, H, W], which the networks read at once; see `find`.

        Not `turned`, photos without an upright face are not searched again from other sides. `mirror`: see `fit_mesh`.
        """
        found: list[list[FoundFaces]] = [[] for _ in photos]
        left = list(range(len(photos)))
        for quarters in (0, 2, 1, 3) if turned else (0,):
            if not left:
                break
            views = torch.stack([photos[i].rot90(quarters, (1, 2)) for i in left])
            for i, detections in zip(left, detect(self.detector, views, threshold, self.smallest_face), strict=True):
                found[i].append(self._fit(photos[i], _turned_back(detections, quarters, photos[i]), mirror))
            left = [i for i in left if not _mostly_upright(found[i][-1], quarters)]
        return [distinct(faces) for faces in found]

    def _fit(self, photo: Tensor, detections: Detections, mirror: bool) -> FoundFaces:
        """The detections that FaceMesh takes for faces, with their meshes."""
        squares, scores = self._upright(photo, square_of_detections(detections), detections.scores)
        mesh, presence = self.fit_mesh(photo, squares)
        kept = presence > _PRESENCE
        mesh, squares, scores = mesh[kept], Square(*(value[kept] for value in squares)), scores[kept]
        for _ in range(_MOST_FITS):
            closer = square_of_mesh(mesh)
            moving = (closer.angle - squares.angle).cos() < math.cos(_SETTLED)
            if not moving.any():
                break
            mesh[moving], _ = self.fit_mesh(photo, Square(*(value[moving] for value in closer)))
            squares = closer
        mesh, presence = self.fit_mesh(photo, square_of_mesh(mesh), mirror)
        kept = presence > _PRESENCE
        return self._faces_of_meshes(mesh[kept], presence[kept], scores[kept], photo.shape[1:])

    def follow(self, photos: Sequence[Tensor], last: Sequence[FoundFaces]) -> list[FoundFaces | None]:
        """Fit meshes to the faces of the frames before, of several videos or parts of one.

        Args:
            photos: [3, H, W] each.
            last: the faces of the frame before each of them.

        Returns:
            The faces of each photo; None where one of them is not there any more.
        """
        squares = [square_of_mesh(faces.mesh) for faces in last]
        crops = torch.cat([cut_crops(photo, square, CROP_SIZE) for photo, square in zip(photos, squares, strict=True)])
        meshes, presences = self._read_crops(crops, Square(*(torch.cat(values) for values in zip(*squares, strict=True))))
        counts = [len(faces) for faces in last]
        found: list[FoundFaces | None] = []
        for photo, faces, mesh, presence in zip(
            photos, last, torch.split(meshes, counts), torch.split(presences, counts), strict=True
        ):
            there = bool((presence > _PRESENCE).all())
            followed = self._faces_of_meshes(mesh, presence, faces.scores, photo.shape[1:]) if there else None
            found.append(followed if followed is None or len(followed) < 2 else distinct([followed]))
        return found

    def _faces_of_meshes(self, mesh: Tensor, presence: Tensor, scores: Tensor, size: Sequence[int]) -> FoundFaces:
        """Describe faces by their meshes [n, 468, 3], presences [n] and scores [n] in a photo of that height and width."""
        boxes = torch.cat([mesh[..., :2].amin(1), mesh[..., :2].amax(1), scores[:, None]], 1)
        pose = head_pose(mesh, self.mesh.canonical.float().cpu(), *size)
        return FoundFaces(boxes, landmarks_68(mesh), mesh, presence, pose)

    def _upright(self, photo: Tensor, squares: Square, scores: Tensor) -> tuple[Square, Tensor]:
        """Turn the squares of doubtful detections so that the faces in them stand upright.

        BlazeFace finds some faces that stand on their heads or lie on their sides, takes chins for foreheads, and is less sure
        than of upright faces. So it looks at each doubtful one from all four sides.
        """
        score, lean = _SURELY_UPRIGHT
        size, margin = _TURN_CROP
        squares, scores = Square(*(value.clone() for value in squares)), scores.clone()
        for i in ((scores < score) | (squares.angle.abs() > lean)).nonzero()[:, 0].tolist():
            centre, side, angle = (value[i] for value in squares)
            turns = angle + torch.arange(4) * (math.pi / 2)
            views = Square(centre.expand(4, 2), (side * margin / _CROP_MARGIN).expand(4), turns)
            seen = [detect_best(self.detector, crop) for crop in torch.split(cut_crops(photo, views, size), 1)]
            best = max(range(4), key=lambda view: float(seen[view].scores))
            if best:
                inside = square_of_detections(seen[best])
                view = Square(*(value[best : best + 1] for value in views))
                squares.centre[i] = from_crop(inside.centre[None] * (2 / size) - 1, view)[0, 0]
                squares.side[i] = (inside.side * view.side / size)[0]
                squares.angle[i] = inside.angle[0] + turns[best]
                scores[i] = torch.maximum(scores[i : i + 1], seen[best].scores)[0]
        return squares, scores

    def fit_mesh(self, photo: Tensor, squares: Square, mirror: bool = False) -> tuple[Tensor, Tensor]:
        """Fit meshes to the faces in squares of a photo.

        Args:
            photo: uint8 [3, H, W].
            squares: see `square_of_mesh`.
            mirror: average with the mesh of the mirror image, in twice the time: FaceMesh's points lie a little to one side.

        Returns:
            [n, 468, 3] in pixels of the photo, and presence [n] in [0, 1]; on the CPU.
        """
        return self._read_crops(cut_crops(photo, squares, CROP_SIZE), squares, mirror)

    def _read_crops(self, crops: Tensor, squares: Square, mirror: bool = False) -> tuple[Tensor, Tensor]:
        """`fit_mesh` of crops in [-1, 1] that were cut out already."""
        weights = next(self.mesh.parameters())
        points, presences = [torch.empty(0, POINTS, 3)], [torch.empty(0)]
        for part in torch.split(((crops + 1) / 2).to(weights.device, weights.dtype), _BATCH):
            both = torch.cat([part, part.flip(3)]) if mirror else part
            found, logits = (value.cpu() for value in self.mesh(both.contiguous(memory_format=torch.channels_last)))
            if mirror:
                (found, mirrored), (logits, other_logits) = found.chunk(2), logits.chunk(2)
                mirrored = mirrored[:, self.mesh.mirrored] * torch.tensor([-1.0, 1, 1]) + torch.tensor([CROP_SIZE, 0.0, 0])
                found, logits = (found + mirrored) / 2, (logits + other_logits) / 2
            points.append(found)
            presences.append(logits.sigmoid())
        in_crop = torch.cat(points) * (2 / CROP_SIZE)  # 0 to 2
        flat = from_crop(in_crop[..., :2] - 1, squares)
        return torch.cat([flat, in_crop[..., 2:] * (squares.side / 2)[:, None, None]], 2), torch.cat(presences)


def find_faces(images: Iterable[ImageLike]) -> list[FoundFaces]:
    """Find the faces of photos on the CPU; see `FaceFinder`, which keeps the networks for more photos.

    Example:
        >>> from skimage import data
        >>> [found] = find_faces([data.astronaut()])
        >>> found.boxes[0, :4].round().tolist()
        [178.0, 68.0, 272.0, 177.0]
    """
    return FaceFinder().find(images)


def square_of_detections(found: Detections) -> Square:
    """FaceMesh's crops of detected faces: about the box, 1.5 times its longer side, the eyes level."""
    low, high = found.boxes[:, :2], found.boxes[:, 2:]
    across = found.points[:, 1] - found.points[:, 0]
    return Square((low + high) / 2, _CROP_MARGIN * (high - low).amax(1), torch.atan2(across[:, 1], across[:, 0]))


def square_of_mesh(mesh: Tensor) -> Square:
    """FaceMesh's crops of faces whose mesh [n, 468, 3] is known, from this or the last frame."""
    points = mesh[..., :2]
    across = points[:, _EYE_CORNERS[1]] - points[:, _EYE_CORNERS[0]]
    low, high = points.amin(1), points.amax(1)
    return Square((low + high) / 2, _CROP_MARGIN * (high - low).amax(1), torch.atan2(across[:, 1], across[:, 0]))


def _of_one_size(photos: Sequence[Tensor]) -> Iterable[list[int]]:
    """Numbers of photos of one size, at most `_BATCH` together."""
    sizes: dict[torch.Size, list[int]] = {}
    for i, photo in enumerate(photos):
        sizes.setdefault(photo.shape, []).append(i)
    for indices in sizes.values():
        yield from (indices[start : start + _BATCH] for start in range(0, len(indices), _BATCH))


def _turned_back(found: Detections, quarters: int, photo: Tensor) -> Detections:
    """Detections in the photo turned counter-clockwise by so many quarters -> in the photo."""
    if not quarters:
        return found
    height, width = photo.shape[1:]
    corners = torch.cat([found.boxes.view(-1, 2, 2), found.points], 1)  # [n, 8, 2]
    x, y = corners.unbind(-1)
    turned = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}[quarters]
    corners = torch.stack(turned, -1)
    low, high = corners[:, :2].amin(1), corners[:, :2].amax(1)
    return Detections(torch.cat([low, high], 1), corners[:, 2:], found.scores)


def _mostly_upright(faces: FoundFaces, quarters: int) -> bool:
    """Whether half of the faces lean by at most 60° in the photo turned counter-clockwise by so many quarters."""
    lean = square_of_mesh(faces.mesh).angle - quarters * (math.pi / 2)
    upright = lean.cos() > math.cos(_SURELY_UPRIGHT[1])
    return len(faces) > 0 and 2 * int(upright.sum()) >= len(faces)


def distinct(parts: Sequence[FoundFaces]) -> FoundFaces:
    """All faces in order of falling scores; of those that lie on each other the first one only."""
    joined = FoundFaces(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(FoundFaces)))
    boxes = joined.boxes
    order = boxes[:, 4].argsort(descending=True, stable=True)
    low, high = boxes[order, :2], boxes[order, 2:4]
    centre, side = (low + high) / 2, (high - low).amax(1)
    close = (centre[:, None] - centre).norm(dim=-1) < _SAME * torch.maximum(side[:, None], side)
    kept: list[int] = []
    for i in range(len(order)):
        if not close[i, kept].any():
            kept.append(i)
    chosen = order[kept]
    return FoundFaces(*(getattr(joined, field.name)[chosen] for field in fields(FoundFaces)))
