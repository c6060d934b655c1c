"""Speed of one process, of one worker and of two: ``PYTHONPATH=. .venv/bin/python tests/benchmarks/dataset_speed.py``.

Copies of a video are read by the offline detector with one thread each, in turns: in one process, by one worker, by two. The
start of Ray and of the workers is told apart. Only on a machine that has nothing else to do.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

os.environ.update({"OMP_NUM_THREADS": "1", "FGNET_NUM_THREADS": "1", "RAY_worker_niceness": "0"})


def main(video: Path, copies: int, rounds: int) -> None:
    """Print frames a second, and ratios."""
    from fgnet_plugin import OfflineDetector
    from fgnet_plugin.scale import detect_dataset

    print("load:", os.getloadavg())
    rates: dict[str, list[float]] = {"one process": [], "1 worker": [], "2 workers": []}
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        clips = [str(shutil.copy(video, Path(folder) / f"{i}{video.suffix}")) for i in range(copies)]
        detector = OfflineDetector()
        detector.detect(clips[0], progress_bar=False)
        for round_ in range(rounds):
            start = time.perf_counter()
            frames = len(detector.detect(clips, progress_bar=False).drop_duplicates(["input", "frame"]))
            rates["one process"].append(frames / (time.perf_counter() - start))
            for workers in (1, 2):
                report = detect_dataset(clips, Path(folder) / f"corpus-{round_}-{workers}", workers=workers)
                assert report.frames == frames
                rates[f"{workers} worker{'s' * (workers > 1)}"].append(frames / (report.seconds - report.startup))
                starts.append(report.startup)
    one = statistics.median(rates["one process"])
    for name, values in rates.items():
        print(f"{name:12} {statistics.median(values):6.1f} frames/s, {statistics.median(values) / one:.2f} of one process")
    print(f"start-up {statistics.median(starts):.1f} s; load afterwards:", os.getloadavg())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--copies", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.video, given.copies, given.rounds)
