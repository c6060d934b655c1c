"""Draw boxes and AUs onto a frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.inference.evidence import PRESENCE_COLOURS
from fgnet_plugin.utils.arrays import Floats

Style = Literal["bars", "text"]
_BOX = (255, 214, 0)
_PAPER, _INK, _FAINT, _LINE = (20, 20, 24, 190), (255, 255, 255, 255), (176, 176, 182, 255), (255, 255, 255, 150)
_MOST_PANELS = 2
"""Faces that get bars; with more, panels would hide faces, and the AUs are written below the boxes."""


def draw_faces(
    picture: npt.NDArray[np.uint8], boxes: Floats, aus: Sequence[str], scores: Floats, threshold: float, style: Style
) -> npt.NDArray[np.uint8]:
    """Draw the faces' boxes, and their AUs as bars in a panel beside the box, or as text below it.

    Args:
        picture: [H, W, 3] RGB.
        boxes: [F, 4] left, top, width and height in pixels.
        aus: the A action units.
        scores: [F, A] in [0, 1]; NaN where unknown.
        threshold: from which an AU is written as text, and its bar coloured by its score; the others are grey.
        style: "bars" (of one face or two; of more, text) or "text".

    Returns:
        [H, W, 3], a copy.
    """
    image = Image.fromarray(picture).convert("RGBA")
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    size = max(round(image.height / 36), 9)
    for box in boxes.tolist():
        left, top, width, height = box
        draw.rectangle((left, top, left + width, top + height), outline=(*_BOX, 255), width=max(round(size / 5), 2))
    taken: list[tuple[float, float, float, float]] = []
    for box, values in zip(boxes.tolist(), scores, strict=True):
        if style == "bars" and len(boxes) <= _MOST_PANELS:
            taken.append(_panel(draw, image.size, box, aus, values, threshold, size, taken))
        else:
            _text(draw, image.size, box, aus, values, threshold, size)
    return np.array(Image.alpha_composite(image, layer).convert("RGB"))


def _panel(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: Sequence[float],
    aus: Sequence[str],
    values: Floats,
    threshold: float,
    em: int,
    taken: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float, float]:
    """Draw the bars of one face where there is most room beside its box, and return the panel's edges."""
    em = max(min(em, int((size[1] - 4) / (1.25 * max(len(aus), 1) + 1))), 6)
    font = _font(em)
    names = [f"{int(au[2:])} {facs_name(au)}" for au in aus]
    wide = size[0] > 30 * em  # else the numbers alone
    names = names if wide else [str(int(au[2:])) for au in aus]
    label = max((font.getlength(name) for name in names), default=0) + em / 2
    bar, row = 4.0 * em, 1.25 * em
    width, height = label + bar + 3.2 * em, row * len(aus) + em / 2
    x, y = _place(size, box, width, height, taken)
    draw.rectangle((x, y, x + width, y + height), fill=_PAPER)
    for i, (name, value) in enumerate(zip(names, values.tolist(), strict=True)):
        middle, start = y + em / 4 + (i + 0.5) * row, x + em / 2 + label
        known = bool(np.isfinite(value))
        over = known and value >= threshold
        draw.text((x + em / 2, middle), name, _INK if over else _FAINT, font, anchor="lm")
        if known:
            colour = (*_colour(value), 255) if over else _FAINT
            draw.rectangle((start, middle - 0.32 * em, start + bar * value, middle + 0.32 * em), fill=colour)
        draw.text((x + width - em / 4, middle), f"{value:.2f}" if known else "–", _INK if over else _FAINT, font, anchor="rm")
    at = x + em / 2 + label + bar * threshold
    draw.line((at, y + em / 4, at, y + height - em / 4), fill=_LINE)
    return x, y, x + width, y + height


def _place(
    size: tuple[int, int],
    box: Sequence[float],
    width: float,
    height: float,
    taken: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float]:
    """Choose the left upper corner of a panel: beside the box, at the side with more room, not on another panel."""
    gap = 4.0
    right, left = box[0] + box[2] + gap, box[0] - gap - width
    order = (right, left) if size[0] - right >= box[0] else (left, right)
    y = min(max(box[1], 0.0), max(size[1] - height, 0.0))
    for x in order:
        x = min(max(x, 0.0), max(size[0] - width, 0.0))
        if not any(x < other[2] and other[0] < x + width and y < other[3] and other[1] < y + height for other in taken):
            return x, y
    return min(max(order[0], 0.0), max(size[0] - width, 0.0)), y


def _text(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: Sequence[float],
    aus: Sequence[str],
    values: Floats,
    threshold: float,
    em: int,
) -> None:
    """Write the AUs over the threshold below a box, or where there is no room, above it."""
    font, columns = _font(em), 2 if box[2] > 9 * em else 1
    over = [f"{int(au[2:])}: {value:.2f}" for au, value in zip(aus, values.tolist(), strict=True) if value >= threshold]
    lines = ["   ".join(over[i : i + columns]) for i in range(0, len(over), columns)]
    if not lines:
        return
    width, row = max(font.getlength(line) for line in lines) + em / 2, 1.2 * em
    height = row * len(lines) + em / 4
    x = min(max(box[0], 0.0), max(size[0] - width, 0.0))
    below = box[1] + box[3]
    y = below if below + height <= size[1] else max(box[1] - height, 0.0)
    draw.rectangle((x, y, x + width, y + height), fill=_PAPER)
    for i, line in enumerate(lines):
        draw.text((x + em / 4, y + em / 8 + (i + 0.5) * row), line, _INK, font, anchor="lm")


def _colour(value: float) -> tuple[int, int, int]:
    """Choose a colour of the heatmaps' scale, from its light half: the panel is dark."""
    red, green, blue = PRESENCE_COLOURS[round(127 * min(max(value, 0.0), 1.0))].tolist()
    return red, green, blue


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
