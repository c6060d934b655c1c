"""Alignment of faces: `align_faces` for anyone, `align_for_network` for FG-Net to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fgnet_plugin.alignment.geometry import AlignedFaces, ffhq_square
from fgnet_plugin.alignment.padding import padded_face
from fgnet_plugin.alignment.region import PADDINGS, Padding, find_regions, finish, half_axes, sampled_face
from fgnet_plugin.alignment.validation import Landmarks, check_squares, checked_photos, checked_points
from fgnet_plugin.ops.antialias import averaged, working
from fgnet_plugin.ops.ffhq_crop import ffhq_crop
from fgnet_plugin.ops.transfer import to_device

_FFHQ_SIZE = 256  # px a side of the faces that the published networks read
Send = Callable[[Sequence[Tensor]], list[Tensor]]
"""Copies tensors to another device."""
_TOGETHER = 32  # faces sampled at once; on the CPU, one on each core


@torch.no_grad()
def align_faces(
    images: Tensor | Sequence[Tensor],
    landmarks: Landmarks | Sequence[Landmarks],
    size: int = 256,
    rounded: bool = True,
    *,
    kernels: bool = False,
    padding: Padding = "reflect",
) -> AlignedFaces:
    """Cut the faces out of photos, upright and of one size, as FFHQ does.

    Where the square leaves the photo, the photo goes on mirrored (or black, see `padding`), blurred and fading to its median
    colour.
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
        kernels: cut most faces of uint8 photos by a fused operation, see `fgnet_plugin.ops.ffhq_crop`: a CUDA kernel on an
            NVIDIA GPU. The same up to rounding.
        padding: what photos go on with beyond their borders: "reflect" mirrors them, as FFHQ does; "constant" is black (0), as
            the authors of FG-Net prepared BP4D and DISFA. Faces whose square keeps 4 px inside of the photo are the same.

    Returns:
        `AlignedFaces`: F = all faces of all photos.

    Raises:
        TypeError: photos are no tensors or of another dtype.
        ValueError: wrong shapes or numbers; another padding; landmarks that are NaN, all equal, or whose square lies outside of
            the photo. The message names photo and face; leave such faces out.

    Example:
        >>> photo = torch.zeros(1, 3, 200, 300, dtype=torch.uint8)
        >>> points = 100 + 20 * torch.randn(1, 68, 2, generator=torch.Generator().manual_seed(0))
        >>> aligned = align_faces(photo, points)
        >>> aligned.faces.shape, aligned.photo
        (torch.Size([1, 3, 256, 256]), tensor([0]))
        >>> torch.allclose(aligned.points_to_photo(aligned.points_to_face(points)), points, atol=1e-3)
        True
    """
    return _aligned(images, landmarks, size, rounded, kernels, padding, None)


@torch.no_grad()
def align_for_network(
    images: Tensor | Sequence[Tensor],
    landmarks: Landmarks | Sequence[Landmarks],
    size: int,
    dtype: torch.dtype,
    *,
    kernels: bool = False,
    padding: Padding = "reflect",
    send: Send | None = None,
) -> AlignedFaces:
    """Run `align_faces`, not rounded, for FG-Net to read: in as few passes over the faces as the device has.

    With `kernels`, faces of uint8 photos come out normalised, channels-last and in the dtype asked for, most of them
    written so by one kernel. Without, they are those of ``align_faces(…, rounded=False)``. `AlignedFaces.network_input` and
    `AlignedFaces.pictures` give what is needed of either.

    Args:
        images, landmarks, size: as there; photos in [0, 255].
        dtype: of normalised faces: float32, bfloat16 or float16.
        kernels: as the model that reads them was fused (`FGNet.kernels`).
        padding: as the faces that the network was trained on (`CheckpointInfo.padding`).
        send: copies the parts of the photos that the faces need to the device where they are aligned; without, that is the
            photos' device.

    Raises:
        TypeError, ValueError: as there.

    Example:
        >>> photo = torch.zeros(1, 3, 200, 300, dtype=torch.uint8)
        >>> points = 100 + 20 * torch.randn(1, 68, 2, generator=torch.Generator().manual_seed(0))
        >>> align_for_network(photo, points, 128, torch.float32).network_input().shape
        torch.Size([1, 3, 128, 128])
    """
    return _aligned(images, landmarks, size, False, kernels, padding, dtype, send)


def _aligned(
    images: Tensor | Sequence[Tensor],
    landmarks: Landmarks | Sequence[Landmarks],
    size: int,
    rounded: bool,
    kernels: bool,
    padding: Padding,
    network: torch.dtype | None,
    send: Send | None = None,
) -> AlignedFaces:
    """Run `align_faces`, or `align_for_network` with faces of the dtype `network`."""
    if size < 8:
        raise ValueError(f"size must be at least 8 px, got {size}")
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got {padding!r}")
    if size < _FFHQ_SIZE and _FFHQ_SIZE % size == 0:
        of_large = None if network is None else torch.float32
        large = _aligned(images, landmarks, _FFHQ_SIZE, rounded, kernels, padding, of_large, send)
        return _averaged(large, _FFHQ_SIZE // size, network)
    photos = checked_photos(images)
    points, photo_of = checked_points(landmarks, len(photos))
    device, dtype = (photos[0].device, photos[0].dtype) if photos else (torch.device("cpu"), torch.uint8)
    corners = ffhq_square(points)  # on the CPU in float64: the whole numbers below must come out the same everywhere
    check_squares(corners, photo_of, photos)
    rounded = rounded or dtype != torch.uint8
    fused = kernels and dtype == torch.uint8 and bool(photos)
    regions = find_regions(photos, photo_of, corners, size, padding)
    pictures = [region.picture for region in regions]
    if send is not None and pictures:
        pictures = send(pictures)
        device = pictures[0].device
    regions = [region.ready(picture) for region, picture in zip(regions, pictures, strict=True)]
    result = _Result.of(len(regions), size, dtype if rounded else torch.float32, device, network if fused else None)
    plain: dict[tuple[int, ...], list[int]] = {}
    cropped: dict[int, list[int]] = {}
    for i, region in enumerate(regions):
        if region.padding:
            result.write([i], finish(padded_face(region, size), [region], rounded))
        elif fused and region.picture.dtype == torch.uint8:  # it was not shrunk
            cropped.setdefault(region.factor(size), []).append(i)
        else:
            plain.setdefault((*region.shape, region.samples(size, size)), []).append(i)
    for factor, which in cropped.items():
        squares = half_axes(torch.stack([regions[i].corners for i in which]))
        pictures = [regions[i].picture for i in which]
        faces = ffhq_crop(pictures, squares, factor, size, network or torch.float32, normalised=result.normalised)
        result.take(which, faces.round_() if rounded else faces)
    together = torch.get_num_threads() if device.type == "cpu" else _TOGETHER
    for alike in plain.values():
        for start in range(0, len(alike), together):
            which = alike[start : start + together]
            some = [regions[i] for i in which]
            result.write(which, finish(sampled_face(some, size), some, rounded))
    seen = torch.stack([region.seen for region in regions]) if regions else corners
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
        """Make room for that many faces: of `dtype`; or, with `network`, normalised, of that dtype, channels-last."""
        if network is None:
            return _Result(torch.empty(count, 3, size, size, dtype=dtype, device=device), False)
        return _Result(torch.empty(count, size, size, 3, dtype=network, device=device).permute(0, 3, 1, 2), True)

    def write(self, which: Sequence[int], faces: Tensor) -> None:
        """Copy faces in the range of their photos to the places `which`."""
        self._copy(which, (faces / 255 - 0.5) / 0.5 if self.normalised else faces)

    def take(self, which: Sequence[int], faces: Tensor) -> None:
        """Take faces that `ffhq_crop` made for this result; if they are all of them, without a copy."""
        if self.normalised and len(which) == len(self.faces):  # `which` ascends
            self.faces = faces
        else:
            self._copy(which, faces)

    def _copy(self, which: Sequence[int], faces: Tensor) -> None:
        places = to_device(torch.tensor(which, device="cpu"), self.faces.device)
        self.faces.index_copy_(0, places, faces.to(self.faces.dtype))


def _averaged(aligned: AlignedFaces, factor: int, network: torch.dtype | None) -> AlignedFaces:
    """Average factor × factor pixels of faces; normalised ones then have the dtype `network`."""
    faces = averaged(aligned.faces.to(working(aligned.faces.dtype)), factor) if len(aligned) else aligned.faces
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


def _to_photo(corners: Tensor, size: int) -> Tensor:
    """Make matrices [F, 2, 3], from pixels of the aligned face to those of the photo, of sampled squares' corners [F, 4, 2]."""
    x, y = (corners[:, 3] - corners[:, 0]) / size, (corners[:, 1] - corners[:, 0]) / size
    return torch.stack([x, y, corners[:, 0] + (x + y) / 2], -1)
