"""Plot a Fex: the faces of a photo with their AUs, and AUs over a video's time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import FACEBOX, known_aus
from fgnet_plugin.media.video import Video
from fgnet_plugin.pyfeat.fex_frames import Where, iterate_frames
from fgnet_plugin.utils.figures import NotebookFigure

_MOST_LINES = 8  # curves in one panel that can still be told apart
_DASHES: tuple[Any, ...] = ("-", (0, (4, 2.5)), (0, (6, 3, 1.2, 3)), (0, (1.2, 2.6)))  # in turns; the later, the more gaps
_FEW_WIDTH, _WIDTHS = 1.8, (2.8, 1.2)  # points; where curves share dashes, the later ones are thinner
_PRESENT = 0.5


def plot_faces(fex: pd.DataFrame, source: Where = None) -> list[Figure]:
    """Make a figure for each frame: the photo with its faces numbered, and beside it the scores of each AU and face.

    Args:
        fex: a Fex.
        source: where its pictures and videos are; see `annotate`.

    Returns:
        matplotlib figures, one for each frame with a face.

    Example:
        >>> for number, figure in enumerate(plot_faces(fex)):  # doctest: +SKIP
        ...     figure.savefig(f"faces-{number}.png")
    """
    return [_faces_figure(pd.DataFrame(fex).iloc[rows.positions], rows.image) for rows in iterate_frames(fex, source)]


def _faces_figure(faces: pd.DataFrame, image: torch.Tensor) -> Figure:
    aus = known_aus(faces)
    few = len(faces) == 1
    figure = _figure((10.5 if few else 9 + min(0.55 * len(faces), 5), 5.2))
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 0.8) if few else (1.0, min(0.3 + 0.07 * len(faces), 1.0)))
    left.imshow(image.permute(1, 2, 0).numpy())
    left.axis("off")
    left.set_title(Path(str(faces["input"].iloc[0])).name, fontsize=10)
    for i, (_, face) in enumerate(faces.iterrows(), start=1):
        x, y, w, h = (float(face[name]) for name in FACEBOX[:4])
        left.add_patch(Rectangle((x, y), w, h, fill=False, color="yellow", lw=2))
        if not few:
            left.text(x, y, f" {i} ", color="black", fontsize=9, va="bottom", bbox={"color": "yellow", "pad": 0.5})
    labels = [f"{au[2:].lstrip('0')} {NAMES[au_number(au)]}" for au in aus]
    values = faces[aus].to_numpy(float)
    right.set_yticks(range(len(aus)), labels, fontsize=9)
    if few:
        right.barh(range(len(aus)), values[0], color=["C0" if value > _PRESENT else "0.7" for value in values[0]])
        right.axvline(_PRESENT, color="0.5", lw=0.8, ls=":")
        right.set(xlim=(0, 1), xlabel="score", ylim=(len(aus) - 0.4, -0.6))
        return figure
    right.imshow(values.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (face, au), value in np.ndenumerate(values):
        right.text(face, au, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value > 0.6 else "0.2")
    right.set_xticks(range(len(faces)), [str(i) for i in range(1, len(faces) + 1)])
    right.set_xlabel("face")
    right.set_title("score", fontsize=10)
    return figure


def plot_time_course(
    fex: pd.DataFrame, aus: Sequence[str] | None = None, source: Where = None, title: str | None = None
) -> Figure:
    """Plot AU scores over a video's time, mean of the frame's faces; grey where no face was found.

    Curves differ in width and dashes, too: those that coincide, as of two AUs that always come together, are all seen.

    Args:
        fex: rows of one video.
        aus: which; by default the eight that change most.
        source: the video's file, if not where the column "input" says; without it, time is in frames.
        title: by default the file's name.

    Returns:
        matplotlib figure.

    Raises:
        InputError: rows of several inputs, or none of the AUs.

    Example:
        >>> fex = pd.DataFrame({"input": "smile.mp4", "frame": range(5), "AU12": [0.1, 0.4, 0.9, 0.8, 0.2]})
        >>> figure = plot_time_course(fex, aus=["AU12"])
        >>> figure.savefig("smile.png")
    """
    table = pd.DataFrame(fex)
    inputs = table["input"].unique()
    if len(inputs) != 1:
        raise InputError(f"a time course is of one video; the table has rows of {len(inputs)} inputs: choose one of them")
    by_frame = table.groupby("frame")[known_aus(table)].mean()
    chosen = list(aus) if aus is not None else sorted(by_frame.std().nlargest(_MOST_LINES).index)
    missing = [au for au in chosen if au not in by_frame]
    if missing or not chosen:
        raise InputError(f"the table has no values of {', '.join(missing) or 'any AU'}")
    at, unit = _times(by_frame.index.to_numpy(), str(inputs[0]) if source is None else str(source))
    figure = _figure((9, 3.6))
    axis = figure.subplots()
    for i, (au, colour) in enumerate(zip(chosen, _colours(len(chosen)), strict=True)):
        again, dashes = divmod(i, len(_DASHES))
        # Where curves coincide, thin ones lie above wide ones, and those with more gaps above those with fewer.
        axis.plot(
            at,
            by_frame[au],
            color=colour,
            ls=_DASHES[dashes],
            lw=_WIDTHS[min(again, 1)] if len(chosen) > len(_DASHES) else _FEW_WIDTH,
            zorder=2 + 0.1 * again + 0.01 * dashes,
            label=f"{au} {NAMES[au_number(au)]}",
        )
    nothing = by_frame[chosen].isna().all(axis=1).to_numpy()
    edges = np.concatenate([at[:1], (at[1:] + at[:-1]) / 2, at[-1:]])
    for n in np.flatnonzero(nothing).tolist():
        axis.axvspan(edges[n], edges[n + 1], color="0.9", label="_" if nothing[:n].any() else "no face", lw=0, snap=True)
    axis.axhline(_PRESENT, color="0.5", lw=0.8, ls=":")
    axis.set(ylim=(0, 1), xlim=(at[0], at[-1] if len(at) > 1 else at[0] + 1), xlabel=unit, ylabel="score")
    axis.set_title(title or Path(str(inputs[0])).name, fontsize=10)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    return figure


def _times(frames: np.ndarray[Any, Any], path: str) -> tuple[np.ndarray[Any, Any], str]:
    if not Path(path).is_file():
        return frames, "frame"
    with Video(path) as video:
        return np.array([video.time(int(frame)) for frame in frames]), "seconds"


def _figure(size: tuple[float, float]) -> Figure:
    """Make a figure that no window or notebook shows by itself."""
    return NotebookFigure(figsize=size, layout="constrained")


def _colours(count: int) -> list[Any]:
    cycle = colormaps["tab10"] if count <= 10 else colormaps["tab20"]
    return [cycle(i % cycle.N) for i in range(count)]
