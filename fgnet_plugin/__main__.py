"""``python -m fgnet_plugin``: the command ``fgnet``."""

from fgnet_plugin.cli.app import main

main()
