"""Evaluate trained systems: predict, resample, compare, write tables, figure and page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

import fgnet_plugin.training.evaluate.figure as figures
import fgnet_plugin.training.evaluate.report as pages
from fgnet_plugin.training.data.intensities import read_intensities
from fgnet_plugin.training.data.leakage import SeenError
from fgnet_plugin.training.evaluate import paper, tables
from fgnet_plugin.training.evaluate.predictions import Predictions, cached_path, predictions
from fgnet_plugin.training.evaluate.runs import Run, mixed, read_runs, repeated
from fgnet_plugin.training.evaluate.scores import Tested, differences, groups
from fgnet_plugin.training.evaluate.scoring import best_thresholds, scored
from fgnet_plugin.training.evaluate.study import Settings, Study
from fgnet_plugin.training.evaluate.test_sets import LabelFileCache, Test, tests_of, validation_test
from fgnet_plugin.training.models.systems import System, load_system
from fgnet_plugin.utils.text import counted


def evaluate(settings: Settings, say: Callable[[str], None] = print) -> Study:
    """Tests runs and writes ``scores.csv``, ``summary.csv``, ``measures.csv``, ``comparisons.csv``, ``figure.png``,
    ``figure.svg`` and ``report.html`` into ``settings.out``.

    What runs say of faces is kept in its folder ``predictions``: an evaluation that was interrupted, or found an error, goes
    on from there, and one with more runs, other names or other resamples computes only what is new.

    Args:
        settings: what is evaluated.
        say: is told what happens, line by line.

    Raises:
        ValueError: listing all runs and tests that don't fit; bad rows in label files (after everything else was computed).
        OSError: a file that can't be written.
    """
    problems: list[str] = []
    left_out: list[str] = []
    if settings.bootstrap < 1 or settings.batch_size < 1 or settings.workers < 0 or settings.tests.count < 1:
        problems.append("bootstrap, batch-size and count must be at least 1, workers at least 0")
    if not settings.tests.threshold > 0:
        problems.append(f"threshold must be positive, or every AU is present everywhere, got {settings.tests.threshold}")
    repeats = {name for name, _ in settings.tests.on if [other for other, _ in settings.tests.on].count(name) > 1}
    problems += [f"--on {name}=…: given twice; a corpus is one file" for name in sorted(repeats)]
    for path in settings.paper_tables:
        paper.check_path(path)
    runs = read_runs(settings.runs, settings.names, problems)
    problems += repeated(runs) + mixed(runs)
    label_files = LabelFileCache()
    wanted = [(run, tests_of(run, settings.tests, problems, left_out, label_files)) for run in runs]
    if not problems and not any(tests for _, tests in wanted):
        problems += ["nothing is left to test:", *left_out]
    if problems:
        raise ValueError("\n  ".join(["nothing was computed:", *problems]) if len(problems) > 1 else problems[0])
    all_tested = _tested(settings, wanted, label_files, left_out, say)
    of_groups = groups(all_tested)
    study = Study(settings, tuple(all_tested), tuple(of_groups), tuple(differences(of_groups)), tuple(left_out))
    write(study)
    return study


def write(study: Study) -> None:
    """The files of a study."""
    out = study.settings.out
    tables.write_csv(tables.scores(study.tested), out / "scores.csv")
    tables.write_csv(tables.summary(study.groups), out / "summary.csv")
    tables.write_csv(tables.measures(study.groups), out / "measures.csv")
    tables.write_csv(tables.comparisons(study.differences), out / "comparisons.csv")
    figures.write(study.groups, out)
    pages.write(study, out / "report.html")
    for path in study.settings.paper_tables:
        paper.write(study, path)


def _tested(
    settings: Settings,
    wanted: Sequence[tuple[Run, Sequence[Test]]],
    label_files: LabelFileCache,
    left_out: list[str],
    say: Callable[[str], None],
) -> list[Tested]:
    """All scores. Raises ValueError for what could not be computed, when all else is safe."""
    folder, device = settings.out / "predictions", _device(settings.device)
    found, problems = [], []
    for run, tests in wanted:
        loaded: list[System] = []  # a run's weights, from the first test on that is not in the folder

        def system(run: Run = run, loaded: list[System] = loaded) -> System:
            if not loaded:
                loaded.append(load_system(run.path, device))
            return loaded[0]

        def predicted(test: Test, run: Run = run, system: Callable[[], System] = system) -> Predictions:
            return predictions(run, test, folder, system, settings.batch_size, settings.workers, say)

        thresholds = None
        if settings.choose_thresholds and tests:
            try:
                thresholds = best_thresholds(predicted(validation_test(run, label_files)))
            except SeenError as error:
                left_out.append(str(error))
            except ValueError as error:
                problems.append(str(error))
        for test in tests:
            try:
                of_test = predicted(test)
                file, images = test.label_file, of_test.images.tolist()
                intensities = None if file is None else read_intensities(file, images, test.aus)
            except ValueError as error:
                problems.append(f"{run.given} on {test.name}: {error}")
                continue
            found.append(scored(run, of_test, settings.bootstrap, settings.seed, thresholds, intensities))
            say(f"{run.given} on {test.name}: scored, from {cached_path(folder, run, test)}")
    if problems:
        others = counted(len(found), "other test")
        kept = f"the predictions of {others} are kept in {folder}; put this right and repeat the command"
        raise ValueError("\n".join([*dict.fromkeys(problems), *([kept] if found else [])]))
    return found


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
