"""Speed of offline detection beside an earlier checkout, in turns, each in processes of its own.

    python tests/benchmarks/offline_speed.py [--before ../earlier-checkout] [--rounds 2]

Prints frames or photos a second of the best round: the whole way to the table (video of 640×360 with one face, a 4K video, a
photo of five faces), peak memory, two processes side by side with one core each beside one, and the seconds from the start of
``fgnet detect --offline photo.jpg`` to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[2]
ENVIRONMENT = dict(os.environ)  # before py-feat is imported, which sets OMP_NUM_THREADS for child processes


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="root of an earlier checkout")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    roots = {"before": options.before.resolve(), "now": HERE} if options.before else {"now": HERE}
    with tempfile.TemporaryDirectory() as folder:
        clip, large, five = materials(Path(folder))
        jobs = {"video 640×360, 1 face": (clip, 72), "video 3840×2160, 1 face": (large, 24), "photo, 5 faces": (five, 1)}
        rows: dict[str, dict[str, float]] = {}
        for _ in range(options.rounds):
            for when, root in roots.items():
                for job, (path, frames) in jobs.items():
                    done = finished(detection(root, path))
                    best(rows, f"{job}: a second", when, frames / done["seconds"])
                    best(rows, f"{job}: peak GB", when, done["gigabytes"], least=True)
                best(rows, "start to end of the command, s", when, command(root, folder), least=True)
        one = max(frames_a_second([detection(HERE, clip, core=0)], 72) for _ in range(options.rounds))
        two = max(frames_a_second([detection(HERE, clip, core=core) for core in (0, 1)], 144) for _ in range(options.rounds))
    for name, values in rows.items():
        ratio = f"   {values['now'] / values['before']:.2f} ×" if "before" in values else ""
        print(f"{name:42}" + "".join(f"{when} {value:8.2f}   " for when, value in values.items()) + ratio)
    print(f"one process on one core {one:.1f}, two on one core each {two:.1f} frames/s together: {two / one:.2f} ×")


def materials(folder: Path) -> tuple[Path, Path, Path]:
    """Find py-feat's video and photo, and make the 4K video of the first's frames."""
    import av
    import feat

    data = Path(feat.__path__[0]) / "tests" / "data"
    with av.open(str(data / "single_face.mp4")) as source, av.open(str(folder / "large.mp4"), "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 3840, 2160, "yuv420p"
        for i, frame in zip(range(24), source.decode(video=0), strict=False):
            large = frame.reformat(3840, 2160)
            large.pts = i
            target.mux(stream.encode(large))
        target.mux(stream.encode())
    return data / "single_face.mp4", folder / "large.mp4", data / "multi_face.jpg"


def detection(root: Path, path: Path, core: int | None = None) -> subprocess.Popen[str]:
    """Start a process that waits for a line, then detects; it prints a line of JSON."""
    command = [sys.executable, __file__, "--worker", str(path)]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    environment = ENVIRONMENT | {"PYTHONPATH": str(root)}
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", "the detector could not be made"
    return process


def finished(process: subprocess.Popen[str]) -> dict[str, float]:
    """Let it detect, and wait."""
    output, _ = process.communicate("go\n")
    done: dict[str, float] = json.loads(output)
    return done


def frames_a_second(processes: list[subprocess.Popen[str]], frames: int) -> float:
    """Let several processes detect at once."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return frames / max(finished_late(process)["seconds"] for process in processes)


def finished_late(process: subprocess.Popen[str]) -> dict[str, float]:
    """Wait for a process that was let go."""
    output, _ = process.communicate()
    done: dict[str, float] = json.loads(output)
    return done


def command(root: Path, folder: str) -> float:
    """Run the command on a photo: seconds from start to end."""
    import feat

    photo = Path(feat.__path__[0]) / "tests" / "data" / "single_face.jpg"
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "fgnet_plugin", "detect", "--offline", photo, "--out", "photo.csv", "--overwrite"],
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def best(rows: dict[str, dict[str, float]], name: str, when: str, value: float, least: bool = False) -> None:
    """Keep the best value of all rounds."""
    known = rows.setdefault(name, {}).get(when, value)
    rows[name][when] = min(known, value) if least else max(known, value)


def work(path: str) -> None:
    """Be the process of `detection`."""
    from fgnet_plugin import Detector

    detector = Detector.offline()
    detector.detect(path, batch_size=8, progress_bar=False)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    detector.detect(path, batch_size=8, progress_bar=False)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"seconds": seconds, "gigabytes": peak}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2])
    else:
        main()
