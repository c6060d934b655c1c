"""The command ``fgnet``."""

from fgnet_plugin.cli.app import main

__all__ = ["main"]
