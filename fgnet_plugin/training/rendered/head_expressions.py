"""Which AUs a rendered head has, and how strongly: all 20 of py-feat's columns, labelled by what is seen."""

from __future__ import annotations

import numpy as np

from fgnet_plugin.training.rendered.mesh import Floats

LABELLED = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
"""AUs with labels, as py-feat's detectors name them."""

OF_EYES = (5, 6, 7, 43)
OF_MOUTH = (10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28)

PRESENT = 0.35
"""Least intensity of a present AU. Between 0 and this the label is unknown, so that present and absent do not touch."""

PARTED, SEALED = 2.0, 0.7
"""Lips at least so far apart, mm, carry AU 25, whatever parted them; at most so far, they don't. Between: unknown."""

# Combination: weight, {AU: chance}. Emotions after the table of the EMFACS investigator's guide, and everyday movements.
COMBINATIONS: tuple[tuple[str, float, dict[int, float]], ...] = (
    ("neutral", 4.0, {}),
    ("neutral, parted lips", 0.8, {25: 1, 26: 0.3}),
    ("blink", 1.0, {43: 1, 4: 0.1}),
    ("smile", 1.4, {12: 1, 6: 0.75, 25: 0.35, 7: 0.2}),
    ("laugh", 1.4, {12: 1, 6: 0.85, 25: 1, 26: 0.4, 27: 0.05, 7: 0.3, 43: 0.25}),
    ("polite smile", 0.8, {12: 1, 25: 0.3, 14: 0.2, 24: 0.1}),
    ("surprise", 1.8, {1: 1, 2: 0.95, 5: 0.8, 25: 0.9, 26: 0.7, 27: 0.2}),
    ("raised brows", 1.3, {1: 0.85, 2: 0.85}),
    ("inner brows", 0.7, {1: 1, 4: 0.4}),
    ("fear", 1.0, {1: 1, 2: 0.6, 4: 0.8, 5: 0.7, 20: 0.7, 25: 0.8, 26: 0.5, 7: 0.2}),
    ("wide eyes", 0.5, {5: 1, 1: 0.3, 2: 0.3}),
    ("sadness", 1.2, {1: 0.9, 4: 0.75, 15: 0.9, 17: 0.6, 11: 0.25, 24: 0.1, 43: 0.15}),
    ("frown", 1.0, {4: 1}),
    ("squint", 0.8, {7: 0.8, 6: 0.7, 4: 0.35}),
    ("anger", 1.4, {4: 1, 5: 0.3, 7: 0.7, 23: 0.7, 24: 0.5, 17: 0.35, 10: 0.15}),
    ("open anger", 0.7, {4: 1, 7: 0.7, 10: 0.6, 25: 1, 26: 0.4, 9: 0.2}),
    ("disgust", 1.2, {9: 0.75, 10: 0.75, 4: 0.5, 17: 0.4, 15: 0.25, 7: 0.4, 6: 0.2, 25: 0.3}),
    ("contempt", 0.5, {14: 1, 12: 0.2}),
    ("pain", 0.9, {4: 0.9, 6: 0.6, 7: 0.7, 9: 0.5, 10: 0.5, 25: 0.4, 20: 0.3, 43: 0.5, 12: 0.2}),
    ("crying", 1.0, {1: 0.65, 4: 0.95, 6: 0.5, 7: 0.4, 15: 0.45, 17: 0.5, 11: 0.4, 20: 0.3, 25: 0.35, 43: 0.4}),
    # Lips stretched sideways under a squint look like a smile and are none.
    ("crying, stretched lips", 1.2, {4: 0.8, 6: 0.75, 7: 0.6, 20: 1, 1: 0.4, 25: 0.6, 10: 0.25, 17: 0.2, 15: 0.2, 43: 0.4}),
    ("stretched lips", 0.6, {20: 1, 25: 0.6, 26: 0.2}),
    ("speech", 1.8, {25: 0.9, 26: 0.5, 10: 0.15, 20: 0.15, 17: 0.1, 18: 0.2, 22: 0.2, 30: 0.1, 1: 0.1, 2: 0.1}),
    ("pucker", 0.4, {18: 0.8, 22: 0.3, 25: 0.2, 34: 0.15}),
    ("pressed lips", 0.9, {24: 0.8, 23: 0.3, 17: 0.4, 14: 0.3, 15: 0.15}),
    ("sucked lips", 0.7, {28: 1, 17: 0.2, 26: 0.2}),
    ("yawn", 0.4, {27: 1, 25: 1, 43: 0.6, 4: 0.3}),
    ("doubt", 0.6, {1: 0.4, 2: 0.5, 4: 0.3, 14: 0.4, 15: 0.4, 17: 0.6, 7: 0.3}),
    ("independent", 9.0, dict.fromkeys(LABELLED, 0.30) | {5: 0.18, 11: 0.18, 20: 0.2, 28: 0.06, 43: 0.14, 18: 0.04, 27: 0.03}),
)

# Movements that exclude each other: of two that are on, one goes.
EXCLUSIVE = (
    (25, 24), (26, 24), (27, 24), (25, 28), (27, 28), (27, 26), (43, 5), (20, 23), (20, 18), (12, 15), (12, 18), (28, 24),
    (26, 17), (27, 17), (28, 18), (12, 20), (22, 28), (22, 24), (22, 18), (34, 26), (34, 27), (34, 28),
)  # fmt: skip
_ONE_SIDED = (1, 2, 6, 9, 10, 12, 14, 15, 20, 43)


def draw_expression(rng: np.random.Generator, aus: tuple[int, ...]) -> tuple[Floats, Floats]:
    """One expression.

    Args:
        aus: what the heads can move, `heads.DRAWN`.

    Returns:
        drawn [len(aus), 2]: intensities × right and left half, 1 is as strong as commonly seen; gaze [2]: to the subject's left
        and up, rad.
    """
    weights = np.array([weight for _, weight, _ in COMBINATIONS])
    name, _, chances = COMBINATIONS[rng.choice(len(COMBINATIONS), p=weights / weights.sum())]
    stray = 0.0 if name == "neutral" else 0.04
    on = {au for au in aus if rng.random() < chances.get(au, stray if au in LABELLED else 0.01)}
    for a, b in EXCLUSIVE:
        if a in on and b in on:  # what a combination is named for stays
            on.discard(
                b if chances.get(a, 0) > chances.get(b, 0) or (chances.get(a) == chances.get(b) and rng.random() < 0.5) else a
            )
    if 26 in on or 27 in on:  # lips part when the jaw drops: FACS scores both
        on.discard(24)
        if 28 not in on:
            on.add(25)
    vigour = rng.uniform(0.7, 1.25)
    drawn = np.zeros((len(aus), 2), np.float32)
    for i, au in enumerate(aus):
        if au in on:
            level = np.clip(vigour * rng.uniform(0.45, 1.3), PRESENT + 0.05, 1.4)
            lean = rng.normal(0, 0.08)
            if au in _ONE_SIDED and rng.random() < (0.35 if au == 14 else 0.06):
                lean = rng.choice((-0.85, 0.85))
                level = max(level, 0.8)
            drawn[i] = level * np.clip((1 - lean, 1 + lean), 0, 1.5)
            if au == 30:  # the jaw goes to one side
                drawn[i, rng.integers(2)] = 0
            if au == 43:
                drawn[i] = rng.uniform(0.85, 1.05) if abs(lean) < 0.5 else np.clip((1 - lean, 1 + lean), 0, 1)
        elif au != 30 and rng.random() < (0.02 if name == "neutral" else 0.05):
            drawn[i] = rng.uniform(0.06, PRESENT - 0.06)  # a trace: neither present nor absent
    lids = aus.index(43)
    if drawn[lids].max() == 0 and rng.random() < 0.25:  # eyes that are tired
        drawn[lids] = rng.uniform(0.05, 0.45)
    # Traces must not open a mouth that another AU keeps shut, nor shut eyes that are wide.
    for a, b in EXCLUSIVE:
        i, j = aus.index(a), aus.index(b)
        if min(drawn[i].max(), drawn[j].max()) > 0:
            drawn[i if drawn[i].max() < drawn[j].max() else j] = 0
    away = rng.random() < 0.35
    gaze = np.clip(rng.normal(0, (0.28, 0.16) if away else (0.07, 0.05)), (-0.5, -0.4), (0.5, 0.3))
    return drawn, gaze.astype(np.float32)


def label(
    drawn: Floats, aus: tuple[int, ...], parted: float, mouth_hidden: bool = False, eyes_hidden: bool = False
) -> tuple[Floats, Floats]:
    """Labels [20] (1, 0 or NaN) and intensities [20] of `LABELLED`, after what is seen.

    Args:
        drawn: [len(aus), 2], of `draw_expression`.
        parted: how far the lips are apart, mm.
        mouth_hidden: a hand or a microphone is before the mouth: its AUs can't be seen.
        eyes_hidden: dark glasses are before the eyes.
    """
    of = {au: float(drawn[i].mean()) for i, au in enumerate(aus)}
    intensities = np.array([of[au] for au in LABELLED], np.float32)
    labels = np.where(intensities == 0, 0, np.where(intensities >= PRESENT, 1, np.nan)).astype(np.float32)
    at = {au: i for i, au in enumerate(LABELLED)}
    labels[at[25]] = 1 if parted >= PARTED else 0 if parted <= SEALED else np.nan
    intensities[at[25]] = max(intensities[at[25]], parted / 10) if parted > SEALED else 0
    if of[27] > 0:  # a jaw that is stretched open has dropped, too
        labels[at[26]] = 1 if of[27] >= 0.25 else np.nan
        intensities[at[26]] = max(of[26], 1.5 * of[27])
    closed = drawn[aus.index(43)]
    labels[at[43]] = 1 if closed.min() >= 0.8 else 0 if closed.max() <= 0.3 else np.nan
    if closed.max() >= 0.8:  # lids that are shut hide their raising and tightening
        labels[at[7]] = np.nan if labels[at[7]] == 1 else labels[at[7]]
    if eyes_hidden:
        labels[[at[au] for au in OF_EYES]] = np.nan
    if mouth_hidden:
        labels[[at[au] for au in OF_MOUTH]] = np.nan
    return labels, intensities
