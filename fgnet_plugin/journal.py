"""A table that grows batch by batch on disk, so that an interrupted run can go on where it stopped.

Beside ``fex.csv`` lies ``fex.csv.progress`` while a run is under way: first the run's settings, then a line for each batch
that is complete in the table. What a killed process left behind after the last of these is cut off before going on.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin.errors import InputError, OutputError

_FULL = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")}
_EXACT = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}


class Journal:
    """The table at `path` and its progress.

    Args:
        path: the CSV file.
        settings: what the rows depend on, as JSON; a run only goes on with the same.
        resume: go on with an interrupted run, where there is one; else a file that is there already is replaced.

    Raises:
        InputError: the interrupted run had other settings.
        OutputError: the file can't be written.
    """

    def __init__(self, path: Path | str, settings: dict[str, Any], resume: bool = False) -> None:
        self.path = Path(path)
        self.progress = progress_path(self.path)
        self.batches, self._bytes, self._progress_bytes = 0, 0, 0
        self.settings = json.loads(json.dumps(settings))
        begun = self.progress.read_bytes().split(b"\n") if resume and self.progress.is_file() else []
        if len(begun) > 1:  # not killed while it wrote its first line
            self._continue(*begun)
        else:
            self._start()

    def _start(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._progress_bytes = self.progress.write_bytes(json.dumps(self.settings).encode() + b"\n")
            self.path.write_bytes(b"")
        except OSError as error:
            with suppress(OSError):
                self.progress.unlink()
            raise unwritable(self.path, error) from error

    def _continue(self, head: bytes, *lines: bytes) -> None:
        try:
            former = json.loads(head)
        except ValueError as error:
            raise InputError(f"{self.progress} is damaged; delete it and start anew") from error
        if former != self.settings:
            named = [key for key in {**former, **self.settings} if former.get(key) != self.settings.get(key)]
            changes = "; ".join(f"{key} was {_short(former.get(key))}, now {_short(self.settings.get(key))}" for key in named)
            raise InputError(f"{self.path} was begun with other settings ({changes}): repeat those to go on, or start anew")
        complete = lines[:-1]  # the last is empty, or was cut off
        if complete:
            self.batches, self._bytes = len(complete), int(complete[-1])
        if self.path.stat().st_size < self._bytes if self.path.is_file() else self._bytes:
            raise InputError(f"{self.path} is shorter than {self.progress} says; start anew")
        self._progress_bytes = len(b"\n".join([head, *complete, b""]))
        self._cut()

    def _cut(self) -> None:
        """Removes what is behind the last complete batch."""
        if self.path.is_file():
            os.truncate(self.path, self._bytes)
        os.truncate(self.progress, self._progress_bytes)

    def append(self, rows: pd.DataFrame | None) -> None:
        """Adds a batch (None for one without rows), whole or not at all.

        Raises OutputError where it can't be written; the batches before are kept.
        """
        try:
            if rows is not None:
                text = rows.to_csv(None, index=False, header=self._bytes == 0, lineterminator="\n")
                with self.path.open("ab") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
            size = self.path.stat().st_size
            line = f"{size}\n".encode()
            with self.progress.open("ab") as file:
                file.write(line)
        except BaseException as error:  # also Ctrl-C
            self._cut()
            if isinstance(error, OSError):
                raise unwritable(self.path, error) from error
            raise
        self.batches, self._bytes, self._progress_bytes = self.batches + 1, size, self._progress_bytes + len(line)

    @property
    def has_rows(self) -> bool:
        """Whether any batch had rows."""
        return self._bytes > 0

    def read(self) -> pd.DataFrame:
        """The rows so far, every number as it was written. Raises ValueError where there are none."""
        return read_table(self.path)

    def finish(self, rows: pd.DataFrame) -> None:
        """Puts the whole table in place of the growing one, and ends the run.

        Raises OutputError; the growing table is kept.
        """
        whole = self.path.with_name(self.path.name + ".whole")
        try:
            rows.to_csv(whole, index=False, lineterminator="\n")
            whole.replace(self.path)
            self.progress.unlink()
        except OSError as error:
            whole.unlink(missing_ok=True)
            raise unwritable(self.path, error) from error

    def discard(self) -> None:
        """Removes a table without rows."""
        self.path.unlink(missing_ok=True)
        self.progress.unlink()


def progress_path(path: Path) -> Path:
    """Where the progress of an unfinished table is kept."""
    return path.with_name(path.name + ".progress")


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file with every number as it was written, and not the next one to it."""
    return pd.read_csv(path, **_EXACT)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "…"


def unwritable(path: Path, error: OSError) -> OutputError:
    """What to tell instead of the system's error."""
    reason = error.strerror or str(error)
    if error.filename is not None and Path(error.filename) != path:
        reason += f": {error.filename}"
    advice = "free some space" if error.errno in _FULL else "choose another place"
    return OutputError(error.errno, f"can't be written ({reason}); {advice}", str(path))
