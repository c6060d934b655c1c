"""How well each frame shows the face, and rules that exclude frames and count what they exclude."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.recordings import BOX, Recording
from fgnet_plugin.measures.speech import MOUTH_AUS, in_stretches
from fgnet_plugin.media.video import Video
from fgnet_plugin.utils.arrays import Floats

QUALITY_COLUMNS = "face", "score", "size", "yaw", "pitch", "roll", "outside"
EYES = [f"{axis}_{i}" for axis in "xy" for i in range(36, 48)]
"""The columns with the landmarks of the eyes, which `glasses` needs."""
_FULL_TURN = 3.2  # larger angles are degrees, not radians
_CROP = 128  # pixels to which faces are brought before their sharpness is measured, so that sizes compare


@dataclass(frozen=True)
class Rules:
    """What a frame must fulfil; None for no such rule. A frame in which a quantity is unknown passes the rule about it.

    Frames without a face are always excluded. Give the rules before the scores are looked at.

    Example:
        >>> Rules(min_size=80, max_yaw=30)
        Rules(min_size=80, max_yaw=30)
    """

    min_score: float | None = None
    """Confidence of the face detector, in [0, 1]."""
    min_size: float | None = None
    """Pixels: square root of the area of the face's box."""
    max_yaw: float | None = None
    max_pitch: float | None = None
    max_roll: float | None = None
    """Degrees to either side."""
    max_outside: float | None = None
    """Share of the face's box outside the picture, in [0, 1]."""
    min_sharpness: float | None = None
    """Variance of the Laplacian; see `sharpness`."""
    max_glasses: float | None = None
    """Score of glasses, in [0, 1]; see `glasses`."""

    def __repr__(self) -> str:
        given = (f"{rule.name}={getattr(self, rule.name)}" for rule in fields(self) if getattr(self, rule.name) is not None)
        return f"Rules({', '.join(given)})"


@dataclass(frozen=True)
class Exclusions:
    """How many frames of a recording are left, and which rule took the others: the first of those that a frame breaks."""

    recording: str
    frames: int
    by_rule: dict[str, int]
    """Rule -> frames, in the order of the rules; ``no_face`` first."""
    used: int
    speech: int = 0
    """Of the used frames, those with speech, in which the mouth's AUs are unknown."""
    further_faces: int = 0
    """Rows of other faces in the same frames."""
    speech_known: bool = field(default=False)
    """Whether speech was looked for."""


def frame_quality(recording: Recording) -> pd.DataFrame:
    """Measure each frame of a recording.

    Returns:
        [n] rows with ``face`` (whether an AU is known), ``score`` (of the detector), ``size`` (pixels: square root of the area
        of the face's box), ``yaw``, ``pitch``, ``roll`` (degrees), ``outside`` (share of the box outside the picture); NaN
        where the table does not tell. The box of OpenFace's tables is the one around the landmarks.

    Example:
        >>> from fgnet_plugin.measures.recordings import read_recordings
        >>> table = pd.DataFrame({"frame": [0, 1], "AU12": [0.2, 0.9], "FaceScore": [0.9, 0.6], "Yaw": [0.0, 0.5]})
        >>> [recording] = read_recordings(table, rate=25)
        >>> frame_quality(recording)[["score", "yaw"]].round(1).to_dict("list")
        {'score': [0.9, 0.6], 'yaw': [0.0, 28.6]}
    """
    rows = recording.rows
    x, y, width, height = _boxes(rows)
    table = pd.DataFrame({"face": recording.scores.notna().any(axis=1).to_numpy()})
    table["score"] = _column(rows, "FaceScore", "confidence")
    table["size"] = np.sqrt(width * height)
    for angle, names in (("yaw", ("Yaw", "pose_Ry")), ("pitch", ("Pitch", "pose_Rx")), ("roll", ("Roll", "pose_Rz"))):
        values = _column(rows, *names)
        table[angle] = values if np.nanmax(np.abs(values), initial=0) > _FULL_TURN else np.degrees(values)
    frame_height, frame_width = _column(rows, "FrameHeight"), _column(rows, "FrameWidth")
    inside_x = np.clip(np.minimum(x + width, frame_width) - np.maximum(x, 0), 0, None)
    inside_y = np.clip(np.minimum(y + height, frame_height) - np.maximum(y, 0), 0, None)
    area = width * height
    table["outside"] = 1 - np.divide(inside_x * inside_y, area, out=np.full(len(area), np.nan), where=area > 0)
    return table[list(QUALITY_COLUMNS)]


def exclude(
    recording: Recording,
    rules: Rules | None = None,
    *,
    speech: Floats | None = None,
    sharp: Floats | None = None,
    worn: Floats | None = None,
) -> tuple[Recording, Exclusions]:
    """Make the scores of frames that break a rule unknown, and count them.

    The frames themselves stay, so that times and gaps remain what they were.

    Args:
        recording: whose frames to judge.
        rules: by default only that there must be a face.
        speech: [m, 2] stretches with speech, of `speech_stretches`: there, the mouth's AUs (`MOUTH_AUS`) become unknown.
        sharp, worn: [n] of `sharpness` and of `glasses`, for the rules about them.

    Raises:
        InputError: a rule about something that the table does not tell in any frame.

    Example:
        >>> from fgnet_plugin.measures.recordings import read_recordings
        >>> [recording] = read_recordings(pd.DataFrame({"frame": [0, 1], "FaceScore": [0.9, 0.3], "AU12": [0.2, 0.9]}), rate=25)
        >>> kept, counts = exclude(recording, Rules(min_score=0.5))
        >>> kept.scores["AU12"].tolist(), counts.by_rule
        ([0.2, nan], {'no_face': 0, 'min_score': 1})
    """
    unknown = np.full(len(recording), np.nan)
    measured = frame_quality(recording).assign(
        sharpness=unknown if sharp is None else sharp, glasses=unknown if worn is None else worn
    )
    bad = ~measured["face"].to_numpy(dtype=bool)
    by_rule = {"no_face": int(bad.sum())}
    for rule in fields(rules or Rules()):
        limit = getattr(rules, rule.name, None)
        if limit is None:
            continue
        name = rule.name[4:]
        values = measured[name].to_numpy(dtype=np.float64)
        if not np.isfinite(values).any() and measured["face"].any():
            raise InputError(f"{recording.name}: {rule.name} can't be applied, as the table does not tell the {name} of a face")
        broken = values < limit if rule.name.startswith("min") else np.abs(values) > limit
        by_rule[rule.name] = int((broken & ~bad).sum())
        bad |= broken
    scores, present = recording.scores.copy(), recording.present.copy()
    scores.loc[bad] = np.nan
    present.loc[bad] = np.nan
    talks = np.zeros(len(recording), dtype=bool) if speech is None else in_stretches(recording.time, speech)
    mouth = [au for au in scores if au in MOUTH_AUS]
    scores.loc[talks, mouth] = np.nan
    present.loc[talks, mouth] = np.nan
    used, in_speech = int((~bad).sum()), int((talks & ~bad).sum())
    counts = Exclusions(
        recording.name, len(recording), by_rule, used, in_speech, recording.further_faces, speech_known=speech is not None
    )
    about: dict[str, Any] = {"rules": repr(rules or Rules()), "speech": "excluded from the mouth's AUs" if mouth else ""}
    attrs = {**recording.attrs, "quality": about if speech is not None else {"rules": about["rules"]}}
    return replace(recording, scores=scores, present=present, attrs=attrs), counts


def flow(exclusions: Sequence[Exclusions]) -> pd.DataFrame:
    """Make a study's table of exclusions: a row for each recording, and a last one, ``all``, with the sums.

    Columns: ``recording``; ``frames``; a column for each rule, with the frames that it took; ``used`` = frames − those;
    ``used_share``; ``speech`` (used frames in which the mouth's AUs are unknown; empty where it was not looked for);
    ``further_faces`` (rows of other faces in the same frames, no frames of their own).
    """
    rules = list(dict.fromkeys(rule for one in exclusions for rule in one.by_rule))
    rows = [
        {
            "recording": one.recording,
            "frames": one.frames,
            **{rule: one.by_rule.get(rule, 0) for rule in rules},
            "used": one.used,
            "speech": one.speech if one.speech_known else np.nan,
            "further_faces": one.further_faces,
        }
        for one in exclusions
    ]
    columns = ["recording", "frames", *rules, "used", "speech", "further_faces"]
    table = pd.DataFrame(rows, columns=columns)
    total = table.drop(columns="recording").sum(min_count=1)
    table = pd.concat([table, pd.DataFrame([{"recording": "all", **total}])], ignore_index=True)
    table.insert(columns.index("used") + 1, "used_share", table["used"] / table["frames"].where(table["frames"] > 0))
    whole = [column for column in columns if column not in ("recording", "speech")]
    return table.astype(dict.fromkeys(whole, "int64")).assign(speech=table["speech"].astype("Int64"))


def sharpness(recording: Recording, video: str | Path | None = None) -> Floats:
    """Measure how sharp the face is in each frame: the variance of the Laplacian of its box in grey, brought to 128 × 128 px.

    Values compare within a study of one camera, not across cameras: noise and compression raise and lower them (Pech-Pacheco
    et al., ICPR 2000). The grey values are in [0, 1]. Reads the video, which takes as long as decoding it.

    Args:
        recording: with boxes and frame numbers.
        video: its file, if not where the table says.

    Returns:
        [n], NaN without a face.

    Raises:
        FileNotFoundError, InputError: a video that is missing, or has fewer frames than the table.

    Example:
        >>> for recording in read_recordings("fex.csv"):  # doctest: +SKIP
        ...     kept, counts = exclude(recording, Rules(min_sharpness=0.001), sharp=sharpness(recording))
    """
    from scipy.ndimage import laplace
    from skimage.transform import resize

    values = np.full(len(recording), np.nan)
    boxes = np.stack(_boxes(recording.rows), axis=1)
    for i, frame in _frames(recording, video, np.asarray(np.isfinite(boxes).all(axis=1))):
        left, top, right, bottom = (max(round(edge), 0) for edge in _corners(boxes[i]))
        face: Floats = frame.numpy()[:, top:bottom, left:right].mean(axis=0) / 255
        if min(face.shape) > 1:
            values[i] = laplace(resize(face, (_CROP, _CROP), anti_aliasing=True)).var()  # type: ignore[no-untyped-call]
    return values


def glasses(recording: Recording, video: str | Path | None = None) -> Floats:
    """Score for each frame of a recording how much the face looks as if it wore glasses.

    A small network, trained on rendered heads, looks at the part of the face around the eyes. On real faces it errs: see
    docs/measures.md before a rule is made of it. Reads the video, which takes as long as decoding it.

    Args:
        recording: with frame numbers and landmarks: of ``read_recordings(…, keep=EYES)``.
        video: its file, if not where the table says.

    Returns:
        [n] in [0, 1], NaN without a face.

    Raises:
        FileNotFoundError, InputError: a video that is missing, or has fewer frames than the table; a table without landmarks.

    Example:
        >>> for recording in read_recordings("fex.csv", keep=EYES):  # doctest: +SKIP
        ...     print(recording.name, np.nanmedian(glasses(recording)))
    """
    from fgnet_plugin.faces.glasses import glasses as worn

    if not set(EYES) <= set(recording.rows):
        raise InputError(f"{recording.name}: glasses are looked for by the landmarks of the eyes, which the table lacks")
    values = np.full(len(recording), np.nan)
    eyes = recording.rows[EYES].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64).reshape(-1, 2, 12)
    points = torch.full((1, 68, 2), torch.nan)
    for i, frame in _frames(recording, video, np.isfinite(eyes).all(axis=(1, 2))):
        points[0, 36:48] = torch.from_numpy(eyes[i].T.copy())
        values[i] = float(worn(frame, points))
    return values


def _frames(recording: Recording, video: str | Path | None, wanted: npt.ArrayLike) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the rows [n] of a recording that are wanted, each with its frame, uint8 [3, H, W]."""
    frames = recording.rows.get("frame", pd.Series(range(len(recording)))).to_numpy(np.intp)
    with Video(recording.name if video is None else video) as source:
        if frames.max(initial=0) >= len(source):
            raise InputError(f"{recording.name}: the table has frame {frames.max()}, but {source.path} has {len(source)}")
        for i in np.flatnonzero(wanted).tolist():
            yield i, source[int(frames[i])]


def _corners(box: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x, y, x + width, y + height


def _boxes(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats, Floats]:
    """Return left, top, width and height, [n] each: the detector's box, or else the one around the landmarks."""
    if set(BOX) <= set(rows):
        x, y, width, height = (rows[column].to_numpy(np.float64) for column in BOX)
        return x, y, width, height
    if {"x_0", "x_67", "y_0", "y_67"} <= set(rows):
        across, down = (rows[[f"{axis}_{i}" for i in range(68)]].to_numpy(np.float64) for axis in "xy")
        return across.min(1), down.min(1), np.ptp(across, axis=1), np.ptp(down, axis=1)
    unknown = np.full(len(rows), np.nan)
    return unknown, unknown, unknown, unknown


def _column(rows: pd.DataFrame, *names: str) -> Floats:
    for name in names:
        if name in rows:
            return rows[name].to_numpy(np.float64)
    return np.full(len(rows), np.nan)
