"""Read the tables that commands are given: files, or datasets in folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fgnet_plugin.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def is_dataset(path: Path) -> bool:
    """Tell whether there is a dataset of ``fgnet detect``. Raises InputError for another folder."""
    from fgnet_plugin.scale.layout import Layout

    if not path.is_dir():
        return False
    if not Layout(path).own.is_dir():
        raise InputError(f"{path} is a folder, and no dataset of fgnet detect: name its tables")
    return True


def read_any(path: Path) -> pd.DataFrame:
    """Read a table, .csv or .parquet, or all of a dataset. Raises FileNotFoundError, and InputError for a damaged one."""
    from fgnet_plugin.media.images import check_file
    from fgnet_plugin.utils.journal import read_table

    if is_dataset(path):
        from fgnet_plugin.scale.reading import read_dataset

        return read_dataset(path)
    check_file(path, "table")
    return read_table(path)


def table_files(paths: list[Path]) -> list[Path]:
    """List the files that hold tables: of a dataset, those of its recordings, in natural order."""
    from fgnet_plugin.scale.reading import list_parts

    files: list[Path] = []
    for path in paths:
        files += list_parts(path) if is_dataset(path) else [path]
    return files
