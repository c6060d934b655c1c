"""Save, load and verify FG-Net checkpoints, convert and download the published files, look up weights by name."""

from typing import TYPE_CHECKING

from fgnet_plugin.utils.lazy import lazy_names

if TYPE_CHECKING:
    from fgnet_plugin.checkpoints.convert import convert_published
    from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, load, read_info, save, verify

__all__ = ["CheckpointInfo", "convert_published", "load", "read_info", "save", "verify"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CheckpointInfo": "fgnet_plugin.checkpoints.fgnet",
        "convert_published": "fgnet_plugin.checkpoints.convert",
        "load": "fgnet_plugin.checkpoints.fgnet",
        "read_info": "fgnet_plugin.checkpoints.fgnet",
        "save": "fgnet_plugin.checkpoints.fgnet",
        "verify": "fgnet_plugin.checkpoints.fgnet",
    },
)
