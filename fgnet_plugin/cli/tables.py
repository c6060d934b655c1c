"""Read the tables that commands are given: files, or datasets in folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fgnet_plugin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fgnet_plugin.utils.made_by import MadeBy


def is_dataset(path: Path) -> bool:
    """Tell whether there is a dataset of ``fgnet detect``. Raises InputError for another folder."""
    from fgnet_plugin.scale.layout import Layout

    if not path.is_dir():
        return False
    if not Layout(path).own.is_dir():
        raise InputError(f"{path} is a folder, and no dataset of fgnet detect: name its tables")
    return True


def read_any(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table, .csv or .parquet, or a dataset. Raises FileNotFoundError, and InputError for a damaged one.

    Args:
        path: of it.
        columns: of a dataset, only those of these that it has; by default all.
    """
    from fgnet_plugin.media.images import check_file
    from fgnet_plugin.utils.journal import read_table

    if is_dataset(path):
        from fgnet_plugin.scale.reading import list_columns, read_dataset

        return read_dataset(path, columns=columns and [name for name in list_columns(path) if name in columns])
    check_file(path, "table")
    return read_table(path)


def table_files(paths: list[Path]) -> list[Path]:
    """List the files that hold tables: of a dataset, those of its recordings, in natural order."""
    from fgnet_plugin.scale.reading import list_parts

    files: list[Path] = []
    for path in paths:
        files += list_parts(path) if is_dataset(path) else [path]
    return files


def common_origin(paths: list[Path]) -> MadeBy:
    """Find what made the scores of tables and datasets. Raises InputError where one does not say it, or they differ."""
    import pandas as pd

    from fgnet_plugin.measures.origin import described, origin_of
    from fgnet_plugin.scale.reading import status
    from fgnet_plugin.utils.made_by import MadeBy

    found: dict[MadeBy, Path] = {}
    for path in paths:
        if is_dataset(path):
            made = MadeBy.of_settings(status(path).settings)
        else:
            header = pd.read_csv(path, nrows=0) if path.suffix.lower() != ".parquet" else pd.DataFrame()
            made = origin_of(header, path)
        found.setdefault(made, path)
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise InputError(f"{first} was made by {described(one)}, and {second} by {described(other)}: a calibration is for one")
    return next(iter(found))
