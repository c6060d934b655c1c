"""Write a table batch by batch, so that an interrupted run can continue where it stopped.

Beside ``fex.csv``, the file ``fex.csv.run`` holds the run's settings, then a line for each batch that is complete in the
table, and at last "finished". What a killed process left behind after the last complete batch is cut off before the run
continues. The file remains, so that a finished table is not taken for the result of other settings.

A ``fex.parquet`` grows as ``fex.parquet.csv``, which is removed when the table is finished.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin.errors import InputError, OutputError
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.tables import EXACT, read_pieces, write_pieces

_FULL = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")}
_GONE = {getattr(errno, name, None) for name in ("ENOENT", "ESTALE", "EIO", "ENODEV", "ENXIO", "EHOSTDOWN", "ENOTCONN")}
ABOUT = "about"
"""The setting that may differ when a run is continued: how it was begun."""
_FINISHING, _FINISHED = b"finishing", b"finished"


class Journal:
    """The table at `path`, .csv or .parquet, and its run.

    Args:
        path: the table.
        settings: what the rows depend on, as JSON; a run can only be resumed with the same, but for `ABOUT`.
        resume: continue an interrupted run, if there is one; otherwise an existing table is replaced.

    Raises:
        InputError: the run had other settings, or an existing table has no file that says how it was made.
        OutputError: the file can't be written.
    """

    def __init__(self, path: Path | str, settings: dict[str, Any], resume: bool = False) -> None:
        self.path = Path(path)
        self.growing, self.run = growing_path(self.path), run_path(self.path)
        self.batches, self._bytes, self._run_bytes = 0, 0, 0
        self.finished = False
        self.settings = json.loads(json.dumps(settings))
        begun = self.run.read_bytes().split(b"\n") if resume and self.run.is_file() else []
        if len(begun) > 1:  # not killed while it wrote its first line
            self._continue(*begun)
        elif resume and not begun and self.path.is_file() and self.path.stat().st_size:
            raise InputError(
                f"{self.path} exists, but not {self.run}, which says how it was made; start anew, or choose another file"
            )
        else:
            self._start()

    def _start(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._run_bytes = self.run.write_bytes(json.dumps(self.settings).encode() + b"\n")
            self.growing.write_bytes(b"")
        except OSError as error:
            with suppress(OSError):
                self.run.unlink()
            raise unwritable(self.path, error) from error

    def _continue(self, head: bytes, *lines: bytes) -> None:
        complete = list(lines[:-1])  # the last is empty, or was cut off
        try:
            former = json.loads(head)
            if not isinstance(former, dict):
                raise ValueError("no settings")
            sizes = [int(line) for line in complete if line not in (_FINISHING, _FINISHED)]
            if sizes != sorted(sizes) or min(sizes, default=0) < 0:
                raise ValueError("no sizes of a table that grows")
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.run} is damaged; delete it and start anew") from error
        former, now = ({key: s[key] for key in s if key != ABOUT} for s in (former, self.settings))
        if former != now:
            named = [key for key in {**former, **now} if former.get(key) != now.get(key)]
            changes = "; ".join(describe_change(key, former.get(key), now.get(key)) for key in named)
            raise InputError(
                f"{self.path} was begun with other settings ({changes}): repeat those to continue, start anew, "
                "or choose another file"
            )
        self._run_bytes = len(b"\n".join([head, *complete, b""]))
        if complete and complete[-1] in (_FINISHING, _FINISHED):
            if complete[-1] == _FINISHING:
                self._replace()
            if not self.path.is_file():
                raise InputError(f"{self.path} is gone, though {self.run} says that it was finished; start anew")
            self.finished = True
            return
        if complete:
            self.batches, self._bytes = len(complete), int(complete[-1])
        if self.growing.stat().st_size < self._bytes if self.growing.is_file() else self._bytes:
            raise InputError(f"{self.growing} is shorter than {self.run} says; start anew")
        self._cut()

    def _cut(self) -> None:
        """Remove what follows the last complete batch: first from the list of batches, lest it count one that is gone."""
        os.truncate(self.run, self._run_bytes)
        if self.growing.is_file():
            os.truncate(self.growing, self._bytes)

    def append(self, rows: pd.DataFrame | None) -> None:
        """Add a batch (None for one without rows), whole or not at all.

        Raises OutputError where it can't be written; the batches before are kept.
        """
        try:
            if rows is not None:
                text = rows.to_csv(None, index=False, header=self._bytes == 0, lineterminator="\n")
                with self.growing.open("r+b") as file:  # never anew: its folder may be gone, and an empty one in its place
                    file.seek(0, os.SEEK_END)
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
            size = self.growing.stat().st_size
            written = self._note(f"{size}".encode())
        except BaseException as error:  # also Ctrl-C
            with suppress(OSError):  # what can't be cut off now is when the run is continued
                self._cut()
            if isinstance(error, OSError):
                raise unwritable(self.path, error) from error
            raise
        self.batches, self._bytes, self._run_bytes = self.batches + 1, size, self._run_bytes + written

    def _note(self, line: bytes) -> int:
        """Add a line to the run's file, and return its length."""
        with self.run.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            return file.write(line + b"\n")

    @property
    def has_rows(self) -> bool:
        """Whether any batch had rows."""
        return self._bytes > 0

    def read(self) -> pd.DataFrame:
        """Read the rows so far, every number as it was written. Raises ValueError where there are none."""
        return read_table(self.path if self.finished else self.growing)

    def read_pieces(self, columns: Sequence[str] | None = None) -> Generator[pd.DataFrame, None, None]:
        """Read the rows so far piece by piece; see `tables.read_pieces`."""
        return read_pieces(self.path if self.finished else self.growing, columns)

    def finish(self, rows: pd.DataFrame | Iterable[pd.DataFrame]) -> None:
        """Put the whole table, which may come in pieces, in the place of the growing one, and end the run.

        Raises OutputError; the growing table is kept.
        """
        whole = self._whole
        try:
            write_pieces([rows] if isinstance(rows, pd.DataFrame) else rows, whole, self.path.suffix, self._origin())
            self._note(_FINISHING)  # from now on the table is only renamed, never cut
        except BaseException as error:
            with suppress(OSError):
                whole.unlink(missing_ok=True)
                self._cut()
            if isinstance(error, OSError) and not isinstance(error, OutputError):  # of another table
                raise unwritable(self.path, error) from error
            raise
        try:
            self._replace()
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.finished = True

    def _origin(self) -> str:
        return json.dumps(lasting(read_settings(self.path) or self.settings))

    @property
    def _whole(self) -> Path:
        return self.path.with_name(self.path.name + ".whole")

    def _replace(self) -> None:
        """Do the last step of a run, which may have been interrupted anywhere."""
        if self._whole.is_file():
            self._whole.replace(self.path)
        if self.growing != self.path:
            self.growing.unlink(missing_ok=True)
        self._note(_FINISHED)

    def discard(self) -> None:
        """Remove a table without rows."""
        self.growing.unlink(missing_ok=True)
        self.run.unlink()


def lasting(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a run's settings what differs between runs of the same settings and versions: files stay equal."""
    versions = settings.get(ABOUT, {}).get("versions")
    return {**settings, ABOUT: {} if versions is None else {"versions": versions}}


def note_finished(table: Path, settings: dict[str, Any]) -> None:
    """Say beside a whole table how it was made, as a run's file does that has ended. Raises OutputError."""
    run = run_path(table)
    try:
        with atomic_write(run) as part:
            part.write_bytes(json.dumps(settings).encode() + b"\n" + _FINISHED + b"\n")
    except OSError as error:
        raise unwritable(run, error) from error


def read_settings(table: Path) -> dict[str, Any] | None:
    """Read the settings of a table's run; None where none was begun. Raises InputError for a damaged file."""
    run = run_path(table)
    head, *lines = run.read_bytes().split(b"\n") if run.is_file() else [b""]
    if not lines:  # or killed while it wrote its first line
        return None
    try:
        settings = json.loads(head)
        if not isinstance(settings, dict):
            raise ValueError("no settings")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{run} is damaged; delete it and start anew") from error
    return settings


def run_path(table: Path) -> Path:
    """Name the file with the settings and progress of a table."""
    return table.with_name(table.name + ".run")


def growing_path(table: Path) -> Path:
    """Name the file that grows: CSV, whatever the table will be."""
    return table.with_name(table.name + ".csv") if table.suffix.lower() == ".parquet" else table


def is_unfinished(table: Path) -> bool:
    """Tell whether there is an interrupted run of this table to continue."""
    run = run_path(table)
    return run.is_file() and not run.read_bytes().endswith(b"\n" + _FINISHED + b"\n")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or parquet file; every number of a CSV file exactly as it was written. Raises InputError as `read_csv`."""
    return read_parquet(path) if path.suffix.lower() == ".parquet" else read_csv(path, **EXACT)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a parquet file. Raises InputError for one that is damaged or of another kind."""
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # Arrow raises many kinds
        raise InputError(f"{path} is not a readable parquet file ({_first_line(error)})") from error


def read_csv(path: Path | str, **options: Any) -> pd.DataFrame:
    """Read a CSV file, its column "input" as text: files may be called 001, NA, 1e5 or TRUE.

    Args:
        path: of the file.
        options: of `pandas.read_csv`.

    Raises InputError for a file that is no table.
    """
    try:
        return _with_text(pd.read_csv(path, **options), path)
    except (ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a readable CSV file ({_first_line(error)})") from error


def _with_text(table: pd.DataFrame, path: Path | str) -> pd.DataFrame:
    """Read a table's column "input" again, as text."""
    for column in [name for name in table.columns if str(name).strip() == "input"]:
        text = pd.read_csv(path, usecols=[column], dtype=str, keep_default_na=False)[column]
        table[column] = text.where(text != "")
    return table


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def describe_change(key: str, was: object, now: object) -> str:
    """Name what differs in a setting; of a list of named things, which."""
    if not (_are_named(was) and _are_named(now)):
        return f"{key} was {_short(was)}, now {_short(now)}"
    old, new = ({entry[0]: entry for entry in entries} for entries in (was, now))  # type: ignore[attr-defined]
    kinds = {
        "without": [name for name in old if name not in new],
        "with": [name for name in new if name not in old],
        "with a changed": [name for name in new if name in old and old[name] != new[name]],
    }
    parts = [f"{what} {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" for what, names in kinds.items() if names]
    return f"{key}: now {' and '.join(parts) or 'in another order'}"


def _are_named(entries: object) -> bool:
    return isinstance(entries, list) and all(isinstance(e, list) and e and isinstance(e[0], str) for e in entries)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "…"


def unwritable(path: Path, error: OSError) -> OutputError:
    """Make a readable OutputError of the system's error."""
    reason = error.strerror or str(error)
    if error.filename is not None and Path(error.filename) != path:
        reason += f": {error.filename}"
    advice = "choose another place"
    if error.errno in _FULL:
        advice = "free some space"
    elif error.errno in _GONE:
        advice = "connect its folder again"
    return OutputError(error.errno, f"can't be written ({reason}); {advice}", str(path))
