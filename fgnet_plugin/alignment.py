"""Photo + 68 landmarks -> the aligned face that FG-Net reads, and back.

FFHQ's alignment (Karras et al.: A Style-Based Generator Architecture for GANs, CVPR 2019), which the corpora of FG-Net went
through, on any device and for many faces at once. FFHQ samples 1024 px bilinearly and reduces them; twice the size of
the result is enough to agree with it within 55 dB, and whatever of the photo no face needs is never touched.

Pixel coordinates are indices, of photos and faces alike: (0, 0) is the centre of the first pixel, x comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.network.ops import kernels
from fgnet_plugin.network.ops.crop import TRUNCATION, ffhq_crop
from fgnet_plugin.network.ops.sampling import gaussian, grid, lanczos, like, reduced, sampled, working
from fgnet_plugin.network.ops.transfer import to_device

Landmarks = Tensor | npt.NDArray[np.floating]

_FFHQ_SIZE = 256  # px a side of the faces that the published networks read
_OVERSAMPLING = 2, 4  # samples per pixel of the result, along each side: of most faces, of large ones; FFHQ has 4 for all
_LARGE = 2.0  # a large face's square has more pixels a side, as a multiple of the result's: few samples would miss some
_BLUR = 0.02  # standard deviation beyond the border, as a share of the square's side
_LEAST_SIDE = 4.0  # px; a square of less is no face
_TOGETHER = 32  # faces sampled at once; on the CPU, one on each core


@dataclass(frozen=True, eq=False)
class AlignedFaces:
    """F aligned faces and where they came from."""

    faces: Tensor
    """[F, 3, size, size], dtype, range and device of the photos; or, `normalised`, what FG-Net reads."""
    photo: Tensor
    """[F] int64: which photo each face is from. Faces keep the order of photos and, within a photo, of its landmarks."""
    to_photo: Tensor
    """[F, 2, 3] float32: pixel (x, y, 1) of the aligned face -> pixel of the photo."""
    photo_sizes: tuple[tuple[int, int], ...]
    """Height and width of each photo (not of each face)."""
    normalised: bool = False
    """Whether `faces` are (x/255 - 0.5)/0.5 of 8-bit values, channels-last, as `align_for_network` may make them."""

    def __len__(self) -> int:
        return len(self.faces)

    def network_input(self) -> Tensor:
        """[F, 3, size, size] in [-1, 1], what FG-Net reads of faces in [0, 255]: `faces` themselves where `normalised`."""
        return self.faces if self.normalised else (self.faces / 255 - 0.5) / 0.5

    def pictures(self) -> Tensor:
        """[F, 3, size, size] uint8, what to show of faces in [0, 255]; of normalised ones, a level off at most."""
        faces = (self.faces.float() * 0.5 + 0.5) * 255 if self.normalised else self.faces
        return faces if faces.dtype == torch.uint8 else faces.round().clamp(0, 255).to(torch.uint8)

    def points_to_photo(self, points: Tensor) -> Tensor:
        """Points of the aligned faces -> pixels of their photos; [F, P, 2] both."""
        linear, shift = self.to_photo[:, :, :2].to(points), self.to_photo[:, None, :, 2].to(points)
        return points @ linear.transpose(1, 2) + shift

    def points_to_face(self, points: Tensor) -> Tensor:
        """Pixels of the photos -> points of the aligned faces: the inverse of `points_to_photo`; [F, P, 2] both."""
        linear, shift = self.to_photo[:, :, :2].to(points), self.to_photo[:, None, :, 2].to(points)
        return (points - shift) @ torch.linalg.inv(linear).transpose(1, 2)

    def heatmaps_to_photo(self, heatmaps: Tensor, boxes: Sequence[tuple[int, int, int, int]] | None = None) -> list[Tensor]:
        """The faces' maps on the pixels of their photos, bilinearly; 0 outside of the aligned square.

        Args:
            heatmaps: [F, A, h, w] floating point. Pixel j of a map is pixel ``j · size / w`` of the aligned face: where the
                training targets have it.
            boxes: F parts of the photos, (x0, y0, x1, y1) in pixels, x1 and y1 exclusive: only these are computed.

        Returns:
            For each face [A, H, W], the size of its photo, or with `boxes` [A, y1 - y0, x1 - x0]. A map of a full HD photo
            takes 8 MB.

        Raises:
            ValueError: another number of faces or boxes, or a box without a pixel.
        """
        from kornia.geometry.transform import warp_affine  # its import takes seconds, and only this needs it

        if heatmaps.ndim != 4 or len(heatmaps) != len(self):
            raise ValueError(f"heatmaps must have shape [{len(self)}, A, h, w], got {list(heatmaps.shape)}")
        if boxes is None:
            boxes = [(0, 0, self.photo_sizes[photo][1], self.photo_sizes[photo][0]) for photo in self.photo.tolist()]
        if len(boxes) != len(self) or any(len(box) != 4 or box[2] <= box[0] or box[3] <= box[1] for box in boxes):
            raise ValueError(f"boxes must be {len(self)} times (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {list(boxes)}")
        size, (h, w) = self.faces.shape[-1], heatmaps.shape[2:]
        matrix = self.to_photo.to(heatmaps) * heatmaps.new_tensor([size / w, size / h, 1.0])
        found = []
        for maps, of_face, (x0, y0, x1, y1) in zip(heatmaps, matrix, boxes, strict=True):
            shifted = of_face - of_face.new_tensor([[0.0, 0.0, x0], [0.0, 0.0, y0]])
            found.append(warp_affine(maps[None], shifted[None], (y1 - y0, x1 - x0), align_corners=True)[0])
        return found


def ffhq_square(landmarks: Tensor) -> Tensor:
    """Corners of the square that FFHQ cuts out for a face.

    Its x axis runs along the line of the eyes, averaged with the normal of the line from eyes to mouth; half its side is
    the larger of twice the distance of the eyes and 1.8 times that of eyes and mouth; its centre lies a tenth of the way
    from eyes to mouth.

    Args:
        landmarks: [..., 68, 2] floating point.

    Returns:
        [..., 4, 2]: top left, bottom left, bottom right and top right as the face sees it, in the landmarks' coordinates.
        NaN where all landmarks are equal.

    Raises:
        ValueError: another shape.

    Example:
        >>> face = torch.zeros(68, 2)
        >>> face[42:48, 0], face[48], face[54] = 40.0, torch.tensor([0.0, 50.0]), torch.tensor([40.0, 50.0])
        >>> ffhq_square(face).tolist()
        [[-70.0, -85.0], [-70.0, 95.0], [110.0, 95.0], [110.0, -85.0]]
    """
    if landmarks.shape[-2:] != (68, 2):
        raise ValueError(f"landmarks must have shape [..., 68, 2], got {list(landmarks.shape)}")
    right_eye, left_eye = landmarks[..., 36:42, :].mean(-2), landmarks[..., 42:48, :].mean(-2)
    eyes, across = (right_eye + left_eye) / 2, left_eye - right_eye
    down = (landmarks[..., 48, :] + landmarks[..., 54, :]) / 2 - eyes
    x = across - _quarter_turn(down)
    half = torch.maximum(2.0 * across.norm(dim=-1), 1.8 * down.norm(dim=-1))
    x = x / x.norm(dim=-1, keepdim=True) * half[..., None]
    y = _quarter_turn(x)
    centre = eyes + 0.1 * down
    return torch.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y], -2)


def _quarter_turn(vector: Tensor) -> Tensor:
    """(x, y) -> (-y, x)."""
    x, y = vector.unbind(-1)
    return torch.stack([-y, x], -1)


@torch.no_grad()
def align_faces(
    images: Tensor | Sequence[Tensor], landmarks: Landmarks | Sequence[Landmarks], size: int = 256, rounded: bool = True
) -> AlignedFaces:
    """Cuts the faces out of photos, upright and of one size, as FFHQ does.

    Where the square leaves the photo, the photo goes on mirrored, blurred and fading to its median colour.
    The result of a face does not depend on the others. It carries no gradient.

    Args:
        images: photos, RGB: [N, 3, H, W], or a sequence of N photos [3, H, W] of any sizes, on one device; uint8 or
            floating point of any range.
        landmarks: in pixels of the photos, tensors or numpy arrays: [N, 68, 2] for one face a photo, or a sequence of N,
            each [n, 68, 2], for n faces (0 or more) of that photo.
        size: pixels a side of the aligned faces. 128, 64, … are the 256 px face averaged over 2×2, 4×4, … pixels: what a
            small network is trained on.
        rounded: faces of uint8 photos are uint8, rounded as FFHQ's are. Without, they are float32 in [0, 255], the same but
            for the rounding: then a landmark that moves a little never changes a pixel by a whole level.

    Returns:
        `AlignedFaces`: F = all faces of all photos.

    Raises:
        TypeError: photos are no tensors or of another dtype.
        ValueError: wrong shapes or numbers; landmarks that are NaN, all equal, or whose square lies outside of the photo.
            The message names photo and face; leave such faces out.

    Example:
        >>> photo = torch.zeros(1, 3, 200, 300, dtype=torch.uint8)
        >>> points = 100 + 20 * torch.randn(1, 68, 2, generator=torch.Generator().manual_seed(0))
        >>> aligned = align_faces(photo, points)
        >>> aligned.faces.shape, aligned.photo
        (torch.Size([1, 3, 256, 256]), tensor([0]))
        >>> torch.allclose(aligned.points_to_photo(aligned.points_to_face(points)), points, atol=1e-3)
        True
    """
    return _aligned(images, landmarks, size, rounded, None)


@torch.no_grad()
def align_for_network(
    images: Tensor | Sequence[Tensor], landmarks: Landmarks | Sequence[Landmarks], size: int, dtype: torch.dtype
) -> AlignedFaces:
    """`align_faces`, not rounded, for FG-Net to read: in as few passes over the faces as the device has.

    Where `kernels.wanted`, faces of uint8 photos come out normalised, channels-last and in the dtype asked for, most of them
    written so by one kernel. Elsewhere they are those of ``align_faces(…, rounded=False)``. `AlignedFaces.network_input` and
    `AlignedFaces.pictures` give what is needed of either.

    Args:
        images, landmarks, size: as there; photos in [0, 255].
        dtype: of normalised faces: float32, bfloat16 or float16.

    Raises:
        TypeError, ValueError: as there.
    """
    return _aligned(images, landmarks, size, False, dtype)


def _aligned(
    images: Tensor | Sequence[Tensor],
    landmarks: Landmarks | Sequence[Landmarks],
    size: int,
    rounded: bool,
    network: torch.dtype | None,
) -> AlignedFaces:
    """`align_faces`, or `align_for_network` with faces of the dtype `network`."""
    if size < 8:
        raise ValueError(f"size must be at least 8 px, got {size}")
    if size < _FFHQ_SIZE and _FFHQ_SIZE % size == 0:
        large = _aligned(images, landmarks, _FFHQ_SIZE, rounded, None if network is None else torch.float32)
        return _averaged(large, _FFHQ_SIZE // size, network)
    photos = _photos(images)
    points, photo_of = _points(landmarks, len(photos))
    device, dtype = (photos[0].device, photos[0].dtype) if photos else (torch.device("cpu"), torch.uint8)
    corners = ffhq_square(points)  # on the CPU in float64: the whole numbers below must come out the same everywhere
    _check_squares(corners, photo_of, photos)
    rounded = rounded or dtype != torch.uint8
    fused = dtype == torch.uint8 and bool(photos) and kernels.wanted(photos[0])
    result = _Result.of(len(corners), size, dtype if rounded else torch.float32, device, network if fused else None)
    seen = torch.empty_like(corners)
    plain: dict[tuple[int, ...], list[tuple[int, _Source]]] = {}
    cropped: dict[int, list[tuple[int, _Source]]] = {}
    for i, photo in enumerate(photo_of):
        source = _Source.of(photos[photo], corners[i], size)
        seen[i] = source.seen
        if source.padding:
            result.write([i], _finish(_padded_face(source, size), [source], rounded))
        elif fused and source.picture.dtype == torch.uint8:  # it was not shrunk
            cropped.setdefault(source.factor(size), []).append((i, source))
        else:
            plain.setdefault((*source.shape, source.samples(size, size)), []).append((i, source))
    for factor, alike in cropped.items():
        which, sources = zip(*alike, strict=True)
        squares = torch.stack([source.positions(size, 0) for source in sources])
        pictures = [source.picture for source in sources]
        found = ffhq_crop(pictures, squares, factor, size, network or torch.float32, normalised=result.normalised)
        result.take(which, found.round_() if rounded else found)
    together = torch.get_num_threads() if device.type == "cpu" else _TOGETHER
    for alike in plain.values():
        for start in range(0, len(alike), together):
            which, sources = zip(*alike[start : start + together], strict=True)
            result.write(which, _finish(_sampled_face(sources, size), sources, rounded))
    return AlignedFaces(
        result.faces,
        to_device(torch.tensor(photo_of, dtype=torch.int64, device="cpu"), device),
        to_device(_to_photo(seen, size).float(), device),
        tuple((photo.shape[1], photo.shape[2]) for photo in photos),
        result.normalised,
    )


class _Result:
    """Faces that are written part by part: as they are, or normalised."""

    def __init__(self, faces: Tensor, normalised: bool) -> None:
        self.faces, self.normalised = faces, normalised

    @staticmethod
    def of(count: int, size: int, dtype: torch.dtype, device: torch.device, network: torch.dtype | None) -> _Result:
        """For that many faces: of `dtype`; or, with `network`, normalised, of that dtype, channels-last."""
        if network is None:
            return _Result(torch.empty(count, 3, size, size, dtype=dtype, device=device), False)
        return _Result(torch.empty(count, size, size, 3, dtype=network, device=device).permute(0, 3, 1, 2), True)

    def write(self, which: Sequence[int], faces: Tensor) -> None:
        """Copies faces in the range of their photos to the places `which`."""
        self._copy(which, (faces / 255 - 0.5) / 0.5 if self.normalised else faces)

    def take(self, which: Sequence[int], faces: Tensor) -> None:
        """The same of faces that `ffhq_crop` made for this result; if they are all of them, without a copy."""
        if self.normalised and len(which) == len(self.faces):  # `which` ascends
            self.faces = faces
        else:
            self._copy(which, faces)

    def _copy(self, which: Sequence[int], faces: Tensor) -> None:
        places = to_device(torch.tensor(which, device="cpu"), self.faces.device)
        self.faces.index_copy_(0, places, faces.to(self.faces.dtype))


def _averaged(aligned: AlignedFaces, factor: int, network: torch.dtype | None) -> AlignedFaces:
    """Smaller faces: means of factor × factor pixels; normalised ones of the dtype `network`."""
    faces = F.avg_pool2d(aligned.faces.to(working(aligned.faces.dtype)), factor) if len(aligned) else aligned.faces
    if not len(aligned):
        faces = faces.new_empty(0, 3, faces.shape[2] // factor, faces.shape[3] // factor)
    elif aligned.faces.dtype == torch.uint8:
        faces = faces.round()
    linear, shift = aligned.to_photo[:, :, :2], aligned.to_photo[:, :, 2:]
    # Pixel j of the small face is pixel factor · j + (factor - 1) / 2 of the large one.
    shift = shift + linear.sum(2, keepdim=True) * (factor - 1) / 2
    to_photo = torch.cat([linear * factor, shift], 2)
    dtype = network if network is not None and aligned.normalised else aligned.faces.dtype
    return AlignedFaces(faces.to(dtype), aligned.photo, to_photo, aligned.photo_sizes, aligned.normalised)


@dataclass(frozen=True, eq=False)
class _Source:
    """The part of a photo, perhaps shrunk, that one face needs."""

    picture: Tensor  # [3, h, w], as the photo or, where it was shrunk, float
    corners: Tensor  # [4, 2] float64, in pixels of the picture
    seen: Tensor  # [4, 2] float64, in pixels of the photo: where the sampled square lies
    side: float
    dtype: torch.dtype  # of the photo
    padding: tuple[int, int, int, int] | None  # left, top, right, bottom: what FFHQ adds to the picture, if it does

    def factor(self, size: int) -> int:
        """Samples for each pixel of the result, along each side."""
        return _OVERSAMPLING[self.side > _LARGE * size]

    def samples(self, pixels: int, size: int) -> int:
        """Samples for that many pixels of the result."""
        return pixels * self.factor(size)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width that the picture is filled up to, few different ones: a face then rounds alike in any batch."""
        height, width = self.picture.shape[1:]
        return 1 << (height - 1).bit_length(), 1 << (width - 1).bit_length()

    def positions(self, size: int, margin: int) -> Tensor:
        """Centre, half x axis and half y axis of the square, with a margin in pixels of the aligned face: [3, 2]."""
        top_left, bottom_left, bottom_right, top_right = self.corners
        wider = (1 + 2 * margin / size) / 2
        return torch.stack([(top_left + bottom_right) / 2, (top_right - top_left) * wider, (bottom_left - top_left) * wider])

    @staticmethod
    def of(photo: Tensor, corners: Tensor, size: int) -> _Source:
        """FFHQ's steps before sampling: shrink, crop, decide on the padding."""
        side = float((corners[3] - corners[0]).norm())
        height, width = photo.shape[1:]
        seen = corners
        shrink = int(side / size / 2)
        if shrink > 1:
            height, width = max(round(height / shrink), 1), max(round(width / shrink), 1)
            corners, side = corners / shrink, side / shrink  # FFHQ's; the picture shrinks by a little more or less, and
            scale = corners.new_tensor([photo.shape[2] / width, photo.shape[1] / height])
            seen = (corners + 0.5) * scale - 0.5  # its pixels' centres move: half a pixel of the photo, with shrink = 2
        border = max(round(side * 0.1), 3)
        low, high = corners.amin(0).floor().int().tolist(), corners.amax(0).ceil().int().tolist()
        x0, y0 = max(low[0] - border, 0), max(low[1] - border, 0)
        x1, y1 = min(high[0] + border, width), min(high[1] + border, height)
        if shrink > 1:
            rows = lanczos(photo.shape[1], height, y0, y1)
            columns = lanczos(photo.shape[2], width, x0, x1)
            picture = reduced(photo, rows, columns)
            limits = (0, 255) if photo.dtype == torch.uint8 else (value.to(picture) for value in photo.aminmax())
            picture = picture.clamp(*limits)  # Lanczos's filter overshoots
        else:
            picture = photo[:, y0:y1, x0:x1]
        lacking = (border - low[0] + x0, border - low[1] + y0, high[0] - x1 + border, high[1] - y1 + border)
        lacking = tuple(max(edge, 0) for edge in lacking)
        least = round(side * 0.3)
        padding = tuple(max(edge, least) for edge in lacking) if max(lacking) > border - 4 else None
        return _Source(picture, corners - corners.new_tensor([x0, y0]), seen, side, photo.dtype, padding)


def _sampled_face(sources: Sequence[_Source], size: int) -> Tensor:
    """Faces whose squares lie inside of their pictures: [F, 3, size, size], of the working dtype."""
    first = sources[0]
    # What lies beside a picture is not read: the squares keep a distance from the border, or would have been padded.
    pictures = torch.empty(len(sources), 3, *first.shape, dtype=working(first.dtype), device=first.picture.device)
    for picture, source in zip(pictures, sources, strict=True):
        picture[:, : source.picture.shape[1], : source.picture.shape[2]] = source.picture
    positions = torch.stack([source.positions(size, 0) for source in sources])
    return sampled(pictures, positions, first.samples(size, size), size)


def _padded_face(source: _Source, size: int) -> Tensor:
    """A face near the border, [1, 3, size, size]: FFHQ pads the picture; this pads the face, with a margin to blur it.

    The blur is as wide on every face, so only the position of each pixel in the padded picture is needed to fade there.
    """
    assert source.padding is not None
    left, top, right, bottom = source.padding
    height, width = source.picture.shape[1:]
    sigma = _BLUR * size
    margin = _reach(sigma)
    inner = size + 2 * margin
    positions = source.positions(size, margin)
    reach = positions[1:].abs().sum(0)
    first = (positions[0] - reach).floor().int().tolist()
    last = (positions[0] + reach).ceil().int().tolist()
    columns, rows = (
        torch.arange(start, stop + 1, device=source.picture.device) for start, stop in zip(first, last, strict=True)
    )
    picture = source.picture[:, _mirrored(rows, height)][:, :, _mirrored(columns, width)]
    picture = picture[None].to(working(picture.dtype))
    shifted = positions - positions.new_tensor([first, [0, 0], [0, 0]])
    face = sampled(picture, shifted[None], source.samples(inner, size), inner)
    x, y = grid(like(positions[None], picture), inner)[0].unbind(-1)
    outside = _outside(x + left, y + top, (height + top + bottom, width + left + right), source.padding)
    face = _blurred_outside(face, outside, sigma)
    median = _median(source)
    face = face + (median[:, None, None] - face) * outside.clamp(0, 1)
    return face[:, :, margin:-margin, margin:-margin]


def _outside(x: Tensor, y: Tensor, size: tuple[int, int], padding: tuple[int, int, int, int]) -> Tensor:
    """How far a pixel of the padded picture lies outside: 1 at its border, 0 at the photo's, negative within the photo."""
    left, top, right, bottom = padding
    across = torch.minimum(x / left, (size[1] - 1 - x) / right)
    return 1 - torch.minimum(across, torch.minimum(y / top, (size[0] - 1 - y) / bottom))


def _blurred_outside(picture: Tensor, outside: Tensor, sigma: float) -> Tensor:
    rows, columns = gaussian(picture.shape[-2], sigma), gaussian(picture.shape[-1], sigma)
    return picture + (reduced(picture, rows, columns) - picture) * (3 * outside + 1).clamp(0, 1)


def _median(source: _Source) -> Tensor:
    """Median colour [3] of the padded and blurred picture, from every few of its pixels: so many as the blur evens out."""
    assert source.padding is not None
    left, top, right, bottom = source.padding
    height, width = source.picture.shape[1:]
    sigma = _BLUR * source.side
    step = max(1, int(sigma / 3))
    device = source.picture.device
    rows = torch.arange(0, height + top + bottom, step, device=device)
    columns = torch.arange(0, width + left + right, step, device=device)
    picture = source.picture[:, _mirrored(rows - top, height)][:, :, _mirrored(columns - left, width)]
    picture = picture[None].to(working(picture.dtype))
    outside = _outside(columns[None, :], rows[:, None], (height + top + bottom, width + left + right), source.padding)
    return _blurred_outside(picture, outside, sigma / step).flatten(2).median(2).values[0]


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Indices beyond [0, size) mirrored at the outermost pixel's centre, as often as needed."""
    if size == 1:
        return torch.zeros_like(index)
    index = index.remainder(2 * size - 2)
    return torch.minimum(index, 2 * size - 2 - index)


def _reach(sigma: float) -> int:
    """Pixels that a Gaussian blur reads to each side."""
    return int(4 * sigma + 0.5)


def _finish(faces: Tensor, sources: Sequence[_Source], rounded: bool) -> Tensor:
    """Faces [F, 3, size, size] in their photos' dtype and range (Lanczos's filter overshoots)."""
    dtype = sources[0].dtype
    if dtype == torch.uint8:
        faces = (faces - TRUNCATION).clamp_(0, 255)
        return faces.round_().to(dtype) if rounded else faces
    low, high = torch.stack([torch.stack(source.picture.aminmax()) for source in sources]).to(faces).unbind(1)
    return faces.clamp(low.view(-1, 1, 1, 1), high.view(-1, 1, 1, 1)).to(dtype)


def _to_photo(corners: Tensor, size: int) -> Tensor:
    """Corners of what was sampled [F, 4, 2] -> matrices [F, 2, 3] from pixels of the aligned face to pixels of the photo."""
    x, y = (corners[:, 3] - corners[:, 0]) / size, (corners[:, 1] - corners[:, 0]) / size
    return torch.stack([x, y, corners[:, 0] + (x + y) / 2], -1)


def _photos(images: Tensor | Sequence[Tensor]) -> list[Tensor]:
    if isinstance(images, Tensor) and images.ndim != 4:
        hint = "; a single photo goes in as photo[None]" if images.ndim == 3 else ""
        raise ValueError(f"images must have shape [N, 3, H, W], or be a sequence of photos, got {list(images.shape)}{hint}")
    photos = list(images)
    for i, photo in enumerate(photos):
        if not isinstance(photo, Tensor):
            raise TypeError(
                f"photo {i} must be a torch tensor [3, H, W], got {type(photo).__name__}; "
                "an array [H, W, 3] goes in as torch.from_numpy(array).permute(2, 0, 1)"
            )
        if photo.dtype != torch.uint8 and not photo.is_floating_point():
            raise TypeError(f"photo {i} must be uint8 or floating point, got {photo.dtype}")
        if photo.ndim != 3 or photo.shape[0] != 3 or not photo.numel():
            hint = "; channels come first: photo.permute(2, 0, 1)" if photo.ndim == 3 and photo.shape[2] == 3 else ""
            raise ValueError(f"photo {i} must have shape [3, H, W], got {list(photo.shape)}{hint}")
        if photo.dtype != photos[0].dtype or photo.device != photos[0].device:
            raise TypeError(
                f"photos must share dtype and device; photo {i} is {photo.dtype} on {photo.device}, "
                f"photo 0 {photos[0].dtype} on {photos[0].device}"
            )
    return photos


def _points(landmarks: Landmarks | Sequence[Landmarks], photos: int) -> tuple[Tensor, list[int]]:
    """All faces' landmarks [F, 68, 2] in float64 on the CPU, and the photo of each."""
    one_each = isinstance(landmarks, (Tensor, np.ndarray))
    if isinstance(landmarks, (Tensor, np.ndarray)) and (landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2)):
        raise ValueError(f"landmarks of one face a photo must have shape [N, 68, 2], got {list(landmarks.shape)}")
    of_photos = [torch.as_tensor(points) for points in landmarks]
    if len(of_photos) != photos:
        raise ValueError(f"{photos} photos need the landmarks of {photos} photos, got {len(of_photos)}")
    if one_each:
        of_photos = [points[None] for points in of_photos]
    for i, points in enumerate(of_photos):
        if points.ndim != 3 or points.shape[1:] != (68, 2):
            hint = "; a single face goes in as points[None]" if points.shape == (68, 2) else ""
            raise ValueError(f"landmarks of photo {i} must have shape [n, 68, 2], got {list(points.shape)}{hint}")
    photo_of = [i for i, points in enumerate(of_photos) for _ in points]
    together = [points.detach().to("cpu", torch.float64) for points in of_photos]
    return torch.cat([*together, torch.empty(0, 68, 2, dtype=torch.float64)]), photo_of


def show_faces(landmarks: Tensor, height: int, width: int) -> Tensor:
    """Which landmarks can be aligned: finite, not all but equal, their square not outside of a photo of that size.

    Args:
        landmarks: [n, 68, 2] in pixels of the photo.
        height, width: of the photo.

    Returns:
        [n] bool on the CPU. `align_faces` raises ValueError for the others.
    """
    squares = ffhq_square(landmarks.detach().to("cpu", torch.float64))
    return torch.tensor([_fault(square, height, width) is None for square in squares], dtype=torch.bool)


def _fault(square: Tensor, height: int, width: int) -> str | None:
    """Why a face with this square [4, 2] can't be cut out, or None."""
    side = float((square[3] - square[0]).norm())
    if not square.isfinite().all() or side < _LEAST_SIDE:
        return "show no face: they are NaN or all but equal; leave that face out"
    (left, top), (right, bottom) = square.amin(0).tolist(), square.amax(0).tolist()
    if right < 0 or bottom < 0 or left > width - 1 or top > height - 1:
        return (
            f"lie outside of it ({width}×{height} px; the face's square has its middle at "
            f"{square[:, 0].mean():.0f}, {square[:, 1].mean():.0f}); landmarks must be in pixels of the photo"
        )
    return None


def _check_squares(corners: Tensor, photo_of: list[int], photos: list[Tensor]) -> None:
    for i, (square, photo) in enumerate(zip(corners, photo_of, strict=True)):
        fault = _fault(square, *photos[photo].shape[1:])
        if fault is not None:
            raise ValueError(f"landmarks of face {photo_of[:i].count(photo)} in photo {photo} {fault}")
