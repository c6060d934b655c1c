"""Read damaged files, each in a process that is watched: ``python tests/fuzz/fuzz.py --kinds videos --files 10000 --seed 0``.

Each file must give a result or an error that names it, within 10 seconds of the processor's time, without another file left
behind. The seed of a file that does not is printed; ``--seed`` with ``--files 1`` repeats it.
"""

import argparse
import contextlib
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import mutations
import readers

SECONDS = 10.0
MEMORY = 12 * 2**30
GROWTH = 2 * 2**20  # KB that a file of at most `mutations.MOST` may take: a picture's 179 million pixels are 1.5 GB


@dataclass
class Report:
    """How many files were read, refused and so on, and what is wrong, with the seeds that show it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, -1)

    def add(self, seed: int, outcome: str, text: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, (seconds, seed))
        if outcome in ("read", "refused"):
            self.refusals.setdefault(text.split(": ")[0][-30:] if text else "", text)
        else:
            where, _, what = text.partition(" | ")
            known = self.failures.setdefault(f"{outcome}: {where}", [])
            if not known:  # long runs are interrupted
                print(f"  seed {seed}: {outcome}: {text}", flush=True)
            known.append((seed, what))


def run(kind: str, seeds: Iterator[int] | range, folder: Path) -> Report:
    """Read a damaged file for each seed."""
    suffix, make, _ = readers.KINDS[kind]
    (folder / "whole").mkdir()
    originals = make(folder / "whole")
    report, worker = Report(), _Worker(kind, folder, originals[0])
    for seed in seeds:
        path = worker.scratch / f"fuzzed{suffix}"
        path.write_bytes(mutations.mutated(originals, seed))
        start = time.monotonic()
        outcome, text = worker.read(path)
        report.add(seed, outcome, text, time.monotonic() - start)
    worker.stop()
    return report


class _Worker:
    """A process that reads files. It is started anew after a hang or crash."""

    def __init__(self, kind: str, folder: Path, whole: bytes) -> None:
        self._kind, self._whole, self.scratch = kind, whole, folder / "scratch"
        self._process: multiprocessing.process.BaseProcess | None = None

    def read(self, path: Path) -> tuple[str, str]:
        if self._process is None:
            self._start(path)
        assert self._process is not None
        self._here.send(str(path))
        try:
            if not self._here.poll(6 * SECONDS):  # a busy machine may give the process little time
                return self._lost("hang", f"no answer for {6 * SECONDS:.0f} s")
            outcome, text = self._here.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return self._lost("crash", f"exit status {self._process.exitcode}")
        left = sorted(name.name for name in self.scratch.iterdir() if not name.name.startswith("fuzzed"))
        self._clear()
        return ("left behind", ", ".join(left)) if left else (outcome, text)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None

    def _start(self, path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(self._whole)
        spawn = multiprocessing.get_context("spawn")
        self._here, there = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(self._kind, there, path), daemon=True)
        self._process.start()
        there.close()
        assert self._here.recv() == "ready"
        self._clear()
        path.write_bytes(content)

    def _lost(self, outcome: str, text: str) -> tuple[str, str]:
        self.stop()
        return outcome, text

    def _clear(self) -> None:
        for path in self.scratch.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _serve(kind: str, there: Connection, whole: Path) -> None:
    """Read a whole file, for which libraries are loaded, and then others until the process is killed."""
    scratch = whole.parent
    os.chdir(scratch)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(scratch.with_name("torch"))  # else torch makes one among temporary files
    reader = readers.KINDS[kind][2]
    with contextlib.suppress(Exception):
        readers.quietly(reader, whole)
    tempfile.tempdir = str(scratch)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C write there
    there.send("ready")
    while True:
        path = Path(there.recv())
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        outcome, text = "read", ""
        try:
            readers.quietly(reader, path)
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            outcome = "refused"
            if not readers.is_refusal(error, path):
                frame = traceback.extract_tb(error.__traceback__)[-1]
                outcome = "error"
                text = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno} | {str(error)[:100]}"
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > GROWTH:
            outcome, text = "memory", text or "a result"
        if time.process_time() - start > SECONDS:
            outcome, text = "hang", f"over {SECONDS:.0f} s"
        there.send((outcome, text))


def main() -> int:
    """Fuzz the kinds that are asked for, and print what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=readers.KINDS, default=list(readers.KINDS))
    parser.add_argument("--files", type=int, default=10_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first file; the others follow")
    parser.add_argument("--messages", action="store_true", help="also print examples of refusals")
    arguments = parser.parse_args()
    failed = False
    for kind in arguments.kinds:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "scratch").mkdir()
            report = run(kind, range(arguments.seed, arguments.seed + arguments.files), Path(folder))
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.outcomes.items()))
        slowest, seed = report.slowest
        seconds = time.monotonic() - start
        print(f"{kind}: {counts}; {seconds:.0f} s, the slowest {slowest:.1f} s (seed {seed})", flush=True)
        for where, found in sorted(report.failures.items(), key=lambda item: -len(item[1])):
            seeds = ", ".join(str(seed) for seed, _ in found[:5])
            print(f"  {len(found)} × {where} (seeds {seeds}): {found[0][1]}", flush=True)
        if arguments.messages:
            for text in list(report.refusals.values())[:20]:
                print(f"  refused: {text}")
        failed |= bool(report.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
