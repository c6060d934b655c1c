"""Which frames people should code, and how many: `coding_plan`, `coding_sheet`, `write_coding_sheet`, `read_coding_sheet`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.comparison.tables import read_model
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.design import HOW_TO_TELL
from fgnet_plugin.media.frames_of_rows import frames_of_rows
from fgnet_plugin.utils.arrays import Floats, Integers
from fgnet_plugin.utils.journal import read_csv
from fgnet_plugin.utils.text import counted

BOX = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]
_BANDS = 0.25, 0.5, 0.75
_EVEN = 0.5  # so much of a draw is even over a person's frames, which bounds the weights; the rest is even over bands of scores
_MARGIN, _LARGEST = 0.35, 640


def coding_plan(
    fex: pd.DataFrame, subject: str, half_width: float, *, aus: Sequence[str] | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Compute how many frames people must code so that the interval of each base rate is as narrow as wanted.

    With S people and m frames of each, a base rate p has the variance ``p (1 − p) (ρ / S + (1 − ρ) / (S m))`` (Kish 1965),
    where ρ is the intraclass correlation of a person's frames. Both are guessed from the scores, p as between 0.05 and 0.95.
    Prediction-powered estimates need fewer.

    Args:
        fex: table of scores.
        subject: column that says who is filmed.
        half_width: of the wanted interval, such as 0.05.
        aus: which; by default all with scores.
        confidence: of the interval.

    Returns:
        One row for each AU: ``AU``, ``name``, ``prevalence``, ``icc``, ``per_person`` and ``frames``; infinite where so few
        people can't do, and ``people_needed``, at least so many.

    Example:
        >>> people = np.repeat(["P1", "P2", "P3", "P4"], 50)
        >>> fex = pd.DataFrame({"input": "film.mp4", "frame": range(200), "subject": people})
        >>> fex["AU12"] = np.random.default_rng(0).random(200)
        >>> coding_plan(fex, "subject", half_width=0.1)[["AU", "per_person", "frames"]].to_dict("records")
        [{'AU': 'AU12', 'per_person': 24, 'frames': 96}]
    """
    if not 0 < half_width < 0.5:
        raise ValueError(f"half_width must lie between 0 and 0.5, got {half_width}")
    scores, person = _scores(fex, subject, aus)
    people = int(person.max()) + 1
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rows = []
    for au, score in scores.items():
        known = score.notna().to_numpy()
        present = (score[known] >= 0.5).to_numpy(float)
        prevalence, icc = float(present.mean()), _icc(present, person[known])
        guess = min(max(prevalence, 0.05), 0.95)
        allowed = (half_width / z) ** 2 / (guess * (1 - guess))  # of ρ / S + (1 − ρ) / (S m)
        rest = people * allowed - icc
        each = max(math.ceil((1 - icc) / rest - 1e-9), 1) if rest > 0 else math.inf
        needed = math.ceil(icc / allowed) + 1 if rest <= 0 else people
        rows.append((au, facs_name(str(au)), prevalence, icc, each, each * people, needed))
    return pd.DataFrame(rows, columns=["AU", "name", "prevalence", "icc", "per_person", "frames", "people_needed"])


def coding_sheet(
    fex: pd.DataFrame, subject: str, count: int, *, aus: Sequence[str] | None = None, seed: int = 0
) -> pd.DataFrame:
    """Draw faces for people to code: of each person equally many, over all their recordings and over low and high scores.

    Of each person, half of the chances are even over frames, and half even over the bands 0–0.25–0.5–0.75–1 of each AU's
    score, so that rare AUs are seen. Frames are drawn systematically in the order of the table, with these chances (Madow
    1949).

    Args:
        fex: table of scores.
        subject: column that says who is filmed.
        count: of faces.
        aus: that are to be coded; by default all with scores.
        seed: of the draw, and of the blinded order.

    Returns:
        `count` rows in random order: ``face`` ("0001" …), ``input``, ``frame``, the face's box, the subject's column, and
        ``weight``: how many faces each stands for, 1 / its chance, by which `calibrate` and `prediction_powered` weigh it.

    Raises:
        InputError: a column is missing, or there are fewer faces than `count`.

    Example:
        >>> people = np.repeat(["P1", "P2", "P3", "P4"], 50)
        >>> fex = pd.DataFrame({"input": "film.mp4", "frame": range(200), "subject": people})
        >>> fex["AU12"] = np.random.default_rng(0).random(200)
        >>> sheet = coding_sheet(fex, "subject", count=12)
        >>> sheet.groupby("subject").size().to_dict(), sheet.columns.tolist()
        ({'P1': 3, 'P2': 3, 'P3': 3, 'P4': 3}, ['face', 'input', 'frame', 'subject', 'weight'])
    """
    scores, person = _scores(fex, subject, aus)
    usable = np.flatnonzero(scores.notna().any(axis=1).to_numpy())
    if not 1 <= count <= len(usable):
        raise InputError(f"{counted(count, 'face is', 'faces are')} to be coded, and the table has {len(usable)} with scores")
    generator = np.random.default_rng(seed)
    counts = _allotted(count, np.bincount(person[usable], minlength=int(person.max()) + 1), generator)
    chosen, chances = [], []
    for who, wanted in enumerate(counts):
        rows = usable[person[usable] == who]
        if wanted:
            chance = _chances(scores.to_numpy()[rows], int(wanted))
            drawn = _systematic(chance, float(generator.random()))
            chosen.append(rows[drawn])
            chances.append(chance[drawn])
    order = generator.permutation(count)
    rows, chance = np.concatenate(chosen)[order], np.concatenate(chances)[order]
    columns = [name for name in ("input", "frame", *BOX) if name in fex]
    sheet = pd.DataFrame(fex)[list(dict.fromkeys([*columns, subject]))].iloc[rows].reset_index(drop=True)
    sheet.insert(0, "face", [f"{i:0{max(4, len(str(count)))}}" for i in range(1, count + 1)])
    return sheet.assign(weight=1 / chance)


def write_coding_sheet(sheet: pd.DataFrame, folder: str | Path, aus: Sequence[str], crops: bool = True) -> Path:
    """Write what coders get, ``sheet.csv`` with empty columns for the AUs and ``faces/`` with pictures, and ``key.csv``.

    The pictures' names and order say nothing about who they are and what the network said. Coders must not see the key.

    Args:
        sheet: from `coding_sheet`.
        folder: to write to; it must not hold a sheet already.
        aus: to code.
        crops: write the pictures, which takes the recordings; at most 640 pixels a side.

    Returns:
        The path of ``sheet.csv``.

    Raises:
        InputError: the folder holds a sheet; the table has no boxes of faces.
        FileNotFoundError: recordings that are missing.

    Example:
        >>> sheet = coding_sheet(fex, "subject", count=200)  # doctest: +SKIP
        >>> write_coding_sheet(sheet, "coder1", ["AU06", "AU12"])  # doctest: +SKIP
        PosixPath('coder1/sheet.csv')
    """
    folder = Path(folder)
    path = folder / "sheet.csv"
    if path.exists():
        raise InputError(f"{path} is there already, perhaps with codes in it: choose another folder")
    (folder / "faces").mkdir(parents=True, exist_ok=True)
    if crops:
        _write_crops(sheet, folder / "faces")
    pd.DataFrame({"face": sheet["face"], **dict.fromkeys(aus, "")}).to_csv(path, index=False)
    sheet.to_csv(folder / "key.csv", index=False)
    return path


def read_coding_sheet(sheet: str | Path, key: str | Path) -> pd.DataFrame:
    """Join a sheet that was filled in with its key: labels for `calibrate`, with the weights.

    Raises:
        InputError: no such tables; faces that are there twice, or that the key lacks. Faces that the sheet lacks are not coded.

    Example:
        >>> labels = read_coding_sheet("coder1/sheet.csv", "coder1/key.csv")  # doctest: +SKIP
        >>> calibrate(fex, labels, subject="subject")  # doctest: +SKIP
    """
    coded, faces = (read_csv(path, dtype={"face": str}) for path in (sheet, key))
    for table, path in ((coded, sheet), (faces, key)):
        if "face" not in table:
            raise InputError(f"{path} has no column 'face', as fgnet sample writes it")
        if table["face"].duplicated().any():
            raise InputError(f"{path} has face {table['face'][table['face'].duplicated()].iloc[0]} twice")
    unknown = coded.loc[~coded["face"].isin(faces["face"]), "face"]
    if len(unknown):
        raise InputError(f"{key} lacks face {unknown.iloc[0]} of {sheet}: it is the key of another sheet")
    return faces.merge(coded, on="face", validate="one_to_one")


def _scores(fex: pd.DataFrame, subject: str, aus: Sequence[str] | None) -> tuple[pd.DataFrame, Integers]:
    """Scores [R, AUs], and the number of each row's person [R]."""
    if subject not in fex:
        raise InputError(f"the table has no column {subject!r}, which is to say who is filmed: {HOW_TO_TELL}")
    if fex[subject].isna().any():
        raise InputError(f"the column {subject} is empty in {counted(int(fex[subject].isna().sum()), 'row')}")
    scores = read_model("scores", fex, 0.5).values
    unknown = [au for au in aus or () if au not in scores]
    if unknown:
        raise InputError(f"the table has no scores of {', '.join(unknown)}; it has those of {', '.join(scores)}")
    return scores[list(aus)] if aus else scores, pd.factorize(fex[subject].astype(str))[0].astype(np.intp)


def _icc(values: Floats, person: Integers) -> float:
    """One-way intraclass correlation of people's frames (Shrout & Fleiss 1979, ICC(1,1)), in [0, 1]."""
    person = np.unique(person, return_inverse=True)[1]
    count = np.bincount(person)
    people, n = len(count), len(values)
    if people < 2 or n <= people or not np.ptp(values):
        return 0.0
    means = np.bincount(person, values) / count
    between = float((count * (means - values.mean()) ** 2).sum() / (people - 1))
    within = float(((values - means[person]) ** 2).sum() / (n - people))
    size = (n - (count**2).sum() / n) / (people - 1)
    return min(max((between - within) / (between + (size - 1) * within), 0.0), 1.0)


def _allotted(count: int, available: Integers, generator: np.random.Generator) -> Integers:
    """How many faces each person gives: as equal as what is available lets them."""
    given = np.zeros_like(available)
    while (left := count - int(given.sum())) > 0:
        open_ = np.flatnonzero(given < available)
        if left < len(open_):
            given[generator.permutation(open_)[:left]] += 1
        else:
            given[open_] += np.minimum(left // len(open_), (available - given)[open_])
    return given


def _chances(scores: Floats, wanted: int) -> Floats:
    """The chance of each of a person's faces to be drawn, which add up to `wanted`."""
    share = np.zeros(len(scores))
    for score in scores.T:
        band = np.where(np.isnan(score), len(_BANDS) + 1, np.searchsorted(_BANDS, score, "right"))
        sizes = np.bincount(band)
        share += 1 / (sizes[band] * (sizes > 0).sum())
    share = _EVEN / len(scores) + (1 - _EVEN) * share / scores.shape[1]
    chance = np.zeros(len(scores))
    certain: npt.NDArray[np.bool_] = np.zeros(len(scores), bool)
    while True:
        open_ = ~certain
        chance[certain] = 1.0
        if open_.any():
            chance[open_] = share[open_] * (wanted - certain.sum()) / share[open_].sum()
        if not (chance > 1 + 1e-12).any():
            return chance.clip(max=1.0)
        certain |= chance > 1


def _systematic(chance: Floats, start: float) -> npt.NDArray[np.intp]:
    """Draw faces with these chances, whose sum is a whole number: exactly so many."""
    wanted = round(float(chance.sum()))
    edges = np.cumsum(chance) * (wanted / chance.sum())
    edges[-1] = wanted
    return np.searchsorted(edges, start + np.arange(wanted), "right").astype(np.intp)


def _write_crops(sheet: pd.DataFrame, folder: Path) -> None:
    missing = [name for name in ("input", *BOX) if name not in sheet]
    if missing:
        raise InputError(f"the table has no column {missing[0]}: where the faces are to be cut out is not known")
    frames = sheet["frame"].tolist() if "frame" in sheet else [0] * len(sheet)
    for rows, image in frames_of_rows(sheet["input"].tolist(), frames):
        height, width = image.shape[1:]
        for row in rows:
            x, y, w, h = sheet[BOX].iloc[row].to_numpy(float)
            left, top = max(int(x - _MARGIN * w), 0), max(int(y - _MARGIN * h), 0)
            right, bottom = min(int(x + (1 + _MARGIN) * w), width), min(int(y + (1 + _MARGIN) * h), height)
            if right - left < 2 or bottom - top < 2:
                place = f"{sheet['input'].iloc[row]}, frame {frames[row]}"
                raise InputError(
                    f"{place}: the face's box lies outside of the picture; is it the file that the table is about?"
                )
            crop = Image.fromarray(image[:, top:bottom, left:right].permute(1, 2, 0).numpy())
            crop.thumbnail((_LARGEST, _LARGEST))
            crop.save(folder / f"{sheet['face'].iloc[row]}.png")
