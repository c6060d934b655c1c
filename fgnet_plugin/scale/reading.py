"""What there is in a dataset, whoever fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import select_columns
from fgnet_plugin.inference.provenance import provenance_of_table, with_origin
from fgnet_plugin.scale.layout import Layout
from fgnet_plugin.scale.log import read_known
from fgnet_plugin.scale.settings import read_run
from fgnet_plugin.scale.table import all_types, read_rows, restored
from fgnet_plugin.utils.text import counted


@dataclass(frozen=True)
class Status:
    """What there is in a dataset.

    Example:
        >>> found = status("corpus")  # doctest: +SKIP
        >>> found.done, found.inputs, found.hours  # doctest: +SKIP
        (40, 41, 6.5)
    """

    inputs: int | None
    """Recordings that the last run was given, all shards together; None where that is not known."""
    done: int
    """Recordings whose rows are there."""
    failed: dict[str, str]
    """Input -> why there are no rows of it."""
    incomplete: dict[str, str]
    """Input -> the first warning, of each recording of which some frames could not be read."""
    verified: int
    """Recordings in which a student was compared with its teacher."""
    unlike: dict[str, str]
    """Input -> what the comparison found."""
    frames: int
    rows: int
    faces: int
    hours: float
    """Of recordings that are done."""
    settings: dict[str, Any]
    """What the rows depend on."""


def status(out: str | Path) -> Status:
    """Tell what there is in a dataset, also while it is being filled.

    Args:
        out: folder of the dataset.

    Raises:
        InputError: there is no dataset.

    Example:
        >>> found = status("corpus")  # doctest: +SKIP
        >>> found.done, found.failed  # doctest: +SKIP
        (40, {'clips/broken.mp4': 'clips/broken.mp4 cannot be read as a video: …'})
    """
    layout = Layout(out)
    known = read_known(layout)
    if not known.begun:
        read_run(layout)
    done = list(known.done.values())
    frames, rows, faces = (sum(int(about[name]) for about in done) for name in ("frames", "rows", "faces"))
    return Status(
        inputs=known.begun.get("inputs"),
        done=len(done),
        failed={str(line["input"]): str(line["reason"]) for line in known.failed.values()},
        incomplete={str(about["input"]): str(about["notes"][0]) for about in done if about["skipped"]},
        verified=sum(about.get("verified") is not None for about in done),
        unlike={str(about["input"]): "; ".join(about["unlike"]) for about in done if about.get("unlike")},
        frames=frames,
        rows=rows,
        faces=faces,
        hours=sum(float(about["hours"]) for about in done),
        settings=read_run(layout)["settings"] if layout.run.is_file() else {},
    )


def list_inputs(out: str | Path) -> list[str]:
    """List what the column "input" of a dataset says of the recordings whose rows are there, in natural order."""
    from fgnet_plugin.media.folders import natural_order

    return sorted((str(about["input"]) for about in read_known(Layout(out)).done.values()), key=natural_order)


def list_parts(out: str | Path) -> list[Path]:
    """List the files of the recordings of a dataset whose rows are there, in the order of `list_inputs`."""
    layout = Layout(out)
    keys = {str(about["input"]): key for key, about in read_known(layout).done.items()}
    return [layout.part(keys[name]) for name in list_inputs(out)]


def list_columns(out: str | Path) -> list[str]:
    """List the columns that `read_dataset` returns of a dataset. Raises InputError where there is none."""
    return select_columns(all_types(), read_run(Layout(out))["settings"].get("columns", "all"))


def read_dataset(out: str | Path, inputs: Sequence[str] | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the rows of a dataset, or of some of its inputs, into memory.

    Args:
        out: folder of the dataset.
        inputs: what the column "input" says of them, in the order that is wanted; by default all that are there, in natural
            order. A picture's "frame" is its place among the pictures; `detect` also counts those that it can't read.
        columns: only these; by default all that the detector's `detect` returns.

    Returns:
        A `Fex` where py-feat is installed, else a DataFrame: the columns and types of `detect(…, time=True)` of videos.

    Raises:
        InputError: there is no dataset, an input is not in it, or a file of it is damaged.
        ValueError: an unknown column.

    Example:
        >>> fex = read_dataset("corpus", columns=["input", "frame", "AU12"])  # doctest: +SKIP
    """
    from fgnet_plugin.media.folders import natural_order

    layout = Layout(out)
    run = read_run(layout)
    known = {str(about["input"]): (key, about) for key, about in read_known(layout).done.items()}
    wanted = sorted(known, key=natural_order) if inputs is None else list(inputs)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise InputError(f"{out} has no rows of {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}")
    every = list_columns(out)
    unknown = [name for name in columns or () if name not in every]
    if unknown:
        raise ValueError(f"{out} has no column {', '.join(unknown)}")
    chosen = every if columns is None else list(columns)
    needed = [*chosen, "frame"]
    pieces, pictures = [], 0
    for name in wanted:
        key, about = known[name]
        rows = read_rows(layout.part(key), needed)
        if about["kind"] == "image":
            rows["frame"] = pictures
            pictures += 1
        pieces.append(rows)
    if not pieces:
        raise InputError(f"{out} has no rows yet")
    fex = _as_fex(restored(pd.concat(pieces, ignore_index=True), chosen), run["settings"]["models"])
    return with_origin(fex, _origin(run, [known[name][1] for name in wanted]))


def provenance(fex: pd.DataFrame | str | Path, *, hashes: bool = True) -> dict[str, Any]:
    """Tell how a table or a dataset was made, as far as it is known.

    A table that `detect` saved has a file ``….run`` beside it, which tells most; a Parquet file alone, a recording's file in a
    dataset, and a table in memory tell nearly as much. Of a table of ``fgnet summarize``, the ``settings.json`` beside it
    tells the options. Of other CSV files alone, and of other programs' tables, little is known: "unknown" says what.

    Args:
        fex: a table that `detect`, `annotate` or `read_dataset` returned; its file, .csv or .parquet; a dataset's folder.
        hashes: read the inputs, and the table's file, for their SHA-256: a second or two for a gigabyte.

    Returns:
        What JSON can hold:

        - "table": its path, or null; "sha256" of the file (null for a folder); "finished": whether the run came to its end,
            null where that is not known.
        - "begun": date and time in UTC; "versions": name -> version, of this package, Python and others.
        - "weights": "name" of FG-Net's checkpoint and its "digest", the SHA-256 of its tensors; or null.
        - "models": what found faces, landmarks and others; "settings": what else the rows depend on.
        - "inputs": for each "input" (as the table says), "kind", "bytes", "frames" (of videos), "sha256" and "state":
            "unchanged" since the run by size and time, "changed" (then the hash is not of what was read), "not found" or
            "unknown" (its time was not noted; the size is the same).
        - "unknown": sentences about what can't be told.

    Raises FileNotFoundError, or InputError for a damaged file, or a folder that is no dataset.

    Example:
        >>> made = provenance(pd.DataFrame({"AU12": [0.5]}))
        >>> made["weights"], made["unknown"][0]
        (None, 'how the table was made: it was not returned by detect, or changed in a way that drops its attrs')
    """
    if isinstance(fex, pd.DataFrame) or not Path(fex).is_dir():
        return provenance_of_table(fex, hashes=hashes)
    layout = Layout(fex)
    run, known = read_run(layout), read_known(layout)
    rows = with_origin(pd.DataFrame(), _origin(run, [about for _, about in sorted(known.done.items())]))
    asked_for = known.begun.get("inputs")
    finished = None if asked_for is None else len(known.done) >= asked_for
    made = {**provenance_of_table(rows, hashes=hashes), "table": str(fex), "finished": finished}
    if known.failed:
        names = ", ".join(sorted(str(line["input"]) for line in known.failed.values())[:3])
        made["unknown"].append(
            f"what {counted(len(known.failed), 'input holds', 'inputs hold')} that could not be read, such as {names}"
        )
    return made


def _origin(run: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say of a dataset what a run says of its table."""
    settings = dict(run["settings"])
    about = {
        "begun": run["begun"]["at"],
        "folder": run["begun"].get("folder", "."),
        "relative_to": settings.pop("relative_to"),
        "device": settings.pop("device"),
        "versions": {name: version for name, version in settings.pop("versions").items() if version is not None},
        "modified": {str(one["input"]): one["modified"] for one in done if one.get("modified") is not None},
    }
    # Datasets that an older version began don't say how long a video is.
    inputs = [[one["input"], one["kind"], one["size"], *([] if one.get("length") is None else [one["length"]])] for one in done]
    return {"about": about, "inputs": inputs, **settings}


def _as_fex(rows: pd.DataFrame, models: dict[str, Any]) -> pd.DataFrame:
    try:
        from fgnet_plugin.pyfeat.fex import Fex, columns_of
    except ImportError:
        return rows
    return Fex(rows, **columns_of(rows), detector="Feat", **models)
