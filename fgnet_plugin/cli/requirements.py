"""Packages that a command needs beyond the installation, and how to get them."""

from __future__ import annotations

import importlib.util
import os

TO_RENDER = ("numba", "cv2", "PIL", "tqdm")


TO_TRAIN = ("lightning", "torchmetrics", "pydantic", "yaml", "pandas", *TO_RENDER)


def check_installed(needed: tuple[str, ...] = TO_TRAIN) -> None:
    """Before torch is loaded: ends the program with one line where the extra is not installed, and lets threads sleep."""
    check_extra("train", needed, "training")
    # OpenMP's threads otherwise wait for each other in busy loops, which the processes that prepare batches, and whatever
    # else runs on the machine, turn into waits for the scheduler: steps then take several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def check_extra(extra: str, needed: tuple[str, ...], what: str = "") -> None:
    """Raise ValueError, which says what to install, where a package of an extra is missing.

    Args:
        extra: of this package.
        needed: modules.
        what: that needs them; by default the extra's name.
    """
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f'{what or extra} needs {", ".join(missing)}; run: pip install "fgnet-plugin[{extra}]"')
