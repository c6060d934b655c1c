"""Ask a student's teacher about some new frames, and warn where they agree less than the student's card says."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.errors import CheckpointError, InputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import LANDMARKS
from fgnet_plugin.inference.faces_again import check_places, scores_again
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.tables import read_pieces
from fgnet_plugin.utils.text import counted

_RESAMPLES, _LOWER = 1000, 0.025
_LEAST = 5  # faces, below which nothing can be said


def verify_student(
    fex: pd.DataFrame | Iterable[pd.DataFrame],
    student: str | Path | AUModel,
    count: int = 50,
    *,
    teacher: str | Path | AUModel | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> pd.DataFrame:
    """Compare a student with its teacher on random faces of a table that the student has made.

    The student's card says how far it may be from its teacher for another person like the held-out ones. Where it is further,
    and by more than the chance of drawing just these faces allows for, the recordings are unlike those that it learned from,
    and a warning names the AUs.

    Args:
        fex: table of the student, whole or in pieces, with landmarks; its files must be there.
        student: the student's weights.
        count: of faces.
        teacher: where it is; by default, what the student's card names.
        device: where the teacher computes.
        seed: of the choice of faces.

    Returns:
        A row for each AU: ``AU``, ``name``, ``n``, ``rms`` (root mean square of student − teacher), ``rms_low`` (lower limit
        of its 95 % bootstrap interval), ``expected`` (the card's, over all held-out people), ``bound`` (the card's, for another
        person), ``unlike`` (whether ``rms_low`` is over ``bound``).

    Raises:
        InputError: weights that are no student; a table without faces or landmarks.
        CheckpointError: the teacher is not there, or another one than the student had.

    Warns:
        UserWarning: AUs on which the student agrees less with its teacher than its card says.

    Example:
        >>> table = OfflineDetector("student.safetensors").detect("new.mp4")  # doctest: +SKIP
        >>> verify_student(table, "student.safetensors", 50)  # doctest: +SKIP
    """
    if count < _LEAST:
        raise ValueError(f"at least {_LEAST} faces must be compared, got {count}")
    pupil = student if isinstance(student, AUModel) else AUModel(student, device, fetch=False, weak_aus=True)
    agreement, named = _card(pupil)
    master = _teacher(pupil, teacher or named["name"], named["digest"], device)
    rows = _drawn([fex] if isinstance(fex, pd.DataFrame) else fex, count, seed)
    if len(rows) < _LEAST:
        raise InputError(f"the table has {counted(len(rows), 'face')}: too few to compare student and teacher on")
    scores = scores_again(rows, master)
    table = pd.DataFrame([_compared(rows[au], scores[:, i], au, agreement) for i, au in enumerate(master.aus)])
    unlike = table[table["unlike"]]
    if len(unlike):
        warnings.warn(
            f"{pupil.name} agrees with its teacher less than its report lets expect, in {', '.join(unlike['AU'])} "
            f"({int(table['n'].max())} faces): these recordings are unlike those that it learned from. Train a student on "
            f"some of them, or use {master.name} itself",
            stacklevel=2,
        )
    return table


def check_verify(count: int, au_model: AUModel | None, columns: str) -> None:
    """Raise InputError or ValueError where a run can't be verified, before it begins; a `count` of 0 asks for nothing."""
    if not count:
        return
    if count < _LEAST:
        raise ValueError(f"at least {_LEAST} faces must be compared, got {count}")
    if au_model is None:
        raise InputError("only a student of `fgnet train student` has a teacher to verify it with")
    if columns == "aus":
        raise InputError("to verify a student, its table needs landmarks: columns faces, or all")
    _card(au_model)


def pieces_of_run(table: pd.DataFrame | Path, relative_to: str | Path | None) -> Iterator[pd.DataFrame]:
    """Yield a run's rows, their inputs as paths that can be opened."""
    for piece in [table] if isinstance(table, pd.DataFrame) else read_pieces(table):
        if relative_to is not None:
            piece = piece.assign(input=[str(Path(relative_to) / name) for name in piece["input"]])
        yield pd.DataFrame(piece)


def _card(student: AUModel) -> tuple[dict[str, dict[str, float | None]], dict[str, str]]:
    """Return what a student's card says of its agreement, and of its teacher."""
    training = read_info(student.path).training
    if "agreement" not in training or "teacher" not in training:
        raise InputError(f"{student.name} is no student of `fgnet train student`: it has no teacher to compare it with")
    return training["agreement"], training["teacher"]


def _teacher(student: AUModel, wanted: str | Path | AUModel, digest: str, device: str | torch.device) -> AUModel:
    try:
        found = wanted if isinstance(wanted, AUModel) else AUModel(wanted, device, fetch=False)
    except CheckpointError as error:
        raise CheckpointError(f"the teacher of {student.name} is needed: {error}; say where it is, as teacher") from error
    if found.digest != digest:
        raise CheckpointError(f"{found.name} is not the teacher of {student.name}: its weights are others")
    return found


def _drawn(pieces: Iterable[pd.DataFrame], count: int, seed: int) -> pd.DataFrame:
    """Draw rows with landmarks: those with the smallest of random numbers, so that it does not matter how the table comes."""
    generator = np.random.default_rng(seed)
    kept, draws = pd.DataFrame(), np.empty(0)
    for piece in pieces:
        check_places(piece)
        draw = generator.random(len(piece))
        of_faces = piece[LANDMARKS].notna().all(axis=1).to_numpy()
        more = piece[of_faces]
        rows = more if kept.empty else pd.concat([kept, more], ignore_index=True)
        draws = np.concatenate([draws, draw[of_faces]])
        smallest = np.argsort(draws)[:count]
        kept, draws = rows.iloc[smallest], draws[smallest]
    return kept.reset_index(drop=True)


def _compared(column: pd.Series, teacher: Floats, au: str, agreement: dict[str, dict[str, float | None]]) -> dict[str, object]:
    squares = (column.to_numpy(float) - teacher) ** 2
    squares = squares[np.isfinite(squares)]
    row: dict[str, object] = {"AU": au, "name": facs_name(au), "n": len(squares)}
    of_card = agreement.get(au, {})
    expected, bound = (float("nan") if of_card.get(key) is None else of_card[key] for key in ("rms", "rms_bound"))
    if len(squares) < _LEAST:  # of a weak AU, which the table does not have
        return row | {"rms": np.nan, "rms_low": np.nan, "expected": expected, "bound": bound, "unlike": False}
    draws = np.random.default_rng(0).integers(len(squares), size=(_RESAMPLES, len(squares)))
    low = float(np.sqrt(np.quantile(squares[draws].mean(1), _LOWER)))
    rms = float(np.sqrt(squares.mean()))
    return row | {"rms": rms, "rms_low": low, "expected": expected, "bound": bound, "unlike": bool(low > (bound or 0.0))}
