"""F1 and AUC of resampled subjects.

As in `comparison.bootstrap`, nothing is copied in a resample: how often each subject was drawn is a weight, and both scores are
sums of weights. With the few subjects of a test fold one thing more matters. A subject that is drawn twice stands for two
people, and a face with the AU is then compared with faces of "another" person who is the same one. Such pairs are easier than
pairs of different people, and would make resamples look better than the test set itself; they are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fgnet_plugin.comparison.bootstrap import Case
from fgnet_plugin.utils.arrays import Floats, Integers

_BLOCK = 2**19  # numbers worked on at a time


def resampled(cases: Sequence[Case], units: int, times: int, seed: int) -> tuple[Floats, Floats]:
    """F1 and AUC of AUs, as they are and of resampled subjects; a resample is the same for all AUs.

    Args:
        cases: activations and labels, AU by AU; a unit is a subject.
        units: how many subjects there are to draw from, and are drawn each time.
        times: number of resamples.
        seed: of the drawing, which depends on nothing else but `units` and `times`.

    Returns:
        Points [2, cases] and resamples [2, cases, times], in [0, 1]. NaN both where no face or every face has the AU; and all
        resamples where there are fewer than two subjects.
    """
    points = np.array([_scores(case, np.ones((units, 1)), units)[:, 0] for case in cases]).T
    samples = np.full((2, len(cases), times), np.nan)
    if units < 2:
        return points, samples
    step = max(1, _BLOCK // units)
    generator = np.random.default_rng(seed)
    drawn = [draw_subjects(generator, units, min(step, times - start)) for start in range(0, times, step)]
    for i, case in enumerate(cases):
        samples[:, i] = np.concatenate(_of_blocks(case, drawn, units, times), axis=1)
    return points, samples


def _of_blocks(case: Case, drawn: Sequence[Floats], units: int, times: int) -> list[Floats]:
    # With few subjects, pairs of subjects are counted once and weighted each time; with many, that would be the larger work.
    between = case.wins_between(units) if units <= times else None
    own = _wins_within(case, units) if between is None else between.diagonal()
    return [_scores(case, weights, units, between, own) for weights in drawn]


def _scores(case: Case, drawn: Floats, units: int, between: Floats | None = None, own: Floats | None = None) -> Floats:
    """[2, m] F1 and AUC, where drawn [units, m] says how often each subject counts."""
    counts = case.counts(units)
    true, false, with_au, without = counts @ drawn
    pairs = with_au * without
    won = case.wins(drawn) if between is None else (drawn * (between @ drawn)).sum(axis=0)
    if own is not None:  # a subject's faces against those of the same subject's other copies
        copies = drawn * (drawn - 1)
        pairs, won = pairs - (counts[2] * counts[3]) @ copies, won - own @ copies
    both = (with_au > 0) & (without > 0) & (pairs > 0)
    f1 = np.divide(2 * true, true + false + with_au, out=np.full(both.shape, np.nan), where=both)
    return np.stack([f1, np.divide(won, pairs, out=np.full(both.shape, np.nan), where=both)])


def _wins_within(case: Case, units: int) -> Floats:
    """[units] pairs won by a subject's faces against the same subject's."""
    won = np.zeros(units)
    order = np.argsort(case.units, kind="stable")
    truth, score, of = case.truth[order], case.score[order], case.units[order]
    starts: Integers = np.flatnonzero(np.diff(of, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(of)], strict=True):
        rising = np.sort(score[start:end][~truth[start:end]])
        if len(rising) < end - start:
            present = score[start:end][truth[start:end]]
            low, high = np.searchsorted(rising, present, "left"), np.searchsorted(rising, present, "right")
            won[of[start]] = (low + high).sum() / 2
    return won


def draw_subjects(generator: np.random.Generator, units: int, times: int) -> Floats:
    """[units, times] how often each subject is drawn."""
    return generator.multinomial(units, np.full(units, 1 / units), size=times).T.astype(np.float64, order="C")
