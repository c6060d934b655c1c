"""A video or photo with what a detector's table says of it: boxes, AUs and, with FG-Net, where they were seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import FACEBOX, LANDMARKS, known_aus
from fgnet_plugin.inference.evidence import face_region, presence, tinted
from fgnet_plugin.inference.inputs import kind_of, made_upright
from fgnet_plugin.inference.overlay_drawing import Style, draw_faces
from fgnet_plugin.media.animation import open_video
from fgnet_plugin.media.blur import blur_all, blur_faces
from fgnet_plugin.media.images import check_file, read_picture
from fgnet_plugin.media.video_writer import SUFFIXES, VideoWriter
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.journal import read_table
from fgnet_plugin.utils.progress import tqdm
from fgnet_plugin.utils.text import counted

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_AT_ONCE = 8  # frames whose faces FG-Net reads together


@dataclass(frozen=True)
class _Look:
    """What is drawn."""

    aus: tuple[str, ...]
    threshold: float
    style: Style
    model: AUModel | None
    blurred: bool


def overlay(
    source: str | Path,
    fex: pd.DataFrame | str | Path,
    out: str | Path,
    *,
    aus: Sequence[str] | None = None,
    threshold: float = 0.5,
    style: Style = "bars",
    heatmaps: AUModel | None = None,
    blur: bool = False,
    progress_bar: bool = True,
) -> int:
    """Draw what a table says onto the video or photo that it was made of, to look at spots, and to show others.

    The video has the frames that the table has, each at its time, in the pixels that a player displays, and no sound. With
    `heatmaps`, colours show where the AUs over the threshold were seen, the one that was seen most at each place, on the scale
    of the scores; see `inference.evidence.presence`.

    Args:
        source: the video or photo.
        fex: a Fex or its file: of this package or py-feat's detectors.
        out: .mp4, .mkv, .mov or .webm for a video; .png, .jpg or .webp for a photo. A file that is there is replaced.
        aus: which; by default all with a value.
        threshold: score from which an AU counts as present.
        style: "bars" in a panel beside the face (of one face or two; of more, text), or "text": the AUs over the threshold.
        heatmaps: FG-Net, whose heatmaps are drawn; needs landmarks in the table.
        blur: make faces unrecognisable, heatmaps and all. Frames in which no face was found are blurred as a whole; in
            others, a face that was not found stays as it is.
        progress_bar: show one.

    Returns:
        Number of frames that were written.

    Raises:
        FileNotFoundError, InputError: a file that is missing or of another kind, a table of another recording, AUs or
            landmarks that it lacks; the message names what.
        ValueError: an unknown style.

    Example:
        >>> overlay("clip.mp4", "fex.csv", "overlay.mp4", aus=["AU06", "AU12"])  # doctest: +SKIP
    """
    if style not in get_args(Style):
        raise ValueError(f"style must be 'bars' or 'text', got {style!r}")
    check_file(source, "video or picture")
    table = fex if isinstance(fex, pd.DataFrame) else read_table(_checked(Path(fex)))
    rows = _rows_of(pd.DataFrame(table), str(source))
    wanted = _wanted(rows, aus)
    look = _Look(wanted, threshold, style, heatmaps and heatmaps.showing(wanted), blur)
    if heatmaps is not None and not set(LANDMARKS) <= set(rows):
        raise InputError("heatmaps need the landmarks x_0 … y_67, which the table lacks (fgnet detect --columns faces, or all)")
    if look.model is not None and (unknown := [au for au in wanted if au not in look.model.aus]):
        warnings.warn(f"{look.model.name} has no heatmaps of {', '.join(unknown)}", stacklevel=2)
    photo, suffix = kind_of(str(source)) == "image" and rows["frame"].nunique() == 1, Path(out).suffix.lower()
    if suffix not in (PICTURES if photo else SUFFIXES):
        what, known = ("a photo", PICTURES) if photo else ("a video", SUFFIXES)
        raise InputError(f"{out}: {source} is {what}, which is written to {', '.join(known)}")
    if photo:
        picture = read_picture(str(source), upright=made_upright(rows, str(source)))
        _check_size(rows, picture, str(source))
        [drawn] = _drawn([(picture, rows)], look)
        with atomic_write(Path(out)) as part:
            Image.fromarray(drawn).save(part, format={".jpg": "JPEG", ".jpeg": "JPEG"}.get(suffix, suffix[1:].upper()))
        return 1
    return _draw_video(str(source), rows, Path(out), look, progress_bar)


def _draw_video(source: str, rows: pd.DataFrame, out: Path, look: _Look, progress_bar: bool) -> int:
    by_frame = dict(iter(rows.groupby("frame", sort=True)))
    with open_video(source) as video:
        if len(video) <= max(by_frame):
            raise InputError(f"{source} has {counted(len(video), 'frame')}, but the table has rows of frame {max(by_frame)}")
        _check_size(rows, video[min(by_frame)], source)
        times = [video.time(int(number)) for number in by_frame]
        rate = (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else video.fps or 1.0
        part = out.with_name(f".{out.stem}.part{out.suffix}")
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with VideoWriter(part, rate) as writer, tqdm(total=len(times), unit="frame", disable=not progress_bar) as bar:
                for first in range(0, len(times), _AT_ONCE):
                    numbers = list(by_frame)[first : first + _AT_ONCE]
                    frames = [(video[int(number)], by_frame[number]) for number in numbers]
                    for picture, time in zip(_drawn(frames, look), times[first : first + _AT_ONCE], strict=True):
                        writer.add(picture, time)
                    bar.update(len(numbers))
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
    return len(times)


def _drawn(frames: Sequence[tuple[torch.Tensor, pd.DataFrame]], look: _Look) -> Iterator[npt.NDArray[np.uint8]]:
    """Draw frames [3, H, W] with their rows."""
    strengths = _strengths(frames, look) if look.model is not None else [np.zeros((0, 0))] * len(frames)
    for (frame, rows), strength in zip(frames, strengths, strict=True):
        picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
        faces = rows[rows["FaceRectX"].notna()]
        boxes = faces[FACEBOX[:4]].to_numpy(float)
        if look.blurred:
            picture = blur_faces(picture, boxes) if len(boxes) else blur_all(picture)
        if strength.any():
            picture = tinted(picture, strength)
        scores = faces[list(look.aus)].to_numpy(float)
        yield draw_faces(picture, boxes, look.aus, scores, look.threshold, look.style)


def _strengths(frames: Sequence[tuple[torch.Tensor, pd.DataFrame]], look: _Look) -> list[npt.NDArray[np.float64]]:
    """Compute for each frame how much an AU over the threshold was seen at each pixel: [H, W] in [0, 1]."""
    model = look.model
    assert model is not None
    points = [
        torch.from_numpy(rows[LANDMARKS].to_numpy(np.float64).reshape(-1, 2, 68).swapaxes(1, 2).copy()) for _, rows in frames
    ]
    result = [np.zeros(tuple(frame.shape[1:])) for frame, _ in frames]
    reading = model.read([frame for frame, _ in frames], points)
    channels = [model.aus.index(au) for au in look.aus if au in model.aus]
    if not len(reading.read) or not channels:
        return result
    of_frame = np.repeat(np.arange(len(frames)), [len(of) for of in points])[reading.read.numpy()].tolist()
    scores = reading.scores[reading.read][:, channels]
    # The table's decision, not the model's: what is coloured is what bars and text call present.
    table = pd.concat([rows for _, rows in frames])[[model.aus[channel] for channel in channels]].to_numpy(float)
    present = torch.from_numpy(np.nan_to_num(table[reading.read.numpy()]) >= look.threshold)
    maps = reading.prediction.heatmaps[:, channels].float().cpu()
    strength = (presence(maps, scores) * present[..., None, None]).amax(1, keepdim=True)
    size = reading.aligned.faces.shape[-1]
    regions = [
        face_region(to_photo, size, *frames[frame][0].shape[1:])
        for to_photo, frame in zip(reading.aligned.to_photo.cpu(), of_frame, strict=True)
    ]
    on_photo = reading.aligned.heatmaps_to_photo(strength.to(reading.aligned.to_photo.device), regions)
    for frame, (x0, y0, x1, y1), of_face in zip(of_frame, regions, on_photo, strict=True):
        part = result[frame][y0:y1, x0:x1]
        np.maximum(part, of_face[0].cpu().numpy(), out=part)
    return result


def _checked(path: Path) -> Path:
    check_file(path, "table")
    return path


def _rows_of(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Choose the rows of a recording: those whose input has its path, else its name; of a table of one input, all."""
    needed = [*FACEBOX[:4], "input", "frame"]
    if lacking := [name for name in needed if name not in table]:
        raise InputError(f"the table has no column {lacking[0]!r}: an overlay needs one of fgnet detect or py-feat's detectors")
    if not len(table):
        raise InputError("the table has no rows")
    inputs = table["input"].astype(str)
    for matches in (inputs == source, inputs.map(_name) == _name(source)):
        if matches.any():
            named = inputs[matches].unique()
            if len(named) > 1:
                raise InputError(f"the table has several recordings of this name ({', '.join(named)}): give the path of one")
            return table[matches]
    if inputs.nunique() > 1:
        raise InputError(f"the table has no rows of {_name(source)}; it has those of {', '.join(inputs.unique()[:5])}")
    warnings.warn(f"the table is of {inputs.iloc[0]}, and {source} is taken for the same", stacklevel=3)
    return table


def _name(path: Any) -> str:
    return str(path).replace("\\", "/").rpartition("/")[2].casefold()


def _wanted(rows: pd.DataFrame, aus: Sequence[str] | None) -> tuple[str, ...]:
    known = known_aus(rows)
    if lacking := [au for au in aus or () if au not in known]:
        raise InputError(f"the table has no values of {', '.join(lacking)}; it has those of {', '.join(known) or 'no AU'}")
    return tuple(aus or known)


def _check_size(rows: pd.DataFrame, picture: torch.Tensor, source: str) -> None:
    """Raise InputError where the table was made of pixels of another size."""
    if {"FrameHeight", "FrameWidth"} <= set(rows):
        height, width = (int(rows[name].iloc[0]) for name in ("FrameHeight", "FrameWidth"))
        if abs(height - picture.shape[1]) > 2 + 0.01 * height or abs(width - picture.shape[2]) > 2 + 0.01 * width:
            here = f"{picture.shape[2]}×{picture.shape[1]}"
            raise InputError(f"{source} has {here} pixels, but the table was made of {width}×{height}: give that file")
