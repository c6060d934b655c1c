"""How a table was made: versions, weights, settings and inputs, from what the run noted beside the table and in it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from fgnet_plugin.comparison.openface import is_openface
from fgnet_plugin.errors import InputError
from fgnet_plugin.media.images import check_file
from fgnet_plugin.utils.files import SUMMARY_FILES, sha256
from fgnet_plugin.utils.journal import ABOUT, is_unfinished, read_settings, run_path
from fgnet_plugin.utils.made_by import RUN_ATTRIBUTE, MadeBy
from fgnet_plugin.utils.tables import read_origin
from fgnet_plugin.utils.text import counted, plural
from fgnet_plugin.version import __version__

Table = TypeVar("Table", bound=pd.DataFrame)
_PACKAGES = "torch", "numpy", "pandas", "pillow", "av", "kornia", "py-feat"


def how_begun(paths: dict[str, str]) -> dict[str, object]:
    """Collect what a run notes for `fgnet_plugin.provenance` beside its settings.

    Args:
        paths: path of each input -> what the table calls it.
    """
    files = {shown: Path(path) for path, shown in paths.items()}
    return {
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"fgnet-plugin": __version__, "python": sys.version.split()[0], **_versions(), "system": sys.platform},
        "modified": {shown: file.stat().st_mtime for shown, file in files.items() if file.is_file()},
    }


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version_of(package)
        except PackageNotFoundError:
            continue
    return found


def with_origin(table: Table, settings: dict[str, object]) -> Table:
    """Note in a table, in its ``attrs``, the settings of its run, and return it."""
    table.attrs[RUN_ATTRIBUTE] = json.dumps(settings)
    return table


def settings_of(fex: pd.DataFrame | str | Path) -> dict[str, Any]:
    """Return the settings of a table's run; of others' tables their models, and what else is known."""
    run, _ = _of_frame(fex) if isinstance(fex, pd.DataFrame) else _of_file(Path(fex))
    return run


def provenance_of_table(fex: pd.DataFrame | str | Path, *, hashes: bool = True) -> dict[str, Any]:
    """Tell how a table was made, as far as it is known; see `fgnet_plugin.provenance`, which also tells it of datasets."""
    path = None if isinstance(fex, pd.DataFrame) else Path(fex)
    if path is not None and not run_path(path).is_file():
        check_file(path, "table")
    run, unknown = _of_frame(fex) if isinstance(fex, pd.DataFrame) else _of_file(Path(fex))
    about = run.get(ABOUT, {})
    made: dict[str, Any] = {
        "table": None if path is None else str(path),
        "sha256": sha256(path) if path is not None and hashes and path.is_file() else None,
        "finished": None if path is None or not run_path(path).is_file() else not is_unfinished(path),
        "begun": about.get("begun"),
        "versions": about.get("versions", {}),
        "weights": None,
        "models": run.get("models", {}),
        "settings": {key: run[key] for key in run if key not in (ABOUT, "inputs", "models", "checkpoint")},
        "inputs": _inputs(run, about, hashes),
        "unknown": unknown,
    }
    if run.get("checkpoint"):
        made["weights"] = {"name": made["models"].get("au_model"), "digest": run["checkpoint"]}
    if "inputs" in run and not made["versions"]:
        unknown.append("the versions: an older version of this package, which did not note them, made the table")
    if made["finished"] is False:
        unknown.append("what the rest will be: the run was interrupted, and fgnet detect --resume continues it")
    changed = [entry["input"] for entry in made["inputs"] if entry["state"] == "changed"]
    if changed:
        were = plural(len(changed), "it was", "they were")
        read = counted(len(changed), "input")
        unknown.append(f"the hashes of {read} as read by the run: {were} changed since, such as {changed[0]}")
    return made


def _of_frame(table: pd.DataFrame) -> tuple[dict[str, Any], list[str]]:
    noted = table.attrs.get(RUN_ATTRIBUTE)
    if isinstance(noted, str):
        return _settings(noted, "the table"), []
    made_by = MadeBy.of_table(table)
    if made_by is not None:
        models = {"face_model": made_by.face_model, "landmark_model": made_by.landmark_model}
        is_fgnet = len(made_by.weights) == 64  # a digest, not another model's name
        if not is_fgnet:
            models["au_model"] = made_by.weights
        run = {"models": models, "checkpoint": made_by.weights if is_fgnet else None}
        return run, ["how the table was made, but for its models and weights"]
    return _foreign(table, "it was not returned by detect, or changed in a way that drops its attrs")


def _of_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    run = read_settings(path)
    if run is not None:
        return run, []
    if path.suffix.lower() == ".parquet":
        noted = read_origin(path)
        if noted is not None:
            return _settings(noted, str(path)), []
        return _foreign(
            pd.DataFrame(columns=_parquet_columns(path)), f"there is no {run_path(path).name} beside it, and it tells nothing"
        )
    if (summary := _of_summary(path)) is not None:
        return summary
    try:
        columns = pd.read_csv(path, nrows=0).columns
    except ValueError as error:
        raise InputError(f"{path} is not a readable CSV file ({error})") from error
    return _foreign(pd.DataFrame(columns=columns), f"there is no {run_path(path).name} beside it")


def _of_summary(path: Path) -> tuple[dict[str, Any], list[str]] | None:
    """Read the settings beside a table that ``fgnet summarize`` wrote; None for other tables."""
    *tables, name = SUMMARY_FILES
    file = path.with_name(name)
    if path.name not in tables or not file.is_file():
        return None
    options = {key: value for key, value in _settings(file.read_text(encoding="utf-8"), str(file)).items() if value is not None}
    if not isinstance(options.get("tables"), list) or "version" not in options:  # another program's
        return None
    about = {"versions": {"fgnet-plugin": options.pop("version")}}
    summarized = ", ".join(map(str, options["tables"][:3])) + (" …" if len(options["tables"]) > 3 else "")
    unknown = f"what made the scores that fgnet summarize read: fgnet provenance tells it of each of its tables ({summarized})"
    return {ABOUT: about, "summary": str(file), **options}, [unknown]


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_schema(path).names)


def _settings(noted: str, of: str) -> dict[str, Any]:
    try:
        run = json.loads(noted)
        if not isinstance(run, dict):
            raise ValueError("no settings")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{of}: what it says of its run is damaged ({error})") from error
    return run


def _foreign(table: pd.DataFrame, why: str) -> tuple[dict[str, Any], list[str]]:
    """Tell what columns and py-feat's metadata tell."""
    unknown = [f"how the table was made: {why}"]
    if is_openface(table.columns):
        unknown.append("the version of OpenFace, by whose columns the table is known; it does not note one")
        return {"models": dict.fromkeys(("au_model", "face_model", "landmark_model"), "OpenFace")}, unknown
    name = getattr(table, "au_model", None)
    if name is None:
        return {}, unknown
    unknown.append(f"the weights of {name}, which the table names as its AU model")
    return {"models": {key: getattr(table, key, None) for key in ("au_model", "face_model", "landmark_model")}}, unknown


def _inputs(run: dict[str, Any], about: dict[str, Any], hashes: bool) -> list[dict[str, Any]]:
    """Describe the inputs of a run, and look whether they are as they were."""
    folder = Path(about.get("folder", "."))
    root = folder / about["relative_to"] if about.get("relative_to") else folder
    found = []
    for shown, kind, size, *frames in (entry for entry in run.get("inputs", []) if len(entry) > 2):
        entry = {"input": shown, "kind": kind, "bytes": size, "frames": frames[0] if frames else None, "sha256": None}
        if shown == "tensor":
            found.append({**entry, "kind": "tensor", "bytes": None, "frames": size, "sha256": kind, "state": "unchanged"})
            continue
        file, modified = root / shown, about.get("modified", {}).get(shown)
        if not file.is_file():
            found.append({**entry, "state": "not found"})
            continue
        now = file.stat()
        state = "unknown" if modified is None else "unchanged"
        if now.st_size != size or (modified is not None and now.st_mtime != modified):
            state = "changed"
        found.append({**entry, "sha256": sha256(file) if hashes else None, "state": state})
    return found
