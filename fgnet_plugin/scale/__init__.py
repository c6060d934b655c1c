"""Detection over many processes and machines: recordings to one dataset, which any number of them fill."""

from typing import TYPE_CHECKING

from fgnet_plugin.utils.lazy import lazy_names

if TYPE_CHECKING:
    from fgnet_plugin.scale.bids import export_bids
    from fgnet_plugin.scale.dataset import Progress, Report, detect_dataset
    from fgnet_plugin.scale.reading import Status, read_dataset, status
    from fgnet_plugin.scale.settings import DifferentSettingsError

__all__ = ["DifferentSettingsError", "Progress", "Report", "Status", "detect_dataset", "export_bids", "read_dataset", "status"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DifferentSettingsError": "fgnet_plugin.scale.settings",
        "Progress": "fgnet_plugin.scale.dataset",
        "Report": "fgnet_plugin.scale.dataset",
        "Status": "fgnet_plugin.scale.reading",
        "detect_dataset": "fgnet_plugin.scale.dataset",
        "export_bids": "fgnet_plugin.scale.bids",
        "read_dataset": "fgnet_plugin.scale.reading",
        "status": "fgnet_plugin.scale.reading",
    },
)
