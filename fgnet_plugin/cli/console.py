"""Show this package's warnings on standard error, a line each, and no others."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from fgnet_plugin.errors import SkippedInput


@contextmanager
def package_warnings() -> Iterator[dict[str, str]]:
    """Show this package's warnings only; those of py-feat and its dependencies stay out of the output.

    Gives a dictionary that grows by the inputs that are left out: path -> the first line of the first warning.
    """
    from fgnet_plugin.utils.progress import tqdm

    skipped: dict[str, str] = {}

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if isinstance(message, SkippedInput):
            skipped.setdefault(message.path, str(message).splitlines()[0])
        tqdm.write(f"warning: {message}", file=sys.stderr)  # above the progress bar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"fgnet_plugin\b")
        warnings.showwarning = show
        yield skipped


def duration(seconds: float) -> str:
    """Say how long something takes."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
