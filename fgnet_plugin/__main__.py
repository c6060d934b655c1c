"""``python -m fgnet_plugin``: the command ``fgnet``."""

from fgnet_plugin.cli import main

main()
