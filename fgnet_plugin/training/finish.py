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
from fgnet_plugin.network import FGNet, decode
from fgnet_plugin.training.data.loading import Corpus
from fgnet_plugin.utils.threads import single_threaded, stop_opencv_threads


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
    pixels: float = 1.0,
    batch_size: int = 64,
    workers: int = 0,
) -> tuple[Decision, ...]:
    """Write a checkpoint whose AUs are decided by held-out faces.

    An AU's threshold is where as many faces are said to have it as do: no more misses than false alarms. It goes into the bias
    of the layer that writes the heatmap, so that activation 0, and a score of 0.5, are the decision as in any other checkpoint.

    Args:
        checkpoint: of a training; `fgnet_plugin.load` says what may stand here.
        out: the file to write.
        corpus: faces that were not trained on; "labels" in the order of `aus`.
        aus: what the labels are of; an AU of the checkpoint that is not among them counts as not read.
        least_auc: AUs with a smaller area under the ROC curve on these faces are left out of the checkpoint.
        pixels: in (0, 1], what the pixels' part of the latent codes is multiplied by where the network also hears the mesh.
            Pixels tell more about faces that are drawn as the training's were than about others; the mesh carries over.
        batch_size: faces at once. workers: processes that prepare them.

    Returns:
        One decision for each of the checkpoint's AUs, in their order.

    Raises:
        ValueError: no AU is left; `pixels` is out of range, or not 1 for a network that has nothing but pixels.
        CheckpointError: no such checkpoint.
    """
    net, info = load(checkpoint), read_info(checkpoint)
    if not 0 < pixels <= 1 or (pixels < 1 and net.encoder.geometry is None):
        raise ValueError(f"pixels must be in (0, 1], and 1 for a network without geometry, got {pixels}")
    for heads in (net.encoder.coarse, net.encoder.middle, net.encoder.fine):
        heads.linear.data *= pixels
        heads.linear_bias.data *= pixels
    activations, shifts, labels = _read(net, corpus, batch_size, workers)
    decisions = []
    for i, au in enumerate(net.aus):
        truth = labels[:, aus.index(au)] if au in aus else torch.full((len(labels),), math.nan)
        known = ~truth.isnan()
        here = truth[known] > 0.5
        has_both = bool(here.any()) and not bool(here.all())
        auc = float(binary_auroc(activations[known, i], here.long())) if has_both else math.nan
        shift = _shift(shifts[known, i], int(here.sum())) if has_both else 0.0
        decisions.append(Decision(au, auc, shift, auc >= least_auc))
    kept = [i for i, decision in enumerate(decisions) if decision.kept]
    if not kept:
        raise ValueError(f"{checkpoint}: no AU reaches an AUC of {least_auc} on these faces")
    state = net.state_dict()
    added = torch.tensor([decisions[i].shift for i in kept])
    state["interpreter.readout.weight"] = state["interpreter.readout.weight"][kept]
    state["interpreter.readout.bias"] = state["interpreter.readout.bias"][kept] + added
    training = info.training | {
        "left_out": {decision.au: round(decision.auc, 3) for decision in decisions if not decision.kept},
        "decided_on": f"{len(labels)} held-out faces",
        "pixels": pixels,
    }
    config = dataclasses.replace(net.config, aus=tuple(net.aus[i] for i in kept))
    save(state, out, dataclasses.replace(info, config=config, training=training), half=True)
    return tuple(decisions)


def _read(net: FGNet, corpus: Corpus, batch_size: int, workers: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of all faces of a corpus [N, A]: activations, what brings each to 0 when it is added to the heatmap, and labels."""
    everything = cast(Dataset[dict[str, Tensor]], corpus)
    found = []
    stop_opencv_threads()
    for batch in DataLoader(everything, batch_size, num_workers=workers, worker_init_fn=single_threaded):
        prediction = net.predict(batch["image"], batch_size)
        low = torch.full_like(prediction.activations, -2.0)
        high = -low
        for _ in range(24):  # heatmaps are clamped before their mean is taken, so what is added does not simply add up
            middle = (low + high) / 2
            present = decode(prediction.heatmaps + middle[..., None, None]) > 0
            low, high = torch.where(present, low, middle), torch.where(present, middle, high)
        found.append((prediction.activations, (low + high) / 2, batch["labels"]))
    activations, shifts, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return activations, shifts, labels


def _shift(shifts: Tensor, count: int) -> float:
    """What is added to a heatmap so that `count` of the faces, which need `shifts` [n], have a positive activation."""
    rising = shifts.sort().values
    return float((rising[count - 1] + rising[count]) / 2)
