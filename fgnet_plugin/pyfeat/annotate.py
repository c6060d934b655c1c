"""Add FG-Net's AUs to tables that other detectors made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from feat.data import Fex as FeatFex

from fgnet_plugin.comparison.openface import openface_aus
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import AUS
from fgnet_plugin.inference.provenance import how_begun, settings_of, with_origin
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.pyfeat.fex import Fex
from fgnet_plugin.pyfeat.fex_frames import FrameRows, Where, in_pyfeats_format, iterate_frames, read_table
from fgnet_plugin.utils.deferred import lookahead
from fgnet_plugin.utils.journal import ABOUT
from fgnet_plugin.utils.progress import tqdm
from fgnet_plugin.utils.threads import gradients_kept


def annotate(
    fex: pd.DataFrame | str | Path,
    au_model: str | Path | AUModel = "fgnet",
    *,
    source: Where = None,
    previous: str | Literal[False] | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = 16,
    au_batch_size: int = 8,
    precision: Precision | None = None,
    progress_bar: bool = True,
) -> Fex:
    """Add FG-Net's AUs to a table by its landmarks: no face, landmark or emotion is detected again.

    Args:
        fex: a Fex or its CSV file: of py-feat's ``Detectorv1``, ``Detectorv2`` or ``MPDetector``, or of OpenFace. OpenFace's
            tables are known by their columns (``AU01_r`` …, or ``success`` and ``confidence``): their frames count from 1.
        au_model: as in `Detector`, or a loaded `AUModel`.
        source: where the pictures and videos are, if not where the column "input" says: a file for all rows (which an
            OpenFace table needs as it is), a folder, or {input: path}.
        previous: keep the AU columns that FG-Net's replace, with this in front of their names. By default, OpenFace's are
            kept (intensities, presence, AU45) as ``openface_AU45_r``, and others are left out; False leaves out all.
        device, precision: where and how FG-Net computes; see `Detector`.
        batch_size: frames in memory at once; on an NVIDIA GPU twice as many.
        au_batch_size: faces that go through the network at once.
        progress_bar: show one, with frames per second.

    Returns:
        `Fex`: a copy with py-feat's 20 AU columns from FG-Net, NaN for AUs that it does not know and for rows without a
        face. One of an OpenFace table says, as py-feat's do, which picture or video a row is from (``input``) and which
        frame, from 0; OpenFace's ``confidence`` is ``FaceScore``, its other columns stay.

    Raises:
        FileNotFoundError, InputError: a picture or video that is missing, or not the one of the table; a table without
            landmarks, or with rows that have no number in the column "frame".
        CheckpointError, DownloadError: see `Detector`.

    Example:
        >>> new = annotate("openface.csv", source="video.mp4")  # doctest: +SKIP
        >>> new[["frame", "AU12", "openface_AU12_r"]]  # doctest: +SKIP
    """
    table = read_table(fex)
    with gradients_kept():
        model = au_model if isinstance(au_model, AUModel) else AUModel(au_model, device, au_batch_size, precision)
        aus = np.full((len(table), len(AUS)), np.nan, np.float32)
        known = np.array([AUS.index(au) for au in model.aus])
        with tqdm(total=_frame_count(table), unit="frame", disable=not progress_bar) as bar:
            started = (
                (batch, model.submit([rows.image for rows in batch], [rows.landmarks for rows in batch]))
                for batch in _batched(iterate_frames(table, source), batch_size)
            )
            for batch, reading in lookahead(started) if model.overlaps else started:
                positions = np.concatenate([rows.positions for rows in batch])
                aus[np.ix_(positions, known)] = reading.result().scores.numpy()
                bar.update(len(batch))
    found = _with_aus(table, in_pyfeats_format(table, source), aus, model.name, previous)
    return with_origin(found, _origin(fex, model))


def _origin(fex: pd.DataFrame | str | Path, model: AUModel) -> dict[str, Any]:
    """Say how an annotated table was made: what its own run said, and what has changed since."""
    before = settings_of(fex)
    models = before.get("models", {})
    return {
        **before,
        ABOUT: before.get(ABOUT, {}) | {name: value for name, value in how_begun({}).items() if value},
        "models": models | {"au_model": model.name},
        "checkpoint": model.digest,
        "precision": model.precision,
        "annotated": {"table": None if isinstance(fex, pd.DataFrame) else str(fex), "au_model": models.get("au_model")},
    }


def _frame_count(table: pd.DataFrame) -> int:
    keys = [name for name in ("input", "frame") if name in table.columns]
    return len(pd.DataFrame(table)[keys].drop_duplicates()) if keys else len(table)


def _batched(frames: Iterable[FrameRows], size: int) -> Iterator[list[FrameRows]]:
    frames = iter(frames)
    while batch := list(islice(frames, size)):
        yield batch


def _with_aus(
    table: pd.DataFrame, plain: pd.DataFrame, aus: np.ndarray[Any, Any], name: str, previous: str | Literal[False] | None
) -> Fex:
    """Copy the table with the AU columns in the place of its first one, and with the table's metadata."""
    openface = openface_aus(map(str, plain.columns))
    replaced = {*AUS, *(getattr(table, "au_columns", None) or ()), *openface}
    old = [column for column in plain.columns if column in replaced]
    place = plain.columns.get_loc(old[0]) if old else len(plain.columns)
    if previous is None:
        kept = plain[openface].add_prefix("openface_")
    else:
        kept = plain[old if previous else []].add_prefix(previous or "")
    rest = plain.drop(columns=old)
    new = pd.DataFrame(aus, columns=AUS, index=plain.index)
    parts = [rest.iloc[:, :place], new, rest.iloc[:, place:], kept]
    metadata = {key: getattr(table, key, None) for key in FeatFex._metadata if key not in ("fex_columns", "sessions")}
    metadata |= {"au_columns": AUS, "au_model": name}
    return Fex(pd.concat(parts, axis=1), **metadata, sessions=getattr(table, "sessions", None))
