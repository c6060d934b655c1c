"""One offline detector for all tests of a process, and a memory for the faces that offline detectors find."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from torch import Tensor

from fgnet_plugin.pyfeat.detector import Detector

_known: dict[tuple[object, ...], list[dict[str, Any]]] = {}


@cache
def offline_detector() -> Detector:
    """`Detector.offline()`. Tests must leave it as it was."""
    return Detector.offline()


class InBatches(Detector):
    """Replaces a step of `Detector`: frames are read in batches, as with py-feat's models."""

    def detect_faces(self, *args: Any, **options: Any) -> list[dict[str, Any]]:
        return super().detect_faces(*args, **options)


@cache
def batch_detector() -> InBatches:
    """`InBatches.offline()`. Tests must leave it as it was."""
    return InBatches.offline()


@contextmanager
def remembered_faces() -> Iterator[None]:
    """Let detectors with the bundled face model look for faces once in each batch: that takes most of their time."""
    find = Detector.detect_faces

    def detect_faces(self: Detector, images: Tensor, *args: Any, **options: Any) -> list[dict[str, Any]]:
        if self.info["face_model"] != "bundled" or self.info["emotion_model"] is not None or "tracker" in options:
            return find(self, images, *args, **options)
        pixels = hashlib.sha256(images.contiguous().numpy().tobytes()).digest()
        key = pixels, images.shape, images.dtype, args, *options.items()
        if key not in _known:
            _known[key] = find(self, images, *args, **options)
        return [dict(faces) for faces in _known[key]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Detector, "detect_faces", detect_faces)
        yield
