"""Kill runs of `fgnet detect` at random moments and resume them: ``python tests/interruptions/kills.py --kills 100 --seed 0``.

A run over five inputs is killed with SIGKILL, resumed, killed again and so on, until one ends. Its table, and those of each
input, must be those of a run that was never interrupted, byte for byte, and nothing else may be left behind. With `--ctrl-c`,
runs are interrupted with SIGINT, as by Ctrl-C, and must end by themselves: with exit code 130 and without a traceback.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
from PIL import Image

COMMAND = [sys.executable, "-m", "fgnet_plugin", "detect"]
FIRST = ["clips", "--offline", "--faces", "largest", "--per-file", "tables"]
_LONGEST = 120.0  # seconds that one run may take


def make_inputs(folder: Path, clip: Path, photo: Path) -> None:
    """Two videos, one of them of another size, and three photos, one of which can't be read to its end."""
    clips = folder / "clips"
    clips.mkdir()
    (clips / "1.mp4").write_bytes(clip.read_bytes())
    with av.open(str(clip)) as file, av.open(str(clips / "4.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for frame in file.decode(video=0):
            small = frame.reformat(320, 180, "yuv420p").to_ndarray()
            out.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="yuv420p")))
        out.mux(stream.encode())
    picture = Image.open(photo)
    picture.save(clips / "2.png")
    picture.resize((picture.width // 2, picture.height // 2)).save(clips / "3.jpg")
    (clips / "5.jpg").write_bytes(photo.read_bytes()[:40_000])


def start(folder: Path, out: str, resume: bool) -> subprocess.Popen[bytes]:
    """Start a run; its inputs and options are given the first time only."""
    arguments = ["--resume"] if resume else FIRST
    environment = os.environ | {"FGNET_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*COMMAND, *arguments, "--out", out, *(("--per-file", "tables") if resume else ())],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells in the background ignore it
    )


def results(folder: Path) -> dict[str, str]:
    """The digest of each file but the inputs and the run's own."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "clips" not in path.parts and path.suffix != ".run"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def clear(folder: Path) -> None:
    """Remove the results."""
    for path in folder.rglob("*"):
        if path.is_file() and "clips" not in path.parts:
            path.unlink()


def where(folder: Path, out: str) -> str:
    """Tell what a run was doing when it was killed."""
    run = folder / f"{out}.run"
    if not run.is_file():
        return "before it began"
    lines = run.read_bytes().split(b"\n")
    if b"finished" in lines:
        return "after it was finished"
    if b"finishing" in lines:
        return "while the table was put in its place"
    if (folder / f"{out}.whole").exists():
        return "while the whole table was written"
    return f"after {len(lines) - 2:2} of its batches"


class Killer:
    """Kills runs of one folder. The first is left to its end, to know its results and how long each part takes."""

    def __init__(self, folder: Path, out: str, seed: int, how: signal.Signals = signal.SIGKILL) -> None:
        self._folder, self._out, self._chance, self._how = folder, out, random.Random(seed), how
        self.places = Counter[str]()
        begun = time.monotonic()
        process = start(folder, out, False)
        while process.poll() is None and not self._run.is_file():
            time.sleep(0.01)
        self._loading = time.monotonic() - begun
        self._check_end(process)
        self._work = time.monotonic() - begun - self._loading
        self._expected, self._batches = results(folder), self._done()
        assert len(self._expected) == 5, sorted(self._expected)

    def run_to_the_end(self, kills: int) -> int:
        """Start anew, and kill and resume until a run ends by itself. Returns how often it was, at most `kills` times."""
        clear(self._folder)
        killed = 0
        while True:
            process = start(self._folder, self._out, self._run.is_file())
            left = 1 - self._done() / self._batches
            try:
                process.wait(self._chance.uniform(0.7 * self._loading, self._loading + left * self._work))
            except subprocess.TimeoutExpired:
                if killed < kills:
                    begun = self._run.is_file()
                    process.send_signal(self._how)
                    _, err = process.communicate(timeout=_LONGEST)
                    place = where(self._folder, self._out)
                    self.places[place] += 1
                    killed += 1
                    if self._how == signal.SIGINT and begun and place != "after it was finished":
                        assert (process.returncode, b"Traceback" in err) == (130, False), err.decode()
                    continue
            self._check_end(process)
            found = results(self._folder)
            differing = {name for name in {**found, **self._expected} if found.get(name) != self._expected.get(name)}
            assert not differing, f"these differ after {killed} kills: {sorted(differing)}"
            return killed

    @property
    def _run(self) -> Path:
        return self._folder / f"{self._out}.run"

    def _done(self) -> int:
        """Count the batches that a run has done."""
        return sum(line.isdigit() for line in self._run.read_bytes().split(b"\n")) if self._run.is_file() else 0

    def _check_end(self, process: subprocess.Popen[bytes]) -> None:
        _, err = process.communicate(timeout=_LONGEST)
        assert process.returncode == 1, err.decode()  # one photo is damaged
        assert b"Traceback" not in err, err.decode()


def main() -> None:
    """Kill, resume, compare, and print where the runs were killed."""
    from photos import feat_path

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="table.csv", help="table.csv or table.parquet")
    parser.add_argument("--ctrl-c", action="store_true", help="SIGINT in the place of SIGKILL")
    arguments = parser.parse_args()
    how = signal.SIGINT if arguments.ctrl_c else signal.SIGKILL
    with tempfile.TemporaryDirectory() as folder:
        make_inputs(Path(folder), feat_path("single_face.mp4"), feat_path("single_face.jpg"))
        killer, killed, runs = Killer(Path(folder), arguments.out, arguments.seed, how), 0, 0
        while killed < arguments.kills:
            # Few at a time: of a run that is killed again and again, only the last part is tried.
            killed += killer.run_to_the_end(min(arguments.kills - killed, 4))
            runs += 1
            print(f"{killed} kills, {runs} runs to the end: all tables equal", flush=True)
    for place, count in sorted(killer.places.items()):
        print(f"{count:4} killed {place}")


if __name__ == "__main__":
    main()
