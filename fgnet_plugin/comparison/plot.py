"""Plot a comparison: agreement and prevalence by AU above, and with labels F1 and AUC below."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.utils.figures import NotebookFigure

# Okabe & Ito's colours, which colour-blind readers tell apart, and shapes for print without colour.
_COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
_MARKERS = "o", "s", "^", "D", "v", "P", "X"
_MEASURES = {"icc": "ICC(A,1)", "pearson_r": "Pearson r", "kappa": "Cohen's κ"}
_GREY = "#8a8a8a"
_ROW = 0.3  # inches, of an AU
_CELL = 0.52  # inches, width of a cell of the heat maps
_LABELS = 2.3  # inches, for the names of AUs
_LONGEST = 22  # letters of a model's name on a heat map


def draw(
    agreement: pd.DataFrame, accuracy: pd.DataFrame | None, decisions: Mapping[str, pd.DataFrame], labels: pd.DataFrame | None
) -> Figure:
    """Return the figure of `Comparison.plot`; the tables are those of a `Comparison`."""
    models = list(decisions)
    pairs = len(list(combinations(models, 2)))
    aus = list(dict.fromkeys(agreement["AU"]))
    scored = [] if accuracy is None else list(dict.fromkeys(accuracy["AU"]))
    upper = 0.0 if not pairs else _ROW * max(len(aus), 2) + (1.7 if pairs == 1 else 2.7)
    lower = 0.0 if not scored else _ROW * len(scored) * max(1.0, len(models) / 2.5) + 1.7
    agreeing = 4.5 if pairs < 2 else len(_MEASURES) * max(1.3, _CELL * pairs)
    figure = NotebookFigure(
        figsize=(max(10.5, _LABELS + agreeing + 3.2), upper + lower), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    )
    heights = [height for height in (upper, lower) if height]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if pairs:
        prevalence_axes = _draw_agreement(parts[0], agreement, aus)
        _draw_prevalence(prevalence_axes, decisions, labels, aus)
    if accuracy is not None and scored:
        _draw_accuracy(parts[-1], accuracy, scored, models)
    return figure


def _draw_agreement(part: SubFigure, table: pd.DataFrame, aus: Sequence[str]) -> Axes:
    """Draw the agreement of one pair as points, of several as heat maps; return the empty axes to the right."""
    pairs = list(dict.fromkeys(zip(table["model_a"], table["model_b"], strict=True)))
    if len(pairs) == 1:
        left, right = part.subplots(1, 2, sharey=True, width_ratios=[4.5, 3.2])
        of_pair = table.set_index("AU").loc[list(aus)]
        for i, (measure, name) in enumerate(_MEASURES.items()):
            style = {"marker": _MARKERS[i], "color": _COLOURS[i], "markerfacecolor": "white" if i else _COLOURS[i]}
            left.plot(
                of_pair[measure], _places(len(aus), i, len(_MEASURES)), linestyle="", markeredgewidth=1.4, label=name, **style
            )
        low = of_pair[list(_MEASURES)].min(axis=None)
        left.set_xlim(min(-0.05, low - 0.05) if np.isfinite(low) else -0.05, 1.05)
        left.axvline(0, color=_GREY, linewidth=0.8)
        left.set_title(f"agreement of {_short(pairs[0][0])} and {_short(pairs[0][1])}", fontsize=10)
        _by_au(left, aus)
        _legend(left, len(_MEASURES))
    else:
        *maps, right = part.subplots(
            1, len(_MEASURES) + 1, sharey=True, width_ratios=[max(1.3, _CELL * len(pairs))] * len(_MEASURES) + [3.2]
        )
        for axes, (measure, name) in zip(maps, _MEASURES.items(), strict=True):
            shown = table.pivot(index="AU", columns=["model_a", "model_b"], values=measure).reindex(index=aus, columns=pairs)
            _heat_map(axes, shown, f"agreement: {name}")
        _by_au(maps[0], aus)
    return right


def _heat_map(axes: Axes, shown: pd.DataFrame, title: str) -> None:
    """Draw values [AUs, pairs] in [-1, 1] as colours and numbers; a dash for NaN."""
    colours = colormaps["RdBu"]
    norm = Normalize(-1, 1)
    values = shown.to_numpy(dtype=float)
    axes.set_facecolor("#e8e8e8")
    axes.imshow(np.ma.masked_invalid(values), cmap=colours, norm=norm, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        known = bool(np.isfinite(value))
        dark = known and float(np.dot(colours(norm(value))[:3], (0.299, 0.587, 0.114))) < 0.5
        text = f"{value:.2f}".replace("0.", ".").replace("-.00", ".00").replace("-", "−") if known else "–"
        axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    axes.set_xticks(range(shown.shape[1]), [f"{_short(a)} – {_short(b)}" for a, b in shown.columns], rotation=90, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel(title, fontsize=10)


def _draw_prevalence(
    axes: Axes, decisions: Mapping[str, pd.DataFrame], labels: pd.DataFrame | None, aus: Sequence[str]
) -> None:
    tables = [*decisions.items(), *([("labels", labels)] if labels is not None else [])]
    for i, (name, table) in enumerate(tables):
        shares = table.mean().reindex(aus)
        of_labels = i == len(decisions)
        style: dict[str, Any] = (
            {"marker": "|", "color": "black", "markersize": 12, "markeredgewidth": 1.8}
            if of_labels
            else {"marker": _MARKERS[i % len(_MARKERS)], "color": _COLOURS[i % len(_COLOURS)], "markersize": 4.5}
        )
        y = _places(len(aus), 0 if of_labels else i, 1 if of_labels else len(decisions))
        axes.plot(shares, y, linestyle="", label=_short(name), zorder=1 if of_labels else 2, **style)
    axes.set_xlim(-0.03, 1.03)
    axes.set_title("share of rows with the AU", fontsize=10)
    _by_au(axes, aus, named=False)
    _legend(axes, 2)


def _draw_accuracy(part: SubFigure, accuracy: pd.DataFrame, aus: Sequence[str], models: Sequence[str]) -> None:
    panels = part.subplots(1, 2, sharey=True)
    known = [model for model in models if (accuracy["model"] == model).any()]
    for axes, score, title in zip(panels, ("f1", "auc"), ("F1", "area under the ROC curve (AUC)"), strict=True):
        for i, model in enumerate(known):
            of_model = accuracy[accuracy["model"] == model].set_index("AU").reindex(aus)
            y = _places(len(aus), i, len(known))
            style = {"marker": _MARKERS[i % len(_MARKERS)], "color": _COLOURS[i % len(_COLOURS)]}
            axes.hlines(y, of_model[f"{score}_low"], of_model[f"{score}_high"], color=style["color"], linewidth=1.3)
            axes.plot(of_model[score], y, linestyle="", markersize=4.5, label=_short(model), **style)
        axes.set_title(title, fontsize=10)
        axes.axhline(len(aus) - 1.5, color=_GREY, linewidth=0.8)
    prevalence = accuracy[accuracy["AU"] != "mean"].groupby("AU")["prevalence"].max().reindex(aus)
    always = 2 * prevalence / (1 + prevalence)
    panels[0].plot(always, range(len(aus)), "|", color=_GREY, markersize=13, label="F1 of always “present”", zorder=1)
    panels[1].axvline(0.5, color=_GREY, linewidth=1.2, linestyle=":", label="chance")
    panels[0].set_xlim(-0.03, 1.03)
    lowest = accuracy[["auc", "auc_low"]].min(axis=None)
    panels[1].set_xlim(min(0.45, lowest - 0.03) if np.isfinite(lowest) else 0.45, 1.02)
    _by_au(panels[0], aus)
    _by_au(panels[1], aus, named=False)
    for axes in panels:
        _legend(axes, 3)


def _by_au(axes: Axes, aus: Sequence[str], named: bool = True) -> None:
    """Make the vertical axis one of AUs, from the top, with FACS names."""
    names = [f"{au} {facs_name(au)}".strip() if au != "mean" else "mean (shared AUs)" for au in aus]
    axes.set_ylim(len(aus) - 0.5, -0.5)
    axes.set_yticks(range(len(aus)), names, fontsize=9)
    axes.tick_params(axis="y", length=0, labelleft=named)
    if not axes.images:
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        for k in range(1, len(aus), 2):
            axes.axhspan(k - 0.5, k + 0.5, color="#f4f4f4", linewidth=0, zorder=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)


def _places(rows: int, i: int, of: int) -> npt.NDArray[np.float64]:
    """Return the heights of the i-th of several points in each row, so that equal points do not hide each other."""
    return np.arange(rows, dtype=np.float64) + 0.72 * ((i + 0.5) / of - 0.5)


def _legend(axes: Axes, columns: int) -> None:
    """Put the legend below the panel, where it hides no point."""
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=2.8, ncols=columns, frameon=False, fontsize=8.5,
        handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip


def _short(name: str) -> str:
    return textwrap.shorten(name, _LONGEST, placeholder="…") if " " in name else name[:_LONGEST] + "…" * (len(name) > _LONGEST)
