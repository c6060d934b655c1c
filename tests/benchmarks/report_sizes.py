"""Size and time of pages: a recording of ten minutes, and a study of 1,000: ``python tests/benchmarks/report_sizes.py``.

The recording is a video of a smile, joined to itself; the tables repeat its rows. Chromium, if it is there, draws them.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from browser import Page, browser_is_there
from long_recordings import joined
from photos import feat_path

from fgnet_plugin import OfflineDetector
from fgnet_plugin.media.video import Video
from fgnet_plugin.report import report


def repeated(rows: pd.DataFrame, frames: int, name: str) -> pd.DataFrame:
    """So many frames of a recording."""
    table = rows.iloc[np.arange(frames) % len(rows)].reset_index(drop=True)
    return table.assign(frame=np.arange(frames), time=np.arange(frames) / 30, input=name)


def measure(what: str, table: pd.DataFrame, path: Path, **options: object) -> None:
    begun = time.perf_counter()
    written = report(table, path, au_model="fgnet-rendered", **options)
    took, most = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what}: {path.stat().st_size / 1e6:.1f} MB, {len(written)} pages, written in {took:.1f} s, {most:.2f} GB at most")
    if browser_is_there():
        with Page(path) as page:
            print(f"  drawn in Chromium after {page.seconds:.2f} s")


def main() -> None:
    """Measure both."""
    rows = OfflineDetector().detect(str(feat_path("single_face.mp4")), progress_bar=False, columns="faces", time=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = joined(folder / "long.mp4", 1 / 6)
        with Video(video) as file:
            frames = len(file)
        half = rows.copy()
        half[[c for c in rows if c.startswith(("x_", "y_", "FaceRect"))]] *= 320 / rows["FrameWidth"].iloc[0]
        measure("10 minutes", repeated(half, frames, str(video)), folder / "recording.html")
        table = pd.concat([repeated(rows, 300, f"person{i:04}.mp4") for i in range(1000)], ignore_index=True)
        measure("1,000 recordings of 10 s", table, folder / "study.html", pictures=0)


if __name__ == "__main__":
    main()
