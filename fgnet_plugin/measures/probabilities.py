"""Apply a calibration to recordings, one by one, as summaries need it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.recordings import Recording, Table

if TYPE_CHECKING:
    from fgnet_plugin.measures.calibration import Calibration
    from fgnet_plugin.utils.made_by import MadeBy


def for_tables(
    calibration: Calibration | str | Path, tables: Table | Iterable[Table], made_by: MadeBy | None = None
) -> Callable[[Recording], Recording]:
    """Return what turns the scores of recordings into probabilities, and decides by the calibration's thresholds.

    AUs that the calibration lacks, or for which no threshold has the wanted precision, are left out, which is said once.

    Args:
        calibration: from `calibrate`, or its file.
        tables: of the recordings; each must be of what the calibration was made for.
        made_by: what made them, where they don't say it.

    Raises:
        InputError: scores of other or unknown weights or face models.
    """
    from fgnet_plugin.measures.calibration import Calibration
    from fgnet_plugin.measures.origin import origin_of

    found = calibration if isinstance(calibration, Calibration) else Calibration.read(calibration)
    for table in [tables] if isinstance(tables, (str, Path, pd.DataFrame)) else tables:
        if isinstance(table, pd.DataFrame):
            found.check(origin_of(table, made_by))
        else:
            found.check(made_by or origin_of(pd.DataFrame(), table))
    left_out: set[str] = set()

    def probable(recording: Recording) -> Recording:
        usable = {au for au, of in found.aus.items() if not math.isnan(of.decision.threshold)}
        known = [str(au) for au in recording.scores if au in usable]
        lacking = [str(au) for au in recording.scores if au not in usable and recording.scores[au].notna().any()]
        if new := [au for au in lacking if au not in left_out]:
            left_out.update(new)
            warnings.warn(f"the calibration has no threshold for {', '.join(new)}: left out", stacklevel=2)
        if not known:
            raise InputError(f"{recording.name}: the calibration knows none of its AUs")
        curves = {au: found.aus[au].curve(recording.scores[au].to_numpy()) for au in known}
        scores = pd.DataFrame(curves, index=recording.scores.index)
        thresholds = {au: found.aus[au].decision.threshold for au in known}
        present = scores.ge(thresholds).where(scores.notna()).astype(float)
        about = {**recording.attrs, "calibrated": {"method": found.method, "threshold": found.threshold}}
        return replace(recording, scores=scores, present=present, thresholds=thresholds, attrs=about)

    return probable
