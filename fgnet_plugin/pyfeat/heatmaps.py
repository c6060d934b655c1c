"""Show the evidence for each AU: FG-Net's heatmaps of chosen rows, and plots of them over the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel, is_fgnet
from fgnet_plugin.inference.columns import known_aus
from fgnet_plugin.inference.evidence import PRESENCE_COLOURS, face_region, opacity, presence
from fgnet_plugin.media.images import SUFFIXES
from fgnet_plugin.pyfeat.fex_frames import Where, iterate_frames, read_table
from fgnet_plugin.utils.figures import NotebookFigure
from fgnet_plugin.utils.text import counted
from fgnet_plugin.utils.threads import gradients_kept

Show = Literal["presence", "both"]
_PRESENCE = ListedColormap(PRESENCE_COLOURS / 255, "presence")


@dataclass(frozen=True, eq=False)
class FaceHeatmaps:
    """The heatmaps of one face."""

    row: int
    """Place of the face's row in the table (``fex.iloc[row]``)."""
    input: str
    """Path of the picture or video."""
    frame: int
    """Number of the frame."""
    aus: tuple[str, ...]
    """The A action units, in order."""
    maps: Tensor
    """[A, h, w] float32, about [-1, 1], on the aligned face: positive where the face shows the AU, negative where not."""
    scores: Tensor
    """[A] float32 in [0, 1]."""
    face: Tensor
    """uint8 [3, S, S]: the aligned face that FG-Net read."""
    photo: Tensor
    """uint8 [3, H, W]: the part of the frame around the face."""
    photo_maps: Tensor
    """[A, H, W] float32: the maps on the pixels of `photo`, 0 outside of what FG-Net saw."""
    corner: tuple[int, int]
    """x and y of the first pixel of `photo` in the frame."""
    landmarks: Tensor
    """[68, 2] float64, in pixels of the frame."""


def heatmaps(
    fex: pd.DataFrame | str | Path,
    rows: int | slice | Sequence[int] | None = None,
    aus: Sequence[str] | None = None,
    au_model: str | Path | AUModel | None = None,
    *,
    source: Where = None,
    device: str | torch.device = "cpu",
) -> list[FaceHeatmaps]:
    """Compute FG-Net's heatmaps of chosen rows of a Fex: where in the face each AU was seen, or seen to be absent.

    Args:
        fex: a Fex or its CSV file, of any detector that `annotate` takes.
        rows: which, by place; by default all. The result of each takes 4 bytes for each AU and each pixel of the box around
            the face, 60 MB for 15 AUs of a face of 1000 × 1000 px; frames are in memory one at a time.
        aus: which AUs; by default all that the checkpoint knows.
        au_model: as in `Detector`, or a loaded `AUModel`; by default the one that the Fex names. A Fex read from a file names
            none, and needs this.
        source: as in `annotate`.
        device: where FG-Net computes.

    Returns:
        One `FaceHeatmaps` for each chosen row with a face, in the order of rows.

    Raises:
        InputError: AUs that the checkpoint does not know; rows beyond the table; a table that names no checkpoint of
            FG-Net, without `au_model`; see `annotate`, too.

    Example:
        >>> fex = Detector.offline().detect("photo.jpg")  # doctest: +SKIP
        >>> [face] = heatmaps(fex, rows=0, aus=["AU06", "AU12"])  # doctest: +SKIP
        >>> face.aus, face.maps.shape  # doctest: +SKIP
        (('AU06', 'AU12'), torch.Size([2, 32, 32]))
    """
    table = read_table(fex)
    places = np.arange(len(table))
    try:
        chosen = places if rows is None else np.atleast_1d(places[rows])
    except IndexError as error:
        raise InputError(f"the table has {counted(len(table), 'row')}; {rows} is beyond them") from error
    with gradients_kept():
        model = au_model if isinstance(au_model, AUModel) else AUModel(au_model or _model_of(table), device)
        model = model.showing(known_aus(table))
        wanted = tuple(aus) if aus is not None else model.aus
        unknown = [au for au in wanted if au not in model.aus]
        if unknown:
            raise InputError(model.lacking(unknown))
        channels = [model.aus.index(au) for au in wanted]
        faces = []
        for frame in iterate_frames(table, source, chosen):
            reading = model.read([frame.image], [frame.landmarks])
            if not len(reading.read):
                continue
            size, pictures = reading.aligned.faces.shape[-1], reading.aligned.pictures().cpu()
            shape = frame.image.shape[1:]
            boxes = [face_region(to_photo, size, *shape) for to_photo in reading.aligned.to_photo.cpu()]
            on_photo = reading.aligned.heatmaps_to_photo(reading.prediction.heatmaps[:, channels], boxes)
            for i, (face, maps, box) in enumerate(zip(reading.read.tolist(), on_photo, boxes, strict=True)):
                x0, y0, x1, y1 = box
                faces.append(
                    FaceHeatmaps(
                        row=int(frame.positions[face]),
                        input=frame.input,
                        frame=frame.frame,
                        aus=wanted,
                        maps=reading.prediction.heatmaps[i, channels].float().cpu(),
                        scores=reading.scores[face, channels],
                        face=pictures[i],
                        photo=frame.image[:, y0:y1, x0:x1].clone(),
                        photo_maps=maps.float().cpu(),
                        corner=(x0, y0),
                        landmarks=frame.landmarks[face],
                    )
                )
    order: dict[int, int] = {int(row): i for i, row in enumerate(chosen)}
    return sorted(faces, key=lambda face: order[face.row])


def plot_heatmaps(
    faces: FaceHeatmaps | Sequence[FaceHeatmaps] | pd.DataFrame | str | Path,
    rows: int | slice | Sequence[int] | None = None,
    aus: Sequence[str] | None = None,
    *,
    columns: int = 6,
    show: Show = "presence",
    **options: object,
) -> list[Figure]:
    """Plot heatmaps over the photo, a figure for each face: the darker, the more a place speaks for the AU.

    Args:
        faces: from `heatmaps`; or what `heatmaps` takes, with its `options`.
        rows, aus: which, if `faces` is a Fex; see `heatmaps`.
        columns: AUs side by side.
        show: "presence", where the face shows the AU, on one scale with the scores (see `inference.evidence.presence`); or
            "both", the network's heatmaps as they are: red where the face shows the AU, blue where it shows that it does not.

    Returns:
        matplotlib figures: ``figure.savefig("evidence.png")``.

    Raises ValueError for another `show`; otherwise see `heatmaps`.

    Example:
        >>> [figure] = plot_heatmaps("fex.csv", rows=0, au_model="fgnet-rendered")  # doctest: +SKIP
        >>> figure.savefig("evidence.png")  # doctest: +SKIP
    """
    if show not in get_args(Show):
        raise ValueError(f"show must be 'presence' or 'both', got {show!r}")
    if isinstance(faces, FaceHeatmaps):
        faces = [faces]
    elif isinstance(faces, (pd.DataFrame, str, Path)):
        faces = heatmaps(faces, rows, aus, **options)  # type: ignore[arg-type]
    return [_figure(face, columns, show) for face in faces]


def _figure(face: FaceHeatmaps, columns: int, show: Show) -> Figure:
    columns = min(columns, len(face.aus) + 1)
    lines = -(-(len(face.aus) + 1) // columns)
    height, width = face.photo.shape[1:]
    figure = NotebookFigure(figsize=(1.9 * columns + 0.9, (1.9 * height / width + 0.5) * lines + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    picture = face.photo.permute(1, 2, 0).numpy()
    axes.flat[0].imshow(picture)
    points = face.landmarks.numpy() - np.array(face.corner)
    axes.flat[0].plot(points[:, 0], points[:, 1], ".", ms=1.5, color="cyan")
    axes.flat[0].set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.flat[0].set_title("landmarks", fontsize=8)
    shown = None
    present = show == "presence"
    drawn = (presence(face.maps, face.scores, face.photo_maps) if present else face.photo_maps).numpy()
    colours: dict[str, Any] = {"cmap": _PRESENCE, "vmin": 0} if present else {"cmap": "RdBu_r", "vmin": -1}
    for axis, au, maps, score in zip(list(axes.flat)[1:], face.aus, drawn, face.scores, strict=False):
        axis.imshow(picture.mean(2), cmap="gray", vmin=0, vmax=255)
        shown = axis.imshow(maps, vmax=1, alpha=opacity(maps) if present else _opacity(maps), **colours)
        axis.set_title(f"{au} {NAMES[au_number(au)]}\n{score:.2f}", fontsize=8, fontweight="bold" if score > 0.5 else "normal")
    name = Path(face.input).name
    picture_file = Path(name).suffix.lower() in SUFFIXES
    figure.suptitle(name if picture_file else f"{name}, frame {face.frame}", fontsize=10)
    if shown is not None:
        label = "seen here, up to the score" if present else "− absent        + present"
        figure.colorbar(shown, ax=axes, shrink=0.6, label=label)
    return figure


def _opacity(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Make the map transparent where it is near 0, so that the face is seen."""
    return (0.75 * np.sqrt(np.abs(maps).clip(0, 1))).astype(np.float32)


def _model_of(table: pd.DataFrame) -> str:
    """Get the AU model that a Fex names; InputError if it is not FG-Net."""
    name = getattr(table, "au_model", None)
    try:
        known = is_fgnet(name)
    except ValueError:  # a name like FG-Net's that this version does not know
        known = False
    if not known:
        says = (
            "does not say which FG-Net its AUs are from"
            if name is None
            else f"has AUs of {name!r}, which is not a known FG-Net"
        )
        raise InputError(f"the table {says}: say which to ask with au_model=…, such as au_model='fgnet' or 'fgnet-rendered'")
    return str(name)
