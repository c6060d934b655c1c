"""Say of each recording whose it is: subject, group, condition and session, from its path or from a table."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.images import check_file
from fgnet_plugin.utils.text import counted

FACTORS = "subject", "group", "condition", "session"
"""What can be said of a recording, in the order of the columns of a summary."""
BIDS = r"sub-(?P<subject>[A-Za-z0-9]+)(?:.*?ses-(?P<session>[A-Za-z0-9]+))?(?:.*?task-(?P<condition>[A-Za-z0-9]+))?"
"""Pattern for names of the Brain Imaging Data Structure, such as ``sub-01_ses-2_task-rest.mp4``."""
HOW_TO_TELL = "tell it with a column, --pattern, --folders or --manifest (in Python, measures.with_factors)"
NAME_COLUMNS = "recording", "input", "file", "filename", "file_name", "stimulus"


def from_pattern(recordings: Sequence[str], pattern: str) -> pd.DataFrame:
    r"""Read the factors of recordings from their paths with a regular expression.

    Args:
        recordings: paths, as in the column ``input``; backslashes count as slashes.
        pattern: with named groups called as `FACTORS`, searched for anywhere in the path; ``"bids"`` stands for `BIDS`.

    Returns:
        [recordings, factors], indexed by recording; empty text where an optional group did not take part.

    Raises:
        InputError: a pattern that is none or lacks named groups, or recordings that it does not fit.

    Example:
        >>> from_pattern(["pilot/P07_sad.mp4"], r"(?P<subject>P\d+)_(?P<condition>\w+)\.").to_dict("records")
        [{'subject': 'P07', 'condition': 'sad'}]
    """
    try:
        compiled = re.compile(BIDS if pattern == "bids" else pattern)
    except re.error as error:
        raise InputError(f"{pattern!r} is not a regular expression: {error}") from error
    names = list(compiled.groupindex)
    _check_factors(names, f"the pattern {pattern!r}", "groups such as (?P<subject>…)")
    found = {recording: compiled.search(recording.replace("\\", "/")) for recording in recordings}
    _require_all(
        [recording for recording, match in found.items() if match is None],
        "does not fit",
        "do not fit",
        f"the pattern {pattern!r}",
    )
    rows = {recording: {name: match[name] or "" for name in names} for recording, match in found.items() if match}
    return _frame(rows, names)


def from_folders(recordings: Sequence[str], levels: Sequence[str]) -> pd.DataFrame:
    """Read the factors of recordings from the names of the folders they are in.

    Args:
        recordings: paths.
        levels: what the folders tell, from the outer to the inner one, the last being the folder of the file: names of
            `FACTORS`, or ``"-"`` for a folder that tells nothing. The last may be the file's name without suffix instead:
            ``"subject=file"``.

    Example:
        >>> from_folders(["study/sad/P07/1.mp4"], ["condition", "subject"]).to_dict("records")
        [{'subject': 'P07', 'condition': 'sad'}]
        >>> from_folders(["sad/P07.mp4"], ["condition", "subject=file"]).to_dict("records")
        [{'subject': 'P07', 'condition': 'sad'}]
    """
    by_file = bool(levels) and levels[-1].endswith("=file")
    factors = [level.removesuffix("=file") for level in levels]
    _check_factors([factor for factor in factors if factor != "-"], "folders", "condition/subject or condition/subject=file")
    rows, short = {}, []
    for recording in recordings:
        path = PurePath(recording.replace("\\", "/"))
        parts = [*path.parts[:-1], path.stem] if by_file else list(path.parts[:-1])
        if len(parts) < len(factors):
            short.append(recording)
        rows[recording] = dict(zip(factors, parts[len(parts) - len(factors) :], strict=False))
    _require_all(short, "has", "have", f"fewer than {counted(len(factors) - by_file, 'folder')} in the path")
    return _frame(rows, [factor for factor in factors if factor != "-"])


def from_table(recordings: Sequence[str], manifest: pd.DataFrame | str) -> pd.DataFrame:
    """Read the factors of recordings from a table with a row for each.

    Args:
        recordings: paths, as in the column ``input``.
        manifest: table or file (.csv, .tsv) with a column ``recording`` (or ``input``, ``file``, ``filename``) and any of
            `FACTORS`. A recording is looked up by its whole path, else by as much of its end as is unique, with or without
            suffix.

    Raises:
        InputError: recordings without a row, or with several, or no such columns.

    Warns:
        UserWarning: rows that no recording has.

    Example:
        >>> people = pd.DataFrame({"recording": ["P07_sad"], "subject": ["P07"]})
        >>> from_table(["videos/P07_sad.mp4"], people).to_dict("records")
        [{'subject': 'P07'}]
    """
    of = "the manifest" if isinstance(manifest, pd.DataFrame) else str(manifest)
    table = read_text_table(manifest)
    column = name_column(table, of)
    factors = [factor for factor in FACTORS if factor in table]
    _check_factors(factors, of, "columns subject, group, condition or session")
    rows = match_names(recordings, table[column].astype(str).tolist())
    _require_all([recording for recording in recordings if not rows[recording]], "has", "have", f"no row in {of}")
    for recording, found in rows.items():
        if len(found) > 1:
            raise InputError(f"{of} has {len(found)} rows for {recording}")
    used = {found[0] for found in rows.values()}
    if unused := [table[column].iloc[i] for i in range(len(table)) if i not in used]:
        warnings.warn(f"{of}: no recording for {len(unused)} of its rows, such as {unused[0]}", stacklevel=2)
    return _frame({name: table[factors].iloc[found[0]].to_dict() for name, found in rows.items()}, factors)


def with_factors(fex: pd.DataFrame, factors: pd.DataFrame) -> pd.DataFrame:
    """Add to a table of frames whose recordings they are, as columns.

    Args:
        fex: with a column ``input``; without, all rows are of one recording.
        factors: of `from_pattern`, `from_folders` or `from_table`.

    Returns:
        A copy with the columns of `factors`, in the place of columns with these names.

    Raises:
        InputError: recordings that `factors` lacks.

    Example:
        >>> fex = pd.DataFrame({"input": ["sad/P7.mp4"] * 2, "frame": [0, 1], "AU12": [0.1, 0.9]})
        >>> with_factors(fex, from_folders(["sad/P7.mp4"], ["condition", "subject=file"]))["subject"].tolist()
        ['P7', 'P7']
    """
    if "input" in fex:
        names = fex["input"].astype(str)
    elif len(factors) == 1:
        names = pd.Series(str(factors.index[0]), index=fex.index)
    else:
        raise InputError("the table has no column 'input', which is to say of which recording each row is")
    _require_all(
        list(dict.fromkeys(names[~names.isin(factors.index)])), "is not", "are not", "among those of which something is told"
    )
    table = fex.copy()
    for factor in factors:
        table[factor] = names.map(factors[factor])
    return table


def match_names(recordings: Sequence[str], names: Sequence[str]) -> dict[str, list[int]]:
    """Find, for each recording, the positions of the names that mean it.

    A name means a recording if the one path ends as the other does; where there is none, suffixes of files do not count. Of
    several names, those that tell most folders are taken.

    Example:
        >>> match_names(["study/s1/a.mp4", "study/s2/a.mp4"], ["s1/a", "s2/a", "b"])
        {'study/s1/a.mp4': [0], 'study/s2/a.mp4': [1]}
    """
    whole: dict[str, dict[tuple[str, ...], list[int]]] = {}
    for i, name in enumerate(names):
        if path := _parts(name):
            for last in {path[-1], PurePath(path[-1]).stem}:
                whole.setdefault(last, {}).setdefault(path, []).append(i)
    found = {}
    for recording in recordings:
        path = _parts(recording)
        stem = (*path[:-1], PurePath(path[-1]).stem)
        exact = [name for name in whole.get(path[-1], {}) if _end_alike(name, path)]
        if not exact:
            candidates = whole.get(stem[-1], {})
            exact = [
                name for name in candidates if _end_alike(name, stem) or _end_alike((*name[:-1], PurePath(name[-1]).stem), stem)
            ]
        shared = {name: min(len(name), len(path)) for name in exact}
        most = max(shared.values(), default=0)
        found[recording] = sorted(i for name, folders in shared.items() if folders == most for i in whole[name[-1]][name])
    return found


def name_column(table: pd.DataFrame, of: str) -> str:
    """Return the column that names the recordings. Raises InputError without one."""
    for column in NAME_COLUMNS:
        if column in table:
            return column
    raise InputError(f"{of} does not say of which recording its rows are: it needs a column recording (or {NAME_COLUMNS[1]})")


def read_text_table(table: pd.DataFrame | str) -> pd.DataFrame:
    """Read a table of texts, .csv or .tsv, in which 001 stays 001 and NA stays NA. Raises InputError for a damaged one."""
    if isinstance(table, pd.DataFrame):
        return table.rename(columns=lambda column: str(column).strip())
    check_file(table, "table")
    separator = "\t" if str(table).lower().endswith(".tsv") else ","
    try:
        read = pd.read_csv(table, sep=separator, dtype="object", keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except (ValueError, OverflowError, pd.errors.ParserError) as error:
        raise InputError(f"{table} can't be read as a table ({' '.join(str(error).split())})") from error
    return read.rename(columns=lambda column: str(column).strip())


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[\\/]+", name) if part not in ("", "."))


def _end_alike(name: tuple[str, ...], path: tuple[str, ...]) -> bool:
    shared = min(len(name), len(path))
    return name[-shared:] == path[-shared:]


def _check_factors(names: Sequence[str], of: str, wanted: str) -> None:
    if unknown := [name for name in names if name not in FACTORS]:
        raise InputError(f"{of} names {unknown[0]!r}; what can be told is {', '.join(FACTORS)}")
    if not names:
        raise InputError(f"{of} tells neither {' nor '.join(FACTORS)}: it needs {wanted}")
    if repeated := [name for name in names if list(names).count(name) > 1]:
        raise InputError(f"{of} names {repeated[0]!r} twice")


def _require_all(missing: Sequence[str], one: str, many: str, reason: str) -> None:
    if missing:
        which = counted(len(missing), f"recording {one}", f"recordings {many}")
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(f"{which} {reason}: {', '.join(missing[:3])}{more}")


def _frame(rows: dict[str, dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    ordered = [factor for factor in FACTORS if factor in columns]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(columns), dtype="object") if rows else pd.DataFrame()
    return table.reindex(columns=ordered).rename_axis("recording")
