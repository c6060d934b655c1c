"""Rendered people, each with several expressions, and what the bundled network says of them: a study with known AUs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgnet_plugin.checkpoints.fgnet import load
from fgnet_plugin.checkpoints.registry import resolve
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


def photo_of(person: head_scene.HeadPerson, drawn: NDArray[np.float32], seed: list[int]) -> tuple[Tensor, NDArray[np.float32]]:
    """An aligned face, uint8 [3, 128, 128], and the labels [20] of `AUS` (1, 0 or NaN)."""
    shot = photograph(np.random.default_rng(seed), STUDIO, person, drawn, np.zeros(2, np.float32), 128, "aligned")
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
