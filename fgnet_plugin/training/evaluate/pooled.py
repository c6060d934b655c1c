"""F1 over all test frames together: what many papers report beside the mean over folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fgnet_plugin.training.evaluate.scores import Tested


def pooled_f1(members: Sequence[Tested], aus: Sequence[str]) -> float:
    """Compute F1 of each AU from the hits, misses and false alarms of all folds together, and take the mean over the AUs.

    A mean over folds weighs each fold alike, whatever faces it has; pooled, each face with the AU counts alike.

    Args:
        members: runs on their tests, of any number of folds. Runs of several seeds are pooled seed by seed, and averaged.
        aus: which.

    Returns:
        In [0, 1]; NaN where one of the AUs has neither a face with it nor a false alarm.
    """
    by_seed: dict[object, list[Tested]] = {}
    for member in members:
        by_seed.setdefault(member.run.seed, []).append(member)
    return float(np.mean([np.mean([_f1(of_seed, au) for au in aus]) for of_seed in by_seed.values()])) if aus else np.nan


def _f1(members: Sequence[Tested], au: str) -> float:
    hits = errors = 0
    for one in members:
        if au not in one.aus:
            continue
        at = one.aus.index(au)
        labels, said = one.predictions.labels[:, at], one.predictions.activations[:, at] > 0
        hits += int(((labels > 0.5) & said).sum())
        errors += int(((labels > 0.5) & ~said).sum() + ((labels <= 0.5) & said).sum())
    return 2 * hits / (2 * hits + errors) if hits + errors else np.nan
