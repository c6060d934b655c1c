"""Corpora of frames that are alike within a subject, for simulations of intervals."""

from __future__ import annotations

import numpy as np

FRAMES, SHIFT = 30, 0.8


def corpus(rng: np.random.Generator, subjects: int, a: float, b: float) -> np.ndarray:
    """True positives, false positives and faces with the AU of each subject, [3, subjects]."""
    of = np.repeat(np.arange(subjects), FRAMES)
    truth = rng.random(len(of)) < rng.beta(a, b, subjects)[of]
    present = 2.0 * truth - 1 + rng.normal(0, SHIFT, subjects)[of] + rng.normal(0, 1, len(of)) > 0
    return np.stack([np.bincount(of[kind], minlength=subjects) for kind in (truth & present, ~truth & present, truth)])


def f1(sums: np.ndarray) -> np.ndarray:
    """[3, …] -> […]; NaN without a face with the AU."""
    true, false, with_au = sums
    return np.where(with_au > 0, 2 * true / np.where(with_au > 0, true + false + with_au, 1), np.nan)


def f1_of_many(a: float, b: float) -> float:
    """What a corpus without end has."""
    return float(f1(corpus(np.random.default_rng(0), 40_000, a, b).sum(1)))
