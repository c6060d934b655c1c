"""Read pictures of any format as uint8 RGB, or raise an error that names the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ModuleNotFoundError:  # of the extra `feat`: `read_picture` says so
    pillow_heif = None  # type: ignore[assignment]

SUFFIXES = frozenset(
    ".avif .bmp .gif .heic .heif .jfif .jpe .jpeg .jpg .jp2 .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()  # noqa: SIM905
)
"""Files with these suffixes are taken for pictures."""

ANIMATED = "GIF", "WEBP", "PNG", "AVIF"
"""Formats, by Pillow's names, whose pages are the frames of an animation."""

_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow recognises, but can't read, or only with the help of another program."""

_ORIENTATION = 0x0112  # EXIF's number for how the camera was held
_FIRST_ON_ITS_SIDE = 5  # of its eight values: the last four exchange width and height


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
    errors: list[Exception] = []
    for path in paths:
        try:
            check_file(path, "file")
        except (FileNotFoundError, InputError) as error:
            errors.append(error)
    raise_together(errors)


def raise_together(errors: Sequence[Exception]) -> None:
    """Raise one error, if there are any: of several a FileNotFoundError or InputError whose message lists all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        kind = FileNotFoundError if all(isinstance(error, FileNotFoundError) for error in errors) else InputError
        raise kind(f"{counted(len(errors), 'file')} can't be read:\n" + "\n".join(f"  {error}" for error in errors))


def picture_size(path: str | Path, upright: bool = False) -> tuple[int, int] | None:
    """Read a picture's width and height; None if the file is not a readable image.

    Args:
        path: of the file.
        upright: of the picture as `read_picture` turns it, instead of as it is stored.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.format in _NO_PICTURES:
                    return None
                return picture.size[::-1] if upright and _orientation(picture) >= _FIRST_ON_ITS_SIDE else picture.size
    except Exception:  # Pillow raises many kinds
        return None


def read_picture(path: str | Path, upright: bool = True) -> Tensor:
    """Read a picture file as uint8 RGB [3, H, W].

    Grey, CMYK, palettes and 16 bits become RGB of 8 bits; transparency becomes white; of several pages, the first is read, and
    of an animation the first frame, with a warning.

    Args:
        path: any file that Pillow reads.
        upright: turn it as its EXIF data say. py-feat does not, and a Fex's coordinates are those of the file as it is
            stored: with False, a picture that is stored turned brings a warning.

    Raises:
        FileNotFoundError: no such file.
        InputError: a folder, an empty file, not an image, or one that is damaged or cut off.
    """
    with opened_picture(path) as file:
        frames, turned = frame_count(file), _orientation(file) != 1
        pixels = pixels_of(file, upright)
    if frames > 1:
        warnings.warn(
            f"{path} is animated: of its {frames} frames, only the first is read; as a video (data_type='video', "
            "--data-type video), all are",
            stacklevel=2,
        )
    if turned and not upright:
        warnings.warn(
            f"{path} is stored turned (EXIF orientation); py-feat reads pictures as stored, so its faces lie on their side "
            "and may not be found: save an upright copy",
            stacklevel=2,
        )
    return pixels


@contextmanager
def opened_picture(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture with Pillow; errors in the block, which reads it, become an InputError that names the file.

    Raises FileNotFoundError or InputError, as `read_picture`.
    """
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # 90 to 180 megapixels: a large photo
            with Image.open(path) as file:
                if file.format in _NO_PICTURES:
                    raise UnidentifiedImageError(file.format)
                yield file
    except UnidentifiedImageError as error:
        advice = "run: pip install pillow-heif" if pillow_heif is None and _is_heif(path) else "export it as JPEG or PNG"
        raise InputError(f"{path} is not a readable image; {advice}") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise InputError(f"{path} has too many pixels ({most:.0f} million at most are read); make it smaller first") from error
    except Exception as error:  # Pillow raises many kinds, such as SyntaxError, IndexError and struct.error
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} is damaged or cut off ({reason}); copy or export the picture again") from error


def _is_heif(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is HEIC or HEIF, as iPhones write it, also under the name of a JPEG."""
    with Path(path).open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")


def frame_count(picture: Image.Image) -> int:
    """Count the frames of an opened picture as its file says; 1 for what is no animation, such as the pages of a TIFF."""
    return int(getattr(picture, "n_frames", 1)) if picture.format in ANIMATED else 1


def _orientation(picture: Image.Image) -> int:
    """Read how a picture is stored: 1 upright, 2 to 4 mirrored or upside down, 5 to 8 on its side."""
    if picture.format == "TIFF":  # Pillow turns these itself
        return 1
    value = picture.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def pixels_of(picture: Image.Image, upright: bool = True) -> Tensor:
    """Convert an opened picture of any mode to uint8 RGB [3, H, W], by default turned as its EXIF data say."""
    if upright and _orientation(picture) != 1:
        picture = ImageOps.exif_transpose(picture)
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

    Example:
        >>> import numpy as np
        >>> grey = np.zeros((480, 640), np.uint8)
        >>> list(read_photo(grey).shape)
        [3, 480, 640]
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
