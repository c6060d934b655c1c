"""What a table says of each input, gathered while its rows pass by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fgnet_plugin.inference.columns import AUS

_PRESENT = 0.5


@dataclass
class _OfInput:
    frames: int = 0
    with_face: int = 0
    faces: int = 0
    last: int | None = None
    """Number of the last frame: its rows may come in two pieces."""
    last_with_face: int | None = None
    total: pd.Series = field(default_factory=lambda: pd.Series(0.0, AUS))
    present: pd.Series = field(default_factory=lambda: pd.Series(0.0, AUS))
    known: pd.Series = field(default_factory=lambda: pd.Series(0.0, AUS))


class Summary:
    """Counts frames and faces of each input, and averages its AUs, in pieces of a table that pass by in order.

    Example:
        >>> summary = Summary()
        >>> summary.add(pd.DataFrame({"input": "a.mp4", "frame": [0, 1], "FaceRectX": [9, np.nan], "AU12": [0.75, np.nan]}))
        >>> summary.table().to_dict("records")
        [{'input': 'a.mp4', 'frames': 2, 'frames_with_face': 1, 'faces': 1, 'AU12': 0.75, 'AU12_present': 1.0}]
    """

    def __init__(self) -> None:
        self._inputs: dict[str, _OfInput] = {}
        self.rows = 0

    def add(self, rows: pd.DataFrame) -> None:
        """Count the next rows: with "input", "frame", "FaceRectX" and AUs."""
        self.rows += len(rows)
        for name, part in rows.groupby("input", sort=False):
            of = self._inputs.setdefault(str(name), _OfInput())
            faces = part[part["FaceRectX"].notna()]
            of.frames += _new(part["frame"], of.last)
            of.with_face += _new(faces["frame"], of.last_with_face)
            of.faces += len(faces)
            of.last = int(part["frame"].iloc[-1])
            of.last_with_face = int(faces["frame"].iloc[-1]) if len(faces) else of.last_with_face
            values = part.reindex(columns=AUS).astype(float)
            of.total += values.sum()
            of.present += (values > _PRESENT).sum()
            of.known += values.notna().sum()

    @property
    def frames_of_inputs(self) -> dict[str, int]:
        """How many frames each input has that has rows."""
        return {name: of.frames for name, of in self._inputs.items()}

    @property
    def frames(self) -> int:
        """Frames of all inputs."""
        return sum(self.frames_of_inputs.values())

    def table(self) -> pd.DataFrame:
        """Make a table with a row for each input.

        Returns:
            "input"; "frames", "frames_with_face" and "faces", counts; for each AU with values its mean score in [0, 1], and as
            "AU12_present" the share of faces in which it is over 0.5.
        """
        counts = [
            {"input": name, "frames": of.frames, "frames_with_face": of.with_face, "faces": of.faces}
            for name, of in self._inputs.items()
        ]
        made = pd.DataFrame(counts, columns=["input", "frames", "frames_with_face", "faces"])
        for au in AUS:
            known = np.array([of.known[au] for of in self._inputs.values()], float)
            if not known.any():
                continue
            known[known == 0] = np.nan
            made[au] = np.array([of.total[au] for of in self._inputs.values()]) / known
            made[f"{au}_present"] = np.array([of.present[au] for of in self._inputs.values()]) / known
        return made


def _new(frames: pd.Series, last: int | None) -> int:
    """Count the different frames but for `last`, which was counted before."""
    numbers = set(frames)
    return len(numbers) - (last in numbers)
