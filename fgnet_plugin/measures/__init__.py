"""From a table of scores for each frame to numbers that a study can publish."""

from typing import TYPE_CHECKING

from fgnet_plugin.utils.lazy import lazy_names

if TYPE_CHECKING:
    from fgnet_plugin.measures.calibration import Calibration, calibrate, calibrated, conformal_sets
    from fgnet_plugin.measures.curves import Method, Threshold
    from fgnet_plugin.measures.origin import made_by, origin_of
    from fgnet_plugin.measures.powered import prediction_powered
    from fgnet_plugin.measures.sheets import coding_plan, coding_sheet, read_coding_sheet, write_coding_sheet

__all__ = [
    "Calibration",
    "Method",
    "Threshold",
    "calibrate",
    "calibrated",
    "coding_plan",
    "coding_sheet",
    "conformal_sets",
    "made_by",
    "origin_of",
    "prediction_powered",
    "read_coding_sheet",
    "write_coding_sheet",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Calibration": "fgnet_plugin.measures.calibration",
        "Method": "fgnet_plugin.measures.curves",
        "Threshold": "fgnet_plugin.measures.curves",
        "calibrate": "fgnet_plugin.measures.calibration",
        "calibrated": "fgnet_plugin.measures.calibration",
        "coding_plan": "fgnet_plugin.measures.sheets",
        "coding_sheet": "fgnet_plugin.measures.sheets",
        "conformal_sets": "fgnet_plugin.measures.calibration",
        "made_by": "fgnet_plugin.measures.origin",
        "origin_of": "fgnet_plugin.measures.origin",
        "prediction_powered": "fgnet_plugin.measures.powered",
        "read_coding_sheet": "fgnet_plugin.measures.sheets",
        "write_coding_sheet": "fgnet_plugin.measures.sheets",
    },
)
