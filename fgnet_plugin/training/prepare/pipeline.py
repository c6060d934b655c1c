"""Coded frames -> aligned faces, landmarks, labels and a report, by several processes, and resumable."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from fgnet_plugin.alignment import Padding, align_faces
from fgnet_plugin.errors import InputError
from fgnet_plugin.media.images import read_picture
from fgnet_plugin.media.video import Video
from fgnet_plugin.training.data.made_faces import MADE_BEFORE, PREPARED
from fgnet_plugin.training.prepare.frames import CodedFrame, RawCorpus
from fgnet_plugin.training.prepare.landmark_sources import FinderLandmarks, LandmarkSource, as_points
from fgnet_plugin.training.prepare.own import VIDEOS
from fgnet_plugin.training.prepare.progress import Progress
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.text import counted
from fgnet_plugin.utils.threads import single_threaded, torch_threads

Targets = Literal["moved", "measured"]
"""Where the landmarks of the heatmap targets come from, see `prepare`."""
VERSION = 1
"""Raised when faces come out otherwise: a folder is not filled up with faces of two kinds."""
# What at most is done again after a kill, for each process twice.
FRAMES_AT_A_TIME = 16
_QUALITY = 95


@dataclass(frozen=True)
class Prepared:
    """What a preparation wrote."""

    labels: Path
    """CSV file in the published layout, for ``data.csv.train`` with the folder above as ``data.csv.image_root``."""
    report: Path
    """CSV file: frame, file, prepared (yes or no), reason; a row for each frame that something is to be said about."""
    coded: int
    """Frames with codes."""
    written: int
    """Frames with a face, rows of `labels`."""
    reasons: dict[str, int]
    """What the report says, shortened, and how often."""
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """For people."""
        lines = [f"{self.written:,} of {counted(self.coded, 'coded frame', form=',')} prepared: {self.labels}"]
        lines += [f"  {count:,}: {reason}" for reason, count in sorted(self.reasons.items())]
        lines += [f"  {note}" for note in self.notes]
        lines.append(f"Frame by frame: {self.report}" if self.reasons else "Nothing to report.")
        lines.append(f"Train with data.csv.train={self.labels} data.csv.image_root={self.labels.parent.parent}")
        return "\n".join(lines)


def prepare(
    corpus: RawCorpus,
    out: Path | str,
    landmarks: LandmarkSource | None = None,
    size: int = 256,
    suffix: Literal["jpg", "png"] = "jpg",
    workers: int = 0,
    progress: bool = True,
    padding: Padding = "reflect",
    targets: Targets = "moved",
) -> Prepared:
    """Writes ``out/BP4D/aligned_images/F001/T1/02440.jpg``, ``aligned_landmarks/….npy``, labels.csv and report.csv.

    Faces that an earlier, interrupted run wrote are checked and kept; what is damaged or lacking is done. The result is the
    same, byte for byte, for any number of processes and interruptions. Photos and landmarks must stay as they are in between,
    and only one run may write to a folder.

    Args:
        corpus: see `read_bp4d`, `read_disfa`, `read_own`.
        out: folder to write to.
        landmarks: where they come from, by default `FinderLandmarks`; of several faces the first is taken, and that reported.
            With `workers`, it must be possible to pickle it.
        size: of the faces, px.
        suffix: "jpg" has quality 95; "png" loses nothing and takes several times the space.
        workers: processes with one thread each; 0: this one.
        progress: show a bar.
        padding: what photos go on with beyond their borders, see `align_faces`; "constant" as the authors of FG-Net had it.
        targets: where the landmarks of the heatmap targets come from: "moved", those of the photo, moved along; "measured",
            those that `FinderLandmarks` finds on the aligned face, rounded to whole pixels, as the authors had dlib do it. A
            face on which it finds none is left out, and that reported.

    labels.csv says both in its last columns, ``padding`` and ``target_landmarks``, and trainings record them.

    Raises:
        ValueError: the folder holds faces made with other settings; not a single face was found.
        OSError: files can't be written.
        KeyboardInterrupt: after saying how to go on.
    """
    if suffix not in ("jpg", "png"):
        raise ValueError(f"suffix must be jpg or png, got {suffix!r}")
    if targets not in get_args(Targets):
        raise ValueError(f"targets must be one of {', '.join(get_args(Targets))}, got {targets!r}")
    if size < 8 or workers < 0:
        raise ValueError(f"size must be at least 8 px and workers at least 0, got {size} and {workers}")
    source: LandmarkSource = FinderLandmarks() if landmarks is None else landmarks
    folder = Path(out) / corpus.name
    source_name = str(getattr(source, "name", None) or getattr(source, "__qualname__", type(source).__qualname__))
    made: dict[str, str] = {"padding": padding, "target_landmarks": targets}
    settings = {"size": size, "suffix": suffix, "landmarks": source_name, **corpus.settings, **made, "version": VERSION}
    state = Progress(folder / PREPARED, settings, assumed=MADE_BEFORE)
    for part in folder.rglob(".*.part"):  # of a process that was killed
        part.unlink()
    frames = [frame for frame in corpus.frames if frame.file is not None]
    if state.done:
        print(f"{folder}: going on, {len(state.done):,} of {len(frames):,} faces are there", flush=True)
    noted = {frame.name: (False, "no photo or video") for frame in corpus.frames if frame.file is None}
    faces = _Faces(_chunks(frames), folder, source, size, suffix, state.done, padding, targets)
    try:
        for name, outcome in _run(faces, workers, progress, state):
            noted[name] = outcome
    except KeyboardInterrupt:
        print(
            f"\ninterrupted: {len(state.done):,} of {len(frames):,} faces are there; the same command goes on", file=sys.stderr
        )
        raise
    others = {name: note for name, note in state.done.items() if name not in noted}  # of other lists of frames
    state.rewrite({frame.name: noted[frame.name][1] for frame in corpus.frames if noted[frame.name][0]} | others)
    return _tables(corpus, folder, noted, suffix, made)


Outcome = tuple[bool, str]
"""Whether there is a face now, and what is to be said about it."""


def _chunks(frames: Sequence[CodedFrame]) -> list[list[CodedFrame]]:
    """Frames in their order, a few at a time, of one sequence each."""
    chunks: list[list[CodedFrame]] = []
    for frame in frames:
        if not chunks or len(chunks[-1]) == FRAMES_AT_A_TIME or chunks[-1][-1].sequence != frame.sequence:
            chunks.append([])
        chunks[-1].append(frame)
    return chunks


def _run(faces: _Faces, workers: int, progress: bool, state: Progress) -> Iterable[tuple[str, Outcome]]:
    """The outcome of each frame, in their order; complete faces are recorded before."""
    loader = DataLoader(
        faces,
        batch_size=None,
        num_workers=workers,
        # A fork would hang where this process has used OpenMP's threads. Unlike a pool's, these workers end when we are killed.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=single_threaded,
        collate_fn=_unchanged,
        generator=torch.Generator(),
    )
    with torch_threads(1), tqdm(total=sum(map(len, faces.chunks)), unit="frame", disable=not progress) as bar:
        for chunk, (outcomes, failure) in zip(faces.chunks, loader, strict=True):
            found = {frame.name: outcome for frame, outcome in zip(chunk, outcomes, strict=False)}
            state.add({name: note for name, (written, note) in found.items() if written and name not in state.done})
            yield from found.items()
            bar.update(len(outcomes))
            if failure:
                there = counted(len(state.done), "face is", "faces are", ",")
                raise OSError(f"{failure}; {there} there, and the same command goes on with the rest")


def _unchanged(result: Any) -> Any:
    return result


class _Faces(Dataset[tuple[list[Outcome], str]]):
    """Item i: the faces of a chunk of frames are written; the outcomes, and why they break off."""

    def __init__(
        self,
        chunks: list[list[CodedFrame]],
        folder: Path,
        source: LandmarkSource,
        size: int,
        suffix: str,
        done: dict[str, str],
        padding: Padding,
        targets: Targets,
    ) -> None:
        self.chunks, self.folder, self.source, self.size, self.suffix = chunks, folder, source, size, suffix
        self.done, self.padding = dict(done), padding
        self._again = FinderLandmarks() if targets == "measured" else None
        self._video: Video | None = None

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> tuple[list[Outcome], str]:
        outcomes: list[Outcome] = []
        for frame in self.chunks[index]:
            try:
                outcomes.append(self._outcome(frame))
            except OSError as error:
                return outcomes, f"{frame.name}: can't be written ({error})"
        return outcomes, ""

    def _outcome(self, frame: CodedFrame) -> Outcome:
        image, points = face_files(self.folder, frame.name, self.suffix)
        if frame.name in self.done and _complete(image, points, self.size):
            return True, self.done[frame.name]
        try:
            photo = self._photo(frame)
        except IndexError as error:
            return False, f"no photo or video: {error}"
        except (InputError, OSError) as error:
            return False, f"unreadable: {error}"
        try:
            found = as_points(self.source(photo, frame))
            if not len(found):
                return False, "no face"
            aligned = align_faces([photo], [found[:1]], self.size, padding=self.padding)
            landmarks = aligned.points_to_face(found[:1])[0]
            if self._again is not None:
                measured = as_points(self._again(aligned.faces[0], frame))
                if not len(measured):
                    return False, "no face on the aligned face"
                landmarks = measured[0].round()
        except ValueError as error:
            reason = str(error)
            return False, reason if reason.startswith(("no ", "unusable ")) else f"unusable landmarks: {reason}"
        face = aligned.faces[0].permute(1, 2, 0).numpy()
        with atomic_write(points) as part, part.open("wb") as file:
            np.save(file, landmarks.numpy().astype(np.float32))
        with atomic_write(image) as part:
            Image.fromarray(face).save(part, format="JPEG" if self.suffix == "jpg" else "PNG", quality=_QUALITY)
        return True, f"several faces: {len(found)}, the surest was taken" if len(found) > 1 else ""

    def _photo(self, frame: CodedFrame) -> Tensor:
        assert frame.file is not None
        if frame.file.suffix.lower() not in VIDEOS:
            return read_picture(frame.file)
        if self._video is None or self._video.path != str(frame.file):
            self._video = Video(frame.file)
        if frame.position > len(self._video):
            raise IndexError(f"the video has {counted(len(self._video), 'frame', form=',')}")
        return self._video[frame.position - 1]


def face_files(folder: Path, name: str, suffix: str) -> tuple[Path, Path]:
    """The files of a frame's aligned face and of its landmarks, in the folder of the corpus."""
    return folder / "aligned_images" / f"{name}.{suffix}", folder / "aligned_landmarks" / f"{name}.npy"


def _complete(image: Path, points: Path, size: int) -> bool:
    try:
        with Image.open(image) as face:
            face.load()
            fits = face.size == (size, size)
        landmarks = np.load(points, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return False
    return fits and landmarks.shape == (68, 2) and landmarks.dtype == np.float32 and bool(np.isfinite(landmarks).all())


def _tables(corpus: RawCorpus, folder: Path, noted: dict[str, Outcome], suffix: str, made: dict[str, str]) -> Prepared:
    """Writes labels.csv, each row of which says how faces were `made`, and report.csv."""
    rows, report = [], []
    for frame in corpus.frames:
        written, reason = noted[frame.name]
        if written:
            image = face_files(Path(corpus.name), frame.name, suffix)[0]
            rows.append([image.as_posix(), *frame.labels, *made.values()])
        if reason:
            file = "" if frame.file is None else _shown(frame.file, corpus.raw)
            report.append([frame.name, file, "yes" if written else "no", reason])
    report += [[name, "", "no", "listed, but not coded"] for name in corpus.uncoded]
    labels, reported = folder / "labels.csv", folder / "report.csv"
    _write(reported, ["frame", "file", "prepared", "reason"], report)
    reasons = Counter(f"{row[3].partition(':')[0]}{'' if row[2] == 'no' else ' (prepared)'}" for row in report)
    if not rows:
        raise ValueError(
            f"not one of {len(corpus.frames):,} coded frames could be prepared; {reported} says why: {dict(reasons)}"
        )
    _write(labels, ["image_path", *corpus.columns, *made], rows)
    return Prepared(labels, reported, len(corpus.frames), len(rows), dict(reasons), corpus.notes)


def _shown(file: Path, raw: Path) -> str:
    return (file.relative_to(raw) if file.is_relative_to(raw) else file).as_posix()


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *rows])
