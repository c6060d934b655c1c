"""Rendered faces that the teacher labels, too: for AUs that are rare in a study's recordings."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.ops.antialias import averaged
from fgnet_plugin.training.students.labels import TOGETHER, Cache, Labels, encode, resized, store
from fgnet_plugin.utils.threads import torch_threads

_NAME = "rendered"


def rendered_labels(count: int, cache: Cache, teacher: AUModel, done: Callable[[int], None]) -> Labels:
    """Ask the teacher about rendered faces of all domains, but for those that the cache has, and read its answers.

    Args:
        count: faces; one view of each.
        cache: see `Cache`; its seed says which faces.
        teacher: see `AUModel`.
        done: called with a number of faces that are finished.
    """
    from fgnet_plugin.training.rendered import DOMAINS, HeadCorpus  # slow to import

    of_student, of_teacher = cache.config.image_size, teacher.net.config.image_size
    size = max(of_student, of_teacher)
    corpus = HeadCorpus(tuple(DOMAINS), size, seed=cache.seed, length=count)
    for part, path in enumerate(cache.files(_NAME, count)):
        rows = range(count)[part * TOGETHER : (part + 1) * TOGETHER]
        if not path.is_file():
            images = torch.stack([corpus[row]["image"] for row in rows]).float()
            small, large = (averaged(images, size // side) if side < size else images for side in (of_student, of_teacher))
            with torch_threads():
                prediction = teacher.net.predict(large / 127.5 - 1, teacher.batch_size, validate=False)
            maps = encode(resized(prediction.heatmaps.float().cpu(), cache.config.heatmap_size)[:, None])
            pixels = small.round().to(torch.uint8)[:, None]
            store(path, Labels(pixels, maps, prediction.activations.cpu()[:, None], torch.tensor(list(rows))))
        done(len(rows))
    found = cache.read(_NAME, count)
    assert found is not None
    return found
