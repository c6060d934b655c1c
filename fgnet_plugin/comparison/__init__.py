"""Measure the agreement of AU models, and their accuracy against human codes."""

from typing import TYPE_CHECKING

from fgnet_plugin.utils.lazy import lazy_names

if TYPE_CHECKING:
    from fgnet_plugin.comparison.agreement import Comparison, compare

__all__ = ["Comparison", "compare"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Comparison": "fgnet_plugin.comparison.agreement", "compare": "fgnet_plugin.comparison.agreement"}
)
