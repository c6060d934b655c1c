"""Install this package with an extra into the environment of the Python that runs this file, and keep showing progress.

    .venv/bin/python .ci/install.py dev

pip prints nothing while it unpacks large wheels, which takes a minute for torch. Whenever it has been silent for a few
seconds, a line says how much is installed so far. Warnings of package indexes that users can do nothing about are left out.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPECTED = {
    "feat": "some 105 packages, 6.5 GB on disk",
    "docs": "some 150 packages, 7 GB on disk",
    "dev": "some 190 packages, 8 GB on disk",
}
SILENCE = 3.0  # seconds
HARMLESS = re.compile(rb"Location '.*' is ignored: it is neither a file nor a directory|Running pip as the 'root' user")


def main(extra: str) -> int:
    """Returns pip's exit status."""
    print(f"Installing fgnet-plugin[{extra}] into {sys.prefix}: {EXPECTED.get(extra, 'some GB on disk')}, most of it torch.")
    print("That takes minutes, happens once, and needs another 3 GB for the downloads until it is done.", flush=True)
    start, progress = time.monotonic(), Progress()
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "on"]
    command += ["-c", str(ROOT / ".ci" / "constraints.txt"), "-e", f"{ROOT}[{extra}]"]
    # Downloads go where there must be room for the installation anyway; some machines' /tmp is too small for torch.
    with tempfile.TemporaryDirectory(dir=sys.prefix) as downloads:
        width = str(shutil.get_terminal_size().columns)
        environment = os.environ | {"TMPDIR": downloads, "COLUMNS": width, "PYTHONUNBUFFERED": "1"}
        status = run(command, environment, progress)
    result = "Done" if status == 0 else f"pip failed with exit status {status}"
    print(f"{result} after {time.monotonic() - start:.0f} s: {progress}")
    return status


class Progress:
    """As text: how many packages the environment holds, and how much fuller the disk has become. Takes no time to find out."""

    def __init__(self) -> None:
        self.used_before = shutil.disk_usage(sys.prefix).used

    def __str__(self) -> str:
        packages = sum(1 for _ in Path(sys.prefix).glob("lib/python3*/site-packages/*.dist-info"))
        more = max(shutil.disk_usage(sys.prefix).used - self.used_before, 0)
        return f"{packages} packages installed, {more / 1e9:.1f} GB more on the disk"


def run(command: list[str], environment: dict[str, str], progress: Progress) -> int:
    """Run a command, copy its output without `HARMLESS` lines, and break its silences; returns its exit status."""
    # On a terminal, pip must believe that it writes to one: only then does it draw progress bars.
    reader, writer = pty.openpty() if sys.stdout.isatty() else os.pipe()
    if sys.stdout.isatty():
        tty.setraw(writer)  # the real terminal turns line feeds into line ends
    process = subprocess.Popen(command, env=environment, stdout=writer, stderr=writer)
    os.close(writer)
    last = b"\n"
    for text in without_harmless_lines(chunks(reader)):
        if text is None:
            text = b"\n" * (not last.endswith(b"\n")) + f"  … {progress}\n".encode()
        os.write(sys.stdout.fileno(), text)
        last = text or last
    os.close(reader)
    return process.wait()


def chunks(reader: int) -> Iterator[bytes | None]:
    """What can be read from a file descriptor until its end, None after each `SILENCE`."""
    while True:
        if not select.select([reader], [], [], SILENCE)[0]:
            yield None
            continue
        try:
            chunk = os.read(reader, 1 << 16)
        except OSError:  # so Linux reports that a pseudo-terminal's other end was closed
            return
        if not chunk:
            return
        yield chunk


def without_harmless_lines(output: Iterator[bytes | None]) -> Iterator[bytes | None]:
    """Drop the lines that match `HARMLESS`. Only the beginning of a warning is held back: progress bars end no line."""
    held = b""
    for chunk in output:
        if chunk is None:
            yield None
            continue
        *lines, rest = (held + chunk).split(b"\n")
        held = rest if b"WARNING" in rest else b""
        yield b"".join(line + b"\n" for line in lines if not HARMLESS.search(line)) + rest[len(held) :]
    yield held


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
