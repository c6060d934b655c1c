"""The command ``fgnet train evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_NEEDED = "torchmetrics", "pandas", "scipy", "sklearn", "matplotlib", "jinja2", "yaml", "PIL"


def evaluate(
    runs: Annotated[list[str], typer.Argument(help="Folders of trainings, checkpoint files, or names of weights.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for tables, figure, page and predictions.")],
    on: Annotated[
        list[str] | None, typer.Option("--on", metavar="NAME=CSV", help="Test on this label file of corpus NAME. Repeatable.")
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="Test on rendered faces of this style. Repeatable.")
    ] = None,
    within: Annotated[
        bool, typer.Option("--within", help="Beside --on or --domain, each run's own test part, too (alone: the default).")
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="RUN=SYSTEM", help="Call the system of RUN, or of all RUN* that fit, SYSTEM. Repeatable."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Rendered faces of each style.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other rendered faces.")] = 7_000_000,
    threshold: Annotated[float, typer.Option(help="Files of --on: an AU is present from this value on; DISFA: 2.")] = 1.0,
    image_root: Annotated[str, typer.Option(help="Files of --on: folder that relative paths start from.")] = "",
    resize: Annotated[bool, typer.Option("--resize", help="Files of --on: resize images to the network's size.")] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Files of --on: leave out frames that are not there, and say how many.")
    ] = False,
    on_fold: Annotated[
        int | None,
        typer.Option(min=0, help="Of --on's corpora, BP4D or DISFA, only this published fold's test subjects (authors: 0)."),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the test subjects.")] = 1000,
    bootstrap_seed: Annotated[int, typer.Option(min=0, help="Another seed, other resamples.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces at a time.")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load or render faces.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, …")] = "auto",
    choose_thresholds: Annotated[
        bool, typer.Option("--choose-thresholds", help="Beside 0, activations chosen by F1 on validation faces.")
    ] = False,
    table: Annotated[
        list[Path] | None, typer.Option("--table", help="Write tables for a paper, too: .md or .tex. Repeatable.")
    ] = None,
) -> None:
    """Test trainings within and across corpora.

    F1, AUC and other measures of each AU with spread and intervals, as tables and a page.

    Without --on and --domain, each run is tested on its own settings' test fold or file. Runs that differ in fold and seed only
    are averaged. An evaluation that was interrupted goes on where it stopped.
    """
    from fgnet_plugin.cli.requirements import check_installed

    check_installed(_NEEDED)
    from fgnet_plugin.training.evaluate import evaluation, study, tables
    from fgnet_plugin.training.evaluate.test_sets import Requested

    tests = Requested(
        on=tuple(_pair(text, "--on", "NAME=labels.csv") for text in on or ()),
        domains=tuple(domain or ()),
        within=within,
        count=count,
        faces_seed=seed,
        threshold=threshold,
        image_root=image_root,
        resize=resize,
        skip_missing=skip_missing,
        fold=on_fold,
    )
    names = tuple(_pair(text, "--name", "RUN=SYSTEM") for text in name or ())
    computed = bootstrap, bootstrap_seed, batch_size, workers, device, choose_thresholds, tuple(table or ())
    settings = study.Settings(tuple(runs), out, tests, names, *computed)
    found = evaluation.evaluate(settings, say=lambda line: typer.echo(line, err=True))
    typer.echo(tables.compact(found.groups))
    for note, of in found.notes.items():
        typer.echo(f"note: {', '.join(of)}: {note}", err=True)
    for line in found.left_out:
        typer.echo(f"left out: {line}", err=True)
    typer.echo("\n".join(map(str, [*settings.paper_tables, out / "report.html"])))


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    first, equals, second = text.partition("=")
    if not equals or not first or not second:
        raise ValueError(f"{option} {text}: must look like {form}")
    return first, second
