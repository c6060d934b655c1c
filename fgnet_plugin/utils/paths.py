"""Find the folders of kernel sources, weights and the cache."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder(name: str) -> Path:
    """Find ``weights`` or ``cuda``: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name


def cache_folder() -> Path:
    """Find where downloaded and converted weights are kept: ``$FGNET_HOME``, or this platform's cache folder."""
    home = os.environ.get("FGNET_HOME")
    if home:
        return Path(home).expanduser()
    # The network, whose kernels are found with this module, needs torch alone.
    from platformdirs import user_cache_path

    return user_cache_path("fgnet-plugin", appauthor=False)
