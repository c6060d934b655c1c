"""The pictures on a page: frames of the recording, and faces at the peaks of AUs with their heatmaps."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import FACEBOX, LANDMARKS
from fgnet_plugin.inference.evidence import presence, tinted
from fgnet_plugin.media.animation import open_video
from fgnet_plugin.media.blur import blur_faces
from fgnet_plugin.media.images import picture_size, read_picture
from fgnet_plugin.report.timeline import Event, Timeline
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.text import counted

_LONGER_SIDE = 480
_FACE = 144  # px of a face at a peak
_QUALITY = 60
_WEBP_METHOD = 4
_BOX = FACEBOX[:4]
_PEAKS = 3  # of each AU and person


@dataclass(frozen=True)
class Shown:
    """A frame on the page."""

    place: int
    """Of the frame in the recording."""
    source: str
    """The picture as a data address."""
    scale: float
    """Pixels of it for one of the frame."""


@dataclass(frozen=True)
class Peak:
    """The face at the apex of an event, and where FG-Net saw the AU in it."""

    person: int
    event: Event
    face: str
    """A picture as a data address."""
    evidence: str
    """The same face under its heatmap; empty without FG-Net."""


def peaks_of(recording: Timeline) -> list[tuple[int, Event]]:
    """Choose the strongest events of each person and AU, in order of AUs: the person's number and the event."""
    chosen = []
    for number, person in enumerate(recording.persons):
        for au in recording.aus:
            of_au = [event for event in person.events if event.au == au]
            chosen += [(number, event) for event in sorted(of_au, key=lambda event: -event.score)[:_PEAKS]]
    return chosen


def chosen_places(recording: Timeline, most: int) -> list[int]:
    """Choose the frames whose pictures are on the page: those of peaks, and others at even distances, up to `most`."""
    if most >= len(recording.frames):
        return list(range(len(recording.frames)))
    peaks = {event.apex for _, event in sorted(peaks_of(recording), key=lambda peak: -peak[1].score)[:most]}
    even = np.linspace(0, len(recording.frames) - 1, most - len(peaks)).round().astype(int)
    return sorted(peaks.union(even.tolist()))


class Illustrator:
    """Makes the pictures of one recording.

    Args:
        recording: whose.
        file: the video or picture.
        blurred: make faces unrecognisable. A face that was not found can't be blurred, so that frames in which the recording
            has no face are left out, too.

    Raises InputError, FileNotFoundError for a file that can't be read.
    """

    def __init__(self, recording: Timeline, file: Path, blurred: bool = False) -> None:
        self._recording, self._blurred = recording, blurred
        self._frames = None if recording.is_picture and picture_size(file) is not None else open_video(file)
        self._picture = read_picture(file) if self._frames is None else None
        if self._frames is not None and len(self._frames) <= recording.frames[-1]:
            count, last = len(self._frames), recording.frames[-1]
            raise InputError(
                f"{file} has {counted(count, 'frame')}, but the table has rows up to frame {last}: it is another recording"
            )

    def frames(self, places: Sequence[int]) -> Iterator[Shown]:
        """Make the pictures of frames."""
        for place in places:
            boxes = self._recording.boxes.get(place)
            if self._blurred and boxes is None:
                continue
            picture = _pillow(self._frame(place))
            if self._blurred and boxes is not None:
                picture = Image.fromarray(blur_faces(np.asarray(picture), boxes))
            scale = min(1.0, _LONGER_SIDE / max(picture.size))
            small = picture.resize((max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)))
            yield Shown(place, data_address(small), scale)

    def peaks(self, model: AUModel | None) -> Iterator[Peak]:
        """Make the faces at the strongest events; with heatmaps where a model is given and the table has landmarks."""
        for number, event in sorted(peaks_of(self._recording), key=lambda peak: peak[1].apex):
            person = self._recording.persons[number]
            row = person.rows.iloc[int(np.searchsorted(person.places, event.apex))]
            frame = self._frame(event.apex)
            if model is None or not set(LANDMARKS) <= set(row.index) or event.au not in model.aus:
                if set(_BOX) <= set(row.index):
                    face = _cut(frame, row[_BOX].to_numpy(float))
                    yield Peak(number, event, data_address(self._veiled(face)), "")
                continue
            points = torch.tensor(row[LANDMARKS].to_numpy(np.float32).reshape(2, 68).T[None].copy())
            reading = model.read([frame], [points])
            if not len(reading.read):
                continue
            face = self._veiled(_pillow(reading.aligned.pictures()[0].cpu()).resize((_FACE, _FACE)))
            heatmap = reading.prediction.heatmaps[0, model.aus.index(event.au)].float().cpu()
            yield Peak(number, event, data_address(face), data_address(with_evidence(face, heatmap, event.score)))

    def _frame(self, place: int) -> Tensor:
        if self._picture is not None:
            return self._picture
        assert self._frames is not None
        return self._frames[int(self._recording.frames[place])]

    def _veiled(self, face: Image.Image) -> Image.Image:
        return face.filter(ImageFilter.GaussianBlur(face.width / 8)) if self._blurred else face

    def close(self) -> None:
        """Close the file."""
        if self._frames is not None:
            self._frames.close()


def with_evidence(face: Image.Image, heatmap: Tensor, score: float) -> Image.Image:
    """Lay an AU's heatmap [h, w] over a face, in colours of one scale with its score; see `inference.evidence.presence`."""
    size = (face.height, face.width)
    shown = torch.nn.functional.interpolate(heatmap.float()[None, None], size, mode="bilinear", align_corners=False)[0]
    strength = presence(heatmap[None], torch.tensor([score]), shown)[0]
    return Image.fromarray(tinted(np.asarray(face), strength.numpy()))


def data_address(picture: Image.Image) -> str:
    """Encode a picture into an address that holds it."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=_WEBP_METHOD)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _cut(frame: Tensor, box: Floats) -> Image.Image:
    left, top, width, height = box.tolist()
    side = max(width, height, 1.0)
    x, y = left + width / 2, top + height / 2
    square = tuple(round(v) for v in (x - side / 2, y - side / 2, x + side / 2, y + side / 2))
    return _pillow(frame).crop(square).resize((_FACE, _FACE))


def _pillow(frame: Tensor) -> Image.Image:
    return Image.fromarray(frame.permute(1, 2, 0).numpy())
