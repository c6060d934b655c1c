"""Rendered people, each with several expressions, and what the bundled network says of them: a study with known AUs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from fgnet_plugin.checkpoints.fgnet import load
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.inference.sides import whole_faces
from fgnet_plugin.network.fgnet import FGNet, normalize
from fgnet_plugin.training.rendered import head_expressions, head_scene, heads
from fgnet_plugin.training.rendered.corpus import channels_first
from fgnet_plugin.training.rendered.domains import DOMAINS
from fgnet_plugin.training.rendered.head_corpus import AUS, photograph

STUDIO = replace(DOMAINS["studio"], glasses=0.0, occluders=0.0, headwear=0.0, tight=0.0)
"""A studio's light and people, nothing before their faces."""


def person_of(seed: int, subject: int) -> head_scene.HeadPerson:
    """The same person for the same numbers."""
    rng = np.random.default_rng([seed, subject])
    return head_scene.draw_person(rng, STUDIO, heads.draw_head(rng))


def photo_of(
    person: head_scene.HeadPerson, drawn: NDArray[np.float32], seed: list[int], size: int = 128
) -> tuple[Tensor, NDArray[np.float32]]:
    """An aligned face, uint8 [3, size, size], and the labels [20] of `AUS` (1, 0 or NaN)."""
    shot = photograph(np.random.default_rng(seed), STUDIO, person, drawn, np.zeros(2, np.float32), size, "aligned")
    labels, _ = head_expressions.label(drawn, heads.DRAWN, shot.parted)
    return channels_first(shot.image), labels


def study(people: int, faces: int, seed: int) -> pd.DataFrame:
    """A row for each face: "subject", "face", scores ``AU01`` … and labels ``AU01_label`` … of what the network knows."""
    net = load(resolve("fgnet-rendered"))
    tables = []
    for subject in range(people):
        person, photos, labels = person_of(seed, subject), [], []
        for face in range(faces):
            drawn, _ = head_expressions.draw_expression(np.random.default_rng([seed, subject, face, 0]), heads.DRAWN)
            photo, label = photo_of(person, drawn, [seed, subject, face, 1])
            photos.append(photo)
            labels.append(label[[AUS.index(au) for au in net.aus]])
        scores = net.predict(torch.stack(photos)).scores.numpy()
        columns = {"subject": f"person{subject:03d}", "face": range(faces)}
        columns |= {au: scores[:, i].round(4) for i, au in enumerate(net.aus)}
        columns |= {f"{au}_label": np.array(labels)[:, i] for i, au in enumerate(net.aus)}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def one_sided(net: FGNet, au: int, people: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """How well a network tells which side of rendered faces shows an AU; the AU must be among `heads.DRAWN`.

    Returns [2, people] left − right, of the faces whose right side moves and of those whose left side does: "halves", of the
    scores of halves that are made whole, and "heatmaps", of the means of the heatmap's halves.
    """
    size, channel, photos = net.config.image_size, net.aus.index(f"AU{au:02d}"), []
    for side in (0, 1):
        drawn = np.zeros((len(heads.DRAWN), 2), np.float32)
        drawn[heads.DRAWN.index(au), side] = 1.1
        photos += [photo_of(person_of(seed, k), drawn, [seed, k, au], size)[0] for k in range(people)]
    faces = normalize(torch.stack(photos))
    middle = torch.full((2 * people,), (size - 1) / 2)
    left, right = (net.predict(half).scores[:, channel].numpy() for half in whole_faces(faces, middle))
    maps = net.predict(faces).heatmaps[:, channel].clamp(-1, 1)
    half = maps.shape[-1] // 2
    halves = (maps[..., half:] - maps[..., :half]).mean((1, 2)).numpy()
    return {"halves": (left - right).reshape(2, people), "heatmaps": halves.reshape(2, people)}


def told(difference: NDArray[np.float32]) -> tuple[float, float]:
    """Of differences [2, n] of `one_sided`: the AUC, and the share of faces in which the side that moves has more."""
    auc = roc_auc_score(np.repeat([False, True], difference.shape[1]), difference.ravel())
    return float(auc), float(((difference > 0) == [[False], [True]]).mean())
