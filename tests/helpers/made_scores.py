"""Scores with a known link to labels: each person has a base rate, and a shift of all their scores."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fgnet_plugin.measures.coded import AUSample
from fgnet_plugin.utils.made_by import MadeBy

MADE = MadeBy("network", "faces", "landmarks")


def made_sample(
    rng: np.random.Generator, people: int, faces: int | NDArray[np.int_], spread: float = 0.8, base: float = 0.3
) -> AUSample:
    """Scores of people with so many faces each (one number for all, or [people])."""
    counts = np.broadcast_to(faces, people)
    subject = np.repeat(np.arange(people), counts)
    truth = rng.random(len(subject)) < rng.beta(4 * base, 4 * (1 - base), people)[subject]
    shift = rng.normal(0, spread, people)[subject]
    score = 1 / (1 + np.exp(-(np.where(truth, 1.2, -1.2) + shift + rng.normal(0, 1, len(subject)))))
    return AUSample(score, truth, subject, [f"p{i}" for i in range(people)], np.ones(len(subject)))


def tables(sample: AUSample, au: str = "AU12") -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table of scores, which says what made it, and one of labels."""
    rows = pd.DataFrame({"input": [f"{sample.names[i]}.mp4" for i in sample.subject], "frame": range(len(sample.score))})
    scores = rows.assign(**{au: sample.score, "subject": [sample.names[i] for i in sample.subject]})
    MADE.note(scores)
    return scores, rows.assign(**{au: sample.truth.astype(float)})
