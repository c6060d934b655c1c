"""The figure of an evaluation: AU by AU, over numbers of training frames, and within against across corpora."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.training.evaluate.scores import MEASURES, Estimate, Group, Key, shared_aus
from fgnet_plugin.utils.files import atomic_write

# Okabe & Ito's colours, which colour-blind readers tell apart, and shapes for print without colour.
COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
MARKERS = "o", "s", "^", "D", "v", "P", "X"
TITLES = {"f1": "F1", "auc": "AUC"}
_GREY = "#8a8a8a"
_WIDTH = 9.0  # inches
_LETTERS = 80  # of a series' name
_RASTER = 160  # dots per inch


def write(groups: Sequence[Group], out: Path) -> None:
    """``figure.png`` and ``figure.svg`` in a folder."""
    figure = draw(groups)
    for suffix in ("png", "svg"):
        # The same evaluation gives the same file: no date, and ids that are not drawn by chance.
        with matplotlib.rc_context({"svg.hashsalt": "fgnet"}), atomic_write(out / f"figure.{suffix}") as part:
            figure.savefig(part, format=suffix, dpi=_RASTER, metadata={"Date": None} if suffix == "svg" else None)


def draw(groups: Sequence[Group]) -> Figure:
    """The figure: a row of two panels (F1, AUC) for each corpus tested on, then one each for the curves that there are.

    A colour is a training: the same in all panels.
    """
    groups = [group for group in groups if group.scored]
    styles = {name: i for i, name in enumerate(dict.fromkeys(training(group.key) for group in groups))}
    parts: list[tuple[float, Callable[[SubplotSpec], None]]] = []
    for corpus in dict.fromkeys(group.key.tested_on for group in groups):
        shown = fullest([group for group in groups if group.key.tested_on == corpus])
        rows = len({au for group in shown for au in group.scored}) + 1
        height = rows * max(0.27, 0.09 * len(shown) + 0.1) + 0.7
        parts.append((height, partial(_by_au, groups=shown, corpus=corpus, styles=styles)))
    curves = few_sample_series(groups)
    if curves:
        parts.append((3.1, partial(_few_samples, curves=curves, styles=styles)))
    crossing = crossings(groups)
    if crossing:
        parts.append((3.1, partial(_within_and_cross, crossing=crossing, aus=shared_aus(groups), styles=styles)))
    heights = [height for height, _ in parts] or [1.0]
    legend = 0.22 * len(styles) + 0.3
    layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.06)
    figure = Figure(figsize=(_WIDTH, sum(heights) + legend), layout=layout, facecolor="white")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    for i, (_, part) in enumerate(parts):
        part(grid[i])
    if parts:
        names = [textwrap.shorten(name, _LETTERS, placeholder="…") for name in styles]
        marks = [Line2D([], [], linestyle="", marker=_marker(i), color=_colour(i), markersize=5.5) for i in styles.values()]
        figure.legend(marks, names, loc="outside upper left", frameon=False, fontsize=9, handletextpad=0.3)
    else:
        figure.text(0.5, 0.5, "no AU has a score", ha="center", va="center")
    return figure


def training(key: Key) -> str:
    """What was trained, in words: a series of the figure."""
    return f"{key.system}, trained on {key.trained_on}" + (", epoch chosen on test" if key.published_choice else "")


def fullest(groups: Sequence[Group]) -> list[Group]:
    """Of groups that differ in training frames only, the one with most."""
    found: dict[tuple[object, ...], Group] = {}
    for group in groups:
        key = group.key
        series = key.system, key.trained_on, key.tested_on, key.selection
        if series not in found or _frames(key) > _frames(found[series].key):
            found[series] = group
    return list(found.values())


def few_sample_series(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups that differ in training frames only, by rising number, where there are several."""
    found: dict[tuple[object, ...], list[Group]] = {}
    for group in sorted(groups, key=lambda group: _frames(group.key)):
        key = group.key
        found.setdefault((key.system, key.trained_on, key.tested_on, key.selection), []).append(group)
    return [series for series in found.values() if len(series) > 1]


def crossings(groups: Sequence[Group]) -> list[list[Group]]:
    """A training's groups, where it was tested both within its corpus and on others; of several numbers of frames the most."""
    found: dict[tuple[object, ...], list[Group]] = {}
    for group in fullest(groups):
        found.setdefault((group.key.system, group.key.trained_on, group.key.selection), []).append(group)
    both = [series for series in found.values() if {group.key.within for group in series} == {True, False}]
    return both if shared_aus(groups) else []


def _frames(key: Key) -> float:
    return np.inf if key.samples is None else key.samples


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]


def _by_au(at: SubplotSpec, groups: Sequence[Group], corpus: str, styles: Mapping[str, int]) -> None:
    aus = sorted({au for group in groups for au in group.scored})
    common = shared_aus(groups)
    mean = "mean" if len(common) == len(aus) else f"mean of {len(common)} shared AUs"
    panels = _two(at, sharey=True)
    for axes, measure in zip(panels, MEASURES, strict=True):
        lowest = 0.5
        for i, group in enumerate(groups):
            found = [(j, group.estimate((au,), measure)) for j, au in enumerate(aus) if au in group.scored]
            found += [(len(aus), group.estimate(common, measure))] if common else []
            offset = 0.72 * ((i + 0.5) / len(groups) - 0.5)
            estimates = [one for _, one in found]
            lowest = min([lowest, *(low for one in estimates for low in (one.value, one.low) if low == low)])
            _dots(axes, [j + offset for j, _ in found], estimates, styles[training(group.key)], False, not group.key.within)
        axes.set_title(f"{TITLES[measure]} on {corpus}", fontsize=10, loc="left", fontweight="bold")
        axes.set_ylim(len(aus) + 0.5, -0.5)
        axes.set_yticks(range(len(aus) + 1), [*(f"{au} {facs_name(au)}".strip() for au in aus), mean], fontsize=8.5)
        axes.axhline(len(aus) - 0.5, color=_GREY, linewidth=0.8)
        axes.set_xlim(-0.02 if measure == "f1" else min(0.45, lowest - 0.03), 1.02)
        for row in range(1, len(aus), 2):
            axes.axhspan(row - 0.5, row + 0.5, color="#f5f5f5", linewidth=0, zorder=0)
        _plain(axes, "x", measure)
    panels[1].tick_params(labelleft=False)


def _few_samples(at: SubplotSpec, curves: Sequence[Sequence[Group]], styles: Mapping[str, int]) -> None:
    counts = sorted({_frames(group.key) for series in curves for group in series})
    corpora = list(dict.fromkeys(series[0].key.tested_on for series in curves))
    for axes, measure in zip(_two(at), MEASURES, strict=True):
        for i, series in enumerate(curves):
            key, aus = series[0].key, shared_aus(series)
            found = [group.estimate(aus, measure) for group in series]
            x = [counts.index(_frames(group.key)) + 0.05 * (i - (len(curves) - 1) / 2) for group in series]
            dashes = "-" if key.within else "--"
            style = styles[training(key)]
            axes.plot(x, [one.value for one in found], dashes, color=_colour(style), linewidth=1.2, zorder=2)
            _dots(axes, x, found, style, True, not key.within)
            if len(corpora) > 1 and found:
                at_end = (x[-1], found[-1].value)
                axes.annotate(key.tested_on, at_end, (6, 0), textcoords="offset points", va="center", fontsize=7.5)
        axes.set_title(f"mean {TITLES[measure]} by training frames", fontsize=10, loc="left", fontweight="bold")
        axes.set_xticks(range(len(counts)), ["all" if count == np.inf else f"{int(count):,}" for count in counts])
        axes.set_xlim(-0.4, len(counts) - (0.2 if len(corpora) > 1 else 0.6))
        _plain(axes, "y", measure)


def _within_and_cross(
    at: SubplotSpec, crossing: Sequence[Sequence[Group]], aus: Sequence[str], styles: Mapping[str, int]
) -> None:
    corpora = list(dict.fromkeys(group.key.tested_on for series in crossing for group in series))
    which = textwrap.fill(f"mean of {' '.join(au.removeprefix('AU').lstrip('0') for au in aus)}", 40)
    for axes, measure in zip(_two(at), MEASURES, strict=True):
        for i, series in enumerate(crossing):
            for group in series:
                x = corpora.index(group.key.tested_on) + 0.09 * (i - (len(crossing) - 1) / 2)
                style = styles[training(group.key)]
                _dots(axes, [x], [group.estimate(aus, measure)], style, True, not group.key.within)
        title = f"{TITLES[measure]} within and across corpora\nAUs: {which}"
        axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
        axes.set_xticks(range(len(corpora)), [f"on {textwrap.shorten(name, 22, placeholder='…')}" for name in corpora])
        axes.set_xlim(-0.5, len(corpora) - 0.5)
        _plain(axes, "y", measure)


def _two(at: SubplotSpec, sharey: bool = False) -> Sequence[Axes]:
    return cast(Sequence[Axes], at.subgridspec(1, 2).subplots(sharey=sharey))


def _dots(axes: Axes, places: Sequence[float], found: Sequence[Estimate], style: int, upright: bool, hollow: bool) -> None:
    """Points with their intervals; hollow where another corpus was trained on."""
    colour = _colour(style)
    values, lows, highs = (np.array([getattr(one, name) for one in found]) for name in ("value", "low", "high"))
    where = np.array(places)
    (axes.vlines if upright else axes.hlines)(where, lows, highs, color=colour, linewidth=1.4, zorder=2)
    x, y = (where, values) if upright else (values, where)
    axes.plot(x, y, _marker(style), color=colour, markerfacecolor="white" if hollow else colour, markersize=5, zorder=3)


def _plain(axes: Axes, along: str, measure: str) -> None:
    axes.grid(axis="x" if along == "x" else "y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5)
    for side in ("top", "right", "left" if along == "x" else "top"):
        axes.spines[side].set_visible(False)
    if measure == "auc":
        (axes.axvline if along == "x" else axes.axhline)(0.5, color=_GREY, linewidth=1.1, linestyle=":")
