"""A student's report: one page that needs nothing else, and the same figures as a CSV file."""

from __future__ import annotations

import base64
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo
from fgnet_plugin.utils.files import atomic_write

_INK, _WEAK = "#0072b2", "#d55e00"


def write(out: Path, info: CheckpointInfo, table: pd.DataFrame) -> None:
    """Write ``student.html`` and ``student.csv`` beside ``student.safetensors``.

    Args:
        out: the student's file.
        info: its metadata.
        table: see `agreement.agreement_table`.
    """
    with atomic_write(out.with_suffix(".csv")) as part:
        table.to_csv(part, index=False)
    loader = PackageLoader("fgnet_plugin.training.students", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "percent": percent}
    text = environment.get_template("report.html.jinja").render(
        name=out.name,
        card=info.training,
        rows=table.to_dict("records"),
        weak=[f"{au} {facs_name(au)}".strip() for au in info.training["weak_aus"]],
        advice=advice(info.training["curve"]),
        figure=_figure(table, info.training["curve"], info.training["least_agreement"]),
    )
    with atomic_write(out.with_suffix(".html")) as part:
        part.write_text(text, encoding="utf-8")


def number(value: float | None) -> str:
    """Format with two decimals; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # no −0.00


def percent(value: float) -> str:
    """Format a share in percent; a dash where there is none."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else "–"


def advice(curve: list[dict[str, Any]]) -> str:
    """Say in a sentence whether more faces would help, by the last two students of the curve.

    >>> advice([{"faces": 500, "icc": 0.70}, {"faces": 1000, "icc": 0.76}])
    'From 500 to 1,000 faces, the mean ICC rose by 0.06: more faces are likely to help.'
    """
    if len(curve) < 2:
        return "Students of fewer faces were not asked for, so whether more faces would help is not known."
    before, after = curve[-2], curve[-1]
    rise = after["icc"] - before["icc"]
    first = f"From {before['faces']:,} to {after['faces']:,} faces, the mean ICC "
    if rise > 0.02:
        return f"{first}rose by {rise:.2f}: more faces are likely to help."
    changed = "hardly changed" if abs(rise) <= 0.02 else f"fell by {-rise:.2f}"
    return f"{first}{changed}: more faces of these recordings are unlikely to help."


def _figure(table: pd.DataFrame, curve: list[dict[str, Any]], least: float) -> str:
    """Draw ICC by AU and the learning curve: SVG in base64."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 0.28 * len(table) + 1.6), layout="constrained")
    by_au, by_faces = figure.subplots(1, 2, width_ratios=[3, 2])
    places = range(len(table))
    colours = [_WEAK if weak else _INK for weak in table["weak"]]
    by_au.hlines(places, table["icc_low"], table["icc_high"], color=colours, linewidth=1.5)
    by_au.scatter(table["icc"], places, color=colours, s=22, zorder=3)
    by_au.axvline(least, color="#777777", linewidth=1, linestyle="--")
    by_au.set_yticks(places, [f"{au} {name}" for au, name in zip(table["AU"], table["name"], strict=True)], fontsize=8)
    by_au.set_ylim(len(table) - 0.5, -0.5)
    low = table[["icc", "icc_low"]].min(axis=None)
    by_au.set_xlim(min(0.0, low - 0.05) if math.isfinite(low) else 0.0, 1.02)
    by_au.set_xlabel("ICC with the teacher, held-out people")
    by_faces.plot([point["faces"] for point in curve], [point["icc"] for point in curve], "o-", color=_INK)
    by_faces.set_xlabel("faces learned from")
    by_faces.set_ylabel("mean ICC")
    for axes in (by_au, by_faces):
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return base64.b64encode(buffer.getvalue()).decode()
