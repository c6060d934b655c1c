"""``fgnet detect`` into a folder, and ``fgnet status``."""

from __future__ import annotations

import functools
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgnet_plugin.cli.console import duration
from fgnet_plugin.cli.inputs import find_inputs
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    from fgnet_plugin.scale import Progress, Report

_INTERRUPTED = 130  # exit status of shells for Ctrl-C
_FOR_TABLES = ("heatmaps", "overwrite", "per_file", "plots", "with_student")
_MOST_SHOWN = 20  # reasons


def run(values: Mapping[str, Any]) -> None:
    """Detect into a dataset, with the options of ``fgnet detect`` by name, and print what was done."""
    import torch

    from fgnet_plugin.cli.detect_run import make_detector, models_of, options_of
    from fgnet_plugin.scale import detect_dataset

    if wrong := [name for name in _FOR_TABLES if values[name]]:
        options = ", ".join("--" + name.replace("_", "-") for name in wrong)
        raise typer.BadParameter(f"{options}: not for a dataset, only for a table (--out fex.csv)")
    out: Path = values["out"]
    detect = options_of(values) | {"columns": values["columns"], "relative_to": values["relative_to"]}
    del detect["errors"]
    if values["verify"]:
        detect |= {"verify": values["verify"], "teacher": values["teacher"]}
        say_what_can_not_be_verified(values["au_model"])
    on_gpu = values["device"].startswith("cuda") or (values["device"] == "auto" and torch.cuda.is_available())
    try:
        report = detect_dataset(
            find_inputs(values["inputs"], values["recursive"]),
            out,
            detector=functools.partial(make_detector, models_of(values), values["offline"], values["only_aus"]),
            detect=detect,
            workers=values["workers"] or "auto",
            address=values["cluster"],
            shard=shard_of(values["shard"]),
            cpus=values["cpus_per_worker"],
            gpus=(1 if values["gpus_per_worker"] is None else values["gpus_per_worker"]) if on_gpu else 0,
            retry_failed=values["retry_failed"],
            progress=ProgressLine(),
        )
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted: what is complete is in {out}; the same command continues", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    print_report(report, out)
    if report.failed or report.incomplete:
        raise typer.Exit(1)


def shard_of(text: str | None) -> tuple[int, int] | None:
    """Read ``"3/16"``; None for None."""
    if text is None:
        return None
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise typer.BadParameter(f"--shard must be I/N, with I from 1 to N, not {text!r}")
    return int(first), int(count)


class ProgressLine:
    """Shows how far a run is: on a terminal in place, every second; else a line a minute."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._said = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Show it, unless it was shown just now."""
        now = time.monotonic()
        if now - self._said < (1 if self._terminal else 60):
            return
        self._said = now
        text = progress_text(progress)
        typer.echo(f"\r\x1b[2K{text}" if self._terminal else text, err=True, nl=not self._terminal)


def progress_text(progress: Progress) -> str:
    """Say in a line how far a run is."""
    left = progress.seconds_left
    parts = [
        f"{progress.done} of {counted(progress.recordings, 'recording')}",
        f"{progress.frames:,} of about {counted(progress.all_frames, 'frame', form=',')}",
        f"{progress.rate:.1f} frames/s",
        *([] if left is None else [f"about {duration(left)} left"]),
        counted(progress.workers, "worker"),
        *([f"{progress.failed} failed"] if progress.failed else []),
        *([f"{counted(progress.lost, 'worker')} lost"] if progress.lost else []),
    ]
    return ", ".join(parts)


def print_report(report: Report, out: Path) -> None:
    """Print what a run did, and why recordings have no rows."""
    outcomes = report.done.values()
    rows, faces = sum(one.rows for one in outcomes), sum(one.faces for one in outcomes)
    before = f", {report.before} of them before" if report.before else ""
    typer.echo(f"\nrecordings done   {len(report.done)}{before}")
    typer.echo(f"failed            {len(report.failed)}")
    typer.echo(f"rows, faces       {rows:,}, {faces:,}")
    typer.echo(f"hours of video    {sum(one.hours for one in outcomes):.2f}")
    if report.frames:
        rate = report.frames / report.seconds
        typer.echo(
            f"this run          {counted(report.frames, 'frame', form=',')} in {report.seconds:.1f} s: {rate:.1f} frames/s"
        )
        typer.echo(f"start-up          {report.startup:.1f} s")
    if report.lost:
        typer.echo(f"workers lost      {report.lost}")
    typer.echo(f"\ndataset: {out}")
    print_reasons("not read", report.failed)
    print_reasons("not read to the end, or not whole", report.incomplete)
    print_unlike(report.unlike, report.verified, len(report.done))


def print_unlike(unlike: Mapping[str, str], verified: int, done: int) -> None:
    """Print what the comparison of a student with its teacher found, if there was one."""
    if not verified:
        return
    more = f"; the other {done - verified} were read before, without --verify" if verified < done else ""
    typer.echo(f"verified          {verified} of {done} recordings, {len(unlike)} with warnings{more}")
    for name, reason in list(unlike.items())[:_MOST_SHOWN]:
        typer.echo(f"warning: {reason if name in reason else f'{name}: {reason}'}", err=True)
    if len(unlike) > _MOST_SHOWN:
        typer.echo(f"  and {len(unlike) - _MOST_SHOWN} more; fgnet status --unlike lists them", err=True)


def say_what_can_not_be_verified(student: str | None) -> None:
    """Warn once, not in each worker, of what a student's card does not say. Raises InputError for other weights."""
    from fgnet_plugin.checkpoints.fgnet import read_info
    from fgnet_plugin.inference.verify import notes_on

    if student is None or not Path(student).is_file():
        raise InputError("--verify is for a student of fgnet train student: give its file with --au-model")
    for text in notes_on(read_info(Path(student)), student):
        warnings.warn(text, stacklevel=2)


def print_reasons(title: str, reasons: Mapping[str, str], most: int | None = _MOST_SHOWN) -> None:
    """Print why inputs have no rows, or too few."""
    if reasons:
        typer.echo(f"error: {counted(len(reasons), 'input')} {title}:", err=True)
    for name, reason in list(reasons.items())[:most]:
        typer.echo(f"  {reason if reason.startswith(name) else f'{name}: {reason}'}", err=True)
    if most is not None and len(reasons) > most:
        typer.echo(f"  and {len(reasons) - most} more; fgnet status --failed lists them", err=True)


def status(
    dataset: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    failed: Annotated[bool, typer.Option("--failed", help="List the inputs without rows, each with the reason.")] = False,
    unlike: Annotated[bool, typer.Option("--unlike", help="List the inputs of which --verify warned, and why.")] = False,
) -> None:
    """What a dataset of fgnet detect holds, also meanwhile."""
    from fgnet_plugin.scale.reading import status as read_status

    found = read_status(dataset)
    if failed or unlike:
        for name, reason in {**found.failed, **found.incomplete}.items() if failed else found.unlike.items():
            typer.echo(f"{name}\t{reason}")
        return
    given = "" if found.inputs is None else f" of {found.inputs}"
    typer.echo(f"recordings done   {found.done}{given}")
    typer.echo(f"failed            {len(found.failed)}")
    typer.echo(f"not whole         {len(found.incomplete)}")
    typer.echo(f"frames            {found.frames:,}")
    typer.echo(f"rows, faces       {found.rows:,}, {found.faces:,}")
    typer.echo(f"hours of video    {found.hours:.2f}")
    if found.verified:
        typer.echo(f"verified          {found.verified}, {len(found.unlike)} with warnings")


def is_dataset(out: Path, values: Mapping[str, Any]) -> bool:
    """Tell whether `--out` is a folder, for a dataset. Raises BadParameter where it is neither, or options don't fit it."""
    if out.is_dir() or not out.suffix:
        if values["estimate"]:
            raise typer.BadParameter("--estimate is for a table: give --out fex.csv; nothing is written")
        if values["uncertainty"] is not None:
            raise typer.BadParameter("--uncertainty is for a table: give --out fex.csv, not a folder")
        return True
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"--out must end in .csv or .parquet, not {out.suffix!r}, or be a folder")
    given = [name for name in ("workers", "cluster", "shard", "gpus_per_worker") if values[name] is not None]
    if given or values["retry_failed"]:
        option = "--" + (given or ["retry_failed"])[0].replace("_", "-")
        raise typer.BadParameter(f"{option} is for a dataset: --out must be a folder, not {out}")
    return False
