"""The columns of py-feat's tables, and rows of faces in them, without py-feat.

Names, order and types are those of the Fex of py-feat's `Detectorv1`; a test compares them with py-feat's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.action_units import NAMES, au_name
from fgnet_plugin.faces.finder import FoundFaces

AUS: list[str] = [au_name(number) for number in NAMES]
"""The 20 AU columns, ``AU01`` … ``AU43``."""
FACEBOX = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
LANDMARKS = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
"""``x_0`` … ``x_67``, ``y_0`` … ``y_67``, in dlib's order."""
POSE = ["Pitch", "Roll", "Yaw", "X", "Y", "Z"]
EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
IDENTITY = [f"Identity_{i}" for i in range(1, 513)]
GAZE = ["gaze_pitch", "gaze_yaw", "gaze_angle"]
WhichColumns = Literal["all", "faces", "aus"]
"""The columns of a table: py-feat's 695; without emotions, identities and gaze; or also without landmarks and head poses."""
_FLOAT32 = [*FACEBOX, *LANDMARKS, *POSE, *AUS, *EMOTIONS, *IDENTITY]
_FLOAT64 = [*GAZE, "FrameHeight", "FrameWidth"]
_BOX_MARGIN = 1.2  # py-feat's boxes are wider and higher than the face by this factor


def known_aus(table: pd.DataFrame) -> list[str]:
    """List the AUs of a table that are not NaN throughout."""
    return [au for au in AUS if au in table.columns and table[au].notna().any()]


def check_columns(columns: str) -> None:
    """Raise ValueError for anything but `WhichColumns`."""
    if columns not in get_args(WhichColumns):
        raise ValueError(f"columns must be one of {', '.join(map(repr, get_args(WhichColumns)))}, got {columns!r}")


def select_columns(names: Iterable[str], columns: WhichColumns) -> list[str]:
    """List which of a table's columns stay, in their order; see `WhichColumns`.

    Example:
        >>> select_columns(["FaceScore", "x_0", "AU12", "anger", "input"], "aus")
        ['FaceScore', 'AU12', 'input']
    """
    left_out: set[str] = set()
    if columns != "all":
        left_out.update(EMOTIONS, IDENTITY, GAZE)
    if columns == "aus":
        left_out.update(LANDMARKS, POSE, ("FrameHeight", "FrameWidth"))
    return [name for name in names if name not in left_out]


def rows_of_faces(
    found: Sequence[FoundFaces],
    sizes: Sequence[tuple[int, int]],
    aus: Sequence[str],
    scores: npt.NDArray[np.float32],
) -> pd.DataFrame:
    """Make the rows of frames: one for each face, and one for a frame without a face, with NaN and the FaceScore 0.

    Emotions, identities and gaze are NaN. "input", "frame" and what follows are for the caller to add.

    Args:
        found: the faces of each frame.
        sizes: height and width of each frame.
        aus: the A action units of the scores.
        scores: [F, A], of all faces in order.

    Returns:
        As many rows as faces and frames without one; "x_0" … in pixels, "Pitch", "Roll" and "Yaw" in radians.

    Example:
        >>> rows = rows_of_faces([FoundFaces.none()], [(360, 640)], ["AU12"], np.empty((0, 1), np.float32))
        >>> rows["FaceScore"].tolist(), rows["FrameWidth"].tolist(), rows["AU12"].isna().tolist()
        ([0.0], [640.0], [True])
    """
    counts = [max(len(faces), 1) for faces in found]
    faces_in_row = np.repeat([len(faces) > 0 for faces in found], counts)
    values = np.full((sum(counts), len(_FLOAT32)), np.nan, np.float32)
    values[:, FACEBOX.index("FaceScore")] = 0

    def put(name: str, block: npt.NDArray[np.float32]) -> None:
        start = _FLOAT32.index(name)
        values[faces_in_row, start : start + block.shape[1]] = block

    if faces_in_row.any():
        boxes = np.concatenate([faces.boxes.numpy() for faces in found])
        put("FaceRectX", np.concatenate([_pyfeat_box(boxes[:, :4]), boxes[:, 4:]], 1))
        landmarks = np.concatenate([faces.landmarks.numpy() for faces in found])
        put("x_0", landmarks.swapaxes(1, 2).reshape(-1, 136))
        put("Pitch", np.concatenate([faces.pose.numpy() for faces in found]))
        known = np.full((len(scores), len(AUS)), np.nan, np.float32)
        known[:, [AUS.index(au) for au in aus]] = scores
        put("AU01", known)
    rows = pd.DataFrame(values, columns=_FLOAT32)
    size = np.repeat(np.array(sizes, float).reshape(-1, 2), counts, axis=0)
    more = np.concatenate([np.full((len(rows), len(GAZE)), np.nan), size], 1)
    return pd.concat([rows, pd.DataFrame(more, columns=_FLOAT64)], axis=1)


def _pyfeat_box(corners: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Boxes [n, 4] from corner to corner -> left, top, width and height as in py-feat: with a margin, in whole pixels."""
    low, high = corners[:, :2], corners[:, 2:]
    centre, half = (low + high) / 2, (high - low) * np.float32(_BOX_MARGIN) / 2
    left_top = np.round(centre - half)
    return np.concatenate([left_top, np.round(centre + half) - left_top], 1)
