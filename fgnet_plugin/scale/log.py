"""What was done and what failed, a line each, in a file of each process that hands out work.

The files with rows are the truth; the log says why others are missing, and how long things took.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fgnet_plugin.scale.layout import Layout
from fgnet_plugin.scale.table import read_about


class Log:
    """The log of this process.

    Args:
        layout: of the dataset.
        shard: i of n, or None.
    """

    def __init__(self, layout: Layout, shard: tuple[int, int] | None) -> None:
        name = "all" if shard is None else f"{shard[0]}of{shard[1]}"
        self._path = layout.log / f"{name}-{socket.gethostname()}-{os.getpid()}.jsonl"

    def write(self, event: str, **values: Any) -> None:
        """Add a line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **values}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@dataclass
class Known:
    """What there is in a dataset."""

    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Recording -> what its file says of itself; see `table.read_about`."""
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Recording -> the last line about it in a log, with "input" and "reason"."""
    begun: dict[str, Any] = field(default_factory=dict)
    """The last line about the start of a run."""


def read_known(layout: Layout) -> Known:
    """Find out which recordings are done and which failed."""
    lines = sorted(_lines(layout), key=lambda line: str(line["at"]))
    logged: dict[str, dict[str, Any]] = {}
    known = Known()
    for line in lines:
        if line["event"] == "done":
            logged[line["recording"]] = line["about"]
        elif line["event"] == "failed":
            known.failed[line["recording"]] = line
        elif line["event"] == "begin":
            known.begun = line
    for key in layout.committed():
        known.done[key] = logged.get(key) or read_about(layout.part(key))
        known.failed.pop(key, None)
    return known


def _lines(layout: Layout) -> Iterator[dict[str, Any]]:
    for path in sorted(layout.log.glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # cut off when its process was killed
                continue
            if isinstance(line, dict) and "at" in line and "event" in line:
                yield line
