"""The Parquet files of a dataset: all of one schema, without the columns that its detector never fills.

No statistics but those of "frame", and no pandas metadata: with hundreds of columns, they are most of a short table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.faces.finder import FoundFaces
from fgnet_plugin.inference.columns import AUS, EMOTIONS, GAZE, IDENTITY, WhichColumns, rows_of_faces, select_columns
from fgnet_plugin.inference.final_table import RunDetector
from fgnet_plugin.utils.tables import ORIGIN

_ABOUT = b"fgnet"
_TEXT = ("input", "approx_time", "Identity")


@cache
def all_types() -> dict[str, np.dtype[Any]]:
    """List the columns of a table of videos with times, and their types."""
    faces = rows_of_faces([FoundFaces.none()], [(1, 1)], (), np.empty((0, 0), np.float32))
    types = {str(name): np.dtype(kind) for name, kind in faces.dtypes.items()}
    text, number = np.dtype(object), np.dtype(float)
    return types | {"input": text, "frame": np.dtype(np.int64), "approx_time": text, "time": number, "Identity": text}


def stored_columns(detector: RunDetector, au_names: Sequence[str], columns: WhichColumns) -> list[str]:
    """List the columns of a dataset's files: of those that are wanted, the ones that the detector has values for."""
    empty = {au for au in AUS if au not in au_names}
    for model, names in (("emotion_model", EMOTIONS), ("identity_model", IDENTITY), ("gaze_model", GAZE)):
        empty.update(names if detector.info[model] is None else [])
    return [name for name in select_columns(all_types(), columns) if name not in empty]


class TableWriter:
    """Writes a Parquet file in pieces.

    Args:
        path: of the file.
        columns: of the file, among those of `all_types`; what rows have beside must be empty.

    Attributes:
        frames, rows, faces: how many were written.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._types = {name: kind for name, kind in all_types().items() if name in set(columns)}
        fields = [(name, pa.string() if name in _TEXT else pa.from_numpy_dtype(kind)) for name, kind in self._types.items()]
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            store_schema=False,
            use_dictionary=[name for name in self._types if name in _TEXT],
            write_statistics=["frame"],
            column_encoding={name: "BYTE_STREAM_SPLIT" for name, kind in self._types.items() if kind.kind == "f"},
        )
        self.frames = self.rows = self.faces = 0
        self._last: int | None = None

    def add(self, rows: pd.DataFrame) -> None:
        """Write the next rows, as a row group of its own. Columns that they lack are empty."""
        import pyarrow as pa

        others = rows[[name for name in rows.columns if name not in self._types]]
        if others.notna().any(axis=None):
            raise AssertionError(f"values in columns that the dataset has not: {others.columns[others.notna().any()].tolist()}")
        columns: dict[str, Any] = {}
        for kind in set(self._types.values()):  # all of a type at once: hundreds of single ones take 100 ms
            names = [name for name, its in self._types.items() if its == kind]
            if kind.kind == "O":
                columns |= {name: pa.array(rows.get(name), pa.string(), from_pandas=True) for name in names if name in rows}
            else:
                block = np.ascontiguousarray(rows.reindex(columns=names).to_numpy(kind).T)
                columns |= {name: pa.array(values) for name, values in zip(names, block, strict=True)}
        empty = pa.nulls(len(rows), pa.string())
        arrays = [columns.get(name, empty) for name in self._types]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        numbers: list[int] = rows["frame"].unique().tolist() if len(rows) else []
        self.frames += len(numbers) - int(self._last in numbers[:1])
        self._last = numbers[-1] if numbers else self._last
        self.rows += len(rows)
        self.faces += int(rows["FaceRectX"].notna().sum()) if len(rows) else 0

    def close(self, about: Mapping[str, object], origin: Mapping[str, object] | None = None) -> None:
        """Complete the file, with what `read_about` and `utils.tables.read_origin` are to return."""
        noted = {_ABOUT: about} if origin is None else {_ABOUT: about, ORIGIN: origin}
        self._writer.add_key_value_metadata({key: json.dumps(values).encode() for key, values in noted.items()})
        self._writer.close()


def read_about(path: Path) -> dict[str, Any]:
    """Read what a file says of itself. Raises InputError for one that is damaged or not of a dataset."""
    import pyarrow.parquet as pq

    try:
        found = json.loads(pq.read_metadata(path).metadata[_ABOUT])
    except FileNotFoundError:
        raise
    except Exception as error:  # Arrow raises many kinds
        raise InputError(f"{path} is damaged, or not of a dataset of this package ({error})") from error
    return dict(found)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a file's rows, or those of its columns that are named, with the types of `all_types`."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if columns is None or name in set(columns)]
            rows = file.read(names).to_pandas()
    except FileNotFoundError:
        raise
    except Exception as error:  # Arrow raises many kinds
        raise InputError(f"{path} is damaged, or not of a dataset of this package ({error})") from error
    types = all_types()
    return rows.astype({name: types[name] for name in names if name not in _TEXT})


def restored(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Give rows the columns that their files leave out, which are NaN, and this order."""
    types = all_types()
    missing = {name: np.full(len(rows), np.nan, types[name]) for name in columns if name not in rows.columns}
    return pd.concat([rows, pd.DataFrame(missing, index=rows.index)], axis=1)[list(columns)]
