"""The crop of faces from uint8 photos, antialiased as FFHQ's and normalised for the network in the same pass."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from fgnet_plugin.ops import dispatch, nvrtc
from fgnet_plugin.ops.antialias import LOBES, lanczos, sampled
from fgnet_plugin.ops.transfer import to_device

TRUNCATION = 0.49
"""FFHQ's sampler (PIL) drops the fraction of 8-bit values: half a level lost on average, nothing where the photo is flat."""
LEAST_SIZE = 8  # px; below, the filter would reach beyond both borders of the result
_TILES = {2: 16, 4: 8}  # samples a pixel -> pixels along each side of a block's tile, as ffhq_crop.cu has it
_THREADS = 256  # of a block, as ffhq_crop.cu has it
_BITS = 30  # of the fraction of a position, as ffhq_crop.cu has it
_WORDS = 8  # of 8 bytes that describe a face, as ffhq_crop.cu has it


def ffhq_crop_reference(pictures: Sequence[Tensor], squares: Tensor, factor: int, size: int) -> Tensor:
    """Sample squares of uint8 pictures bilinearly, reduce them by Lanczos's filter and take off FFHQ's `TRUNCATION`.

    Args:
        pictures: F times [3, h, w] uint8, of any sizes and strides, on one device: photos, or parts of photos.
        squares: [F, 3, 2] float64 on the CPU: centre, half x axis and half y axis, in pixels of the picture, x first.
        factor: samples for each pixel of the result along each side.
        size: pixels along each side of the result.

    Returns:
        [F, 3, size, size] float32 in [0, 255], not rounded.
    """
    cropped = []
    for picture, square in zip(pictures, squares, strict=True):
        # Filled up to one of few sizes: a face then rounds alike wherever it is cut out. What lies beside is not read.
        height, width = (1 << (side - 1).bit_length() for side in picture.shape[1:])
        filled = torch.zeros(1, 3, height, width, dtype=torch.float32, device=picture.device)
        filled[:, :, : picture.shape[1], : picture.shape[2]] = picture
        cropped.append(sampled(filled, square[None], factor * size, size))
    return (torch.cat(cropped) - TRUNCATION).clamp_(0, 255)


def ffhq_crop(
    pictures: Sequence[Tensor], squares: Tensor, factor: int, size: int, dtype: torch.dtype, normalised: bool = True
) -> Tensor:
    """Compute `ffhq_crop_reference` as the network reads it, on an NVIDIA GPU by one kernel that reads only what it needs.

    The same up to rounding: the kernel's positions are whole multiples of a 2^30th of a pixel, anywhere in a picture.

    Args:
        pictures, squares, size: as there; F at least 1, size at least 8, and the squares inside of their pictures.
        factor: as there, 2 or 4. Samples may be up to 2 px apart.
        dtype: of the result: float32, bfloat16 or float16.
        normalised: (x/255 - 0.5)/0.5, so [-1, 1]; else [0, 255].

    Returns:
        [F, 3, size, size], channels-last.

    Raises:
        ValueError: pictures of other shapes, dtypes or on several devices; squares of another shape or not inside of their
            pictures; another factor, a smaller size.
        TypeError: another dtype of the result.
    """
    return torch.ops.fgnet.ffhq_crop(list(pictures), squares, factor, size, dtype, normalised)


# Written out: what torch infers of a sequence of tensors and of a dtype differs between its versions.
_SCHEMA = "(Tensor[] pictures, Tensor squares, int factor, int size, ScalarType dtype, bool normalised) -> Tensor"


def _ffhq_crop(
    pictures: Sequence[Tensor], squares: Tensor, factor: int, size: int, dtype: torch.dtype, normalised: bool
) -> Tensor:
    _check(pictures, squares, factor, size, dtype)
    _positions(pictures, squares, factor * size)
    cropped = ffhq_crop_reference(pictures, squares, factor, size)
    return dispatch.channels_last(((cropped / 255 - 0.5) / 0.5 if normalised else cropped).to(dtype))


def ffhq_crop_cuda(
    pictures: Sequence[Tensor], squares: Tensor, factor: int, size: int, dtype: torch.dtype, normalised: bool
) -> Tensor:
    """Launch the kernel of `ffhq_crop`."""
    _check(pictures, squares, factor, size, dtype)
    first = pictures[0]
    faces, weights = _faces(pictures, *_positions(pictures, squares, factor * size)), filter_weights(factor)
    # One upload of both. The kernel is queued behind it, and before anything that could use the memory again.
    sent = to_device(torch.cat([faces.flatten(), weights.view(torch.int64).flatten()]), first.device)
    out = first.new_empty(len(pictures), size, size, 3, dtype=dtype)
    scale, shift = (2 / 255, -1.0) if normalised else (1.0, 0.0)
    blocks = len(pictures) * nvrtc.blocks(size, _TILES[factor]) ** 2
    name = f"ffhq_crop{factor}_{nvrtc.TYPES[dtype]}"
    operands = (sent[: faces.numel()], sent[faces.numel() :], out)
    nvrtc.launch(name, first, (blocks,), (_THREADS,), *operands, size, scale, shift)
    return out.permute(0, 3, 1, 2)


def _fake_ffhq_crop(
    pictures: Sequence[Tensor], squares: Tensor, factor: int, size: int, dtype: torch.dtype, normalised: bool
) -> Tensor:
    return pictures[0].new_empty(len(pictures), size, size, 3, dtype=dtype).permute(0, 3, 1, 2)


dispatch.register("ffhq_crop", _ffhq_crop, ffhq_crop_cuda, _fake_ffhq_crop, ffhq_crop_reference, schema=_SCHEMA)


def _check(pictures: Sequence[Tensor], squares: Tensor, factor: int, size: int, dtype: torch.dtype) -> None:
    if dtype not in nvrtc.TYPES:
        raise TypeError(f"ffhq_crop makes {', '.join(nvrtc.TYPES.values())}, got {dtype}")
    if factor not in _TILES:
        raise ValueError(f"ffhq_crop takes {' or '.join(map(str, _TILES))} samples a pixel, got {factor}")
    if size < LEAST_SIZE:
        raise ValueError(f"ffhq_crop makes faces of {LEAST_SIZE} px a side or more, got {size}")
    if not pictures:
        raise ValueError("ffhq_crop needs at least one picture")
    for i, picture in enumerate(pictures):
        if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3 or picture.device != pictures[0].device:
            raise ValueError(
                f"picture {i} must be uint8 [3, h, w] on {pictures[0].device}, got {picture.dtype} {list(picture.shape)} "
                f"on {picture.device}"
            )
    if squares.shape != (len(pictures), 3, 2) or squares.dtype != torch.float64 or squares.device.type != "cpu":
        raise ValueError(
            f"squares must be float64 [{len(pictures)}, 3, 2] on the CPU, got {squares.dtype} {list(squares.shape)} "
            f"on {squares.device}"
        )


def _positions(pictures: Sequence[Tensor], squares: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Place the samples for ffhq_crop.cu: the first one [F, 2] int64, the steps along rows and columns [F, 2, 2] int32.

    x first, in whole multiples of a 2^30th of a pixel. Raises ValueError where a sample would read beside its picture.
    """
    centre, x, y = squares.unbind(1)
    steps = (torch.stack([x, y], 1) * 2 / samples * (1 << _BITS)).round()
    first = ((centre - x - y + (x + y) / samples) * (1 << _BITS)).round()
    if not (squares.isfinite().all() and (steps.abs() < 2 ** (_BITS + 1)).all()):
        raise ValueError("ffhq_crop takes squares whose samples lie less than 2 px apart; shrink the pictures first")
    steps, first = steps.long(), first.long()
    spans = steps * (samples - 1)
    low, high = first + spans.clamp(max=0).sum(1), first + spans.clamp(min=0).sum(1)
    sides = torch.tensor([[picture.shape[2], picture.shape[1]] for picture in pictures], device="cpu")
    outside = ((low < 0) | ((high >> _BITS) + 1 >= sides)).any(1)  # each sample reads its pixel and the next
    if outside.any():
        which = int(outside.nonzero()[0])
        raise ValueError(f"square {which} is not inside of its picture ({sides[which, 0]}×{sides[which, 1]} px)")
    return first, steps.int()


def _faces(pictures: Sequence[Tensor], first: Tensor, steps: Tensor) -> Tensor:
    """Fill in what ffhq_crop.cu has as Face: [F, 8] int64 on the CPU."""
    pointers = torch.tensor([[picture.data_ptr(), *picture.stride()] for picture in pictures], dtype=torch.int64, device="cpu")
    faces = torch.cat([pointers, first, steps.flatten(1).view(torch.int64)], 1)
    assert faces.shape[1] == _WORDS
    return faces


@functools.cache
def filter_weights(factor: int) -> Tensor:
    """Make Lanczos's filter for ffhq_crop.cu: [7, 6 · factor] float32, for the first three pixels, all others, the last three.

    They are the same at every size. At a border the taps that lie beyond are 0.
    """
    with torch.inference_mode(False):
        size, reach = LEAST_SIZE, LOBES * factor
        table = torch.zeros(2 * LOBES + 1, 2 * reach, dtype=torch.float32, device="cpu")
        pixels = [*range(LOBES + 1), *range(size - LOBES, size)]
        for row, pixel in zip(table, pixels, strict=True):
            ((_, source, matrix),) = lanczos(size * factor, size, pixel, pixel + 1)
            start = source.start - (pixel * factor + factor // 2 - reach)
            row[start : start + matrix.shape[1]] = matrix[0]
        return table
