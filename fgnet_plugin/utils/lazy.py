"""Import a package's names when they are first used, so that importing the package stays quick."""

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make a package's ``__getattr__`` and ``__dir__`` (PEP 562).

    Args:
        package: ``__name__`` of the package.
        modules: exported name -> module that defines it.

    Example:
        >>> __getattr__, __dir__ = lazy_names(__name__, {"load": "fgnet_plugin.checkpoints.fgnet"})
    """

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return get, lambda: sorted(modules)
