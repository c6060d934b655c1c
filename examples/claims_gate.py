"""The gate of `claims.py`: do the pretrained weights know anything of expressions before a label is seen?

A linear probe, ridge regression with its penalty chosen by leaving one out, reads each AU off frozen features of the faces of
``train``; its AUC is that on ``within``. Pretraining counts only where codes or maps exceed random weights, and pixels, by
`MARGIN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MARGIN = 0.15
PIXELS, LANDMARKS = "16 × 16 pixels", "true landmarks"
CODES, MAPS = "latent codes", "generator maps, 4 to 16 px"
RANDOM = ", random weights"
PENALTIES = 10.0 ** np.arange(-4, 3)
Faces = tuple[Tensor, Tensor, Tensor]
"""Images uint8 [N, 3, S, S], landmarks [N, 68, 2], labels [N, A] with NaN where unknown."""


def read_faces(path: Path, aus: Sequence[str], size: int) -> Faces:
    """All faces of a label file."""
    from fgnet_plugin.training.config.detector import Csv
    from fgnet_plugin.training.data.csv_corpus import read_csv

    corpus = read_csv(path, tuple(aus), size, Csv(str(path)))
    return torch.stack([corpus[i]["image"] for i in range(len(corpus))]), corpus.landmarks, corpus.labels


def probe(train: Tensor, labels: Tensor, test: Tensor, truth: Tensor) -> list[float]:
    """AUC of each AU on test features [M, D] and truth [M, A], of ridge regression on features [N, D] and labels [N, A]."""
    from sklearn.metrics import roc_auc_score

    mean, spread = train.mean(0), train.std(0) + 1e-6
    ours, theirs = ((x - mean) / spread / x.shape[1] ** 0.5 for x in (train.double(), test.double()))
    values, vectors = torch.linalg.eigh(ours @ ours.T)
    outer, found = theirs @ ours.T @ vectors, []
    for au in range(labels.shape[1]):
        known, tested = labels[:, au].isfinite(), truth[:, au].isfinite()
        target = labels[:, au].double()
        # An unknown label is the mean of the known: so all AUs share one decomposition.
        centred = (target - target[known].mean()).nan_to_num()
        turned = vectors.T @ centred

        def left_out(penalty: float, centred: Tensor = centred, turned: Tensor = turned) -> Tensor:
            """What the regression without each face says of it."""
            kept = values / (values + penalty)
            own = vectors.square() @ kept
            return (vectors @ (kept * turned) - own * centred) / (1 - own).clamp(min=1e-9)

        best = max(PENALTIES, key=lambda penalty: roc_auc_score(target[known], left_out(penalty)[known]))
        found.append(float(roc_auc_score(truth[tested, au], (outer @ (turned / (values + best)))[tested])))
    return found


@torch.no_grad()
def features(images: Tensor, pretrained: str | Path, trained: bool) -> dict[str, Tensor]:
    """Codes and maps [N, D] of faces, by the file's weights, or by random ones of the same sizes."""
    from fgnet_plugin.network import normalize
    from fgnet_plugin.training.config.detector import Model
    from fgnet_plugin.training.models.start import detector, start_config

    torch.manual_seed(0)
    sizes = start_config(Model(start_from=str(pretrained)))
    if trained:
        net, _ = detector(Model(start_from=str(pretrained)), sizes.aus)
    else:
        from fgnet_plugin.network import FGNet

        net = FGNet(sizes).prepare(channels_last=True)
    net.eval()
    codes, maps = [], []
    for part in images.split(50):
        codes.append(net.encoder(normalize(part), rows=sizes.n_layers))
        levels = net.generator(net.generator.mapping(codes[-1]))
        maps.append(torch.cat([level.flatten(1) for level in levels if level.shape[-1] <= 16], 1))
    name = "" if trained else RANDOM
    return {CODES + name: torch.cat(codes).flatten(1), MAPS + name: torch.cat(maps)}


def run_gate(train: Faces, test: Faces, pretrained: str | Path) -> dict[str, float]:
    """What is probed -> mean AUC over the AUs."""
    found = {PIXELS: [torch.nn.functional.adaptive_avg_pool2d(images.float(), 16).flatten(1) for images, _, _ in (train, test)]}
    for trained in (False, True):
        of_train, of_test = (features(images, pretrained, trained) for images, _, _ in (train, test))
        found |= {name: [of_train[name], of_test[name]] for name in of_train}
    found[LANDMARKS] = [landmarks.flatten(1) for _, landmarks, _ in (train, test)]
    return {name: float(np.mean(probe(one, train[2], other, test[2]))) for name, (one, other) in found.items()}


def margins(gate: dict[str, float]) -> tuple[float, float]:
    """By how much the better of codes and maps exceeds the same of random weights, and pixels."""
    best = max((CODES, MAPS), key=lambda name: gate[name])
    return gate[best] - gate[best + RANDOM], gate[best] - gate[PIXELS]
