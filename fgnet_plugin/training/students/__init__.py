"""Students: small FG-Nets that learn a teacher FG-Net's heatmaps on the recordings of one study."""

from typing import TYPE_CHECKING

from fgnet_plugin.utils.lazy import lazy_names

if TYPE_CHECKING:
    from fgnet_plugin.training.students.settings import StudentSettings
    from fgnet_plugin.training.students.train import train_student

__all__ = ["StudentSettings", "train_student"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "StudentSettings": "fgnet_plugin.training.students.settings",
        "train_student": "fgnet_plugin.training.students.train",
    },
)
