"""Folders: kernel sources and weights of the package, the cache."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder(name: str) -> Path:
    """``weights`` or ``cuda``: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name


def cache_folder() -> Path:
    """Where downloaded and converted weights are kept: ``$FGNET_HOME``, or this platform's cache folder."""
    home = os.environ.get("FGNET_HOME")
    if home:
        return Path(home).expanduser()
    try:
        from platformdirs import user_cache_path
    except ImportError:  # a bare environment: the network needs torch alone
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fgnet-plugin"
    return user_cache_path("fgnet-plugin", appauthor=False)
