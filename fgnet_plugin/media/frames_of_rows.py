"""Read the frames again that the rows of a table are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.images import check_files, picture_size, read_picture
from fgnet_plugin.media.video import Video
from fgnet_plugin.utils.text import counted


def frames_of_rows(
    inputs: Sequence[str], frames: Sequence[int], sizes: Sequence[tuple[int, int]] | None = None
) -> Iterator[tuple[npt.NDArray[np.intp], Tensor]]:
    """Yield each frame that rows are about, file by file, once.

    Args:
        inputs: [R] paths of pictures and videos.
        frames: [R] numbers of the frames, from 0; of pictures, they say nothing.
        sizes: [R] height and width that the table was made of, if known. Pictures are read upright, unless only the picture as
            it is stored has this size.

    Yields:
        The rows [n] of a frame, and the frame, uint8 [3, H, W].

    Raises:
        FileNotFoundError, InputError: all missing files together, or a file that can't be read, or has other frames.
    """
    files = list(dict.fromkeys(inputs))
    check_files(files)
    names, numbers = np.array(inputs, object), np.array(frames, int)
    for path in files:
        rows = np.flatnonzero(names == path)
        stored = picture_size(path)
        if stored is not None:
            noted = None if sizes is None else tuple(int(side) for side in sizes[rows[0]])
            upright = noted is None or picture_size(path, upright=True) == noted[::-1] or stored != noted[::-1]
            yield rows, _checked(read_picture(path, upright=upright), noted, path)
            continue
        with Video(path) as video:
            for number in np.unique(numbers[rows]):
                if not 0 <= number < len(video):
                    raise InputError(f"{path} has {counted(len(video), 'frame')}, but the table has rows of frame {number}")
                chosen = rows[numbers[rows] == number]
                noted = None if sizes is None else tuple(int(side) for side in sizes[chosen[0]])
                yield chosen, _checked(video[int(number)], noted, path)


def _checked(image: Tensor, noted: tuple[int, ...] | None, path: str) -> Tensor:
    # py-feat computes the size back from resized frames, and is a pixel or two off there.
    if noted is not None and any(abs(a - b) > 0.01 * b + 2 for a, b in zip(noted, image.shape[1:], strict=True)):
        raise InputError(
            f"{path} has {image.shape[2]}×{image.shape[1]} pixels, but the table was made of {noted[1]}×{noted[0]}: it is"
            " another file than the table is about"
        )
    return image
