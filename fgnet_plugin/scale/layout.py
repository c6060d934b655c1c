"""Where the files of a dataset are, and how they get there: each appears whole, by one rename, or not at all.

corpus/recording=<stem>-<hash>/part-0.parquet               the rows of a recording
corpus/_fgnet/run.json                                      settings, versions, digests: see `settings`
corpus/_fgnet/segments/<recording>/<first>-<last>.parquet   rows of a part of a recording, until all are there
corpus/_fgnet/segments/<recording>/index-<size>.npz         its `VideoIndex`, until then
corpus/_fgnet/log/<shard>-<host>-<pid>.jsonl                what was done and what failed: see `log`
corpus/_fgnet/tmp/<host>-<pid>-<random>                     files that are being written

Names of units and of their files never change, so that a unit done twice overwrites itself with the same rows.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.journal import unwritable

PREFIX = "recording="
_ABANDONED = 86_400.0  # seconds after which another machine's unfinished file is removed


class Layout:
    """The paths of the dataset in a folder.

    Args:
        out: the folder.
    """

    def __init__(self, out: Path | str) -> None:
        self.out = Path(out)
        self.own = self.out / "_fgnet"
        self.run, self.log = self.own / "run.json", self.own / "log"

    def check(self) -> None:
        """Raise InputError for a folder that holds something else."""
        if self.out.exists() and not self.own.is_dir() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InputError(f"{self.out} holds something else than a dataset of this package; choose another folder")

    def recording(self, key: str) -> Path:
        """Folder of a recording's rows."""
        return self.out / f"{PREFIX}{key}"

    def part(self, key: str) -> Path:
        """Rows of a recording."""
        return self.recording(key) / "part-0.parquet"

    def segments(self, key: str) -> Path:
        """Folder of what there is of a recording before its rows are complete."""
        return self.own / "segments" / key

    def segment(self, key: str, frames: tuple[int, int]) -> Path:
        """Rows of a recording's frames from the first on to before the last."""
        return self.segments(key) / f"{frames[0]:09d}-{frames[1]:09d}.parquet"

    def index(self, key: str, size: int) -> Path:
        """`VideoIndex` of a recording of so many bytes."""
        return self.segments(key) / f"index-{size}.npz"

    def committed(self) -> list[str]:
        """List the recordings whose rows are there."""
        if not self.out.is_dir():
            return []
        names = [entry.name for entry in os.scandir(self.out) if entry.name.startswith(PREFIX)]
        return sorted(key for key in (name.removeprefix(PREFIX) for name in names) if self.part(key).is_file())

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Give a path to write to; the file is on the disk when it is renamed to `path`. Raises OutputError."""
        part = self.own / "tmp" / f"{_me()}-{secrets.token_hex(4)}"
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            yield part
            _to_disk(part)
            path.parent.mkdir(parents=True, exist_ok=True)
            rename(part, path)
            _to_disk(path.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise unwritable(path, error) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def discard_segments(self, key: str) -> None:
        """Remove what there is of a recording beside its rows."""
        shutil.rmtree(self.segments(key), ignore_errors=True)

    def sweep(self) -> None:
        """Remove files that killed processes were writing, and segments of recordings whose rows are there."""
        for path in (self.own / "tmp").glob("*"):
            if _is_abandoned(path):
                path.unlink(missing_ok=True)
        for folder in (self.own / "segments").glob("*"):
            if self.part(folder.name).is_file():
                self.discard_segments(folder.name)


def rename(part: Path, path: Path) -> None:
    """Put a complete file in its place."""
    part.replace(path)


def _me() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _is_abandoned(path: Path) -> bool:
    host, pid, _ = path.name.rsplit("-", 2)
    try:
        if host == socket.gethostname():
            return not is_running(int(pid))
        return time.time() - path.stat().st_mtime > _ABANDONED
    except FileNotFoundError:  # renamed meanwhile
        return False


def is_running(pid: int) -> bool:
    """Tell whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _to_disk(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
