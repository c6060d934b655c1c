"""A student reads every frame, its teacher those where the student is unsure and a random sample of the rest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import FACEBOX, LANDMARKS
from fgnet_plugin.inference.faces_again import check_places, scores_again
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.journal import Journal

SOURCE = "source"
_BATCH = 100  # faces that an interruption loses at most
STUDENT, UNSURE, SAMPLE = "student", "teacher: unsure", "teacher: sample"
"""Values of the column `SOURCE`."""


@dataclass(frozen=True, eq=False)
class Cascade:
    """Result of `cascade`."""

    table: pd.DataFrame
    """The student's table with the teacher's scores in the rows that it read, and the column "source"."""
    labels: pd.DataFrame
    """The teacher's decisions, as labels for `measures.prediction_powered` of the *student's* table: ``input``, ``frame``, the
    face's box, ``weight`` (how many faces each stands for), and AUs, 1 or 0."""


def cascade(
    fex: pd.DataFrame,
    teacher: str | Path | AUModel,
    *,
    unsure: float = 0.1,
    sample: float = 0.05,
    device: str | torch.device = "cpu",
    seed: int = 0,
    save: str | Path | None = None,
    relative_to: str | Path | None = None,
    progress: bool = False,
) -> Cascade:
    """Let a teacher read the faces of a student's table where the student is least sure, and some of the others.

    Args:
        fex: the student's table, with landmarks; its files must be there.
        teacher: the weights, by name, file or loaded.
        unsure: share of the faces that are read because a score of the student is near 0.5: the nearest ones.
        sample: share of the other faces that is read by chance. It makes base rates valid that are estimated from `labels`.
        device: where the teacher computes.
        seed: of the sample.
        save: a .csv that grows with the teacher's scores, so that the same call goes on after an interruption; without, nothing
            is kept. It may be removed at the end.
        relative_to: a folder below which the files are whose names the column "input" has.
        progress: show a bar, with the time left.

    Raises:
        InputError: a table without faces, landmarks or scores; shares that leave nothing to read.

    Example:
        >>> table = OfflineDetector("student.safetensors").detect("long.mp4")  # doctest: +SKIP
        >>> found = cascade(table, "fgnet-bp4d")  # doctest: +SKIP
        >>> found.table["source"].value_counts()  # doctest: +SKIP
    """
    if not (0 <= unsure < 1 and 0 < sample <= 1):
        raise ValueError(f"unsure must be at least 0 and below 1, sample over 0 and at most 1; got {unsure} and {sample}")
    check_places(fex)
    model = teacher if isinstance(teacher, AUModel) else AUModel(teacher, device)
    aus = [au for au in model.aus if au in fex and fex[au].notna().any()]
    faces = np.flatnonzero(fex[LANDMARKS].notna().all(axis=1).to_numpy())
    if not aus or not len(faces):
        raise InputError(f"the table has no scores of {model.name}'s AUs; those of a student's weak AUs come with --weak-aus")
    certainty = np.abs(fex[aus].to_numpy(float)[faces] - 0.5)
    doubtful = np.argsort(np.nanmin(np.where(np.isnan(certainty), np.inf, certainty), axis=1), kind="stable")
    first, rest = np.split(faces[doubtful], [round(unsure * len(faces))])
    drawn = np.random.default_rng(seed).choice(rest, max(round(sample * len(rest)), 1), replace=False)
    source = np.full(len(fex), STUDENT, object)
    source[first], source[drawn] = UNSURE, SAMPLE
    weight = np.ones(len(fex))
    weight[drawn] = len(rest) / len(drawn)
    read = np.sort(np.concatenate([first, drawn]))
    rows = fex.iloc[read].reset_index(drop=True)
    at = rows if relative_to is None else rows.assign(input=[str(Path(relative_to) / name) for name in rows["input"]])
    scores = _read(at, model, None if save is None else Path(save), progress)
    table = fex.copy()
    for i, au in enumerate(model.aus):
        values = table[au].to_numpy(float).copy() if au in table else np.full(len(table), np.nan)
        values[read] = scores[:, i]
        table[au] = values
    table[SOURCE] = source
    labels = rows[[name for name in ("input", "frame", *FACEBOX[:4]) if name in rows]].assign(weight=weight[read])
    present = {au: np.where(np.isnan(scores[:, i]), np.nan, scores[:, i] > 0.5) for i, au in enumerate(model.aus) if au in aus}
    return Cascade(table, labels.assign(**present))


def _read(rows: pd.DataFrame, model: AUModel, save: Path | None, progress: bool) -> Floats:
    """Let a model read the faces of rows: scores [rows, AUs]."""
    journal = None
    if save is not None:
        places = rows[["input", "frame", LANDMARKS[0]]].to_csv(index=False).encode()
        settings = {"checkpoint": model.digest, "faces": hashlib.sha256(places).hexdigest()}
        journal = Journal(save, settings, resume=True)
    batches = [range(start, min(start + _BATCH, len(rows))) for start in range(0, len(rows), _BATCH)]
    done = 0 if journal is None else journal.batches
    parts = [journal.read().to_numpy(float)] if journal is not None and done else []
    with tqdm(total=len(rows), initial=sum(map(len, batches[:done])), unit="face", disable=not progress) as bar:
        for batch in batches[done:]:
            scores = scores_again(rows.iloc[batch.start : batch.stop], model)
            if journal is not None:
                journal.append(pd.DataFrame(scores, columns=list(model.aus)))
            parts.append(scores)
            bar.update(len(batch))
    return np.concatenate(parts)
