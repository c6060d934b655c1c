"""Which AUs a rendered face has, and how strongly: plausible combinations as well as independent draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fgnet_plugin.training.rendered.mesh import Floats
from fgnet_plugin.training.rendered.muscles import DRAWN

LABELLED = (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26)
"""AUs with labels: the union of BP4D's and DISFA's. The others of `DRAWN` come as variety."""

PRESENT = 0.35
"""Least intensity of a present AU. Between 0 and this the label is unknown, so that present and absent do not touch."""

# Combination: weight, {AU: chance}. Emotions after the table of the EMFACS investigator's guide, and everyday movements.
COMBINATIONS: tuple[tuple[str, float, dict[int, float]], ...] = (
    ("neutral", 1.6, dict.fromkeys(LABELLED, 0.0)),
    ("blink", 0.6, {43: 1, 4: 0.1}),
    ("smile", 1.2, {12: 1, 6: 0.75, 25: 0.35, 7: 0.2}),
    ("laugh", 1.3, {12: 1, 6: 0.85, 25: 1, 26: 0.4, 7: 0.3, 43: 0.25}),
    ("polite smile", 0.7, {12: 1, 25: 0.3, 14: 0.2, 24: 0.1}),
    ("surprise", 1.6, {1: 1, 2: 0.95, 5: 0.8, 25: 0.9, 26: 0.85}),
    ("raised brows", 0.9, {1: 0.85, 2: 0.85}),
    ("fear", 0.9, {1: 1, 2: 0.6, 4: 0.8, 5: 0.7, 20: 0.7, 25: 0.8, 26: 0.5, 7: 0.2}),
    ("sadness", 1.1, {1: 0.9, 4: 0.75, 15: 0.9, 17: 0.6, 11: 0.2, 24: 0.1, 43: 0.15}),
    ("frown", 0.9, {4: 1}),
    ("anger", 1.4, {4: 1, 5: 0.3, 7: 0.7, 23: 0.7, 24: 0.5, 17: 0.35, 10: 0.15}),
    ("open anger", 0.6, {4: 1, 7: 0.7, 10: 0.6, 25: 1, 26: 0.4, 9: 0.2}),
    ("disgust", 1.1, {9: 0.75, 10: 0.75, 4: 0.5, 17: 0.4, 15: 0.25, 7: 0.4, 6: 0.2, 25: 0.3}),
    ("contempt", 0.5, {14: 1, 12: 0.2}),
    ("pain", 0.8, {4: 0.9, 6: 0.6, 7: 0.7, 9: 0.5, 10: 0.5, 25: 0.4, 20: 0.3, 43: 0.5, 12: 0.25}),
    ("crying", 1.1, {1: 0.65, 4: 0.95, 6: 0.5, 7: 0.4, 12: 0.2, 15: 0.45, 17: 0.5, 11: 0.4, 20: 0.3, 25: 0.35, 43: 0.5}),
    ("speech", 1.1, {25: 0.9, 26: 0.5, 10: 0.15, 20: 0.15, 17: 0.1, 1: 0.1, 2: 0.1}),
    ("pressed lips", 0.8, {24: 0.8, 23: 0.3, 17: 0.4, 14: 0.3, 15: 0.15, 28: 0.1}),
    ("doubt", 0.5, {1: 0.4, 2: 0.5, 4: 0.3, 14: 0.4, 15: 0.4, 17: 0.6, 7: 0.3}),
    ("independent", 10.0, dict.fromkeys(LABELLED, 0.36) | {5: 0.1, 11: 0.08, 20: 0.1, 28: 0.03, 43: 0.12}),
)

# Movements that exclude each other: of two that are on, one goes.
EXCLUSIVE = ((25, 24), (26, 24), (25, 28), (26, 28), (43, 5), (20, 23), (12, 15), (28, 24), (26, 17))


def draw_expression(rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """One expression.

    Returns:
        drawn [20, 2]: intensities of `DRAWN` × right and left half, 1 is as strong as commonly seen; labels [15]: 1, 0 or NaN
        for `LABELLED`; intensities [15] of `LABELLED`, mean of both halves.
    """
    weights = np.array([weight for _, weight, _ in COMBINATIONS])
    _, _, chances = COMBINATIONS[rng.choice(len(COMBINATIONS), p=weights / weights.sum())]
    on = {au for au in DRAWN if rng.random() < chances.get(au, 0.06 if au in LABELLED else 0.025)}
    for a, b in EXCLUSIVE:
        if a in on and b in on:
            on.discard(a if rng.random() < 0.5 else b)
    if 26 in on:  # lips part when the jaw drops: FACS scores both
        on.add(25)
    vigour = rng.uniform(0.75, 1.25)
    drawn = np.zeros((len(DRAWN), 2), np.float32)
    for i, au in enumerate(DRAWN):
        if au in on:
            level = np.clip(vigour * rng.uniform(0.45, 1.3), PRESENT + 0.03, 1.5)
            lean = rng.normal(0, 0.08)
            if au in (1, 2, 6, 10, 12, 14, 15) and rng.random() < 0.06:  # one-sided
                lean = rng.choice((-0.85, 0.85))
                level = max(level, 0.8)
            drawn[i] = level * np.clip((1 - lean, 1 + lean), 0, 1.6)
        elif rng.random() < 0.06:
            drawn[i] = rng.uniform(0.06, PRESENT - 0.06)  # a trace: neither present nor absent
    lids = DRAWN.index(43)
    if drawn[lids].max() == 0 and rng.random() < 0.25:  # eyes that look down, or are tired
        drawn[lids] = rng.uniform(0.1, 0.55)
    # Traces must not open a mouth that another AU keeps shut, nor shut eyes that are wide.
    for a, b in EXCLUSIVE:
        i, j = DRAWN.index(a), DRAWN.index(b)
        if min(drawn[i].max(), drawn[j].max()) > 0:
            drawn[i if drawn[i].max() < drawn[j].max() else j] = 0
    intensities = drawn[_LABELLED_ROWS].mean(1)
    labels = np.where(intensities == 0, 0, np.where(intensities >= PRESENT, 1, np.nan)).astype(np.float32)
    jaw, lips = LABELLED.index(26), LABELLED.index(25)
    if intensities[jaw] > 0 and labels[lips] == 0:  # a trace of the one parts the lips without the other
        labels[lips] = np.nan
    return drawn, labels, intensities


_LABELLED_ROWS: NDArray[np.intp] = np.array([DRAWN.index(au) for au in LABELLED])
