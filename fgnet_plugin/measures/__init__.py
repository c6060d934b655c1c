"""From a table of scores for each frame to numbers that a study can publish."""

from typing import TYPE_CHECKING

from fgnet_plugin.utils.lazy import lazy_names

if TYPE_CHECKING:
    from fgnet_plugin.measures.agreement import agree_with_coders, read_codes
    from fgnet_plugin.measures.baseline import BaselineBuilder, read_neutral
    from fgnet_plugin.measures.calibration import Calibration, calibrate, calibrated, conformal_sets
    from fgnet_plugin.measures.codebook import make_codebook
    from fgnet_plugin.measures.conditions import Contrast, contrast
    from fgnet_plugin.measures.curves import Method, Threshold
    from fgnet_plugin.measures.design import from_folders, from_pattern, from_table, with_factors
    from fgnet_plugin.measures.dyads import synchrony
    from fgnet_plugin.measures.events import find_events, overlap
    from fgnet_plugin.measures.origin import made_by, origin_of
    from fgnet_plugin.measures.powered import prediction_powered
    from fgnet_plugin.measures.quality import Rules, exclude, frame_quality, glasses, sharpness
    from fgnet_plugin.measures.recordings import Recording, read_recordings
    from fgnet_plugin.measures.sheets import coding_plan, coding_sheet, read_coding_sheet, write_coding_sheet
    from fgnet_plugin.measures.signal import fill_gaps, resample, smooth
    from fgnet_plugin.measures.speech import speech_stretches
    from fgnet_plugin.measures.steps import Steps
    from fgnet_plugin.measures.summary import Summary, summarize
    from fgnet_plugin.measures.trials import read_trials

__all__ = [
    "Calibration",
    "Contrast",
    "Method",
    "Threshold",
    "calibrate",
    "calibrated",
    "coding_plan",
    "coding_sheet",
    "conformal_sets",
    "contrast",
    "made_by",
    "origin_of",
    "prediction_powered",
    "read_coding_sheet",
    "write_coding_sheet",
    "BaselineBuilder",
    "Recording",
    "Rules",
    "Steps",
    "Summary",
    "agree_with_coders",
    "make_codebook",
    "exclude",
    "fill_gaps",
    "find_events",
    "from_folders",
    "from_pattern",
    "from_table",
    "overlap",
    "frame_quality",
    "glasses",
    "read_codes",
    "read_neutral",
    "read_recordings",
    "read_trials",
    "resample",
    "sharpness",
    "smooth",
    "speech_stretches",
    "summarize",
    "synchrony",
    "with_factors",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Calibration": "fgnet_plugin.measures.calibration",
        "Contrast": "fgnet_plugin.measures.conditions",
        "Method": "fgnet_plugin.measures.curves",
        "Threshold": "fgnet_plugin.measures.curves",
        "calibrate": "fgnet_plugin.measures.calibration",
        "calibrated": "fgnet_plugin.measures.calibration",
        "coding_plan": "fgnet_plugin.measures.sheets",
        "coding_sheet": "fgnet_plugin.measures.sheets",
        "conformal_sets": "fgnet_plugin.measures.calibration",
        "contrast": "fgnet_plugin.measures.conditions",
        "made_by": "fgnet_plugin.measures.origin",
        "origin_of": "fgnet_plugin.measures.origin",
        "prediction_powered": "fgnet_plugin.measures.powered",
        "read_coding_sheet": "fgnet_plugin.measures.sheets",
        "write_coding_sheet": "fgnet_plugin.measures.sheets",
        "BaselineBuilder": "fgnet_plugin.measures.baseline",
        "Recording": "fgnet_plugin.measures.recordings",
        "Rules": "fgnet_plugin.measures.quality",
        "Steps": "fgnet_plugin.measures.steps",
        "Summary": "fgnet_plugin.measures.summary",
        "agree_with_coders": "fgnet_plugin.measures.agreement",
        "make_codebook": "fgnet_plugin.measures.codebook",
        "exclude": "fgnet_plugin.measures.quality",
        "fill_gaps": "fgnet_plugin.measures.signal",
        "find_events": "fgnet_plugin.measures.events",
        "from_folders": "fgnet_plugin.measures.design",
        "from_pattern": "fgnet_plugin.measures.design",
        "from_table": "fgnet_plugin.measures.design",
        "overlap": "fgnet_plugin.measures.events",
        "frame_quality": "fgnet_plugin.measures.quality",
        "glasses": "fgnet_plugin.measures.quality",
        "read_codes": "fgnet_plugin.measures.agreement",
        "read_neutral": "fgnet_plugin.measures.baseline",
        "read_recordings": "fgnet_plugin.measures.recordings",
        "read_trials": "fgnet_plugin.measures.trials",
        "resample": "fgnet_plugin.measures.signal",
        "sharpness": "fgnet_plugin.measures.quality",
        "smooth": "fgnet_plugin.measures.signal",
        "speech_stretches": "fgnet_plugin.measures.speech",
        "summarize": "fgnet_plugin.measures.summary",
        "synchrony": "fgnet_plugin.measures.dyads",
        "with_factors": "fgnet_plugin.measures.design",
    },
)
