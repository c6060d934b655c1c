"""Tables of AUs to compare, and one row of a result."""

import numpy as np
import pandas as pd

from fgnet_plugin.action_units import NAMES

AUS = [f"AU{number:02d}" for number in NAMES]


RECTANGLE = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]


def frames(n: int, files: int = 1, folder: str = "/videos") -> pd.DataFrame:
    """n frames of each file, one row each."""
    names = np.repeat([f"{folder}/v{i}.mp4" for i in range(files)], n)
    return pd.DataFrame({"input": names, "frame": np.tile(np.arange(n), files)})


def with_aus(rows: pd.DataFrame, seed: int, aus: list[str] = AUS) -> pd.DataFrame:
    values = np.random.default_rng(seed).random((len(rows), len(aus)))
    return pd.concat([rows, pd.DataFrame(values, columns=aus, index=rows.index)], axis=1)


def row(table: pd.DataFrame | None, **where: object) -> pd.Series:
    """The only row with these values."""
    assert table is not None
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def faces(order: list[int], shift: float = 0.0) -> pd.DataFrame:
    """Three frames of three faces each, whose AU01 names frame and face; each frame in this order."""
    rows = [
        {"input": "a.mp4", "frame": frame, "AU01": frame / 10 + face / 100}
        | dict(zip(RECTANGLE, (100.0 * face + shift, 10 * shift, 80.0, 80.0), strict=True))
        for frame in range(3)
        for face in order
    ]
    return pd.DataFrame(rows)
