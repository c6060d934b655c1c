"""Recordings of rendered people, and what their faces show: to try out what learns from, or is measured on, a study.

    python examples/rendered_recordings.py [--people 60] [--frames 135] [--size 192] [--seed 0] [--out outputs/recordings]

A person is a short video, ``P001.mp4``; light, pose and background change every few frames, the expression in each. People
come in all styles of rendered faces in turn. ``truth.csv`` has a row for each frame: AUs 1, 0, or empty where it is neither.
What is there already is not made again. About 20 frames a second of one core. Needs the extras `train` and `video`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from fgnet_plugin.media.video_writer import VideoWriter
from fgnet_plugin.training.rendered import DOMAINS, head_expressions, head_scene, heads
from fgnet_plugin.training.rendered.head_corpus import AUS, photograph
from fgnet_plugin.utils.threads import stop_opencv_threads

RATE = 25  # frames per second
SCENE = 9  # frames that light, pose and background last


def film(path: Path, person: int, frames: int, size: int, seed: int) -> pd.DataFrame:
    """Write a person's video, and return what its frames show."""
    kind = list(DOMAINS.values())[person % len(DOMAINS)]
    rng = np.random.default_rng([seed, person])
    who = head_scene.draw_person(rng, kind, heads.draw_head(rng, rng.uniform(*kind.spread)))
    labels = []
    with VideoWriter(path, RATE) as writer:
        for frame in range(frames):
            drawn, gaze = head_expressions.draw_expression(rng, heads.DRAWN)
            scene = np.random.default_rng([seed, person, frame // SCENE])
            shot = photograph(scene, kind, who, drawn, gaze, size, "photo")
            hidden = shot.mouth_hidden, shot.eyes_hidden
            labels.append(head_expressions.label(drawn, heads.DRAWN, shot.parted, *hidden)[0])
            writer.add(shot.image, frame / RATE)
    return pd.DataFrame(labels, columns=list(AUS)).assign(frame=range(frames), input=path.name)


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--frames", type=int, default=135, help="of each person")
    parser.add_argument("--size", type=int, default=192, help="side of the pictures, px")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/recordings"))
    options = parser.parse_args()
    stop_opencv_threads()
    options.out.mkdir(parents=True, exist_ok=True)
    for person in range(options.people):
        path = options.out / f"P{person + 1:03}.mp4"
        table = path.with_suffix(".csv")
        if not table.is_file():
            film(path, person, options.frames, options.size, options.seed).to_csv(table, index=False)
    tables = [pd.read_csv(table) for table in sorted(options.out.glob("P*.csv"))]
    pd.concat(tables, ignore_index=True).to_csv(options.out / "truth.csv", index=False)


if __name__ == "__main__":
    main()
