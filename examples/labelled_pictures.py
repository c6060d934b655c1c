"""How well AU models read pictures that people have coded: F1 and AUC of each AU, with 95 % intervals.

    python examples/labelled_pictures.py labels.csv [--pictures FOLDER] [--au-model NAME ...] [--subject COLUMN] [--out FILE]

``labels.csv`` has a row for each picture: its file in a column ``image`` (or ``input``), and AUs in columns such as ``AU01``,
``AU1`` or ``au1``: 1, 0, or empty, -1 or 9 where not coded. The largest face of each picture is read. Files are looked for
beside the CSV, or in --pictures. Where pictures of one person repeat, name the column that tells persons apart as --subject:
intervals then resample persons. Nothing is downloaded for ``fgnet-rendered``, the default; ``--au-model fgnet-bp4d`` and
others need their weights (``fgnet weights list``).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fgnet_plugin import OfflineDetector
from fgnet_plugin.comparison.agreement import Comparison, compare
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.journal import read_csv
from fgnet_plugin.utils.text import counted, plural

_AU = re.compile(r"AU\d+", re.IGNORECASE)
_SHOWN = ["AU", "name", "model", "n", "prevalence", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high"]


def read_labels(path: Path, pictures: Path | None = None) -> pd.DataFrame:
    """Read the labels, with the pictures' paths in the column ``input``. Pictures that are not there are named and left out.

    Args:
        path: the CSV file.
        pictures: folder of the pictures; by default that of the CSV file.

    Raises:
        InputError: no column of files, no AU, a picture named twice, or no picture there.
    """
    labels = read_csv(path)
    column = next((name for name in ("image", "input") if name in labels), None)
    if column is None or not any(_AU.fullmatch(str(name).strip()) for name in labels):
        raise InputError(f"{path}: expected a column image (or input) with the pictures' files, and AUs such as AU01")
    if labels[column].isna().any():
        raise InputError(f"{path}: row {int(labels[column].isna().to_numpy().argmax()) + 2} names no picture")
    if labels[column].duplicated().any():
        raise InputError(f"{path}: {labels.loc[labels[column].duplicated(), column].iloc[0]} is there twice; keep one row")
    folder = path.parent if pictures is None else pictures
    labels["input"] = [str(folder / name) for name in labels[column].astype(str)]
    there = [Path(name).is_file() for name in labels["input"]]
    missing = labels.loc[[not found for found in there], "input"].tolist()
    if not any(there):
        raise InputError(
            f"{path}: none of its {counted(len(labels), 'picture')} is in {folder}; name their folder with --pictures"
        )
    if missing:
        are = plural(len(missing), "is", "are")
        print(f"{len(missing)} of {counted(len(labels), 'picture')} {are} missing and left out: {_some(missing)}")
    return labels.loc[there].drop(columns=["image", "frame"], errors="ignore").reset_index(drop=True)


def evaluate(
    labels: pd.DataFrame, au_models: Sequence[str] = ("fgnet-rendered",), subject: str | None = None
) -> tuple[Comparison, dict[str, pd.DataFrame]]:
    """Detect the pictures' faces and compare with the labels. Pictures without a face are named, and count nowhere.

    Args:
        labels: from `read_labels`.
        au_models: names of weights, or checkpoint files.
        subject: column of the labels whose values are persons.

    Returns:
        The comparison, and the table of each model.

    Raises:
        InputError: `subject` is not a column; no face in any picture.
    """
    if subject is not None and subject not in labels:
        raise InputError(f"the labels have no column {subject}; they have {', '.join(map(str, labels))}")
    tables: dict[str, pd.DataFrame] = {}
    for model in au_models:
        detector = OfflineDetector(au_model=model)
        rows = detector.detect(labels["input"].tolist(), faces="largest", errors="skip", columns="aus")
        known = rows["FaceRectX"].notna()
        if not tables:
            without = sorted(set(labels["input"]) - set(rows.loc[known, "input"]))
            if not known.any():
                raise InputError(f"no face was found in any of the {counted(len(labels), 'picture')}")
            print(f"a face was found in {int(known.sum())} of {counted(len(labels), 'picture')}{_none_in(without)}")
        tables[model] = rows[known]
    unread = [str(au) for au in labels if _AU.fullmatch(str(au)) and not any(_reads(table, au) for table in tables.values())]
    if unread:
        print(f"labels of AUs that no model reads are left out: {', '.join(unread)}")
    return compare(tables, labels, cluster=subject), tables


def _reads(table: pd.DataFrame, au: str) -> bool:
    column = f"AU{int(au[2:]):02d}"
    return column in table and bool(table[column].notna().any())


def _none_in(without: list[str]) -> str:
    return f"; none in {_some(without)}" if without else ""


def _some(paths: list[str]) -> str:
    names = [Path(path).name for path in paths]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def main() -> None:
    """Evaluate, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--au-model", action="append", help="repeatable; by default fgnet-rendered")
    parser.add_argument("--subject", help="column of the labels that tells persons apart")
    parser.add_argument("--out", type=Path, help="CSV file for the table; the scores go beside it, as NAME-MODEL.csv")
    arguments = parser.parse_args()
    try:
        labels = read_labels(arguments.labels, arguments.pictures)
        models = arguments.au_model or ["fgnet-rendered"]
        comparison, tables = evaluate(labels, models, arguments.subject)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    accuracy = comparison.accuracy
    assert accuracy is not None
    print(accuracy[_SHOWN].to_string(index=False, float_format="{:.2f}".format))
    print(f"intervals: 95 %, resampled by {comparison.resampled}")
    if arguments.out is not None:
        accuracy.to_csv(arguments.out, index=False)
        for model, table in tables.items():
            table.to_csv(arguments.out.with_name(f"{arguments.out.stem}-{Path(model).stem}.csv"), index=False)


if __name__ == "__main__":
    main()
