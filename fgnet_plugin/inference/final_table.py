"""What is done when all rows of a run are there: persons, which faces are kept, and the tables, piece by piece.

Memory holds the place of each face (and with an identity model its embedding), but never all columns of all rows.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from fgnet_plugin.errors import OutputError
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import FACEBOX, IDENTITY, WhichColumns, check_columns, select_columns
from fgnet_plugin.inference.persons import WhichFaces, blank, chosen_rows, label_persons
from fgnet_plugin.inference.summary import Summary
from fgnet_plugin.inference.uncertainty import write_uncertainty
from fgnet_plugin.utils.distinct_names import distinct_names
from fgnet_plugin.utils.journal import ABOUT, Journal, lasting, note_finished, unwritable
from fgnet_plugin.utils.tables import PieceWriter
from fgnet_plugin.utils.text import counted

PLACES = [*FACEBOX[:4], "input", "frame"]
"""The columns by which persons are told apart where there are no embeddings, and faces are chosen."""


class RunDetector(Protocol):
    """What a run needs of the detector beside its `Reader`."""

    info: dict[str, Any]
    """The names of its models: "face_model", "identity_model", …"""

    @property
    def fgnet(self) -> AUModel | None:
        """FG-Net, or None with another AU model."""

    def identities(self, rows: pd.DataFrame, same_person: float) -> pd.Series:
        """Tell persons apart by their embeddings: a label for each row, or NaN."""

    def as_table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Make the table that is returned of its rows."""


@dataclass(frozen=True)
class TableOptions:
    """What a run's table holds and where it goes; see `Detector.detect`."""

    columns: WhichColumns = "all"
    time: bool = False
    relative_to: str | Path | None = None
    per_input: str | Path | None = None
    load: bool = True
    uncertainty: int | None = None

    def check(self, save: str | Path | None) -> None:
        """Raise ValueError for options that make no sense."""
        check_columns(self.columns)
        about_file = {
            "load=False": not self.load,
            "per_input": self.per_input is not None,
            "uncertainty": self.uncertainty is not None,
        }
        for option, given in about_file.items():
            if given and save is None:
                raise ValueError(f"{option} is about a table that is written: give save, too")
        if self.uncertainty is not None and self.uncertainty < 2:
            raise ValueError(f"uncertainty is a number of passes, at least 2, got {self.uncertainty}")
        if self.uncertainty is not None and self.columns == "aus":
            raise ValueError("uncertainty needs landmarks: columns must be 'all' or 'faces'")

    def shown(self, path: str) -> str:
        """Return what the column "input" says of a path. Raises ValueError for one that is not below `relative_to`."""
        if self.relative_to is None:
            return path
        try:
            return Path(path).absolute().relative_to(Path(self.relative_to).absolute()).as_posix()
        except ValueError:
            raise ValueError(f"{path} is not in {self.relative_to}, to which paths are to be relative") from None


@dataclass(frozen=True, eq=False)
class FinalRows:
    """Whose the rows of a table are, and which of them stay."""

    identity: pd.Series | None
    """[n] labels of persons or NaN; None where the rows have the column "Identity"."""
    chosen: npt.NDArray[np.bool_]
    """[n]"""
    absent: npt.NDArray[np.bool_]
    """[n]; see `persons.chosen_rows`."""
    columns: WhichColumns

    def of(self, rows: pd.DataFrame, first: int = 0) -> pd.DataFrame:
        """Complete some of the rows, from number `first` on."""
        some = slice(first, first + len(rows))
        if self.identity is not None:
            rows = rows.copy()  # in one piece, to which pandas adds columns more quickly
            rows["Identity"] = self.identity.iloc[some].set_axis(rows.index)
        if not self.chosen.all() or self.absent.any():
            chosen = self.chosen[some]
            rows = blank(rows.loc[chosen].reset_index(drop=True), self.absent[some][chosen])
        return rows if self.columns == "all" else rows[select_columns(map(str, rows.columns), self.columns)]

    def of_pieces(self, pieces: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Complete rows that come in pieces, from the first on."""
        first = 0
        for rows in pieces:
            yield self.of(rows, first)
            first += len(rows)


class FinalTable:
    """Completes the rows of a run.

    Args:
        detector: that made them.
        options: what the table holds and where it goes.
        faces, same_person: see `Detector.detect`.
        videos, inputs: what the column "input" says of those that are videos, and of all.
        sources: what it says -> path.

    Raises:
        ValueError: uncertainty of a tensor, or of another AU model than FG-Net.
    """

    def __init__(
        self,
        detector: RunDetector,
        options: TableOptions,
        faces: WhichFaces,
        same_person: float,
        videos: Collection[str],
        inputs: Sequence[str],
        sources: Mapping[str, str],
    ) -> None:
        if options.uncertainty is not None and "tensor" in sources:
            raise ValueError("uncertainty looks at the files again: it can't be told of a tensor")
        if options.uncertainty is not None and detector.fgnet is None:
            raise ValueError(f"uncertainty is told of FG-Net's scores, not of those of {detector.info['au_model']}")
        self._sources = sources
        self._detector, self._options, self._faces, self._same_person = detector, options, faces, same_person
        self._videos, self._inputs = videos, inputs
        self._embeddings = IDENTITY if detector.info["identity_model"] is not None else []

    def growing_columns(self, rows: pd.DataFrame) -> list[str]:
        """List the columns that are kept until all rows are there: embeddings, too, because persons are told apart by them."""
        wanted = {*select_columns(map(str, rows.columns), self._options.columns), *self._embeddings}
        return [name for name in map(str, rows.columns) if name in wanted]

    def finish(self, journal: Journal) -> Summary:
        """Write the whole table, piece by piece, in the place of the growing one."""
        final = self.final_rows(pd.concat(journal.read_pieces([*PLACES, *self._embeddings]), ignore_index=True))
        summary = Summary()
        with closing(journal.read_pieces()) as pieces:  # also where the disk is full
            journal.finish(self._passing(final.of_pieces(pieces), journal, summary))
        return summary

    def summarise(self, journal: Journal) -> Summary:
        """Go through a table that is finished."""
        summary = Summary()
        for _ in self._passing(journal.read_pieces(), journal, summary):
            pass
        return summary

    def result(self, journal: Journal, summary: Summary) -> pd.DataFrame:
        """Return the table that was finished, or its summary; write the uncertainty of its scores, if that is wanted."""
        if self._options.uncertainty is not None:
            assert self._detector.fgnet is not None
            write_uncertainty(journal.path, self._detector.fgnet, self._options.uncertainty, self._sources)
        if not self._options.load:
            return summary.table()
        rows = journal.read()
        if not self._embeddings and rows["Identity"].notna().any():
            rows["Identity"] = rows["Identity"].astype(object)  # as where the labels are made
        return self._detector.as_table(rows)

    def of_rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Make the table of all rows where they are in memory."""
        return self._detector.as_table(self.final_rows(rows).of(rows) if len(rows) else rows)

    def _passing(self, pieces: Iterable[pd.DataFrame], journal: Journal, summary: Summary) -> Iterator[pd.DataFrame]:
        """Pass pieces of the final table on; on their way they are counted, and written to tables of each input."""
        folder = self._options.per_input
        tables = None if folder is None else TablesPerInput(folder, journal.path.suffix, self._inputs, journal.settings)
        try:
            for rows in pieces:
                summary.add(rows)
                if tables:
                    tables.add(rows)
                yield rows
            if tables:
                tables.close()
        except BaseException:
            if tables:
                tables.discard()
            raise

    def final_rows(self, rows: pd.DataFrame) -> FinalRows:
        """Tell persons apart, and choose which faces stay, by the columns `PLACES` and any embeddings of all rows."""
        places = pd.DataFrame(rows[PLACES])
        places["Identity"] = self._detector.identities(rows, self._same_person).set_axis(rows.index)
        if not self._embeddings and self._videos and self._detector.info["face_model"] == "bundled":
            label_persons(places, self._videos)
        chosen, absent = chosen_rows(places, self._faces, self._videos)
        others = int((places["FaceRectX"].notna().to_numpy() & ~(chosen & ~absent)).sum())
        if others:
            warnings.warn(
                f"faces={self._faces!r}: {counted(others, 'face of others was', 'faces of others were')} left out", stacklevel=5
            )
        return FinalRows(places["Identity"], chosen, absent, self._options.columns)


class TablesPerInput:
    """Writes a table for each input into a folder, from pieces of the table of all.

    Args:
        folder: made where it is missing; tables of the same names in it are replaced.
        suffix: ".csv" or ".parquet".
        inputs: what the column "input" says of them; the tables are called as `distinct_names` says.
        settings: of the run; each table keeps those that are about its input, beside it or, Parquet, in it.

    Raises OutputError where one can't be written.
    """

    def __init__(self, folder: str | Path, suffix: str, inputs: Sequence[str], settings: dict[str, Any]) -> None:
        if len(set(inputs)) < len(inputs):
            raise ValueError("an input is given twice: of each there is one table")
        self._paths = {name: Path(folder) / f"{short}{suffix}" for name, short in distinct_names(inputs).items()}
        self._suffix, self._settings, self._current = suffix, settings, ""
        self._writer: PieceWriter | None = None

    def add(self, rows: pd.DataFrame) -> None:
        """Write the next rows; those of an input follow one another."""
        for name, part in rows.groupby("input", sort=False):
            if self._writer is None or name != self._current:
                self.close()
                self._current = str(name)
            path = self._paths[self._current]
            try:
                if self._writer is None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._writer = PieceWriter(
                        path.with_name(f".{path.name}.part"), self._suffix, json.dumps(lasting(self._own()))
                    )
                self._writer.add(part)
            except OSError as error:
                raise _unwritable(path, error) from error

    def close(self) -> None:
        """Put the last table in its place."""
        if self._writer is None:
            return
        path = self._paths[self._current]
        try:
            self._writer.close()
            self._writer.path.replace(path)
            if self._suffix.lower() == ".csv":
                note_finished(path, self._own())
        except OSError as error:
            raise _unwritable(path, error) from error
        self._writer = None

    def _own(self) -> dict[str, Any]:
        """Select the settings that are about the current input."""
        inputs = [entry for entry in self._settings["inputs"] if entry[0] == self._current]
        about = {**self._settings[ABOUT]}
        about["modified"] = {name: time for name, time in about.get("modified", {}).items() if name == self._current}
        return {**self._settings, ABOUT: about, "inputs": inputs}

    def discard(self) -> None:
        """Remove a table that was begun."""
        if self._writer is not None:
            self._writer.path.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return error if isinstance(error, OutputError) else unwritable(path, error)
