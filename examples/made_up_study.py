r"""A whole study by the command line: from clips to exclusions, a calibration, a contrast with its interval, and a figure.

    python examples/made_up_study.py [--people 40] [--frames 8] [--seed 0] [--out outputs/made_up_study]

Draws people who are filmed alone and together with somebody, and who smile more often together: so many short videos that are
called as the people are, in a folder for each condition. What they show is known, which real studies never know. Then the
commands of fgnet do what they would in a real one; the human coder's part is played by what was drawn. At last, the estimates
are compared with the truth. Takes a few minutes for 40 people; what is there already is not made again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from fgnet_plugin.media.video_writer import VideoWriter
from fgnet_plugin.training.rendered import DOMAINS, head_expressions, head_scene, heads
from fgnet_plugin.training.rendered.head_corpus import AUS, photograph

STUDIO = replace(DOMAINS["studio"], glasses=0.0, occluders=0.0, headwear=0.0, tight=0.0)
"""Nothing before the faces."""
CONDITIONS = {"alone": 0.0, "together": 1.3}
"""What is added to a person's log odds of smiling."""
SIZE, RATE = 192, 5  # pixels, frames per second
EXPRESSION = 2  # frames that each lasts
NO_FACE = 0.15  # share of clips that end with a frame without a face
WHO = "--folders", "condition/subject=file"


def draw_expression(rng: np.random.Generator, smile: bool) -> np.ndarray:
    """Intensities [movements of a head, 2 sides]: a smile; or else now and then a frown or raised brows."""
    level = dict.fromkeys(heads.DRAWN, 0.0)
    if smile:
        level |= {12: 1, 6: rng.random() < 0.7, 25: rng.random() < 0.5}
    elif rng.random() < 0.3:
        level |= {4: 1}
    elif rng.random() < 0.2:
        level |= {1: 1, 2: 1}
    return np.repeat([[on * rng.uniform(0.5, 1.2)] for on in level.values()], 2, axis=1).astype(np.float32)


def film(path: Path, subject: int, rate: float, frames: int, seed: list[int]) -> pd.DataFrame:
    """Write a person's clip, and return the labels of its frames, NaN where an AU is neither present nor absent."""
    of_person, rng = np.random.default_rng([seed[0], subject]), np.random.default_rng(seed)
    person = head_scene.draw_person(of_person, STUDIO, heads.draw_head(of_person))
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = []
    with VideoWriter(path, RATE) as writer:
        for frame in range(frames):
            if frame % EXPRESSION == 0:
                drawn = draw_expression(rng, rng.random() < rate)
            now = drawn * rng.uniform(0.95, 1.05)
            # The same room, light and camera in each frame: the same numbers.
            shot = photograph(np.random.default_rng(seed), STUDIO, person, now, np.zeros(2, np.float32), SIZE, "photo")
            labels.append(head_expressions.label(now, heads.DRAWN, shot.parted)[0])
            writer.add(shot.image, frame / RATE)
        if rng.random() < NO_FACE:
            writer.add(np.full((SIZE, SIZE, 3), 128, np.uint8), frames / RATE)
    return pd.DataFrame(labels, columns=list(AUS)).assign(frame=range(frames))


def film_all(out: Path, people: int, frames: int, seed: int) -> pd.DataFrame:
    """Write all clips, and what they show: a row for each frame with a face."""
    file = out / "truth.csv"
    if file.is_file():
        truth = pd.read_csv(file)
        if len(truth) != people * len(CONDITIONS) * frames:
            raise SystemExit(f"error: {out} holds a study of another size; choose another --out")
        return truth
    found = []
    for subject in range(people):
        own = np.random.default_rng([seed, subject, 9]).normal(-1.2, 0.8)  # people differ
        for i, (condition, effect) in enumerate(CONDITIONS.items()):
            name = f"P{subject + 1:02}"
            labels = film(
                out / "clips" / condition / f"{name}.mp4", subject, 1 / (1 + np.exp(-own - effect)), frames, [seed, subject, i]
            )
            found.append(labels.assign(input=f"clips/{condition}/{name}.mp4", subject=name, condition=condition))
    truth = pd.concat(found, ignore_index=True)
    truth.to_csv(file, index=False)
    return truth


def fgnet(folder: Path, *arguments: str) -> None:
    """Run a command in a folder, and say which and how long it took."""
    print("$ fgnet", shlex.join(arguments), flush=True)
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fgnet_plugin", *arguments], cwd=folder, check=True)
    print(f"({time.perf_counter() - begun:.0f} s)\n", flush=True)


def code(coding: Path, truth: pd.DataFrame) -> None:
    """Fill in the sheet, as a coder who never errs: 1, 0, or 9 where an AU is neither."""
    sheet, key = (pd.read_csv(coding / name, dtype={"face": str}) for name in ("sheet.csv", "key.csv"))
    aus = list(sheet.columns[1:])
    seen = key[["face", "input", "frame"]].merge(truth, on=["input", "frame"], how="left").set_index("face")
    seen.loc[sheet["face"], aus].fillna(9).astype(int).reset_index().to_csv(coding / "sheet.csv", index=False)


def compared(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """True differences within people beside the estimates."""
    means = truth.groupby(["subject", "condition"])[list(AUS)].mean().unstack()
    first, second = CONDITIONS
    table = table[table["tested"]]
    true = [(means[au][second] - means[au][first]).mean() for au in table["AU"]]
    return table[["AU", "difference", "low", "high", "coded_only_low", "coded_only_high", "naive"]].assign(true=true)


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--frames", type=int, default=8, help="of each clip")
    parser.add_argument("--coded", type=int, help="faces that are coded; by default 6 of each person")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/made_up_study"))
    options = parser.parse_args()
    out, count = options.out, str(options.coded or 6 * options.people)
    truth = film_all(out, options.people, options.frames, options.seed)
    codes = "coding/sheet.csv", "--key", "coding/key.csv"

    fgnet(out, "detect", "clips", "--recursive", "--offline", "--out", f"corpus{os.sep}")
    fgnet(out, "summarize", "corpus", *WHO, "--by", "person", "--min-size", "30", "--overwrite", "--out", "summary")
    if not (out / "coding").exists():
        fgnet(out, "sample", "corpus", *WHO, "--count", count, "--out", "coding")
        code(out / "coding", truth)
    fgnet(
        out, "calibrate", "corpus", *codes, *WHO, "--method", "platt", "--plot", "reliability.png", "--out", "calibration.json"
    )
    calibration = "--calibration", "calibration.json"
    fgnet(out, "summarize", "corpus", *WHO, "--by", "person", *calibration, "--overwrite", "--out", "calibrated")
    order = "--conditions", ",".join(CONDITIONS)
    fgnet(out, "contrast", "corpus", *codes, *WHO, *order, *calibration, "--overwrite", "--out", "contrast")

    found = compared(pd.read_csv(out / "contrast" / "contrast.csv"), truth)
    print("true differences, and what the study says of them:")
    print(found.to_string(index=False, float_format="{:+.3f}".format))


if __name__ == "__main__":
    main()
