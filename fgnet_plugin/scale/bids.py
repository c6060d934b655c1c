"""Write tables and datasets as a derivative of the Brain Imaging Data Structure (BIDS): a .tsv and a .json of each recording.

Names follow bids-specification.readthedocs.io/en/stable/derivatives (version 1.10.1): the entities of the recording, and
``desc-fgnet``. Audio and video recordings of people are in ``beh/``, as its extension proposal 47 has it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.errors import InputError, OutputError
from fgnet_plugin.inference.columns import AUS, EMOTIONS, FACEBOX, LANDMARKS, POSE
from fgnet_plugin.inference.provenance import settings_of
from fgnet_plugin.media.images import check_file
from fgnet_plugin.scale.layout import Layout
from fgnet_plugin.scale.reading import list_parts, provenance
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.journal import ABOUT, unwritable
from fgnet_plugin.utils.tables import read_pieces
from fgnet_plugin.version import __version__

VERSION = "1.10.1"
ENTITIES = {"sub": "subject", "ses": "session", "task": "condition", "acq": "", "run": "", "split": "", "recording": ""}
"""The entities of names, in their order, and what `measures.design` calls them."""
_ADVICE = {"sub": "say whose they are by factors (--pattern, --folders, --manifest)", "task": "give --task"}
_ENTITY = re.compile(r"([a-z]+)-([A-Za-z0-9]+)")
_MEANINGS = {
    "frame": ("number of the frame in the recording, from 0", ""),
    "time": ("time of the frame from the start of the recording", "s"),
    "person": ("the person whose face it is, told apart within this recording alone", ""),
    "FaceRectX": ("left edge of the face's box", "px"),
    "FaceRectY": ("upper edge of the face's box", "px"),
    "FaceRectWidth": ("width of the face's box", "px"),
    "FaceRectHeight": ("height of the face's box", "px"),
    "FaceScore": ("confidence of the face detector, from 0 to 1; 0 in a frame without a face", ""),
    "FrameHeight": ("height of the frame", "px"),
    "FrameWidth": ("width of the frame", "px"),
    **dict.fromkeys(("Pitch", "Roll", "Yaw"), ("rotation of the head", "rad")),
    **dict.fromkeys(("X", "Y", "Z"), ("translation of the head, as py-feat has it", "")),
    **dict.fromkeys(EMOTIONS, ("probability of the emotion, by py-feat's model", "")),
    **dict.fromkeys(("gaze_pitch", "gaze_yaw", "gaze_angle"), ("direction of gaze, by py-feat's model", "rad")),
}
_README = """# Facial action units by FG-Net

Each `.tsv` holds the scores of one recording: a row for each face in each frame, in [0, 1], and `n/a` where there is no face or
the network does not know the action unit. A score is a network's belief that the action unit is present; it is no intensity.
The `.json` beside it explains every column, and says which weights, models, settings and versions made the scores.

Made by fgnet-plugin {version} (`fgnet bids`). Columns that were empty throughout are left out.
"""


def export_bids(
    fex: str | Path,
    out: str | Path,
    *,
    factors: pd.DataFrame | None = None,
    task: str | None = None,
    raw: str | Path | None = None,
    name: str = "fgnet",
    columns: Sequence[str] | None = None,
) -> list[Path]:
    """Write a table or a dataset as a BIDS derivative.

    Args:
        fex: file of a table of `detect` (.csv, .parquet), or folder of a dataset.
        out: folder to write to, such as ``derivatives/fgnet``; it must be missing or empty.
        factors: [recordings, subject, and any of session, condition], as of `measures.from_pattern`: the condition is the
            task. By default entities are read from the recordings' names, such as ``sub-01_ses-2_task-rest_video.mp4``.
        task: label of the task, for recordings whose names or factors don't tell one.
        raw: folder of the BIDS dataset with the recordings, to which "Sources" then refer.
        name: label of the entity ``desc``.
        columns: only these of the detector's; by default boxes, head pose, AUs, and what else is not empty, but no landmarks.

    Returns:
        The tables, one a recording: ``out/sub-01/ses-2/beh/sub-01_ses-2_task-rest_desc-fgnet_beh.tsv``.

    Raises:
        FileNotFoundError, InputError: a missing or damaged table; a recording without subject or task; two with one name.
        OutputError: `out` holds something already, or can't be written. Nothing half is left in it.

    Example:
        >>> export_bids("corpus", "derivatives/fgnet", raw=".")  # doctest: +SKIP
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(None, "holds something already; choose another folder", str(folder))
    is_dataset = Path(fex).is_dir()
    if not is_dataset:
        check_file(Path(fex), "table")
    names = [str(entry["input"]) for entry in provenance(fex, hashes=False)["inputs"]] if is_dataset else _inputs_of(Path(fex))
    places = _places(names, factors, task, name)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        written = []
        for recording, rows, settings in _recordings(Path(fex), is_dataset):
            path = part / places[recording]
            written.append(folder / places[recording])
            path.parent.mkdir(parents=True, exist_ok=True)
            table = _table(rows, columns)
            table.to_csv(path, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
            about = {**_about(settings), **_sources(recording, raw), **_meanings(table)}
            _write_json(path.with_suffix(".json"), {"TaskName": _entities(path.name)["task"], **about})
        _write_root(part, written, folder, name, raw)
        if folder.is_dir():
            folder.rmdir()
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.replace(folder)
    except OSError as error:
        raise error if isinstance(error, (FileNotFoundError, OutputError)) else unwritable(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return written


def _inputs_of(path: Path) -> list[str]:
    names: dict[str, None] = {}
    for piece in read_pieces(path, ["input"]):
        if "input" not in piece:
            raise InputError(f"{path} has no column input, which says of which recording its rows are")
        names |= dict.fromkeys(map(str, piece["input"].dropna()))
    return list(names)


def _recordings(fex: Path, is_dataset: bool) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Yield each recording's name, rows, and how they were made."""
    if is_dataset:
        if not Layout(fex).own.is_dir():
            raise InputError(f"{fex} is no dataset of fgnet detect")
        for part in list_parts(fex):
            rows = pd.concat(read_pieces(part), ignore_index=True)
            yield str(rows["input"].iloc[0]), rows, settings_of(part)
        return
    settings, held = settings_of(fex), list[pd.DataFrame]()
    current: str | None = None
    done = set[str]()
    for piece in read_pieces(fex):
        changes = (piece["input"] != piece["input"].shift()).cumsum()
        for _, rows in piece.groupby(changes):
            recording = str(rows["input"].iloc[0])
            if recording in done:
                raise InputError(f"{fex}: the rows of {recording} are in two places")
            if recording != current and current is not None:
                yield current, pd.concat(held, ignore_index=True), settings
                done.add(current)
                held = []
            current = recording
            held.append(rows)
    if current is not None:
        yield current, pd.concat(held, ignore_index=True), settings


def _places(names: Sequence[str], factors: pd.DataFrame | None, task: str | None, desc: str) -> dict[str, PurePath]:
    """Name the table of each recording."""
    if not re.fullmatch(r"[A-Za-z0-9]+", desc):
        raise InputError(f"the name {desc!r} must be of letters and digits alone, as BIDS wants it")
    places: dict[str, PurePath] = {}
    taken: dict[PurePath, str] = {}
    for name in names:
        found = _entities(name) if factors is None else _of_factors(factors.loc[name])
        if task is not None:
            found.setdefault("task", task)
        for entity, advice in _ADVICE.items():
            if entity not in found:
                raise InputError(f"{name}: its name has no {entity}-…; {advice}")
        if wrong := next((value for value in found.values() if not re.fullmatch(r"[A-Za-z0-9]+", value)), None):
            raise InputError(f"{name}: {wrong!r} is not of letters and digits alone, as BIDS wants labels to be")
        labels = [f"{entity}-{found[entity]}" for entity in ENTITIES if entity in found]
        folders = [label for label in labels if label.startswith(("sub-", "ses-"))]
        path = PurePath(*folders, "beh", "_".join([*labels, f"desc-{desc}", "beh.tsv"]))
        if path in taken:
            raise InputError(f"{taken[path]} and {name} would both be {path.name}: tell them apart, such as by run-1 and run-2")
        places[name], taken[path] = path, name
    return places


def _entities(name: str) -> dict[str, str]:
    """Read the entities of a file's name."""
    parts = PurePath(name.replace("\\", "/")).stem.split("_")
    found = [match for part in parts if (match := _ENTITY.fullmatch(part))]
    return {match[1]: match[2] for match in found if match[1] in ENTITIES}


def _of_factors(row: pd.Series) -> dict[str, str]:
    return {entity: str(row[factor]) for entity, factor in ENTITIES.items() if factor in row and str(row[factor])}


def _table(rows: pd.DataFrame, columns: Sequence[str] | None) -> pd.DataFrame:
    """Choose the columns, without those that are empty throughout."""
    if columns is None:
        columns = [*FACEBOX, "FrameHeight", "FrameWidth", *POSE, *AUS, *EMOTIONS, "gaze_pitch", "gaze_yaw", "gaze_angle"]
    elif unknown := [column for column in columns if column not in rows]:
        raise InputError(f"there is no column {unknown[0]}")
    kept = [column for column in columns if column in rows and rows[column].notna().any()]
    places = rows[[column for column in ("frame", "time") if column in rows and rows[column].notna().any()]]
    if rows["Identity"].notna().any():
        places = places.assign(person=rows["Identity"])
    return pd.concat([places, rows[kept]], axis=1).replace([np.inf, -np.inf], np.nan)


def _about(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Say how a table was made."""
    models = dict(settings.get("models", {}))
    others = {key: value for key, value in settings.items() if key not in (ABOUT, "inputs", "models", "checkpoint")}
    return {
        "Description": "Facial action units (FACS) by FG-Net: scores in [0, 1], a row for each face in each frame",
        "Weights": {"Name": models.get("au_model"), "SHA256": settings.get("checkpoint")},
        "Models": models,
        "Settings": others,
        "Versions": settings.get(ABOUT, {}).get("versions", {}),
    }


def _sources(recording: str, raw: str | Path | None) -> dict[str, list[str]]:
    if raw is None:
        return {"Sources": [PurePath(recording.replace("\\", "/")).name]}
    path, root = Path(recording).absolute(), Path(raw).absolute()
    try:
        return {"Sources": [f"bids:raw:{path.relative_to(root).as_posix()}"]}
    except ValueError:
        raise InputError(f"{recording} is not in {raw}, which was said to hold the recordings") from None


def _meanings(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    found = {}
    for column in map(str, table):
        meaning, unit = _MEANINGS.get(column, ("", ""))
        if column in AUS:
            meaning = f"score of the action unit: {facs_name(column)}"
        elif column in LANDMARKS:
            meaning, unit = f"landmark {column[2:]} of dlib's 68, {column[0]}", "px"
        found[column] = {"Description": meaning or "a column of the detector", **({"Units": unit} if unit else {})}
    return found


def _write_root(part: Path, written: Sequence[Path], out: Path, desc: str, raw: str | Path | None) -> None:
    """Write what is about the whole derivative."""
    described: dict[str, Any] = {
        "Name": "Facial action units by FG-Net",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "fgnet-plugin", "Version": __version__, "Description": "FG-Net facial action unit detection"}],
    }
    if raw is not None:
        link = Path(raw).absolute()
        inside = link in out.absolute().parents
        described["DatasetLinks"] = {"raw": "../" * (len(out.absolute().relative_to(link).parts)) if inside else link.as_uri()}
        described["SourceDatasets"] = [{"URL": described["DatasetLinks"]["raw"]}]
    _write_json(part / "dataset_description.json", described)
    subjects = sorted({_entities(path.name)["sub"] for path in written})
    tables = {
        "participants": pd.DataFrame({"participant_id": [f"sub-{subject}" for subject in subjects]}),
        "descriptions": pd.DataFrame({"desc_id": [f"desc-{desc}"], "description": ["action units by FG-Net, frame by frame"]}),
    }
    explained = {"participant_id": "the person", "desc_id": "the entity desc of the files", "description": "what they hold"}
    for name, table in tables.items():
        table.to_csv(part / f"{name}.tsv", sep="\t", index=False, lineterminator="\n")
        _write_json(part / f"{name}.json", {column: {"Description": explained[column]} for column in table})
    (part / "README.md").write_text(_README.format(version=__version__), encoding="utf-8")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
