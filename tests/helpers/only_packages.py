"""As if nothing were installed but some packages and what they require: refuses imports of everything else."""

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from typing import Any

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


class Without:
    """A finder of ``sys.meta_path`` that finds some distributions only, as if no other were installed."""

    def __init__(self, finder: Any, modules: set[str], distributions: set[str]) -> None:
        self.finder, self.modules, self.distributions = finder, modules, distributions

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return None if name.partition(".")[0] in self.modules else self.finder.find_spec(name, path, target)

    def find_distributions(self, *context: Any) -> Iterator[importlib.metadata.Distribution]:
        """For packages that ask which others are installed before they import them."""
        for found in getattr(self.finder, "find_distributions", lambda *_: ())(*context):
            if normalised(found.metadata["Name"]) in self.distributions:
                yield found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


def refuse_other_packages(*requirements: str) -> set[str]:
    """Lets only these distributions be imported from here on, and returns which top-level modules cannot be."""
    wanted = set[str]().union(*map(required, requirements))
    providers = importlib.metadata.packages_distributions()
    others = {name for name, distributions in providers.items() if wanted.isdisjoint(map(normalised, distributions))}
    others -= sys.stdlib_module_names | set(sys.modules)  # the latter: loaded at the start of Python, such as coverage
    others.discard("fgnet_plugin")
    sys.meta_path[:] = [Without(finder, others, wanted) for finder in sys.meta_path]
    return others
