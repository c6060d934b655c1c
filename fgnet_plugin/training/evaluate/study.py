"""A whole evaluation: from runs and tests to tables, figure and page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fgnet_plugin.training.evaluate.scores import Difference, Group, Tested
from fgnet_plugin.training.evaluate.test_sets import Requested


@dataclass(frozen=True)
class Settings:
    """What is evaluated, and how."""

    runs: tuple[str, ...]
    """Folders of trainings, or checkpoint files."""
    out: Path
    """Folder of the results, and of the predictions that they are made of."""
    tests: Requested = field(default_factory=Requested)
    names: tuple[tuple[str, str], ...] = ()
    """(pattern, system) pairs, see `read_runs`."""
    bootstrap: int = 1000
    """Resamples of the test subjects."""
    seed: int = 0
    """Of the resamples."""
    batch_size: int = 16
    workers: int = 0
    """Processes that load or draw faces."""
    device: str = "auto"
    choose_thresholds: bool = False
    """Also score decisions at thresholds chosen on each run's validation faces."""
    paper_tables: tuple[Path, ...] = ()
    """Files ``.md`` or ``.tex`` with tables for a paper."""


@dataclass(frozen=True, eq=False)
class Study:
    """What an evaluation found."""

    settings: Settings
    tested: tuple[Tested, ...]
    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]
    left_out: tuple[str, ...]
    """Tests that were not made, and why."""

    @property
    def notes(self) -> dict[str, list[str]]:
        """What a reader of the scores should know -> the runs, as the user named them, that it is about."""
        found: dict[str, dict[str, None]] = {}
        for one in self.tested:
            for note in (*one.run.notes, *one.predictions.test.notes):
                found.setdefault(note, {})[one.run.given] = None
        return {note: list(runs) for note, runs in found.items()}
