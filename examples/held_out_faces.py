"""A checkpoint on rendered heads that it was not trained on: F1 and AUC of every AU, and who is read worse than others.

    python examples/held_out_faces.py [--checkpoint FILE] [--domain film] [--count 2000]

Groups are those that renderings alone know exactly: age, gender, ancestry, skin, glasses, beards, turned and covered faces. In
each, AUC is the mean over the AUs, and "bias" how much higher (or lower) scores of faces without an AU are than those of all
such faces.
Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader

import fgnet_plugin
from fgnet_plugin.training.metrics.au_metrics import AUMetrics
from fgnet_plugin.training.rendered import DOMAINS, HeadCorpus
from fgnet_plugin.training.rendered.head_corpus import PERSON
from fgnet_plugin.utils.threads import single_threaded

FEWEST = 8  # faces with the AU, and without it, that an AUC is computed from


def groups(person: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
    """Which faces [N] are in which group, of what `PERSON` says of them [N, 10]."""
    of = dict(zip(PERSON, person.T, strict=True))
    ancestry = np.stack([of["african"], of["asian"], of["european"]]).argmax(0)
    return {
        "under 25 years": of["age"] < 25,
        "25 to 50": (of["age"] >= 25) & (of["age"] < 50),
        "50 and more": of["age"] >= 50,
        "female": of["gender"] > 0.5,
        "male": of["gender"] <= 0.5,
        "mostly African": ancestry == 0,
        "mostly Asian": ancestry == 1,
        "mostly European": ancestry == 2,
        "dark skin (ITA under 10°)": of["ita"] < 10,
        "medium skin": (of["ita"] >= 10) & (of["ita"] < 41),
        "light skin (ITA over 41°)": of["ita"] >= 41,
        "glasses": of["glasses"] > 0.5,
        "no glasses": of["glasses"] <= 0.5,
        "beard or moustache": of["beard"] > 0.3,
        "turned by more than 20°": np.abs(of["yaw"]) > np.radians(20),
        "turned by less than 10°": np.abs(of["yaw"]) < np.radians(10),
        "partly covered": of["occluded"] > 0.5,
    }


def mean_auc(scores: NDArray[np.float32], labels: NDArray[np.float32]) -> float:
    """The mean over AUs with enough faces of both kinds; scores and labels [N, A], labels NaN where unknown."""
    found = []
    for score, label in zip(scores.T, labels.T, strict=True):
        known = ~np.isnan(label)
        if FEWEST <= label[known].sum() <= known.sum() - FEWEST:
            found.append(roc_auc_score(label[known], score[known]))
    return float(np.mean(found)) if found else float("nan")


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="fgnet-rendered", help="name or file")
    parser.add_argument("--domain", choices=tuple(DOMAINS), help="default: all in turn")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=77_000_000, help="not one that training or validation drew from")
    parser.add_argument("--out", type=Path, default=Path("outputs"))
    options = parser.parse_args()
    net = fgnet_plugin.load(options.checkpoint)
    if missing := set(net.aus) - set(HeadCorpus.aus):
        raise SystemExit(f"{options.checkpoint} reads {', '.join(sorted(missing))}, which rendered heads have no labels for")
    corpus = HeadCorpus(
        (options.domain,) if options.domain else tuple(DOMAINS), net.config.image_size, options.seed, options.count
    )
    columns = [HeadCorpus.aus.index(au) for au in net.aus]
    metrics, parts = AUMetrics(net.aus), []
    for batch in DataLoader(corpus, batch_size=50, num_workers=2, worker_init_fn=single_threaded):
        found, labels = net.predict(batch["image"], batch_size=50), batch["labels"][:, columns]
        metrics.update(found.activations, labels)
        parts.append((found.scores, labels, batch["person"]))
    figures = metrics.compute()
    scores, labels, person = (torch.cat(values).numpy() for values in zip(*parts, strict=True))
    print(f"{options.count} heads of {options.domain or 'all domains'}, seed {options.seed}")
    print("AU      present     F1    AUC")
    prevalence = np.nanmean(labels, 0)
    for au, share in zip(net.aus, prevalence, strict=True):
        print(f"{au}    {share:7.2f}  {figures[f'f1/{au}']:5.2f}  {figures[f'auc/{au}']:5.2f}")
    print(f"mean    {prevalence.mean():7.2f}  {figures['f1']:5.2f}  {figures['auc']:5.2f}")
    print("group                        heads    AUC   bias")
    without = np.where(labels == 0, scores, np.nan)
    usual = np.nanmean(without, 0)
    for name, which in groups(person).items():
        auc, bias = mean_auc(scores[which], labels[which]), np.nanmean(np.nanmean(without[which], 0) - usual)
        figures[f"auc of {name}"], figures[f"bias of {name}"] = auc, float(bias)
        print(f"{name:28}{which.sum():6}  {auc:5.2f}  {bias:+5.2f}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"held_out_{options.domain or 'all'}.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
