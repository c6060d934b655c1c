"""What runs say of test faces, kept on disk: computed once, and gone on with where it was interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from fgnet_plugin.action_units import NOT_CODABLE
from fgnet_plugin.training.evaluate.runs import Run
from fgnet_plugin.training.evaluate.test_sets import Test
from fgnet_plugin.training.models.systems import System
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.journal import Journal
from fgnet_plugin.utils.threads import single_threaded, stop_opencv_threads
from fgnet_plugin.version import __version__


@dataclass(frozen=True, eq=False)
class Predictions:
    """A run's activations of N test faces, beside the labels."""

    test: Test
    images: npt.NDArray[np.object_]
    """[N] the name of each face."""
    subjects: npt.NDArray[np.object_]
    """[N]"""
    labels: Floats
    """[N, A] 1, 0, or NaN where unknown."""
    activations: Floats
    """[N, A] in [-1, 1]; above 0 the AU counts as present."""

    @property
    def aus(self) -> tuple[str, ...]:
        """The A columns."""
        return self.test.aus

    @cached_property
    def faces(self) -> str:
        """The same for two runs that were tested on the same faces in the same order: they can be compared in pairs."""
        text = "\n".join([self.test.name, *self.images, *self.subjects])
        return hashlib.sha256(text.encode()).hexdigest()


def cached_path(folder: Path, run: Run, test: Test) -> Path:
    """The CSV file of a run's predictions for a test; beside it lies one that says what they depend on."""
    return folder / f"{run.digest[:12]}-{test.key[:12]}.csv"


def predictions(
    run: Run, test: Test, folder: Path, system: Callable[[], System], batch_size: int, workers: int, say: Callable[[str], None]
) -> Predictions:
    """Activations of all faces of a test, read from `folder` as far as they are there.

    Args:
        run, test: which.
        folder: of the cached files.
        system: loads the run's weights; called only where something is left to compute.
        batch_size: faces at a time; after each such batch, what is done is safe on disk.
        workers: processes that load or draw faces.
        say: is told how far it is.

    Raises:
        ValueError: bad rows in a label file, a damaged cached file.
        OSError: a file that can't be written.
    """
    depends_on = {"checkpoint": run.digest, "test": test.key, "aus": list(test.aus), "code": __version__}
    journal = Journal(cached_path(folder, run, test), depends_on, resume=True)
    if not journal.finished:
        _compute(run, test, journal, system, batch_size, workers, say)
    return _read(journal, test)


def _compute(
    run: Run,
    test: Test,
    journal: Journal,
    system: Callable[[], System],
    batch_size: int,
    workers: int,
    say: Callable[[str], None],
) -> None:
    corpus, images, subjects = test.read()
    done = len(_table(journal)) if journal.has_rows else 0
    model = system()
    columns = [model.aus.index(au) for au in test.aus]
    stop_opencv_threads()
    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        Subset(corpus, range(done, len(corpus))),  # type: ignore[arg-type]
        batch_size=batch_size,
        num_workers=workers,
        worker_init_fn=single_threaded,
    )
    for batch in loader:
        activations = model.predict(batch["image"], batch_size)[:, columns].numpy()
        of_batch = slice(done, done + len(activations))
        rows = pd.DataFrame({"image": images[of_batch], "subject": subjects[of_batch]})
        labels = batch["labels"].masked_fill(batch["labels"] == NOT_CODABLE, torch.nan).numpy()
        for i, au in enumerate(test.aus):
            rows[f"label_{au}"], rows[au] = labels[:, i], activations[:, i]
        journal.append(rows)
        done += len(rows)
        say(f"{run.given} on {test.name}: {done:,} of {len(corpus):,} faces")
    journal.finish(_table(journal))


def _table(journal: Journal) -> pd.DataFrame:
    """All columns as text: a subject may be called 007, or NA."""
    return pd.read_csv(journal.path if journal.finished else journal.growing, dtype=str, keep_default_na=False)


def _read(journal: Journal, test: Test) -> Predictions:
    table = _table(journal)
    try:
        labels = table[[f"label_{au}" for au in test.aus]].replace("", "nan").to_numpy().astype(np.float64)
        activations = table[list(test.aus)].to_numpy().astype(np.float64)
        images, subjects = (table[name].to_numpy(dtype=object) for name in ("image", "subject"))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{journal.path}: damaged ({error}); delete it and {journal.run.name}, and it is made again"
        ) from error
    return Predictions(test, images, subjects, labels, activations)
