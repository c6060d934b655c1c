"""The steps from a recording as it was read to scores that are measured: exclusion, filling of gaps, smoothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from fgnet_plugin.measures.quality import Exclusions, Rules, exclude
from fgnet_plugin.measures.recordings import Recording
from fgnet_plugin.measures.signal import MAX_GAP, Smoother, fill_gaps, smooth
from fgnet_plugin.utils.arrays import Floats

_STEPS_IN_GAP = 2.5  # of a recording with a low rate, a longer step than this times the median one is a gap


@dataclass(frozen=True)
class Steps:
    """What is done to each recording before it is measured, in this order.

    Example:
        >>> import pandas as pd
        >>> from fgnet_plugin.measures.recordings import read_recordings
        >>> table = pd.DataFrame({"frame": range(4), "AU12": [0.1, np.nan, 0.3, 0.9], "FaceScore": [0.9, 0.9, 0.9, 0.2]})
        >>> [recording] = read_recordings(table, rate=25)
        >>> kept, counts = Steps(Rules(min_score=0.5), fill=0.2).apply(recording)
        >>> kept.scores["AU12"].round(2).tolist(), counts.by_rule
        ([0.1, 0.2, 0.3, nan], {'no_face': 1, 'min_score': 1})
    """

    rules: Rules = field(default_factory=Rules)
    """Frames that break one become unknown."""
    fill: float = 0.0
    """Unknown scores in gaps of up to so many seconds are interpolated; see `signal.fill_gaps`."""
    smooth: Smoother | None = None
    window: float = 0.3
    """Seconds; see `signal.smooth`."""

    def apply(
        self, recording: Recording, speech: Floats | None = None, sharp: Floats | None = None, worn: Floats | None = None
    ) -> tuple[Recording, Exclusions]:
        """Take the steps. ``present`` follows the new scores, but for AUs whose presence the model itself decided.

        Args:
            recording: as read.
            speech: [m, 2] stretches with speech; see `quality.exclude`.
            sharp, worn: [n]; see `quality.sharpness` and `quality.glasses`.
        """
        kept, counts = exclude(recording, self.rules, speech=speech, sharp=sharp, worn=worn)
        gap = gap_of(kept)
        scores = kept.scores
        if self.fill:
            scores = fill_gaps(scores, kept.time, self.fill)
        if self.smooth:
            scores = smooth(scores, kept.time, self.smooth, self.window, max_gap=max(gap, self.fill))
        if scores is kept.scores:
            return kept, counts
        present = scores.ge(kept.thresholds).where(scores.notna()).astype(float)
        for au in self.coded(kept):
            present[au] = kept.present[au]
        done = {"fill": self.fill, "smooth": self.smooth, "window": self.window if self.smooth else None}
        return replace(kept, scores=scores, present=present, attrs={**kept.attrs, "signal": done}), counts

    @staticmethod
    def coded(recording: Recording) -> list[str]:
        """List the AUs whose presence does not follow from the threshold: those that OpenFace decided itself."""
        expected = recording.scores.ge(recording.thresholds).where(recording.scores.notna()).astype(float)
        return [str(au) for au in recording.scores if not expected[au].equals(recording.present[au])]


def gap_of(recording: Recording) -> float:
    """Return the seconds after which a new stretch begins: `signal.MAX_GAP`, more where only every n-th frame was read."""
    steps = np.diff(recording.time)
    return max(MAX_GAP, _STEPS_IN_GAP * float(np.median(steps))) if len(steps) else MAX_GAP
