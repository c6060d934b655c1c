"""``fgnet events`` and ``fgnet labels``: events of AUs to coders' programs, and what they made of them back to frames."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    import pandas as pd

Rate = Annotated[float | None, typer.Option(help="Frames per second, where neither table nor video tells times.")]


def events(
    tables: Annotated[list[Path], typer.Argument(help="Tables of fgnet detect, py-feat or OpenFace.")],
    out: Annotated[
        Path, typer.Option("--out", help=".eaf (ELAN), .boris or .tsv (BORIS); or a folder, for an .eaf of each recording.")
    ],
    aus: Annotated[str | None, typer.Option(help="Only these, such as AU06,AU12.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Score that an event must reach. [default: 0.5]")] = None,
    min_duration: Annotated[float, typer.Option(help="Seconds that an event must last.")] = 0.1,
    min_gap: Annotated[float, typer.Option(help="Seconds between events; nearer ones are joined.")] = 0.1,
    rate: Rate = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")] = False,
) -> None:
    """Events of AUs for coders, in ELAN or BORIS.

    Then: fgnet compare TABLE --labels FILE.
    """
    with package_warnings():
        from fgnet_plugin.measures.coders import write_codings
        from fgnet_plugin.measures.coding import code_recording
        from fgnet_plugin.measures.recordings import read_recordings
        from fgnet_plugin.utils.distinct_names import distinct_names

        wanted = [au.strip() for au in aus.split(",")] if aus else None
        codings = [
            code_recording(recording, threshold, aus=wanted, min_duration=min_duration, min_gap=min_gap)
            for recording in read_recordings(tables, rate=rate, threshold=threshold)
        ]
        files = {out: codings}
        if not out.suffix:
            names = distinct_names([coding.recording for coding in codings])
            files = {out / f"{names[coding.recording]}.eaf": [coding] for coding in codings}
        for path in files:
            if path.exists() and not overwrite:
                raise InputError(f"{path} is there already, perhaps with a coder's work; --overwrite replaces it")
        for path, written in files.items():
            write_codings(written, path)
            typer.echo(
                f"events: {path} ({sum(len(coding.events) for coding in written)} of {counted(len(written), 'recording')})"
            )


def labels(
    codings: Annotated[Path, typer.Argument(help="What a coder made: .eaf of ELAN, .boris, or aggregated events of BORIS.")],
    fex: Annotated[Path, typer.Option("--fex", help="Table whose frames are to be labelled.")],
    out: Annotated[Path, typer.Option("--out", help="CSV file to write.")] = Path("labels.csv"),
    rate: Rate = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")] = False,
) -> None:
    """A coder's events in ELAN or BORIS, as labels."""
    if out.exists() and not overwrite:
        raise InputError(f"{out} holds a table already; --overwrite replaces it, or choose another file with --out")
    with package_warnings():
        from fgnet_plugin.utils.files import atomic_write

        found = read_labels_of(codings, fex, rate)
        with atomic_write(out) as part:
            found.to_csv(part, index=False)
    typer.echo(f"table: {out} ({counted(len(found), 'frame')})")


def read_labels_of(codings: Path, table: Path, rate: float | None = None) -> pd.DataFrame:
    """Read what a coder made as labels of the frames of a table; see `measures.coding.label_recordings`."""
    from fgnet_plugin.measures.coders import read_codings
    from fgnet_plugin.measures.coding import label_recordings
    from fgnet_plugin.measures.recordings import read_recordings

    found, said = label_recordings(read_codings(codings), read_recordings(table, rate=rate))
    for message in said:
        warnings.warn(f"{codings}: {message}", stacklevel=2)
    return found
