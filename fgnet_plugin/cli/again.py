"""``fgnet sides``, ``fgnet uncertainty`` and ``fgnet cascade``: the faces of a table, looked at again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgnet_plugin.cli.cascade import read_made_table, write_cascade
from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.detect import Device
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    import pandas as pd

Table = Annotated[Path, typer.Argument(help="Table of fgnet detect with landmarks; its recordings must be there.")]
Model = Annotated[str, typer.Option(help="The weights that made the table: fgnet, fgnet-rendered, …, or a file.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")]


def sides(
    table: Table,
    au_model: Model = "fgnet-rendered",
    device: Device = "cpu",
    out: Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")] = Path("sides.csv"),
    overwrite: Overwrite = False,
) -> None:
    """AUs of the left and of the right half of each face."""
    with package_warnings():
        from fgnet_plugin.inference.sides import sides as read_sides

        fex = read_made_table(table, out, overwrite)
        _write(fex, read_sides(fex, au_model, device=device), out)


def uncertainty(
    table: Table,
    au_model: Model = "fgnet-rendered",
    passes: Annotated[int, typer.Option(min=2, help="How often each face is read.")] = 8,
    seed: Annotated[int, typer.Option(help="Of shifts and scalings.")] = 0,
    device: Device = "cpu",
    out: Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")] = Path("uncertainty.csv"),
    overwrite: Overwrite = False,
) -> None:
    """How much scores change where the crop moves a little.

    The face's crop is shifted, scaled and mirrored.
    """
    with package_warnings():
        from fgnet_plugin.inference.uncertainty import uncertainty as read_spread

        fex = read_made_table(table, out, overwrite)
        _write(fex, read_spread(fex, au_model, passes, seed=seed, device=device), out)


def cascade(
    table: Table,
    teacher: Annotated[str, typer.Option(help="fgnet-bp4d, fgnet-disfa, …, or a checkpoint file.")],
    unsure: Annotated[float, typer.Option(help="Share of the faces for the teacher: the student's least sure.")] = 0.1,
    sample: Annotated[float, typer.Option(help="Share of the others for the teacher, by chance.")] = 0.05,
    subject: Annotated[str, typer.Option(help="Column that says who is filmed, for the base rates' intervals.")] = "input",
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 0,
    device: Device = "cpu",
    out: Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")] = Path("cascade.csv"),
    base_rates: Annotated[
        Path | None, typer.Option("--base-rates", help="Also a table of base rates, corrected by the teacher's: .csv.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Let the teacher read a student's doubtful rows.

    The column "source" says which row came from which. The teacher also reads a random sample of the rest, from which base
    rates are estimated as from faces that people coded: with intervals by person, however well or badly the student does.
    After an interruption, the same command goes on.
    """
    with package_warnings():
        shares: dict[str, Any] = {"unsure": unsure, "sample": sample, "seed": seed}
        write_cascade(read_made_table(table, out, overwrite), teacher, out, shares, device, base_rates, subject)


def _write(fex: pd.DataFrame, found: pd.DataFrame, out: Path) -> None:
    from fgnet_plugin.inference.faces_again import write_of_faces

    write_of_faces(fex, found, out)
    typer.echo(f"table: {out} ({counted(len(fex), 'row')})")
