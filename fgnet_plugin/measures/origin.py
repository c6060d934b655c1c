"""Find out which weights and face models the AUs of a table are from, so that a calibration is never used for others."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.comparison.openface import is_openface
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.made_by import MadeBy

OPENFACE = MadeBy("OpenFace", "OpenFace", "OpenFace")
_DIGEST = re.compile("[0-9a-f]{64}")


def made_by(weights: str | Path, face_model: str, landmark_model: str) -> MadeBy:
    """Say what made a table that does not say it itself, such as a CSV without the ``.run`` file beside it.

    Args:
        weights: name or file of FG-Net's weights, or their digest; or the name of py-feat's AU model, "xgb" or "svm".
        face_model, landmark_model: as of `Detector`: such as "bundled", which ``fgnet detect --offline`` uses.

    Raises:
        CheckpointError: no such weights.

    Example:
        >>> made_by("xgb", "retinaface", "mobilefacenet").weights
        'xgb'
    """
    name = str(weights)
    if name not in ("xgb", "svm", OPENFACE.weights) and not _DIGEST.fullmatch(name):
        name = read_info(resolve("fgnet-bp4d" if name == "fgnet" else name)).digest
    return MadeBy(name, face_model, landmark_model)


def origin_of(table: pd.DataFrame, given: MadeBy | str | Path | None = None, what: str = "the table") -> MadeBy:
    """Find what a table was made by.

    Args:
        table: of AUs.
        given: what the caller says: from `made_by`, or the file that the table was read from, beside which ``fgnet detect``
            wrote what it was made by. Default: what the table's attributes say, as those of `detect`'s result do. OpenFace's
            tables are known by their columns, and py-feat's own AU models by the Fex.
        what: the table's name in messages.

    Raises:
        InputError: neither says it, or they contradict each other.

    Example:
        >>> openface = pd.DataFrame({"frame": [1], "success": [1], "AU12_r": [2.5], "AU12_c": [1.0]})
        >>> origin_of(openface).weights
        'OpenFace'
    """
    noted = MadeBy.of_table(table) or _of_other_tools(table)
    if isinstance(given, (str, Path)):
        path = Path(given)
        given = MadeBy.of_file(path) or noted
        what = str(path)
    if given is None and noted is None:
        raise InputError(
            f"{what} does not say which weights and face models it was made by, and a calibration holds only for the same: keep"
            " the file that ends in .run beside the table of fgnet detect, or say it with made_by=measures.made_by(weights,"
            " face_model, landmark_model), on the command line --weights, --face-model and --landmark-model"
        )
    if given is not None and noted is not None and given != noted:
        raise InputError(f"{what} says that it was made by {described(noted)}, and not by {described(given)}")
    found = given or noted
    assert found is not None
    return found


def described(of: MadeBy) -> str:
    """Say it in words, of digests their first 12 digits."""
    weights = of.weights[:12] if _DIGEST.fullmatch(of.weights) else of.weights
    return f"weights {weights}, face model {of.face_model or 'unknown'}, landmark model {of.landmark_model or 'unknown'}"


def _of_other_tools(table: pd.DataFrame) -> MadeBy | None:
    if is_openface([str(name).strip() for name in table.columns]):
        return OPENFACE
    names = {kind: getattr(table, kind, None) for kind in ("au_model", "face_model", "landmark_model")}
    return MadeBy.of_models(None, names) if names["au_model"] in ("xgb", "svm") else None
