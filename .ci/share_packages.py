"""Hard-links distributions and all that they require from this Python's environment into a new one of the same Python, which
has no packages yet. So torch and its CUDA libraries (6 GB) lie on the disk once:

    .venv/bin/python -m venv --without-pip .venv-train
    .venv/bin/python .ci/share_packages.py .venv-train torch pip
"""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

from packaging.requirements import Requirement


def required(name: str, extras: frozenset[str] = frozenset(), seen: set[tuple[str, frozenset[str]]] | None = None) -> set[str]:
    """Names of the installed distributions that `name[extras]` requires on this machine, with its own."""
    seen = set() if seen is None else seen
    if (name, extras) not in seen:
        seen.add((name, extras))
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                required(requirement.name, frozenset(requirement.extras), seen)
    return {name for name, _ in seen}


def share(name: str, site_packages: Path) -> None:
    """The distribution's files in `site_packages`, as hard links or, where there can be none, copies.

    Without its scripts: those name their interpreter.
    """
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or []:
        source, target = Path(str(distribution.locate_file(file))), site_packages / file
        if ".." in file.parts or target.exists() or not source.exists():  # some RECORDs name a file twice, or one that is gone
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)


if __name__ == "__main__":
    environment, *wanted = sys.argv[1:]
    (site_packages,) = Path(environment).glob("lib/python3*/site-packages")
    if any(site_packages.iterdir()):
        sys.exit(f"{site_packages} holds packages; files of two versions would mix")
    for name in sorted(set().union(*map(required, wanted))):
        share(name, site_packages)
