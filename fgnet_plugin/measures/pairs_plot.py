"""A figure of conditions within people: a panel for each AU, a line for each person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STRONG, _LINE, _GREY = "C3", "0.55", "0.8"


def plot_pairs(
    table: pd.DataFrame,
    people: pd.DataFrame,
    thin: str = "mean score",
    bold: str = "estimated share of frames with the AU",
    columns: int = 4,
) -> Figure:
    """Plot each person's means in all conditions, and the estimates for all people; needs matplotlib.

    AUs that were not tested are grey. For the others, a bar at each condition but the first is the interval of the difference
    from the first.

    Args:
        table: as of `contrast`: a row for each AU and each condition but the first.
        people: as of `contrast`: ``subject``, ``condition``, ``AU`` and ``mean``.
        thin, bold: what to call the means of people, and the estimates.
        columns: of panels.
    """
    from matplotlib.figure import Figure

    aus = list(dict.fromkeys(table["AU"]))
    columns = min(columns, len(aus))
    lines = -(-len(aus) // columns)
    figure = Figure(figsize=(2.7 * columns, 2.7 * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axis in axes.flat[len(aus) :]:
        axis.axis("off")
    for axis, au in zip(axes.flat, aus, strict=False):
        _panel(axis, table[table["AU"] == au], people[people["AU"] == au])
    caption = f"thin: {thin} of each person; bold: {bold}, with the interval of the difference"
    figure.suptitle(f"{caption}\n* p < 0.05, corrected for the number of tests; grey: hardly present, not tested", fontsize=9)
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, people: pd.DataFrame) -> None:
    first = rows.iloc[0]
    levels = [str(first["reference"]), *rows["condition"].astype(str)]
    tested = bool(first["tested"])
    means = people.pivot_table(index="subject", columns="condition", values="mean").reindex(columns=levels)
    at = np.arange(len(levels))
    axis.plot(at, means.to_numpy().T, color=_LINE if tested else _GREY, lw=0.6, alpha=0.7, marker=".", ms=3)
    title = f"{first['AU']} {first['name']}"
    if tested:
        rates = [first["reference_rate"], *rows["condition_rate"]]
        axis.plot(at, rates, color=_STRONG, lw=2, marker="o", ms=5)
        low, high = rows["low"] + first["reference_rate"], rows["high"] + first["reference_rate"]
        errors = np.stack([rates[1:] - low, high - rates[1:]]).clip(min=0)
        axis.errorbar(at[1:], rates[1:], errors, fmt="none", color=_STRONG, capsize=4, lw=1.5)
        title += "\n" + "; ".join(_said(row) for row in rows.to_dict("records"))
    else:
        title += "\nnot tested"
    axis.set_title(title, fontsize=8, color="k" if tested else "0.6")
    axis.set_xticks(at, levels, fontsize=8, color="k" if tested else "0.6")
    axis.set(xlim=(-0.35, len(levels) - 0.65), ylim=(-0.03, 1.03))
    axis.tick_params(axis="y", labelsize=8)


def _said(row: dict[Any, Any]) -> str:
    star = " *" if row["p_corrected"] < 0.05 else ""
    return f"{row['difference']:+.2f} [{row['low']:.2f}, {row['high']:.2f}]{star}"
