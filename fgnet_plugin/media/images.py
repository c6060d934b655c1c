"""Read pictures of any format as uint8 RGB, or raise an error that names the file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fgnet_plugin.errors import InputError

SUFFIXES = frozenset({".bmp", ".gif", ".heic", ".jfif", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Files with these suffixes are taken for pictures."""

_ORIENTATION = 0x0112  # EXIF's number for how the camera was held


def check_file(path: str | Path, what: str = "picture") -> None:
    """Raise FileNotFoundError or InputError if a path is not a file with content."""
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"{path}: no such file; check the path")
    if file.is_dir():
        raise InputError(f"{path} is a folder, not a {what}; give the path of a {what} in it")
    if not file.stat().st_size:
        raise InputError(f"{path} is empty (0 bytes); copy or export the {what} again")


def check_files(paths: Sequence[str]) -> None:
    """Raise one FileNotFoundError or InputError for all paths that are not files with content."""
    errors: list[FileNotFoundError | InputError] = []
    for path in paths:
        try:
            check_file(path, "file")
        except (FileNotFoundError, InputError) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        kind = FileNotFoundError if all(isinstance(error, FileNotFoundError) for error in errors) else InputError
        raise kind(f"{len(errors)} files can't be read:\n" + "\n".join(f"  {error}" for error in errors))


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """Read a picture's width and height as stored; None if the file is not a readable image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return picture.size
    except Exception:  # Pillow raises many kinds
        return None


def read_picture(path: str | Path, upright: bool = True) -> Tensor:
    """Read a picture file as uint8 RGB [3, H, W].

    Grey, CMYK, palettes and 16 bits become RGB of 8 bits; transparency becomes white; of several pages, the first is read.

    Args:
        path: any file that Pillow reads.
        upright: turn it as its EXIF data say. py-feat does not, and a Fex's coordinates are those of the file as it is
            stored: with False, a picture that is stored turned brings a warning.

    Raises:
        FileNotFoundError: no such file.
        InputError: a folder, an empty file, not an image, or one that is damaged or cut off.
    """
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # 90 to 180 megapixels: a large photo
            with Image.open(path) as file:
                turned = file.getexif().get(_ORIENTATION, 1) not in (0, 1)
                pixels = _pixels(ImageOps.exif_transpose(file) if upright and turned else file)
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not a readable image; export it as JPEG or PNG") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise InputError(f"{path} has too many pixels ({most:.0f} million at most are read); make it smaller first") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:  # PIL raises SyntaxError for broken PNGs
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} is damaged or cut off ({reason}); copy or export the picture again") from error
    if turned and not upright:
        warnings.warn(
            f"{path} is stored turned (EXIF orientation); py-feat reads pictures as stored, so its faces lie on their side "
            "and may not be found: save an upright copy",
            stacklevel=2,
        )
    return pixels


def _pixels(picture: Image.Image) -> Tensor:
    """Convert a picture of any mode to uint8 RGB [3, H, W]."""
    if picture.mode.startswith("I;16"):  # 16 bits a pixel: PIL would clip them to 8
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        picture = Image.fromarray(_stretched(np.asarray(picture)))
    transparent = picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info
    return as_rgb(np.asarray(picture.convert("RGBA" if transparent else "RGB")))


def _stretched(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Scale numbers of more than 8 bits to [0, 255]: as 16 bits where they fit in, else by their range."""
    numbers = values.astype(np.float64)
    high = 65535.0 if 255 < numbers.max(initial=0) <= 65535 else max(float(numbers.max(initial=0)), 1.0)
    return (numbers.clip(0, high) * (255 / high)).round().astype(np.uint8)


def as_rgb(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Convert uint8 [H, W] or [H, W, 1, 3 or 4] to [3, H, W]; grey becomes RGB, and transparency becomes white."""
    planes = torch.from_numpy(np.array(pixels.reshape(*pixels.shape[:2], -1)))  # copied: torch warns of read-only arrays
    return rgb_planes(planes.permute(2, 0, 1))


def rgb_planes(planes: Tensor) -> Tensor:
    """Convert uint8 [1, 3 or 4, H, W] to [3, H, W]; grey becomes RGB, and transparency becomes white."""
    if planes.shape[0] == 1:
        return planes.expand(3, -1, -1).contiguous()
    if planes.shape[0] == 3:
        return planes.contiguous()
    opaque = planes[3:].float() / 255
    return (planes[:3] * opaque + 255 * (1 - opaque)).round().to(torch.uint8)


ImageLike = str | Path | npt.NDArray[np.uint8] | Tensor


def read_photo(image: ImageLike) -> Tensor:
    """Read a photo as uint8 RGB [3, H, W] on the CPU.

    Args:
        image: the path of a picture file, which is turned as its EXIF data say; an array [H, W], [H, W, 1], [H, W, 3] or
            [H, W, 4] of uint8; or a tensor [3, H, W] (or 1 or 4 channels) of uint8, or floating point in [0, 255]. Grey
            becomes RGB, and transparency becomes white.

    Raises:
        TypeError: something else.
        ValueError: another shape or range. InputError, a subclass: a file that is not an image, or damaged.
        FileNotFoundError: no such file.
    """
    if isinstance(image, (str, Path)):
        return read_picture(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise TypeError(f"an array must be uint8 in [0, 255], got {image.dtype}")
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)) or not image.size:
            raise ValueError(f"an array must have shape [H, W], [H, W, 3] or [H, W, 4], got {list(image.shape)}")
        return as_rgb(image)
    if not isinstance(image, Tensor):
        raise TypeError(f"a photo must be a path, a numpy array or a torch tensor, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[0] not in (1, 3, 4) or not image.numel():
        raise ValueError(f"a tensor must have shape [3, H, W] (or 1 or 4 channels), got {list(image.shape)}")
    image = image.detach().cpu()
    if image.is_floating_point():
        low, high = (float(value) for value in image.aminmax())
        if not (low >= 0 and (high == 0 or 1 < high <= 255)):  # a black frame fits both ranges
            raise ValueError(f"a floating-point photo must be in [0, 255], got values from {low:.3g} to {high:.3g}")
        image = image.round().to(torch.uint8)
    if image.dtype != torch.uint8:
        raise TypeError(f"a tensor must be uint8 or floating point, got {image.dtype}")
    return rgb_planes(image)
