"""How well probabilities are calibrated: Brier score, expected calibration error (ECE) and the reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fgnet_plugin.comparison.bootstrap import draw_units, interval
from fgnet_plugin.comparison.measures import ratio
from fgnet_plugin.utils.arrays import Floats, Integers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Of the probabilities of one AU in faces with labels."""

    brier: tuple[float, float, float]
    """Mean squared error (Brier 1950), and the limits of its interval."""
    ece: tuple[float, float, float]
    """Mean distance of probability and frequency over the bins, weighted by their faces (Naeini et al. 2015), and limits."""
    predicted: tuple[float, ...]
    """Mean probability of each bin."""
    observed: tuple[float, ...]
    """Share of faces with the AU in each bin."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Limits of `observed`."""


def reliability(
    probability: Floats,
    truth: npt.NDArray[np.bool_],
    subject: Integers,
    weight: Floats,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Reliability:
    """Measure calibration in `BINS` bins of equally many faces, with percentile intervals from resampled subjects.

    Args:
        probability, truth, weight: [n].
        subject: [n] numbers from 0.
        bootstrap: number of resamples.
        confidence: of the intervals.
        seed: of the random draws.

    The ECE of a sample is too large by nature: noise adds to the distance in every bin. Compare it with that of another method
    on the same faces, not with 0.
    """
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, BINS + 1)[1:-1]))
    bin_of = np.searchsorted(edges, probability, "left")
    bins, people = len(edges) + 1, int(subject.max()) + 1
    cell = subject * bins + bin_of

    def sums(values: Floats) -> Floats:
        return np.asarray(np.bincount(cell, values, people * bins), np.float64).reshape(people, bins)

    faces, mean, with_au = sums(weight), sums(weight * probability), sums(weight * truth)
    squares = np.bincount(subject, weight * (probability - truth) ** 2, people)
    drawn = np.concatenate([np.ones((people, 1)), draw_units(np.random.default_rng(seed), people, bootstrap)], 1)  # first: all
    total = faces.sum(1) @ drawn
    brier = ratio(squares @ drawn, total, total > 0)
    ece = ratio(np.abs((mean - with_au).T @ drawn).sum(0), total, total > 0)
    in_bin = faces.T @ drawn
    observed = ratio(with_au.T @ drawn, in_bin, in_bin > 0)
    filled = [b for b in range(bins) if in_bin[b, 0] > 0]
    limits = [interval(observed[b, 1:], confidence) for b in filled]
    return Reliability(
        (float(brier[0]), *interval(brier[1:], confidence)),
        (float(ece[0]), *interval(ece[1:], confidence)),
        tuple(float(mean[:, b].sum() / faces[:, b].sum()) for b in filled),
        tuple(float(observed[b, 0]) for b in filled),
        tuple(low for low, _ in limits),
        tuple(high for _, high in limits),
    )


def plot_reliability(after: Mapping[str, Reliability], before: Mapping[str, Reliability], columns: int = 4) -> Figure:
    """Plot the share of faces with the AU over the probability, for each AU, before and after; needs matplotlib."""
    from fgnet_plugin.utils.figures import NotebookFigure

    columns = min(columns, len(after))
    lines = -(-len(after) // columns)
    figure = NotebookFigure(figsize=(2.6 * columns, 2.8 * lines + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(after) :]:
        axis.axis("off")
    for axis, (au, of) in zip(axes.flat, after.items(), strict=False):
        axis.plot([0, 1], [0, 1], color="0.8", lw=1)
        axis.plot(before[au].predicted, before[au].observed, "o--", ms=3, lw=1, color="0.55", label="score")
        errors = _errors(of.observed, of.low, of.high)
        axis.errorbar(of.predicted, of.observed, errors, fmt="o-", ms=3, lw=1, color="C0", capsize=2, label="calibrated")
        axis.set_title(f"{au}: ECE {before[au].ece[0]:.2f} → {of.ece[0]:.2f}", fontsize=9)
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.flat[0].legend(fontsize=7, loc="upper left")
    figure.supxlabel("probability", fontsize=9)
    figure.supylabel("share of faces with the AU", fontsize=9)
    return figure


def _errors(middle: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Floats:
    at = np.array(middle)
    return np.nan_to_num(np.stack([at - np.array(low), np.array(high) - at])).clip(min=0)
