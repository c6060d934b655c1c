"""From the best weights of a training to a checkpoint for users: AUs that can be read, each decided where that errs least."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchmetrics.functional.classification import binary_auroc

from fgnet_plugin.checkpoints.fgnet import load, read_info, save
from fgnet_plugin.network import FGNet
from fgnet_plugin.training.data.loading import Corpus
from fgnet_plugin.utils.threads import single_threaded


@dataclass(frozen=True)
class Decision:
    """What held-out faces say of an AU."""

    au: str
    auc: float
    """NaN where no face has it, or every face."""
    shift: float
    """Added to the heatmap: the AU is then present where the activation is over 0."""
    kept: bool


def finish(
    checkpoint: str | Path,
    out: str | Path,
    corpus: Corpus,
    aus: Sequence[str],
    least_auc: float = 0.85,
    batch_size: int = 64,
    workers: int = 0,
) -> tuple[Decision, ...]:
    """Write a checkpoint whose AUs are decided by held-out faces.

    An AU's threshold is where sensitivity and specificity add up to most. It goes into the bias of the layer that writes the
    heatmap, so that activation 0, and a score of 0.5, are the decision as in any other checkpoint.

    Args:
        checkpoint: of a training; `fgnet_plugin.load` says what may stand here.
        out: the file to write.
        corpus: faces that were not trained on; "labels" in the order of `aus`.
        aus: what the labels are of; an AU of the checkpoint that is not among them counts as not read.
        least_auc: AUs with a smaller area under the ROC curve on these faces are left out of the checkpoint.
        batch_size: faces at once. workers: processes that prepare them.

    Returns:
        One decision for each of the checkpoint's AUs, in their order.

    Raises:
        ValueError: no AU is left.
        CheckpointError: no such checkpoint.
    """
    net, info = load(checkpoint), read_info(checkpoint)
    activations, labels = _read(net, corpus, batch_size, workers)
    decisions = []
    for i, au in enumerate(net.aus):
        truth = labels[:, aus.index(au)] if au in aus else torch.full((len(labels),), math.nan)
        known = ~truth.isnan()
        auc, threshold = _best_threshold(activations[known, i], truth[known] > 0.5)
        decisions.append(Decision(au, auc, -threshold, auc >= least_auc))
    kept = [i for i, decision in enumerate(decisions) if decision.kept]
    if not kept:
        raise ValueError(f"{checkpoint}: no AU reaches an AUC of {least_auc} on these faces")
    state = net.state_dict()
    shifts = torch.tensor([decisions[i].shift for i in kept])
    state["interpreter.readout.weight"] = state["interpreter.readout.weight"][kept]
    state["interpreter.readout.bias"] = state["interpreter.readout.bias"][kept] + shifts
    training = info.training | {
        "left_out": {decision.au: round(decision.auc, 3) for decision in decisions if not decision.kept},
        "decided_on": f"{len(labels)} held-out faces",
    }
    config = dataclasses.replace(net.config, aus=tuple(net.aus[i] for i in kept))
    save(state, out, dataclasses.replace(info, config=config, training=training), half=True)
    return tuple(decisions)


def _read(net: FGNet, corpus: Corpus, batch_size: int, workers: int) -> tuple[Tensor, Tensor]:
    """Activations and labels [N, A] of all faces of a corpus."""
    everything = cast(Dataset[dict[str, Tensor]], corpus)
    loader = DataLoader(everything, batch_size, num_workers=workers, worker_init_fn=single_threaded)
    found = [(net.predict(batch["image"], batch_size).activations, batch["labels"]) for batch in loader]
    activations, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return activations, labels


def _best_threshold(activations: Tensor, truth: Tensor) -> tuple[float, float]:
    """Area under the ROC curve, and the threshold with the greatest sum of sensitivity and specificity (Youden 1950)."""
    if not len(truth) or bool(truth.all()) or not bool(truth.any()):
        return math.nan, 0.0
    order = activations.argsort()
    values, hits = activations[order], truth[order].double()
    below = torch.cat([hits.new_zeros(1), hits.cumsum(0)])  # of the present ones, how many lie under each place
    sensitivity = 1 - below / hits.sum()
    specificity = (torch.arange(len(hits) + 1) - below) / (1 - hits).sum()
    edges = torch.cat([values[:1] - 1e-3, (values[:-1] + values[1:]) / 2, values[-1:] + 1e-3])
    best = int((sensitivity + specificity).argmax())
    return float(binary_auroc(activations, truth.long())), float(edges[best])
