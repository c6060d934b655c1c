"""A checkpoint on rendered heads that it was not trained on: F1 and AUC of every AU, and who is read worse than others.

    python examples/held_out_faces.py [--checkpoint FILE] [--domain film] [--count 10000] [--out FOLDER]

Groups are those that renderings alone know exactly: age, gender, ancestry, skin, glasses, beards, turned and covered faces, and
how far the camera blurred and shrank them. In each, AUC is the mean over the AUs, and "bias" how much higher (or lower) scores
of faces without an AU are than those of all such faces. Brackets are 95 % bootstrap intervals over heads; every head is another
person. An AU is named where its AUC is lower than among all heads by at least 0.03, and the interval of the difference ends
below 0. Writes the figures (``held_out_all.json``) and a plot of the groups (``held_out_all.png``).

10,000 heads take ten minutes on one core. Needs the extra `train` and matplotlib.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

import fgnet_plugin
from fgnet_plugin.comparison.bootstrap import Case, draw_units, interval, resampled_scores
from fgnet_plugin.network import FGNet
from fgnet_plugin.training.metrics.au_metrics import AUMetrics
from fgnet_plugin.training.rendered import DOMAINS, HeadCorpus
from fgnet_plugin.training.rendered.head_corpus import PERSON
from fgnet_plugin.utils.threads import single_threaded

FEWEST = 8  # faces with the AU, and without it, that an AUC is computed from
WORSE = 0.03  # how much lower an AU's AUC is in the groups that it is named in
RESAMPLES = 1000

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Read(NamedTuple):
    """What a network made of heads."""

    aus: tuple[str, ...]
    scores: Floats  # [N, A]
    labels: Floats  # [N, A], NaN where unknown
    person: Floats  # [N, 12], see `PERSON`
    figures: dict[str, Any]  # F1 and AUC, the means and each AU's


def groups(person: Floats) -> dict[str, dict[str, Mask]]:
    """Which faces [N] are in which group, by what the groups differ in."""
    of = dict(zip(PERSON, person.T, strict=True))
    ancestry = np.stack([of["african"], of["asian"], of["european"]]).argmax(0)
    yaw, px = np.degrees(np.abs(of["yaw"])), 128 * of["resolution"]
    return {
        "age": {
            "under 25 years": of["age"] < 25,
            "25 to 50": (of["age"] >= 25) & (of["age"] < 50),
            "50 and more": of["age"] >= 50,
        },
        "gender": {"female": of["gender"] > 0.5, "male": of["gender"] <= 0.5},
        "ancestry": {f"mostly {name}": ancestry == i for i, name in enumerate(("African", "Asian", "European"))},
        "skin": {
            "dark (ITA under 10°)": of["ita"] < 10,
            "medium": (of["ita"] >= 10) & (of["ita"] < 41),
            "light (ITA over 41°)": of["ita"] >= 41,
        },
        "glasses": {"glasses": of["glasses"] > 0.5, "no glasses": of["glasses"] <= 0.5},
        "beard": {"beard or moustache": of["beard"] > 0.3, "neither": of["beard"] <= 0.3},
        "yaw": {"turned by under 10°": yaw < 10, "10° to 20°": (yaw >= 10) & (yaw <= 20), "more than 20°": yaw > 20},
        "cover": {"partly covered": of["occluded"] > 0.5, "uncovered": of["occluded"] <= 0.5},
        "resolution": {
            "taken with under 77 px": px < 77,
            "77 to 116 px": (px >= 77) & (px < 128),
            "all 128 px": px >= 128,
        },
        "blur": {
            "blurred by under 0.3 px": of["blur"] < 0.3,
            "0.3 to 0.9 px": (of["blur"] >= 0.3) & (of["blur"] < 0.9),
            "0.9 px and more": of["blur"] >= 0.9,
        },
    }


def read_heads(net: FGNet, domains: tuple[str, ...], count: int, seed: int) -> Read:
    """Renders heads and reads them."""
    corpus = HeadCorpus(domains, net.config.image_size, seed, count)
    columns = [HeadCorpus.aus.index(au) for au in net.aus]
    metrics, parts = AUMetrics(net.aus), []
    for batch in DataLoader(corpus, batch_size=50, num_workers=2, worker_init_fn=single_threaded):
        found, labels = net.predict(batch["image"], batch_size=50), batch["labels"][:, columns]
        metrics.update(found.activations, labels)
        parts.append((found.scores, labels, batch["person"]))
    scores, labels, person = (torch.cat(values).double().numpy() for values in zip(*parts, strict=True))
    return Read(net.aus, scores, labels, person, metrics.compute())


def resampled_aucs(read: Read, which: Mask, drawn: NDArray[np.uint8]) -> Floats:
    """AUCs of the faces `which` [N], of all of them and of resamples [A, 1 + times]; NaN for AUs with too few faces."""
    aucs = np.full((len(read.aus), 1 + drawn.shape[1]), np.nan)
    weights = np.concatenate([np.ones((len(which), 1), np.uint8), drawn], 1)[which]
    for i, (score, label) in enumerate(zip(read.scores[which].T, read.labels[which].T, strict=True)):
        known = np.flatnonzero(~np.isnan(label))
        truth = label[known] > 0.5
        if FEWEST <= truth.sum() <= len(truth) - FEWEST:
            case = Case(truth, score[known], score[known] > 0.5, known)
            aucs[i] = resampled_scores([case], weights, ("auc",))[0, 0]
    return aucs


def resampled_means(read: Read, which: Mask, drawn: NDArray[np.uint8]) -> Floats:
    """Mean scores of the faces `which` [N] that lack an AU, of all of them and of resamples [A, 1 + times]."""
    without = (read.labels == 0) & which[:, None]
    weights = np.concatenate([np.ones((len(which), 1)), drawn], 1)
    return (np.where(without, read.scores, 0).T @ weights) / (without.T.astype(float) @ weights)


def compare_groups(read: Read, seed: int = 0) -> list[dict[str, Any]]:
    """A row for all heads and for each group: how many, AUC and bias with intervals, and the AUs that are read worse."""
    drawn = draw_units(np.random.default_rng(seed), len(read.scores), RESAMPLES)
    everyone = np.ones(len(read.scores), bool)
    usual, level = resampled_aucs(read, everyone, drawn), resampled_means(read, everyone, drawn)
    rows = []
    for kind, named in {"all": {"all heads": everyone}, **groups(read.person)}.items():
        for name, which in named.items():
            aucs = resampled_aucs(read, which, drawn)
            few = np.isnan(aucs[:, 0]) & ~np.isnan(usual[:, 0])
            if few.any():
                print(f"left out: {name}, of which too few have, or lack, {', '.join(np.array(read.aus)[few])}")
                continue
            auc, bias = np.nanmean(aucs, 0), np.nanmean(resampled_means(read, which, drawn) - level, 0)
            lower = {
                au: change[0]
                for au, change in zip(read.aus, aucs - usual, strict=True)
                if change[0] <= -WORSE and interval(change[1:], 0.95)[1] < 0
            }
            row = {"by": kind, "group": name, "heads": int(which.sum()), "auc": auc[0], "bias": bias[0]}
            row |= {"auc_interval": interval(auc[1:], 0.95), "bias_interval": interval(bias[1:], 0.95)}
            row |= {"aucs": dict(zip(read.aus, aucs[:, 0], strict=True)), "worse": sorted(lower, key=lambda au: lower[au])}
            rows.append(row)
    return rows


def show(read: Read, rows: list[dict[str, Any]]) -> None:
    """Prints the tables."""
    print("AU      present     F1    AUC")
    prevalence = np.nanmean(read.labels, 0)
    drawn = draw_units(np.random.default_rng(0), len(read.scores), RESAMPLES)
    aucs = resampled_aucs(read, np.ones(len(read.scores), bool), drawn)
    for au, share, auc in zip(read.aus, prevalence, aucs, strict=True):
        low, high = interval(auc[1:], 0.95)
        print(f"{au}    {share:7.2f}  {read.figures[f'f1/{au}']:5.2f}  {auc[0]:5.2f} [{low:.2f}, {high:.2f}]")
    print(f"mean    {prevalence.mean():7.2f}  {read.figures['f1']:5.2f}  {read.figures['auc']:5.2f}")
    print(f"{'group':26}{'heads':>6}  {'AUC':<20} {'bias':<22} AUs read worse")
    for row in rows:
        auc = "{:.3f} [{:.3f}, {:.3f}]".format(row["auc"], *row["auc_interval"])
        bias = "{:+.3f} [{:+.3f}, {:+.3f}]".format(row["bias"], *row["bias_interval"])
        lower = ", ".join(f"{au[2:]} ({row['aucs'][au]:.2f})" for au in row["worse"])
        print(f"{row['group']:26}{row['heads']:6}  {auc} {bias} {lower}".rstrip())


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draws AUC and bias of every group, with their intervals, beside those of all heads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    parts = list(dict.fromkeys(row["by"] for row in rows))
    places = [i + 0.6 * parts.index(row["by"]) for i, row in enumerate(rows)]
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.29 * len(rows) + 1.6), sharey=True, layout="constrained")
    for axis, name, usual, what in zip(
        axes, ("auc", "bias"), (rows[0]["auc"], 0.0), ("AUC, mean over AUs", "bias of scores without the AU"), strict=True
    ):
        axis.axvline(usual, color="0.6", lw=1)
        for place, row in zip(places, rows, strict=True):
            low, high = row[f"{name}_interval"]
            axis.plot([low, high], [place, place], color="#2f6f9f", lw=1.6, solid_capstyle="round")
            axis.plot(row[name], place, "o", color="#2f6f9f", ms=4.5)
        axis.set_xlabel(what)
        axis.locator_params(axis="x", nbins=5)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", color="0.92")
        axis.set_axisbelow(True)
    axes[0].set_yticks(places, [f"{row['group']}  (n = {row['heads']:,})" for row in rows])
    axes[0].set_ylim(places[-1] + 0.8, -0.8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="fgnet-rendered", help="name or file")
    parser.add_argument("--domain", choices=tuple(DOMAINS), help="default: all in turn")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=77_000_000, help="not one that training or validation drew from")
    parser.add_argument("--out", type=Path, default=Path("outputs"))
    options = parser.parse_args()
    net = fgnet_plugin.load(options.checkpoint)
    if missing := set(net.aus) - set(HeadCorpus.aus):
        raise SystemExit(f"{options.checkpoint} reads {', '.join(sorted(missing))}, which rendered heads have no labels for")
    domains = (options.domain,) if options.domain else tuple(DOMAINS)
    read = read_heads(net, domains, options.count, options.seed)
    title = f"{options.count:,} heads of {options.domain or 'all domains'}, seed {options.seed}"
    print(title)
    rows = compare_groups(read)
    show(read, rows)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"held_out_{options.domain or 'all'}.json"
    path.write_text(json.dumps({"figures": read.figures, "groups": rows}, indent=1) + "\n")
    draw(rows, f"{options.checkpoint}: {title}", path.with_suffix(".png"))
    print(path.with_suffix(".png"))


if __name__ == "__main__":
    main()
