"""Datasets of pictures, videos and tensors in py-feat's batch format, with the original frames beside the resized ones.

A batch is the dictionary that `Detectorv1.forward` takes ("Image", "Scale", "Padding", "FileName"), and in addition:
"Frame" (numbers), "Original" (the frames before resizing; left out where nothing was resized) and "Errors".
A frame that can't be read does not break its batch: it is left out, and among the batch's "Errors" is a dictionary with its
"Error" and its file's "Path", and for one that is lost with others of a video the "Gap" that names them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from fgnet_plugin.errors import InputError, SkippedInput
from fgnet_plugin.media.animation import open_video
from fgnet_plugin.media.images import SUFFIXES, check_file, check_files, picture_size, raise_together, read_picture
from fgnet_plugin.media.video import DamagedVideoError
from fgnet_plugin.media.video_index import VideoIndex

_OVERSHOOT = 64.0  # what a bicubic resize may add to pixel values, and more
KINDS = ("image", "video", "tensor")
Item = dict[str, Any]
Resize = Callable[[Tensor, bool], Item]
"""Resizes a frame, with padding or without: a dictionary of the resized "Image", its "Scale" and its "Padding"."""


class Pictures(Dataset[Item]):
    """Picture files; a frame's number is the file's place in the list. Upright, they are turned as their EXIF data say."""

    kind = "image"

    def __init__(self, paths: Sequence[str], resize: Resize | None = None, first: int = 0, upright: bool = False) -> None:
        self.paths, self.resize, self.first, self.upright = list(paths), resize, first, upright

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Item:
        try:
            picture = read_picture(self.paths[i], upright=self.upright)
            return _item(picture, self.paths[i], self.first + i, self.resize, True)
        except (InputError, OSError) as error:
            return {"Error": error, "Path": self.paths[i]}

    def mixed(self) -> bool:
        """Tell whether the pictures have different sizes; unreadable ones don't count."""
        return len({picture_size(path) for path in self.paths} - {None}) > 1

    def seconds(self, frame: int) -> float | None:
        """None: pictures have no time."""
        return None


class Tensors(Dataset[Item]):
    """A tensor [N, 3, H, W] of pixel values in [0, 255]; as in py-feat, it is taken as it is, whatever the output size."""

    kind = "tensor"

    def __init__(self, tensor: Tensor) -> None:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"data_type='tensor' takes a torch tensor, got {type(tensor).__name__}")
        if tensor.ndim != 4 or tensor.shape[1] != 3 or not tensor.numel():
            hint = "; a single image goes in as tensor[None]" if tensor.ndim == 3 else ""
            hint = "; grey images go in as tensor.expand(-1, 3, -1, -1)" if tensor.ndim == 4 and tensor.shape[1] == 1 else hint
            raise InputError(f"a tensor of images must have shape [N, 3, H, W], got {list(tensor.shape)}{hint}")
        low, high = (float(value) for value in tensor.aminmax())
        if tensor.is_floating_point() and 0 < high <= 1:
            raise InputError("this tensor lies in [0, 1], and py-feat takes pixel values in [0, 255]: pass 255 * tensor")
        if not (low > -_OVERSHOOT and high < 255 + _OVERSHOOT):
            raise InputError(f"py-feat takes pixel values in [0, 255], and this tensor has values from {low:.3g} to {high:.3g}")
        self.tensor = tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, i: int) -> Item:
        return _item(self.tensor[i], "tensor", i, None, False)

    def seconds(self, frame: int) -> float | None:
        """None: a tensor's images have no time."""
        return None


class VideoFrames(Dataset[Item]):
    """Every `skip_frames`-th frame of a video, by its number."""

    kind = "video"

    def __init__(
        self, path: str, skip_frames: int | None = None, resize: Resize | None = None, index: VideoIndex | None = None
    ) -> None:
        self.video, self.resize = open_video(path, index), resize
        self.frames = range(0, len(self.video), skip_frames or 1)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> Item:
        try:
            return _item(self.video[self.frames[i]], self.video.path, self.frames[i], self.resize, False)
        except DamagedVideoError as error:
            return {"Error": error, "Path": self.video.path, "Frame": self.frames[i], "Gap": error.gap}
        except (InputError, OSError) as error:
            return {"Error": error, "Path": self.video.path, "Last": True}  # those that follow would fail one by one

    def seconds(self, frame: int) -> float | None:
        """Return the time stamp of a frame of the video."""
        return self.video.time(int(frame))


InputDataset = Pictures | Tensors | VideoFrames


def _item(image: Tensor, name: str, frame: int, resize: Resize | None, padding: bool) -> Item:
    item: Item = {"Image": image, "Frame": frame, "FileName": name, "Scale": 1.0}
    item["Padding"] = {"Left": 0, "Top": 0, "Right": 0, "Bottom": 0}
    if resize is None:
        return item
    return item | resize(image, padding) | {"Original": image}


def collate(items: list[Item]) -> Item:
    """Make a batch of a dataset's items; of frames that could not be read, only their errors. "Last" ends it.

    Where the size of a video's frames changes, "Parts" holds a batch of each run of one size. Pictures of different sizes make
    no batch, but an InputError under "Mixed": torch would raise it with a worker's traceback.
    """
    last = next((i for i, item in enumerate(items) if "Last" in item), len(items))
    items = items[: last + 1]
    failed = {"Errors": [item for item in items if "Error" in item]}
    items = [item for item in items if "Error" not in item]
    if not items:
        return failed
    sizes = {tuple(item["Image"].shape): item["FileName"] for item in items}
    if len(sizes) > 1 and len({item["FileName"] for item in items}) == 1:
        parts = groupby(items, lambda item: tuple(item["Image"].shape))
        return failed | {"Parts": [collate(list(part)) for _, part in parts]}
    if len(sizes) > 1:
        (a, one), (b, other) = list(sizes.items())[:2]
        message = (
            f"{one} has {a[2]}×{a[1]} pixels and {other} {b[2]}×{b[1]}: in one batch, all must have the same size. "
            'Use mixed_sizes="single" or batch_size=1 to read them one at a time, or output_size=… to pad them to one size'
        )
        return failed | {"Mixed": InputError(message)}
    originals = [item.pop("Original") for item in items] if "Original" in items[0] else None
    batch: Item = default_collate(items) | failed
    return batch if originals is None else batch | {"Original": originals}


@dataclass(frozen=True)
class FullResolutionFrame:
    """A frame at the best available resolution, and the map from the original frame's pixels to those of `image`."""

    image: Tensor
    scale: float
    left: float
    top: float

    def to_pixels(self, points: Tensor) -> Tensor:
        """Map points [..., 2] in pixels of the original frame to pixels of `image`."""
        return points * self.scale + points.new_tensor([self.left, self.top])


def full_resolution_frames(batch: Item) -> list[FullResolutionFrame]:
    """Get a batch's frames from before resizing; of a batch that lacks those, the frames that it has."""
    if "Original" in batch:
        return [FullResolutionFrame(image, 1.0, 0.0, 0.0) for image in batch["Original"]]
    scale, left, top = (
        torch.as_tensor(v).tolist() for v in (batch["Scale"], batch["Padding"]["Left"], batch["Padding"]["Top"])
    )
    return [FullResolutionFrame(*frame) for frame in zip(batch["Image"], scale, left, top, strict=True)]


def kind_of(path: str) -> str:
    """Classify a file as "image" or "video": by its suffix, and for an unknown one by its content.

    Raises FileNotFoundError or InputError for a missing or empty file with an unknown suffix.
    """
    if Path(path).suffix.lower() in SUFFIXES:
        return "image"
    check_file(path, "file")
    return "image" if picture_size(path) else "video"


def made_upright(rows: pd.DataFrame, path: str) -> bool:
    """Tell whether rows are about a picture as its EXIF data turn it, not as it is stored.

    Its height and width say so, unless it is stored upside down, mirrored, or square: then only this package's own networks,
    which leave emotions unknown, are taken to have read it upright.

    Args:
        rows: of the picture.
        path: of the picture.
    """
    if {"FrameHeight", "FrameWidth"} <= set(rows):
        noted = tuple(int(rows[name].iloc[0]) for name in ("FrameWidth", "FrameHeight"))
        stored, upright = picture_size(path), picture_size(path, upright=True)
        if stored != upright:
            return noted == upright
    return "anger" in rows and bool(rows["anger"].isna().all())


def open_inputs(
    inputs: object,
    data_type: str | None,
    resize: Resize | None = None,
    skip_frames: int | None = None,
    skipped: list[SkippedInput] | None = None,
    upright: bool = False,
    indexes: Mapping[str, VideoIndex] | None = None,
) -> list[InputDataset]:
    """Make datasets of `detect`'s inputs, in order: one of consecutive pictures, one of each video, one of a tensor.

    Args:
        inputs: a path; several paths; or a tensor [N, 3, H, W].
        data_type: one of `KINDS`, or None to classify the files.
        resize: of each frame; by default frames stay as they are.
        skip_frames: see `Detector.detect`.
        skipped: a list to append videos that can't be opened to, instead of an error; pictures are not opened yet.
        upright: turn pictures as their EXIF data say, instead of reading them as stored, as py-feat does.
        indexes: of videos, by path, where they are known; see `Video`.

    Raises:
        FileNotFoundError, InputError: what can't be read: all missing and empty files together, else all unreadable videos.
        TypeError, ValueError: something else than paths or a tensor, or another data_type.
    """
    wanted = data_type.lower() if isinstance(data_type, str) else data_type
    if wanted not in (*KINDS, None):
        raise ValueError(f"data_type must be one of {', '.join(KINDS)}, got {data_type!r}")
    if isinstance(inputs, Tensor) or wanted == "tensor":
        if wanted not in (None, "tensor"):
            raise TypeError(f"data_type={data_type!r} takes paths, got a tensor")
        return [Tensors(inputs)]  # type: ignore[arg-type]  # it says so itself
    paths = list_paths(inputs)
    if skipped is None:
        check_files(paths)
    datasets: list[InputDataset] = []
    known = indexes or {}
    unreadable: list[Exception] = []
    pictures = 0
    for path in paths:
        try:
            video = VideoFrames(path, skip_frames, resize, known.get(path)) if (wanted or kind_of(path)) == "video" else None
        except (InputError, OSError) as error:
            if skipped is None:
                unreadable.append(error)
            else:
                skipped.append(SkippedInput(str(error), path))
            continue
        if video is not None:
            datasets.append(video)
            continue
        if not datasets or not isinstance(datasets[-1], Pictures):
            datasets.append(Pictures([], resize, pictures, upright))
        last = datasets[-1]
        assert isinstance(last, Pictures)
        last.paths.append(path)
        pictures += 1
    raise_together(unreadable)
    return datasets


def list_paths(inputs: object) -> list[str]:
    """List the paths of `detect`'s inputs as text. Raises TypeError or InputError for something else, or none."""
    several = isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes, Mapping))
    paths = list(inputs) if several else [inputs]  # type: ignore[call-overload]
    for path in paths:
        if not isinstance(path, (str, Path)):
            kind = type(path).__name__
            hints = {
                "Tensor": "; make one tensor of them with torch.stack",
                "ndarray": "; torch.from_numpy makes a tensor of it",
            }
            raise TypeError(
                "inputs must be the path of a picture or video, several paths, or a torch tensor [N, 3, H, W] of pixel values, "
                f"got {'a list with ' if isinstance(inputs, (list, tuple)) else ''}{kind}{hints.get(kind, '')}"
            )
        if not str(path):
            raise InputError("inputs holds an empty path")
    if not paths:
        raise InputError("nothing to detect: inputs is empty")
    return [str(path) for path in paths]
