"""Options that say whose recordings they are: subject, group, condition and session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_plugin.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Pattern = Annotated[
    str | None,
    typer.Option(help="Regular expression for the paths, with groups such as (?P<subject>…), (?P<condition>…); or bids."),
]
Folders = Annotated[
    str | None, typer.Option(help="What the folders tell, such as condition/subject, or condition/subject=file.")
]
Manifest = Annotated[Path | None, typer.Option(help="CSV file with recording, subject and any of group, condition, session.")]


def factors_of(names: list[str], pattern: str | None, folders: str | None, manifest: Path | None) -> pd.DataFrame | None:
    """Read the factors of recordings [recordings, factors] as the options say; None where none is given.

    Raises:
        InputError: recordings of which an option tells nothing, or a factor that two of them tell.
    """
    import pandas as pd

    from fgnet_plugin.measures.design import FACTORS, from_folders, from_pattern, from_table

    found = []
    if pattern is not None:
        found.append(from_pattern(names, pattern))
    if folders is not None:
        found.append(from_folders(names, folders.split("/")))
    if manifest is not None:
        found.append(from_table(names, str(manifest)))
    if not found:
        return None
    joined = pd.concat(found, axis=1)
    if joined.columns.duplicated().any():
        twice = joined.columns[joined.columns.duplicated()][0]
        raise InputError(f"{twice} is told twice: let one of --pattern, --folders and --manifest tell it")
    return joined[[factor for factor in FACTORS if factor in joined]]


def read_faces(path: Path, pattern: str | None, folders: str | None, manifest: Path | None) -> pd.DataFrame:
    """Read the AUs of a table or dataset, with a column for each factor that the options tell.

    Of a dataset, only boxes, times and AUs are read.
    """
    from fgnet_plugin.cli.tables import is_dataset, read_any
    from fgnet_plugin.inference.columns import AUS, FACEBOX
    from fgnet_plugin.measures.design import with_factors

    fex = read_any(path, ["input", "frame", "time", *FACEBOX, *AUS] if is_dataset(path) else None)
    names = list(dict.fromkeys(fex["input"].astype(str))) if "input" in fex else [path.stem]
    factors = factors_of(names, pattern, folders, manifest)
    return fex if factors is None else with_factors(fex, factors)
