"""Read and write tables of detections in pieces, so that memory does not grow with their length."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin.errors import InputError

PIECE = 5_000
"""Rows that are in memory at once, and those of a row group of a Parquet file."""
EXACT = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
"""Options of `pandas.read_csv` with which numbers are read as they were written."""
ORIGIN = b"fgnet_run"
"""The key in a Parquet file's metadata under which the settings of its run are, as JSON."""
_TEXT = ("input", "approx_time", "Identity")


def read_pieces(path: Path, columns: Sequence[str] | None = None, rows: int = PIECE) -> Generator[pd.DataFrame, None, None]:
    """Read a table that a detector wrote, .csv or .parquet, `rows` at a time.

    The types are those of the whole table in every piece: text in "input", "approx_time" and "Identity", whole numbers in
    "frame", float64 in all others.

    Args:
        path: of the table.
        columns: only these, where the table has them; by default all.
        rows: of a piece.

    Raises InputError for a file that is no such table.
    """
    try:
        yield from _pieces(path, columns, rows)
    except Exception as error:  # Arrow raises many kinds, among them an OSError without a number where data are damaged
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path} is damaged, or no table of detections ({' '.join(str(error).split())})") from error


def _pieces(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[pd.DataFrame]:
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            wanted = None if columns is None else [name for name in file.schema_arrow.names if name in set(columns)]
            for batch in file.iter_batches(batch_size=rows, columns=wanted):
                yield batch.to_pandas()
        return
    names = [str(name) for name in pd.read_csv(path, nrows=0).columns]
    types: dict[str, Any] = {name: "object" if name in _TEXT else "int64" if name == "frame" else "float64" for name in names}
    options: dict[str, Any] = {"dtype": types, "keep_default_na": False, "na_values": [""], **EXACT}
    options["usecols"] = names if columns is None else [name for name in names if name in set(columns)]
    with pd.read_csv(path, chunksize=rows, **options) as pieces:
        yield from pieces


def read_origin(path: Path) -> str | None:
    """Read what a Parquet file says of its origin; see `write_pieces`. Raises InputError for a damaged file."""
    import pyarrow.parquet as pq

    try:
        noted = (pq.read_metadata(path).metadata or {}).get(ORIGIN)
    except Exception as error:  # Arrow raises many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path} is damaged, or no Parquet file ({' '.join(str(error).split())})") from error
    return None if noted is None else noted.decode()


def write_pieces(pieces: Iterable[pd.DataFrame], path: Path, suffix: str | None = None, origin: str | None = None) -> None:
    """Write a table piece by piece: as CSV, or as Parquet with a row group for each piece.

    Args:
        pieces: with the same columns and types.
        path: to write to; a file that is there is replaced.
        suffix: ".csv" or ".parquet", by default that of the path.
        origin: how the table was made, which a Parquet file keeps in its metadata.
    """
    with PieceWriter(path, suffix, origin) as writer:
        for rows in pieces:
            writer.add(rows)


class PieceWriter:
    """Writes a table piece by piece; see `write_pieces`."""

    def __init__(self, path: Path, suffix: str | None = None, origin: str | None = None) -> None:
        self.path, self._origin = path, origin
        self._parquet = (path.suffix if suffix is None else suffix).lower() == ".parquet"
        self._writer: Any = None
        self._begun = False
        if not self._parquet:
            path.write_bytes(b"")

    def add(self, rows: pd.DataFrame) -> None:
        """Write the next rows."""
        if self._parquet:
            self._add_row_group(rows)
        else:
            rows.to_csv(self.path, mode="a", index=False, header=not self._begun, lineterminator="\n")
        self._begun = True

    def _add_row_group(self, rows: pd.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            # By the column's type, not by what this piece happens to hold: a text may be missing in all of its rows.
            fields = [(name, _arrow_type(str(dtype))) for name, dtype in rows.dtypes.items()]
            self._schema = pa.schema(fields)
            self._writer = pq.ParquetWriter(self.path, self._schema)
        table = pa.Table.from_pandas(rows, schema=self._schema, preserve_index=False)
        self._writer.write_table(table.replace_schema_metadata(None))

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            if self._origin is not None:
                self._writer.add_key_value_metadata({ORIGIN: self._origin.encode()})
            self._writer.close()
            self._writer = None

    def __enter__(self) -> PieceWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _arrow_type(dtype: str) -> Any:
    import pyarrow as pa

    if dtype in ("object", "str", "string"):
        return pa.string()
    return pa.from_numpy_dtype(dtype)
