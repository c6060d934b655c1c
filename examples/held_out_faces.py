"""A checkpoint on rendered faces of a kind that it was not trained on: F1 and AUC of every AU.

python examples/held_out_faces.py [--checkpoint FILE] [--domain film] [--count 3000]

Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import fgnet_plugin
from fgnet_plugin.training.metrics.au_metrics import AUMetrics
from fgnet_plugin.training.rendered import AUS, DOMAINS, RenderedCorpus
from fgnet_plugin.utils.threads import single_threaded


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="fgnet-rendered", help="name or file")
    parser.add_argument("--domain", default="film", choices=tuple(DOMAINS))
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=77_000_000, help="not one that training or validation drew from")
    parser.add_argument("--out", type=Path, default=Path("outputs"))
    options = parser.parse_args()
    net = fgnet_plugin.load(options.checkpoint)
    if net.aus != AUS:
        raise SystemExit(f"{options.checkpoint} reads other AUs than rendered faces are labelled for")
    corpus = RenderedCorpus((options.domain,), net.config.image_size, options.seed, options.count)
    metrics, labels = AUMetrics(AUS), []
    for batch in DataLoader(corpus, batch_size=50, num_workers=2, worker_init_fn=single_threaded):
        metrics.update(net.predict(batch["image"], batch_size=50).activations, batch["labels"])
        labels.append(batch["labels"])
    figures, prevalence = metrics.compute(), torch.cat(labels).nanmean(0)
    print(f"{options.count} faces of {options.domain}, seed {options.seed}")
    print("AU      present     F1    AUC")
    for au, share in zip(AUS, prevalence.tolist(), strict=True):
        print(f"{au}    {share:7.2f}  {figures[f'f1/{au}']:5.2f}  {figures[f'auc/{au}']:5.2f}")
    print(f"mean    {prevalence.mean():7.2f}  {figures['f1']:5.2f}  {figures['auc']:5.2f}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"held_out_{options.domain}.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
