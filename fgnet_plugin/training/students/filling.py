"""Fill the cache with the teacher's answers: here, or by whoever shares out the work among processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.training.students.labels import Cache
from fgnet_plugin.training.students.recordings import StudyRecording
from fgnet_plugin.training.students.rendered import NAME, fill_rendered
from fgnet_plugin.training.students.sampling import Faces


@dataclass(frozen=True, eq=False)
class LabelJob:
    """Parts of the faces of a recording, or of the rendered ones, about which the teacher is to be asked."""

    recording: StudyRecording | None
    """None: rendered faces."""
    faces: Faces | None
    """Of the recording, all that were chosen."""
    count: int
    """Of all its faces."""
    parts: Sequence[int]
    """See `Cache.missing`."""

    def run(self, cache: Cache, teacher: AUModel, done: Callable[[int], None]) -> None:
        """Ask the teacher; see `Cache.fill`."""
        if self.recording is None or self.faces is None:
            fill_rendered(self.count, self.parts, cache, teacher, done)
        else:
            cache.fill(self.recording, self.faces, self.parts, teacher, done)


Fill = Callable[[Sequence[LabelJob], Cache, AUModel, Callable[[int], None]], None]
"""Does jobs: `fill_here`, or `scale.students.fill_with`."""


def fill_here(jobs: Sequence[LabelJob], cache: Cache, teacher: AUModel, done: Callable[[int], None]) -> None:
    """Do the jobs in this process, one after the other."""
    for job in jobs:
        job.run(cache, teacher, done)


def fill_cache(
    recordings: Sequence[StudyRecording],
    faces: Mapping[str, Faces],
    rendered: int,
    cache: Cache,
    teacher: AUModel,
    fill: Fill = fill_here,
    progress: bool = True,
) -> None:
    """Ask the teacher about all faces that the cache does not have yet.

    Args:
        recordings, faces: of the study.
        rendered: number of rendered faces.
        cache, teacher: see `Cache`.
        fill: who does it.
        progress: show a bar, with the time left.
    """
    jobs = [
        LabelJob(one, faces[one.key], len(faces[one.key]), parts)
        for one in recordings
        if (parts := cache.missing(one.key, len(faces[one.key])))
    ]
    if parts := cache.missing(NAME, rendered):
        jobs.append(LabelJob(None, None, rendered, parts))
    total = sum(map(len, faces.values())) + rendered
    left = sum(cache.faces_in(job.count, job.parts) for job in jobs)
    with tqdm(total=total, initial=total - left, unit="face", desc="teacher", disable=not progress, file=sys.stderr) as bar:
        if jobs:
            fill(jobs, cache, teacher, bar.update)
