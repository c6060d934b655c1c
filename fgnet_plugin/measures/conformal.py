"""Sets {present, absent, undecided} with a stated coverage: conformal prediction for new people, not only for new frames.

Hierarchical conformal prediction (Lee, Barber & Willett, arXiv 2306.06342; cf. Dunn, Wasserman & Ramdas, arXiv 1809.07441), for
each label by itself (Vovk 2012). Split conformal prediction as MAPIE and crepes have it takes frames as exchangeable, which
frames of one person are not; here people are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fgnet_plugin.measures.coded import AUSample
from fgnet_plugin.utils.arrays import Floats, Integers


@dataclass(frozen=True)
class Limits:
    """Where the sets begin, on the scale of the score.

    Faces with a score of at least `present_from` may have the AU, those with one of at most `absent_to` may lack it. Both or
    neither: undecided. Infinite where the people are too few to exclude anything.
    """

    present_from: float
    absent_to: float

    def sets(self, scores: Floats) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        """Give the set of each score [n]: "present", "absent", "undecided"; None where the score is NaN."""
        may_have, may_lack = scores >= self.present_from, scores <= self.absent_to
        found = np.where(may_have & ~may_lack, "present", np.where(may_lack & ~may_have, "absent", "undecided")).astype(object)
        found[np.isnan(scores)] = None
        return found


def limits(sample: AUSample, coverage: float) -> Limits:
    """Compute the limits with which a new person's frame is given its label, or "undecided", with probability `coverage`.

    It holds for frames with the AU and for frames without it, each at least `coverage`, on average over new people (drawn as
    those of the sample were) and over their frames. Of K people who have frames of a label, at least coverage / (1 − coverage)
    are needed: 9 for 0.9.
    """
    present, absent = sample.truth, ~sample.truth
    low = quantile(-sample.score[present], sample.subject[present], sample.weight[present], coverage)
    high = quantile(sample.score[absent], sample.subject[absent], sample.weight[absent], coverage)
    return Limits(-low, high)


def quantile(strangeness: Floats, subject: Integers, weight: Floats, coverage: float) -> float:
    """Compute the smallest q with ``Σ_k Σ_i w_ki / (K + 1) · [s_ki ≤ q] ≥ coverage``, w of each of the K people summing to 1.

    Args:
        strangeness: [n] how little a face looks like its label.
        subject: [n] numbers of the people.
        weight: [n] of the faces.

    Returns:
        q; infinite for K / (K + 1) < coverage: the share 1 / (K + 1) of the new person counts as infinitely strange.

    Example:
        >>> quantile(np.arange(10.0), np.arange(10), np.ones(10), 0.9)
        9.0
    """
    if not len(strangeness):
        return math.inf
    of_subject = np.bincount(subject, weight)
    people = int((of_subject > 0).sum())
    order = np.argsort(strangeness, kind="stable")
    covered = np.cumsum((weight / of_subject[subject])[order]) / (people + 1)
    first = int(np.searchsorted(covered, coverage - 1e-12))
    return math.inf if first == len(covered) else float(strangeness[order][first])


def people_needed(coverage: float) -> int:
    """Compute how many people must show a label for its limit to be finite."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)
