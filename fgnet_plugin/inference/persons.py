"""Tell the persons of videos apart by where their faces are, and keep the rows of one of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.faces.tracking import link_faces
from fgnet_plugin.inference.columns import FACEBOX

WhichFaces = Literal["all", "largest", "track"]
"""Which faces of a frame are kept: see `Detector.detect`."""
_KEPT = ["FrameHeight", "FrameWidth", "input", "frame", "approx_time", "time"]  # in the row of a frame without the participant


def check_faces(faces: str) -> None:
    """Raise ValueError for anything but `WhichFaces`."""
    if faces not in get_args(WhichFaces):
        raise ValueError(f"faces must be one of {', '.join(map(repr, get_args(WhichFaces)))}, got {faces!r}")


def label_persons(fex: pd.DataFrame, videos: Collection[str]) -> None:
    """Set the column Identity of videos' rows to Person_0, Person_1, … in place, without embeddings; see `link_faces`."""
    fex["Identity"] = fex["Identity"].astype(object)
    for video in videos:
        rows = (fex["input"] == video).to_numpy()
        persons = link_faces(fex.loc[rows, "frame"].tolist(), _corners(fex.loc[rows]))
        fex.loc[rows, "Identity"] = [f"Person_{person}" if person >= 0 else np.nan for person in persons]


def choose_faces(fex: pd.DataFrame, faces: WhichFaces, videos: Collection[str]) -> pd.DataFrame:
    """Keep one face of each frame.

    Args:
        fex: rows of faces, in the order of the frames.
        faces: see `Detector.detect`.
        videos: inputs that are videos; of others, "track" keeps the largest face.

    Returns:
        A row for each frame; blank where the participant is not in it.
    """
    if faces == "all" or not len(fex):
        return fex
    chosen, absent = chosen_rows(fex, faces, videos)
    return blank(fex.loc[chosen].reset_index(drop=True), absent[chosen])


def chosen_rows(
    fex: pd.DataFrame, faces: WhichFaces, videos: Collection[str]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Choose one row of each frame, as `choose_faces` does; only places of faces, "input" and "frame" are needed.

    Returns:
        [n], whether a row is kept; [n], whether it has to be made `blank`, because it shows another person.
    """
    everyone = np.ones(len(fex), bool)
    if faces == "all" or not len(fex):
        return everyone, ~everyone
    corners = _corners(fex)
    area = np.nan_to_num((corners[:, 2:] - corners[:, :2]).prod(1))
    participant = everyone
    if faces == "track":
        for video in videos:
            rows = (fex["input"] == video).to_numpy()
            # However long the participant was away: who comes back to the place is taken for the same person.
            persons = link_faces(fex.loc[rows, "frame"].tolist(), corners[rows], patience=len(fex))
            total = np.bincount(persons + 1, area[rows])
            total[0] = -1.0  # no face
            participant[rows] = persons == total.argmax() - 1
    keys = [fex["input"].to_numpy(), fex["frame"].to_numpy()]
    best = pd.Series(np.where(participant, area, -1.0)).groupby(keys, sort=False).idxmax().to_numpy()
    chosen = np.zeros(len(fex), bool)
    chosen[best] = True
    return chosen, ~participant & fex["FaceRectX"].notna().to_numpy()


def blank(rows: pd.DataFrame, absent: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Make the rows of frames without the participant: all but the frame's own columns NaN. Changes `rows` and returns it."""
    if absent.any():
        rows.loc[absent, rows.columns.difference(_KEPT)] = np.nan
        rows.loc[absent, "FaceScore"] = 0.0
    return rows


def _corners(fex: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Boxes [n, 4]: x1, y1, x2, y2."""
    x, y, width, height = fex[FACEBOX[:4]].to_numpy(float).T
    return np.stack([x, y, x + width, y + height], 1)
