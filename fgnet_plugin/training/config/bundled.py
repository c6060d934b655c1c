"""The settings files that come with the package."""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parents[1] / "configs"
"""Their folder."""


def bundled() -> list[str]:
    """Their names."""
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))


def config_path(name_or_path: str) -> Path:
    """The file of a bundled config's name, or of a path. Raises ValueError where there is neither."""
    if name_or_path in bundled():
        return BUNDLED / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"{name_or_path}: no such file, and no bundled config of that name (there are {', '.join(bundled())})")
    return path
