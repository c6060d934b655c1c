"""Events of AUs for coders and back: ELAN's and BORIS's files by their suffixes, and frame labels of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.boris import is_aggregated, read_aggregated, read_project, write_aggregated, write_project
from fgnet_plugin.measures.coding import Coding
from fgnet_plugin.measures.elan import read_elan, write_elan
from fgnet_plugin.media.images import check_file


def is_coding(path: Path) -> bool:
    """Tell whether a file is ELAN's or BORIS's, rather than a table of frames."""
    return path.suffix.lower() in (".eaf", ".boris") or is_aggregated(path)


def read_codings(path: str | Path) -> list[Coding]:
    """Read the codings of a file: ELAN's (.eaf), a project of BORIS (.boris) or its aggregated events (.tsv, .csv).

    Raises FileNotFoundError, InputError; see `read_elan`, `read_project`, `read_aggregated`.

    Example:
        >>> [coding] = read_codings("smiles.eaf")  # doctest: +SKIP
        >>> coding.events[["AU", "onset", "offset"]]  # doctest: +SKIP
    """
    check_file(path, "file of ELAN or BORIS")
    file = Path(path)
    if file.suffix.lower() == ".eaf":
        return [read_elan(file)]
    if file.suffix.lower() == ".boris":
        return read_project(file)
    return read_aggregated(file)


def write_codings(codings: Sequence[Coding], path: str | Path) -> None:
    """Write codings, in the format that the suffix says: .eaf, .boris, or .tsv as BORIS's aggregated events.

    A file that is there is replaced.

    Raises InputError for another suffix, or several recordings in an .eaf.
    """
    file, suffix = Path(path), Path(path).suffix.lower()
    if suffix == ".eaf":
        if len(codings) != 1:
            raise InputError(f"{path}: an .eaf is of one recording, there are {len(codings)}; write a file for each")
        write_elan(codings[0], file)
    elif suffix == ".boris":
        write_project(codings, file)
    elif suffix == ".tsv":
        write_aggregated(codings, file)
    else:
        raise InputError(f"{path}: events are written to .eaf (ELAN), .boris or .tsv (BORIS), not {suffix or 'no suffix'}")
