"""Rendered faces that the teacher labels, too: for AUs that are rare in a study's recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.ops.antialias import averaged
from fgnet_plugin.training.students.labels import Cache, Labels, encode, resized, rows_of, store
from fgnet_plugin.utils.threads import torch_threads

NAME = "rendered"
"""Of their files in the cache."""


def fill_rendered(count: int, parts: Sequence[int], cache: Cache, teacher: AUModel, done: Callable[[int], None]) -> None:
    """Ask the teacher about rendered faces of all domains.

    Args:
        count: faces in all; one view of each.
        parts: of them that are to be read, see `Cache.missing`.
        cache: see `Cache`; its seed says which faces.
        teacher: see `AUModel`.
        done: called with a number of faces that are finished.
    """
    from fgnet_plugin.training.rendered import DOMAINS, HeadCorpus  # slow to import

    of_student, of_teacher = cache.config.image_size, teacher.net.config.image_size
    size = max(of_student, of_teacher)
    corpus = HeadCorpus(tuple(DOMAINS), size, seed=cache.seed, length=count)
    files = cache.files(NAME, count)
    for part in parts:
        rows = rows_of(part, count)
        images = torch.stack([corpus[row]["image"] for row in rows]).float()
        small, large = (averaged(images, size // side) if side < size else images for side in (of_student, of_teacher))
        with torch_threads(cache.threads):
            prediction = teacher.net.predict(large / 127.5 - 1, teacher.batch_size, validate=False)
        maps = encode(resized(prediction.heatmaps.float().cpu(), cache.config.heatmap_size)[:, None])
        pixels = small.round().to(torch.uint8)[:, None]
        store(files[part], Labels(pixels, maps, prediction.activations.cpu()[:, None], torch.tensor(list(rows))))
        done(len(rows))
