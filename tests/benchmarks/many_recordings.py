"""Time and memory of ``fgnet summarize`` for many long recordings, with made-up tables.

    PYTHONPATH=. python tests/benchmarks/many_recordings.py [--recordings 1000] [--minutes 10] [--suffix .parquet] [--baseline]

Each recording is a table of 12 AUs with boxes and head poses at 30 frames per second. The same few tables are summarised under
many names, so that the disk holds a few of them only. Prints processor time, and the largest memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from fgnet_plugin.measures import BaselineBuilder, Rules, Steps, summarize
from fgnet_plugin.measures.design import from_pattern
from fgnet_plugin.measures.recordings import recording_names

AUS = [f"AU{number:02}" for number in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)]


def table(name: str, minutes: float, seed: int) -> pd.DataFrame:
    """Scores that wander as AUs do."""
    rng = np.random.default_rng(seed)
    n = round(minutes * 60 * 30)
    noise = rng.normal(size=(n + 30, len(AUS)))
    sums = np.cumsum(noise, axis=0)
    waves = (sums[30:] - sums[:-30]) / np.sqrt(30)
    frames = pd.DataFrame(1 / (1 + np.exp(2 - 2 * waves)), columns=AUS).round(5)
    box = {"FaceRectX": 200, "FaceRectY": 100, "FaceRectWidth": 160, "FaceRectHeight": 160, "FaceScore": 0.99}
    pose = {angle: rng.normal(0, 0.1, n).round(4) for angle in ("Pitch", "Roll", "Yaw")}
    return frames.assign(**box, **pose, FrameHeight=480, FrameWidth=640, input=name, frame=range(n), time=np.arange(n) / 30)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--suffix", choices=(".parquet", ".csv"), default=".parquet")
    parser.add_argument("--baseline", action="store_true", help="with each person's 10 % quantile, and so in two passes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written = []
        for seed in range(4):
            path = Path(folder) / f"written{seed}{options.suffix}"
            made = table("", options.minutes, seed).drop(columns="input")  # a table without input is called as its file is
            made.to_parquet(path) if options.suffix == ".parquet" else made.to_csv(path, index=False)
            written.append(path)
        paths = [Path(folder) / f"P{i // 4:03}_{i % 4}{options.suffix}" for i in range(options.recordings)]
        for i, path in enumerate(paths):
            path.symlink_to(written[i % 4])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, wall = time.process_time(), time.perf_counter()
        summary = summarize(
            paths,
            by="person",
            factors=from_pattern(recording_names(paths), r"(?P<subject>P\d+)_"),
            steps=Steps(Rules(max_yaw=30), fill=0.2, smooth="median", window=0.2),
            baseline=BaselineBuilder(quantile=0.1) if options.baseline else None,
        )
        seconds, wall = time.process_time() - start, time.perf_counter() - wall
    unit = 1024 if sys.platform != "darwin" else 1024**2  # ru_maxrss is in KB on Linux, in bytes on macOS
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(f"{options.recordings} recordings of {options.minutes:g} min, {options.suffix}: {len(summary.wide())} people")
    print(f"{seconds:.0f} s of processor time ({1000 * seconds / options.recordings:.0f} ms each), {wall:.0f} s in all")
    print(f"at most {memory:.0f} MB of memory, {before / unit:.0f} MB of them before the first recording")


if __name__ == "__main__":
    main()
