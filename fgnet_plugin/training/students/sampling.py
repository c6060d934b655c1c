"""Choose the faces that the teacher is asked about: over people, recordings and time, and unlike one another."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fgnet_plugin.alignment import show_faces
from fgnet_plugin.errors import InputError
from fgnet_plugin.faces import FaceFinder, FoundFaces
from fgnet_plugin.inference.appearance import QUALITIES, describe
from fgnet_plugin.media.animation import open_video
from fgnet_plugin.network.geometry import mesh_frame, posed
from fgnet_plugin.training.students.recordings import StudyRecording
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.text import counted

LOOKED_AT = 3
"""Frames in which faces are looked for, for each face that is wanted."""
_DESCRIBED = 50  # frames of a recording whose faces' looks are noted
_TOGETHER = 16  # frames in memory at once
_EVERY = 6  # mesh points of which one says where its neighbours are
_EXPRESSION, _TURN, _LIGHT = 0.1, 0.5, 0.25  # differences of mesh points, of radians, and of grey levels that count the same


@dataclass(frozen=True, eq=False)
class Faces:
    """n faces of a recording, by frame."""

    frame: Integers
    """[n]"""
    landmarks: Floats
    """[n, 68, 2] in pixels of the frame."""
    features: Floats
    """[n, F] expression, pose and light; the Euclidean distance says how unlike two faces are."""
    looks: Floats
    """[m, Q] how faces look that are spread evenly over the recording, chosen or not; see `appearance.describe`."""

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: Integers) -> Faces:
        """Return some of the faces."""
        return Faces(self.frame[rows], self.landmarks[rows], self.features[rows], self.looks)


def sample(
    recordings: Sequence[StudyRecording],
    count: int,
    held_out: float,
    folder: Path,
    seed: int,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> dict[str, Faces]:
    """Choose faces, equally many of each person, and of a person's recordings.

    What a recording lacks is made up for by those that follow. The faces found in a recording are kept in `folder`, so that an
    interrupted sampling goes on with the next recording.

    Args:
        recordings: from `recordings.divide`.
        count: faces in all.
        held_out: share of them that is taken from held-out recordings.
        folder: to keep what was found.
        seed: of the frames that are looked at.
        device: where faces are looked for.
        progress: show a bar, with the time left.

    Returns:
        Key of a recording -> its faces, in the order of the recordings.

    Raises:
        InputError: no face in any recording to learn from, or in any held-out one.

    Warns:
        UserWarning: recordings without a face, or that can't be read; fewer faces than wanted.
    """
    finder: FaceFinder | None = None
    chosen: dict[str, Faces] = {}
    with tqdm(total=len(recordings), unit="recording", desc="finding faces", disable=not progress, file=sys.stderr) as bar:
        for aside in (False, True):
            part = [recording for recording in recordings if recording.held_out is aside]
            wanted = round(count * held_out) if aside else count - round(count * held_out)
            left = {name: sum(one.subject == name for one in part) for name in dict.fromkeys(one.subject for one in part)}
            missing, of_person, owner = wanted, 0, ""
            for recording in sorted(part, key=lambda one: list(left).index(one.subject)):
                if recording.subject != owner:
                    owner = recording.subject
                    of_person = math.ceil(missing / sum(1 for rest in left.values() if rest))
                share = math.ceil(of_person / left[owner])
                path = folder / f"{recording.key}-{share}.npz"
                found = _load(path)
                if found is None:
                    finder = finder or FaceFinder(device)
                    _save(path, look_through(recording, share, seed, finder))
                    found = _load(path)
                    assert found is not None
                faces = found.take(choose(found, share))
                if not len(faces):
                    warnings.warn(f"{recording.path}: no face was found in the frames that were looked at", stacklevel=2)
                chosen[recording.key] = faces
                bar.update()
                left[owner] -= 1
                of_person -= len(faces)
                missing -= len(faces)
            if missing == wanted:
                where = "of the held-out people" if aside else "to learn from"
                searched = f"{counted(len(part), 'recording')} {where}, such as {part[0].path}"
                raise InputError(f"no face was found in the {searched}; give recordings in which faces are seen")
            if missing > 0:
                what = "held-out recordings" if aside else "recordings to learn from"
                said = f"the {what} have {counted(wanted - missing, 'face')} of the {wanted} that were wanted"
                warnings.warn(said, stacklevel=2)
    return {recording.key: chosen[recording.key] for recording in recordings}


def look_through(recording: StudyRecording, wanted: int, seed: int, finder: FaceFinder) -> Faces:
    """Find faces in frames all over a recording, `LOOKED_AT` times as many frames as faces are wanted."""
    frames: list[int] = []
    landmarks, features = [np.empty((0, 68, 2))], [np.empty((0, feature_count()))]
    looks = [np.empty((0, len(QUALITIES)))]
    try:
        with open_video(recording.path) as video:
            order = spread_frames(len(video), LOOKED_AT * wanted, np.random.default_rng([seed, int(recording.digest[:8], 16)]))
            described = set(order[np.linspace(0, len(order) - 1, min(len(order), _DESCRIBED)).astype(np.intp)].tolist())
            for start in range(0, len(order), _TOGETHER):
                numbers = order[start : start + _TOGETHER].tolist()
                pictures = [video[number] for number in numbers]
                for number, picture, found in zip(numbers, pictures, finder.find(pictures), strict=True):
                    rows = show_faces(found.landmarks, picture.shape[1], picture.shape[2]).nonzero()[:, 0]
                    frames += [number] * len(rows)
                    landmarks.append(found.landmarks[rows].double().numpy())
                    features.append(_features(picture, found)[rows.numpy()])
                    if number in described:
                        looks.append(describe(picture, found.landmarks[rows]))
    except InputError as error:
        warnings.warn(f"{recording.path} can't be read to its end ({error}): what was read until there is used", stacklevel=2)
    return Faces(np.array(frames, np.intp), np.concatenate(landmarks), np.concatenate(features), np.concatenate(looks))


def spread_frames(length: int, wanted: int, generator: np.random.Generator) -> Integers:
    """Draw a frame from each of `wanted` stretches of equal length: at most [wanted] numbers below `length`, rising."""
    if wanted >= length:
        return np.arange(length, dtype=np.intp)
    edges = np.linspace(0, length, wanted + 1)
    return np.unique((edges[:-1] + generator.random(wanted) * np.diff(edges)).astype(np.intp))


def choose(faces: Faces, wanted: int) -> Integers:
    """Choose half of the faces evenly over time, and the rest unlike those and one another: farthest points (Gonzalez 1985).

    Returns:
        Positions [at most wanted], rising.
    """
    if len(faces) <= wanted:
        return np.arange(len(faces), dtype=np.intp)
    even = np.unique(np.linspace(0, len(faces) - 1, max(wanted // 2, 1)).round().astype(np.intp))
    taken = list(even)
    distance = np.full(len(faces), np.inf)
    for i in even:
        distance = np.minimum(distance, ((faces.features - faces.features[i]) ** 2).sum(1))
    distance[even] = -1.0  # never again, even where all faces are alike
    while len(taken) < wanted:
        farthest = int(distance.argmax())
        taken.append(np.intp(farthest))
        distance = np.minimum(distance, ((faces.features - faces.features[farthest]) ** 2).sum(1))
        distance[farthest] = -1.0
    return np.sort(np.array(taken, np.intp))


def feature_count() -> int:
    """Return how many numbers describe a face, see `Faces.features`."""
    return 3 * len(range(0, mesh_frame().shape[1], _EVERY)) + 4


def _features(picture: Tensor, found: FoundFaces) -> Floats:
    """Describe the faces of a picture: [n, feature_count]."""
    if not len(found):
        return np.empty((0, feature_count()))
    shape = posed(found.mesh.double(), mesh_frame().double())[:, ::_EVERY]
    shape = shape.flatten(1) / (_EXPRESSION * math.sqrt(shape.shape[1]))
    light = []
    for x1, y1, x2, y2 in found.boxes[:, :4].round().int().tolist():
        inside = picture[:, max(y1, 0) : max(y2, 1), max(x1, 0) : max(x2, 1)]
        light.append(float(inside.float().mean()) / 255 if inside.numel() else 0.5)
    rest = torch.cat([found.pose[:, :3].double() / _TURN, torch.tensor(light, dtype=torch.float64)[:, None] / _LIGHT], 1)
    return torch.cat([shape, rest], 1).nan_to_num().numpy()


def _save(path: Path, faces: Faces) -> None:
    with atomic_write(path) as part, part.open("wb") as file:
        features = faces.features.astype(np.float32)
        np.savez_compressed(file, frame=faces.frame, landmarks=faces.landmarks, features=features, looks=faces.looks)


def _load(path: Path) -> Faces | None:
    """Read what was found in a recording; None where nothing was kept, or an older version kept less."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        if "looks" not in file:
            return None
        return Faces(file["frame"].astype(np.intp), *(file[name].astype(float) for name in ("landmarks", "features", "looks")))
