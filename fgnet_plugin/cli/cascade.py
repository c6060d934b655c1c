"""``fgnet cascade``, and ``fgnet detect --with-student``, which is the same in one command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from fgnet_plugin.inference.au_model import AUModel

_OPTIONS = "unsure", "sample", "base_rates"
_OF_ONE_MODEL = "as_json", "estimate", "heatmaps", "per_file", "plots", "uncertainty"


@dataclass(frozen=True, eq=False)
class Cascaded:
    """The second half of ``fgnet detect --with-student``: the first is a run of the student."""

    out: Path
    student_table: Path
    teacher: AUModel
    shares: dict[str, Any]
    base_rates: Path | None

    def run(self, values: Mapping[str, Any]) -> None:
        """Let the teacher read what the student, in its run with these options, was unsure of, and a sample."""
        fex = read_made_table(self.student_table, self.out, overwrite=True)
        write_cascade(
            fex, self.teacher, self.out, self.shares, values["device"], self.base_rates, "input", values["relative_to"]
        )


def begin_cascade(values: dict[str, Any]) -> Cascaded | None:
    """Turn the options of ``fgnet detect --with-student`` into those of a run of the student, in place.

    Returns what is to be done after that run; None without ``--with-student``. Raises BadParameter for options that don't fit,
    InputError for tables that are there, and CheckpointError for a teacher that is not.
    """
    if values["with_student"] is None:
        if given := [name for name in _OPTIONS if values[name] is not None]:
            raise typer.BadParameter(f"--{given[0].replace('_', '-')} needs --with-student")
        return None
    if wrong := [name for name in _OF_ONE_MODEL if values[name]]:
        option = {"as_json": "json"}.get(wrong[0], wrong[0]).replace("_", "-")
        raise typer.BadParameter(f"--{option} is of one model's table: not with --with-student")
    if values["au_model"] is None:
        raise typer.BadParameter("--with-student needs --au-model, the student's teacher")
    if values["columns"] == "aus":
        raise typer.BadParameter("--with-student needs landmarks: --columns faces, or all")
    out: Path = values["out"]
    if out.exists() and not values["overwrite"]:
        raise InputError(f"{out} holds a table already; --overwrite replaces it, or choose another file with --out")
    student_table = out.with_name(f"{out.stem}.student{out.suffix}")
    if student_table.exists() and not (values["resume"] or values["overwrite"]):
        raise InputError(f"{student_table} is of an interrupted run; --resume continues it, --overwrite starts anew")
    from fgnet_plugin.inference.au_model import AUModel

    teacher = AUModel(values["au_model"], values["device"], fetch=not values["offline"])
    defaults = {"unsure": 0.1, "sample": 0.05}
    shares = {name: default if values[name] is None else values[name] for name, default in defaults.items()}
    values |= {"au_model": str(values["with_student"]), "out": student_table}
    values["teacher"] = values["teacher"] or teacher.path
    return Cascaded(out, student_table, teacher, shares, values["base_rates"])


def write_cascade(
    fex: pd.DataFrame,
    teacher: str | AUModel,
    out: Path,
    shares: dict[str, Any],
    device: str,
    base_rates: Path | None,
    subject: str,
    relative_to: Path | None = None,
) -> None:
    """Let a teacher read some rows of a student's table, write it, and print what was done.

    Args:
        fex: the student's table.
        teacher, shares, device: see `inference.cascade.cascade`.
        out: the table to write; beside it ``….teacher.csv`` grows meanwhile.
        base_rates: a table of base rates, if they are wanted, with intervals over the column `subject`.
        relative_to: the folder below which the inputs of `fex` are.
    """
    from fgnet_plugin.inference.cascade import SOURCE, cascade
    from fgnet_plugin.utils.files import atomic_write
    from fgnet_plugin.utils.journal import run_path
    from fgnet_plugin.utils.tables import write_pieces

    if base_rates is not None and (subject not in fex or fex[subject].nunique() < 2):
        raise InputError(
            f"base rates need several people, and the column {subject!r} has not got them: --subject names another"
        )
    growing = out.with_name(f"{out.stem}.teacher.csv")
    found = cascade(fex, teacher, **shares, device=device, save=growing, progress=True, relative_to=relative_to)
    with atomic_write(out) as part:
        write_pieces([found.table], part, out.suffix)
    for path in (growing, run_path(growing)):
        path.unlink(missing_ok=True)
    counts = ", ".join(f"{count} by {source}" for source, count in found.table[SOURCE].value_counts().items())
    typer.echo(f"table: {out} ({counted(len(found.table), 'row')}: {counts})")
    if base_rates is not None:
        from fgnet_plugin.measures.powered import prediction_powered

        rates = prediction_powered(fex[fex["FaceRectX"].notna()], found.labels, subject=subject)
        with atomic_write(base_rates) as part:
            rates.to_csv(part, index=False)
        typer.echo(f"base rates: {base_rates}")


def read_made_table(table: Path, out: Path, overwrite: bool) -> pd.DataFrame:
    """Read a table of ``fgnet detect`` to make another, `out`, of it. Raises InputError, BadParameter where that can't be."""
    from fgnet_plugin.media.images import check_file
    from fgnet_plugin.utils.journal import read_table
    from fgnet_plugin.utils.made_by import MadeBy

    if out.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"--out must end in .csv or .parquet, not {out.suffix or 'nothing'!r}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} holds a table already; --overwrite replaces it, or choose another file with --out")
    check_file(table, "table")
    fex, made = read_table(table), MadeBy.of_file(table)
    if made is not None:
        made.note(fex)
    return fex
