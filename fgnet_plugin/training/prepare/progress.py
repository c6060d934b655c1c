"""Which faces are written, so that an interrupted preparation goes on, and with the same settings only.

``prepared.jsonl``: first the settings, then a line for each face that is complete: its frame, and what was noted about it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgnet_plugin.utils.files import atomic_write


class Progress:
    """The file, and what it says.

    Args:
        path: of the file.
        settings: what the faces depend on.
        assumed: settings that files of an older version don't mention, and what they were.

    Attributes:
        done: frame -> note, of the complete faces.

    Raises:
        ValueError: faces that are there were made with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, object], assumed: Mapping[str, object] | None = None) -> None:
        self.path, self.settings = path, json.loads(json.dumps(settings))
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []  # the last is empty, or cut off
        values = [value for value in map(_value, lines) if value is not None]
        if lines and (not values or not isinstance(values[0], dict)):
            raise ValueError(f"{path}: is damaged; delete it, and all faces are made anew")
        former = {**(assumed or {}), **values[0]} if values else self.settings
        if former != self.settings:
            changes = "; ".join(
                f"{key} was {former.get(key)}, now {self.settings.get(key)}"
                for key in {**former, **self.settings}
                if former.get(key) != self.settings.get(key)
            )
            raise ValueError(f"{path.parent} was begun otherwise ({changes}): repeat that, or choose another folder")
        self.done: dict[str, str] = {str(value[0]): str(value[1]) for value in values[1:] if isinstance(value, list)}
        self.rewrite(self.done)

    def add(self, faces: Mapping[str, str]) -> None:
        """Complete faces: frame -> note."""
        self.done.update(faces)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps([*item]) + "\n" for item in faces.items()))

    def rewrite(self, faces: Mapping[str, str]) -> None:
        """The whole file, in the order given."""
        with atomic_write(self.path) as part:
            part.write_text(
                "".join(json.dumps(line) + "\n" for line in [self.settings, *map(list, faces.items())]), encoding="utf-8"
            )
        self.done = dict(faces)


def _value(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
