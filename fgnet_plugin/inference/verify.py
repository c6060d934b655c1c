"""Compare a student with its teacher on some new frames, and these with the recordings of the student's study."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, read_info
from fgnet_plugin.errors import CheckpointError, InputError
from fgnet_plugin.inference.appearance import LEAST_PEOPLE, QUALITIES, Difference, Looks, describe, unlike
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import AUS, LANDMARKS
from fgnet_plugin.inference.faces_again import NEEDED, check_places, faces_again
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.tables import read_pieces
from fgnet_plugin.utils.text import counted

_RESAMPLES, _LOWER = 1000, 0.025
_LEAST = 5  # faces, below which nothing can be said of the agreement
_OF_EACH = 20  # faces of each file, at least, whose looks are compared
_MOST_NAMED = 5  # files in a warning
_NEEDED = {*NEEDED, *AUS}  # columns


@dataclass(frozen=True, eq=False)
class Verification:
    """Result of `verify_student`."""

    agreement: pd.DataFrame
    """A row for each AU: ``AU``, ``name``, ``n``, ``rms`` (root mean square of student − teacher), ``rms_low`` (lower limit of
    its 95 % bootstrap interval), ``expected`` (the card's, over all held-out people), ``bound`` (the same, for another person),
    ``unlike`` (whether ``rms_low`` is over ``bound``). Empty where there are fewer than 5 faces."""
    looks: dict[str, list[Difference]]
    """File -> in what it looks unlike the recordings of the student's study; empty where the student's card does not know."""
    warnings: tuple[str, ...]
    """What is to be said of `looks`, and of `agreement`."""


def verify_student(
    fex: pd.DataFrame | Iterable[pd.DataFrame],
    student: str | Path | AUModel,
    count: int = 50,
    *,
    teacher: str | Path | AUModel | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Verification:
    """Compare a student with its teacher on random faces of a table, and the faces with those of the student's study.

    The student's card says how far it may be from its teacher for another person like the held-out ones. Where it is further,
    and by more than the chance of drawing just these faces allows for, a warning names the AUs. And the card says how the
    recordings of the study look: where files look otherwise, such as darker or without colour, a warning says in what, whether
    student and teacher agree there or not; see `appearance.unlike`.

    Args:
        fex: table of the student, whole or in pieces, with landmarks; its files must be there.
        student: the student's weights.
        count: of faces that the teacher reads; the looks are those of 20 of each file at least.
        teacher: where it is; by default, what the student's card names.
        device: where the teacher computes.
        seed: of the choice of faces.

    Raises:
        InputError: weights that are no student; a table without landmarks or with fewer than 5 faces.
        CheckpointError: the teacher is not there, or another one than the student had.

    Warns:
        UserWarning: AUs on which the student agrees less with its teacher than its card says; files that look unlike those of
            the study; a card that does not say how these look.

    Example:
        >>> table = OfflineDetector("student.safetensors").detect("new.mp4")  # doctest: +SKIP
        >>> verify_student(table, "student.safetensors", 50).agreement  # doctest: +SKIP
    """
    _check_count(count)
    verifier = Verifier(student, teacher, device)
    drawn = DrawnFaces(count, seed)
    for piece in [fex] if isinstance(fex, pd.DataFrame) else fex:
        drawn.add(piece)
    if len(drawn.rows) < _LEAST:
        raise InputError(f"the table has {counted(len(drawn.rows), 'face')}: too few to compare student and teacher on")
    found = verifier.verify(drawn)
    for text in [*notes_on(verifier.info, verifier.student.name), *found.warnings]:
        warnings.warn(text, stacklevel=2)
    return found


class DrawnFaces:
    """Random rows with landmarks of a table that comes in pieces; how it is cut does not matter.

    Args:
        count: of rows for the comparison with the teacher: the first so many of `rows`.
        seed: of the choice.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count, self._generator = count, np.random.default_rng(seed)
        self.rows = pd.DataFrame()
        """In the order of the random numbers drawn for them: the smallest of all, and of each file."""
        self._draws: Floats = np.empty(0)

    def add(self, piece: pd.DataFrame) -> None:
        """Draw from the next rows, too. Raises InputError for rows without the columns that are needed."""
        check_places(piece)
        draw = self._generator.random(len(piece))
        of_faces = piece[LANDMARKS].notna().all(axis=1).to_numpy()
        more = piece.loc[of_faces, [name for name in map(str, piece.columns) if name in _NEEDED]]
        rows = more if self.rows.empty else pd.concat([self.rows, more], ignore_index=True)
        draws = np.concatenate([self._draws, draw[of_faces]])
        order = np.argsort(draws)
        rows, draws = rows.iloc[order].reset_index(drop=True), draws[order]
        kept = (np.arange(len(rows)) < self.count) | (rows.groupby("input", sort=False).cumcount().to_numpy() < _OF_EACH)
        self.rows, self._draws = rows[kept].reset_index(drop=True), draws[kept]


class Verifier:
    """Verifies what a student made of recordings.

    Args:
        student, teacher, device: see `verify_student`, also for what is raised.
    """

    def __init__(self, student: str | Path | AUModel, teacher: str | Path | AUModel | None, device: str | torch.device) -> None:
        self.student = student if isinstance(student, AUModel) else AUModel(student, device, fetch=False, weak_aus=True)
        self.info = read_info(self.student.path)
        self._agreement, named = _card(self.info, self.student.name)
        self.teacher = _teacher(self.student, teacher or named["name"], named["digest"], device)
        self._looks = Looks.from_json(self.info.training.get("looks", {}))

    def verify(self, drawn: DrawnFaces) -> Verification:
        """Verify what the student made of drawn faces. Nothing is warned of; see `Verification.warnings`."""
        rows, aus = drawn.rows, self.teacher.aus
        scores: Floats = np.full((min(drawn.count, len(rows)), len(aus)), np.nan)
        seen: Floats = np.full((len(rows), len(QUALITIES)), np.nan)
        for places, image, points in faces_again(rows) if len(rows) else ():
            if self._looks is not None:
                seen[places] = describe(image, points)
            asked = places < len(scores)
            if asked.any() and len(rows) >= _LEAST:
                scores[places[asked]] = self.teacher.read([image], [points[asked]]).scores.numpy()
        compared = list(enumerate(aus)) if len(rows) >= _LEAST else []
        agreement = pd.DataFrame([_compared(rows[au][: len(scores)], scores[:, i], au, self._agreement) for i, au in compared])
        looks: dict[str, list[Difference]] = {}
        if self._looks is not None and len(rows):
            looks = {str(name): unlike(seen[which], self._looks) for name, which in rows.groupby("input").indices.items()}
        said = [self._on_looks(looks), self._on_agreement(agreement, list(dict.fromkeys(rows["input"]) if len(rows) else ()))]
        return Verification(agreement, looks, tuple(filter(None, said)))

    def _on_looks(self, looks: dict[str, list[Difference]]) -> str:
        other = {name: "; ".join(map(str, found)) for name, found in looks.items() if found}
        if not other:
            return ""
        study = f"the recordings of {self.student.name}'s study"
        if len(looks) == 1:
            said = "".join(f"{name} looks unlike {study}: {text}" for name, text in other.items())
        else:
            named = [f"{name}: {text}" for name, text in other.items()][:_MOST_NAMED]
            more = f"; and {len(other) - len(named)} more" if len(other) > len(named) else ""
            said = f"{len(other)} of {len(looks)} files look unlike {study}: {'. '.join(named)}{more}"
        return (
            f"{said}. The student's report does not tell how well it reads such faces: compare more of them (--verify 200), or "
            "train a student on some of them (of files like the study's, up to 1 in 20 are called unlike)"
        )

    def _on_agreement(self, agreement: pd.DataFrame, files: list[str]) -> str:
        if not len(agreement) or not agreement["unlike"].any():
            return ""
        where = files[0] if len(files) == 1 else f"{len(files)} files"
        return (
            f"{where}: {self.student.name} agrees with its teacher less than its report lets expect, in "
            f"{', '.join(agreement.loc[agreement['unlike'], 'AU'])} ({int(agreement['n'].max())} faces). Don't use these AUs "
            f"of it here: train a student on some of these recordings, or use {self.teacher.name} itself"
        )


def notes_on(info: CheckpointInfo, name: str) -> list[str]:
    """Say what a student's card does not allow to be compared. Raises InputError for weights that are no student."""
    _card(info, name)
    looks = Looks.from_json(info.training.get("looks", {}))
    if looks is None:
        return [f"{name} was made by another version, and does not say how its recordings look: only agreement is compared"]
    if looks.people < LEAST_PEOPLE:
        return [f"the study of {name} has {looks.people} people: of so few, hardly any difference in looks can be told"]
    return []


def check_verify(count: int, au_model: AUModel | None, columns: str) -> None:
    """Raise InputError or ValueError where a run can't be verified, before it begins; a `count` of 0 asks for nothing."""
    if not count:
        return
    _check_count(count)
    if au_model is None:
        raise InputError("only a student of `fgnet train student` has a teacher to verify it with")
    if columns == "aus":
        raise InputError("to verify a student, its table needs landmarks: columns faces, or all")
    _card(read_info(au_model.path), au_model.name)


def _check_count(count: int) -> None:
    if count < _LEAST:
        raise ValueError(f"at least {_LEAST} faces must be compared, got {count}")


def pieces_of_run(table: pd.DataFrame | Path, relative_to: str | Path | None) -> Iterator[pd.DataFrame]:
    """Yield a run's rows, their inputs as paths that can be opened."""
    for piece in [table] if isinstance(table, pd.DataFrame) else read_pieces(table):
        if relative_to is not None:
            piece = piece.assign(input=[str(Path(relative_to) / name) for name in piece["input"]])
        yield pd.DataFrame(piece)


def _card(info: CheckpointInfo, name: str) -> tuple[dict[str, dict[str, float | None]], dict[str, Any]]:
    """Return what a student's card says of its agreement, and of its teacher."""
    if "agreement" not in info.training or "teacher" not in info.training:
        raise InputError(f"{name} is no student of `fgnet train student`: it has no teacher to compare it with")
    return info.training["agreement"], info.training["teacher"]


def _teacher(student: AUModel, wanted: str | Path | AUModel, digest: str, device: str | torch.device) -> AUModel:
    try:
        found = wanted if isinstance(wanted, AUModel) else AUModel(wanted, device, fetch=False)
    except CheckpointError as error:
        raise CheckpointError(f"the teacher of {student.name} is needed: {error}; say where it is, as teacher") from error
    if found.digest != digest:
        raise CheckpointError(f"{found.name} is not the teacher of {student.name}: its weights are others")
    return found


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
