"""What a unit costs beside its detection: ``PYTHONPATH=.:tests/helpers .venv/bin/python tests/benchmarks/dataset_units.py``.

Tiny pictures go through Ray and the dispatch loop. A stand-in takes the place of the detector: it gives one row without a face
for each, and opens no file. Printed are the time of a unit, most of which is the writing of its file, the memory of the
process that hands out the work, and how long a run takes that finds all done.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from dataset_faults import StandInDetector

from fgnet_plugin.scale import Progress, detect_dataset, status


def main(units: int, workers: int) -> None:
    """Print what `units` cost with some workers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        for i in range(units):
            (folder / "clips" / f"{i}.jpg").write_bytes(b"not read")
        clips = sorted(map(str, (folder / "clips").iterdir()))
        peaks: list[float] = []

        def note_memory(progress: Progress) -> None:
            peaks.append(megabytes())

        before = megabytes()
        report = detect_dataset(clips, folder / "corpus", detector=StandInDetector, workers=workers, progress=note_memory)
        assert len(report.done) == units, report.failed
        work = report.seconds - report.startup
        in_workers = sum(outcome.seconds for outcome in report.done.values()) / workers
        print(f"{units} units, {workers} workers: {1000 * work / units:.2f} ms a unit")
        print(f"of it in workers: {1000 * in_workers / units:.2f} ms")
        print(f"start-up {report.startup:.1f} s")
        print(f"memory of this process: {before:.0f} MB before, {peaks[0]:.0f} at the first units, {peaks[-1]:.0f} at the end")
        start = time.perf_counter()
        assert detect_dataset(clips, folder / "corpus").before == units
        print(f"again, all done: {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        assert status(folder / "corpus").done == units
        print(f"status: {time.perf_counter() - start:.2f} s")


def megabytes() -> float:
    """Memory of this process at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=5_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    main(given.units, given.workers)
