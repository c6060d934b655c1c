"""What the rows of a dataset depend on: every process that adds to it must have the same."""

from __future__ import annotations

import json
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fgnet_plugin.errors import InputError
from fgnet_plugin.scale.layout import Layout
from fgnet_plugin.utils.journal import describe_change, unwritable
from fgnet_plugin.version import __version__

_PACKAGES = ("av", "numpy", "pillow", "py-feat", "torch")


class DifferentSettingsError(ValueError):
    """A process would add rows that were made otherwise than the dataset's; the message names the difference.

    Example:
        >>> try:  # doctest: +SKIP
        ...     detect_dataset(list_folder("clips").files, "corpus", detect={"skip_frames": 5})
        ... except DifferentSettingsError as error:
        ...     print(error)
    """


def versions() -> dict[str, str | None]:
    """List the versions that rows may depend on; None where a package is not installed."""
    found: dict[str, str | None] = {"fgnet-plugin": __version__, "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def claim(layout: Layout, settings: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Write the dataset's settings where it has none, or compare them.

    Args:
        layout: of the dataset.
        settings: as JSON.
        columns: of its files.

    Raises:
        DifferentSettingsError: the dataset was begun with others.
    """
    now = json.loads(json.dumps(dict(settings)))
    if not layout.run.is_file():
        begun = {"on": socket.gethostname(), "at": datetime.now(UTC).isoformat(timespec="seconds"), "folder": str(Path.cwd())}
        text = json.dumps({"format": 1, "settings": now, "columns": list(columns), "begun": begun}, indent=1)
        try:
            layout.own.mkdir(parents=True, exist_ok=True)
            _write_once(layout.run, text + "\n")
        except OSError as error:
            raise unwritable(layout.run, error) from error
    was = read_run(layout)["settings"]
    named = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    if named:
        changes = "; ".join(_changes(key, was.get(key), now.get(key)) for key in named)
        raise DifferentSettingsError(
            f"{layout.out} was begun with other settings, and {socket.gethostname()} would mix them ({changes}): repeat "
            "those, or choose another folder"
        )


def _write_once(path: Path, text: str) -> None:
    """Write a file whole, unless another process has done so meanwhile."""
    part = path.with_name(f"{path.name}-{socket.gethostname()}-{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_run(layout: Layout) -> dict[str, Any]:
    """Read `run.json`. Raises InputError where there is none, or it is damaged."""
    try:
        run = json.loads(layout.run.read_text(encoding="utf-8"))
        if run["format"] == 1 and isinstance(run["settings"], dict) and isinstance(run["columns"], list):
            return dict(run)
    except FileNotFoundError:
        raise InputError(f"{layout.out} is no dataset: it has no {layout.run.relative_to(layout.out)}") from None
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise InputError(f"{layout.run} is damaged, or of a later version of this package")


def _changes(key: str, was: Any, now: Any) -> str:
    if isinstance(was, dict) and isinstance(now, dict):
        named = [name for name in {**was, **now} if was.get(name) != now.get(name)]
        return "; ".join(describe_change(f"{key}: {name}", was.get(name), now.get(name)) for name in named)
    return describe_change(key, was, now)
