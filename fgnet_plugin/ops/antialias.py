"""Bilinear sampling of squares of pictures and antialiased reduction; filters are products with banded matrices."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet_plugin.ops.transfer import to_device

LOBES = 3  # of Lanczos's filter: pixels of the result that it reaches to each side
_BAND = 32  # rows that one matrix product reduces


@dataclass(frozen=True, eq=False)
class Bands:
    """A filter along one axis, as products with small matrices."""

    bands: tuple[tuple[slice, slice, Tensor], ...]
    """For each band of results: their slice, the slice of pixels that they read, and the matrix, float64 on the CPU."""
    _copies: dict[tuple[torch.device, torch.dtype, int], tuple[tuple[slice, slice, Tensor], ...]] = field(default_factory=dict)

    def on(self, device: torch.device, dtype: torch.dtype) -> tuple[tuple[slice, slice, Tensor], ...]:
        """Return the bands with their matrices in that dtype on that device, copied once (for each CUDA stream)."""
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
        key = device, dtype, stream
        if key not in self._copies:
            with torch.inference_mode(False):
                self._copies[key] = tuple((out, read, to_device(matrix.to(dtype), device)) for out, read, matrix in self.bands)
        return self._copies[key]


def sampled(pictures: Tensor, squares: Tensor, samples: int, size: int) -> Tensor:
    """Sample squares of pictures bilinearly at samples × samples points and reduce them by `lanczos`.

    Args:
        pictures: [F, 3, h, w] floating point.
        squares: [F, 3, 2] float64 on the CPU: centre, half x axis and half y axis, in pixels of the picture, x first.
        samples: points along each side of a square.
        size: pixels along each side of the result.

    Returns:
        [F, 3, size, size]; pixels beside a picture count as 0.
    """
    extent = squares.new_tensor([pictures.shape[3], pictures.shape[2]])
    # grid_sample's units: -1 and 1 are the outer edges of the outermost pixels
    units = (squares + squares.new_tensor([0.5, 0.0, 0.0])[:, None]) * 2 / extent - squares.new_tensor([1.0, 0.0, 0.0])[:, None]
    points = F.grid_sample(pictures, grid(like(units, pictures), samples), align_corners=False)
    if samples == size:
        return points
    bands = lanczos(samples, size, 0, size)
    return reduced(points, bands, bands)


def averaged(pictures: Tensor, factor: int) -> Tensor:
    """Average factor × factor pixels of floating-point pictures [..., C, h, w], whose sides are multiples of the factor."""
    if pictures.device.type != "cpu":
        return F.avg_pool2d(pictures, factor)
    while factor % 2 == 0:  # avg_pool2d takes four times as long on a CPU
        rows = pictures[..., ::2, :] + pictures[..., 1::2, :]
        pictures, factor = (rows[..., ::2] + rows[..., 1::2]).mul_(0.25), factor // 2
    return F.avg_pool2d(pictures, factor) if factor > 1 else pictures


def grid(squares: Tensor, samples: int) -> Tensor:
    """Place samples × samples points in squares [F, 3, 2] (see `sampled`), in their units: [F, samples, samples, 2]."""
    at = (torch.arange(samples, dtype=squares.dtype, device=squares.device) * 2 + 1) / samples - 1
    centre, x, y = squares[:, :, None].unbind(1)  # [F, 1, 2]
    return (centre + x * at[:, None])[:, None] + (y * at[:, None])[:, :, None]


def reduced(picture: Tensor, rows: Bands, columns: Bands) -> Tensor:
    """Filter a picture [..., h, w] to [..., rows out, columns out] of the working dtype: two products with banded matrices."""
    result, device = working(picture.dtype), picture.device
    # On a CUDA device a program may have chosen TF32 for products in float32, which is too coarse for pixels.
    exact = torch.float64 if device.type == "cuda" else result
    narrow = torch.cat([matrix @ picture[..., source, :].to(exact) for _, source, matrix in rows.on(device, exact)], -2)
    return torch.cat([narrow[..., source] @ matrix.mT for _, source, matrix in columns.on(device, exact)], -1).to(result)


def like(tensor: Tensor, picture: Tensor) -> Tensor:
    """Bring a small tensor of the CPU to the picture's dtype and device; see `to_device`."""
    return to_device(tensor.to(picture.dtype), picture.device)


def working(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that pictures of a dtype are computed in: float64 stays, all else is float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@functools.lru_cache(maxsize=64)
def lanczos(size: int, out_size: int, start: int, stop: int) -> Bands:
    """Make PIL's Lanczos filter of three lobes that reduces `size` pixels to `out_size`, for results start … stop - 1."""

    def weight(distance: Tensor) -> Tensor:
        return torch.sinc(distance) * torch.sinc(distance / LOBES)

    return _bands(size, out_size, start, stop, float(LOBES), weight)


@functools.lru_cache(maxsize=64)
def gaussian(size: int, sigma: float) -> Bands:
    """Make a Gaussian blur of `size` pixels; those beyond the border are left out, and the others weigh more."""
    return _bands(size, size, 0, size, 4 * sigma, lambda distance: torch.exp(-(distance**2) / (2 * sigma**2)))


def _bands(size: int, out_size: int, start: int, stop: int, reach: float, weight: Callable[[Tensor], Tensor]) -> Bands:
    """Make a filter along one axis.

    Args:
        size, out_size: pixels before and after.
        start, stop: the results wanted, of `out_size`.
        reach: pixels of the result beyond which weights are 0.
        weight: of a distance in pixels of the result; they are scaled to a sum of 1.
    """
    scale = size / out_size
    bands = []
    for first in range(start, stop, _BAND):
        last = min(first + _BAND, stop)
        low = max(math.floor((first + 0.5 - reach) * scale), 0)
        high = min(math.ceil((last - 0.5 + reach) * scale), size)
        at = (torch.arange(low, high, dtype=torch.float64, device="cpu") + 0.5) / scale
        distance = at - (torch.arange(first, last, dtype=torch.float64, device="cpu") + 0.5)[:, None]
        matrix = weight(distance) * (distance.abs() < reach)
        bands.append((slice(first - start, last - start), slice(low, high), matrix / matrix.sum(1, keepdim=True)))
    return Bands(tuple(bands))
