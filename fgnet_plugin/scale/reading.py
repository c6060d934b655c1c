"""What there is in a dataset, whoever fills it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import select_columns
from fgnet_plugin.inference.provenance import with_origin
from fgnet_plugin.scale.layout import Layout
from fgnet_plugin.scale.log import read_known
from fgnet_plugin.scale.settings import read_run
from fgnet_plugin.scale.table import all_types, read_rows, restored


@dataclass(frozen=True)
class Status:
    """What there is in a dataset."""

    inputs: int | None
    """Recordings that the last run was given, all shards together; None where that is not known."""
    done: int
    """Recordings whose rows are there."""
    failed: dict[str, str]
    """Input -> why there are no rows of it."""
    incomplete: dict[str, str]
    """Input -> the first warning, of each recording of which some frames could not be read."""
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
    table = _as_fex(restored(pd.concat(pieces, ignore_index=True), chosen), run["settings"]["models"])
    return with_origin(table, run["settings"])


def _as_fex(rows: pd.DataFrame, models: dict[str, Any]) -> pd.DataFrame:
    try:
        from fgnet_plugin.pyfeat.fex import Fex, columns_of
    except ImportError:
        return rows
    return Fex(rows, **columns_of(rows), detector="Feat", **models)
