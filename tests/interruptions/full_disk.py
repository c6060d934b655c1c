"""A full disk, and folders that are lost in mid-run, on small disks in memory: ``python tests/interruptions/full_disk.py``.

Needs the right to mount (root). Each run is ended by the trouble, which is then mended, and resumed: its table must be that of
a run without it, byte for byte.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from kills import COMMAND, make_inputs
from photos import feat_path


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A disk in memory, mounted on a folder."""
    folder.mkdir(exist_ok=True)
    mount(folder, size)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL)


def mount(folder: Path, size: str, *options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", folder], check=True)


def detect(
    folder: Path, *arguments: str, until: Path | None = None, then: Callable[[], object] | None = None
) -> tuple[int, str]:
    """Run the command; once it has written some batches, do something."""
    environment = os.environ | {"FGNET_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if until is not None:
        while process.poll() is None and not (until.is_file() and until.read_bytes().count(b"\n") > 2):
            time.sleep(0.005)
        assert then is not None
        then()
    _, err = process.communicate(timeout=300)
    lines = [line.split("frame/s]")[-1] for line in err.splitlines()]
    return process.returncode, next((line for line in lines if line.startswith("error:")), "")


def main() -> None:
    """Try each kind of trouble, and print what was said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, feat_path("single_face.mp4"), feat_path("single_face.jpg"))
        (folder / "clips" / "5.jpg").unlink()
        code, said = detect(folder, "clips", "--offline", "--out", "whole.csv")
        assert code == 0, said
        whole = (folder / "whole.csv").read_bytes()
        small = folder / "small"
        for size in range(100, 700, 100):  # KB: of batches, and of the whole table beside the growing one
            with disk(small, f"{size}k"):
                code, said = detect(folder, "clips", "--offline", "--out", "small/t.csv")
                assert code == 1, size
                print(f"{size} KB: {said}", flush=True)
                mount(small, "4m", "remount")
                code, said = detect(folder, "--out", "small/t.csv", "--resume")
                assert (code, (small / "t.csv").read_bytes() == whole) == (0, True), said
        for lost, inputs, table in (("inputs", "net", "t.csv"), ("table", "clips", "net/t.csv")):
            kept = folder / ("clips" if lost == "inputs" else "kept")
            kept.mkdir(exist_ok=True)
            net = folder / "net"  # a folder that is elsewhere, as on a network: its files come back with it
            net.mkdir(exist_ok=True)
            bind = ["mount", "--bind", kept, net]
            subprocess.run(bind, check=True)
            away = partial(subprocess.run, ["umount", "-l", net], check=True)
            code, said = detect(folder, inputs, "--offline", "--out", table, until=folder / f"{table}.run", then=away)
            assert (code, list(net.iterdir())) == (1, []), said
            print(f"the folder of the {lost} is lost: {said}", flush=True)
            subprocess.run(bind, check=True)
            try:
                code, said = detect(folder, "--out", table, "--resume")
                expected = whole.replace(b"clips/", inputs.encode() + b"/")
                assert (code, (folder / table).read_bytes() == expected) == (0, True), said
            finally:
                away()
    print("all tables equal")


if __name__ == "__main__":
    sys.exit(main())
