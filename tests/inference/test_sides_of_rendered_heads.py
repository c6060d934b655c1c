"""How well sides are told on rendered heads with one-sided AUs: by halves made whole, and by the halves of the heatmaps."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fgnet_plugin.checkpoints.fgnet import load
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.inference.sides import whole_faces
from fgnet_plugin.network.fgnet import normalize

TOLD = {1: 0.97, 2: 0.97, 4: 0.95, 6: 0.93, 10: 0.95, 12: 0.98, 15: 0.95, 43: 0.97}
"""AU and the least AUC, over 20 people, of the difference left − right for the side that moves."""


@pytest.mark.slow
def test_sides_of_rendered_heads() -> None:
    rendered = pytest.importorskip("rendered_people", reason="what the training needs is not installed")
    net = load(resolve("fgnet-rendered"))
    drawn_aus = rendered.heads.DRAWN
    for au, least in TOLD.items():
        channel, photos = net.aus.index(f"AU{au:02d}"), []
        for side in (0, 1):
            drawn = np.zeros((len(drawn_aus), 2), np.float32)
            drawn[drawn_aus.index(au), side] = 1.1
            people = (rendered.person_of(31, k) for k in range(20))
            photos += [rendered.photo_of(person, drawn, [31, k, au])[0] for k, person in enumerate(people)]
        faces = normalize(torch.stack(photos))
        left, right = (net.predict(half).scores[:, channel] for half in whole_faces(faces, torch.full((40,), 63.5)))
        maps = net.predict(faces).heatmaps[:, channel].clamp(-1, 1)
        half = maps.shape[-1] // 2
        moved_left = np.repeat([False, True], 20)
        assert roc_auc_score(moved_left, left - right) >= least, au
        # The halves of the heatmaps hardly say it: both sides had one label in training.
        assert roc_auc_score(moved_left, (maps[..., half:] - maps[..., :half]).mean((1, 2))) < 0.8, au
