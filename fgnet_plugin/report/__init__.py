"""Pages to look at: of a recording, with its AUs over time and its pictures, and of a study."""

from fgnet_plugin.report.write import report

__all__ = ["report"]
