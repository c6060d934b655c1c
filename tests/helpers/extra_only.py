"""As if nothing were installed but what ``pip install fgnet-plugin[EXTRA]`` brings: refuses imports of everything else."""

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

from packaging.requirements import Requirement


def required(requirement: str) -> set[str]:
    """Normalised names of the distributions that a requirement installs on this machine, such as ``"torch"`` or ``"a[b]"``."""
    seen: set[tuple[str, str]] = set()

    def visit(wanted: Requirement) -> Iterator[str]:
        for extra in {"", *wanted.extras}:
            if (wanted.name, extra) not in seen:
                seen.add((wanted.name, extra))
                yield normalised(wanted.name)
                for line in importlib.metadata.requires(wanted.name) or []:
                    requirement = Requirement(line)
                    if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                        yield from visit(requirement)

    return set(visit(Requirement(requirement)))


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class Refuse(MetaPathFinder):
    """The first finder on ``sys.meta_path``: some top-level modules cannot be found."""

    def __init__(self, modules: set[str]) -> None:
        self.modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def refuse_other_packages(extra: str) -> set[str]:
    """Lets only an extra be imported from here on, and returns which top-level modules cannot be."""
    wanted = required(f"fgnet-plugin[{extra}]")
    providers = importlib.metadata.packages_distributions()
    others = {name for name, distributions in providers.items() if wanted.isdisjoint(map(normalised, distributions))}
    others -= set(sys.modules) | sys.stdlib_module_names  # the first: loaded at the start of Python, such as coverage
    sys.meta_path.insert(0, Refuse(others))
    return others
