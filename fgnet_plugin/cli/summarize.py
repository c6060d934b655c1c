"""``fgnet summarize``: from tables of frames to a row for each recording, trial or person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.factors import Folders, Manifest, Pattern, factors_of
from fgnet_plugin.cli.measure import FaceModel, LandmarkModel, Weights, origin
from fgnet_plugin.cli.tables import common_origin, table_files
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.files import SUMMARY_FILES
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from fgnet_plugin.measures.baseline import BaselineBuilder
    from fgnet_plugin.measures.summary import Summary
    from fgnet_plugin.utils.made_by import MadeBy


def summarize(
    context: typer.Context,
    tables: Annotated[list[Path], typer.Argument(help="Tables or datasets of fgnet detect, tables of py-feat or OpenFace.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("summary"),
    by: Annotated[str, typer.Option(help="A row for each recording, trial or person.")] = "recording",
    pattern: Pattern = None,
    folders: Folders = None,
    manifest: Manifest = None,
    trials: Annotated[list[Path] | None, typer.Option(help="Times of trials: BIDS events, PsychoPy's log; repeatable.")] = None,
    trial_start: Annotated[str | None, typer.Option(help="Column with the starts of trials, in seconds.")] = None,
    trial_end: Annotated[str | None, typer.Option(help="Column with the ends of trials.")] = None,
    trial_shift: Annotated[float, typer.Option(help="Seconds to add to the times of trials.")] = 0.0,
    baseline: Annotated[
        str | None,
        typer.Option(help="quantile:0.1, clips:TEXT (in the names of neutral recordings), or a CSV of recording, start, end."),
    ] = None,
    scale: Annotated[str, typer.Option(help="Scores relative to the baseline: difference, z or logit.")] = "difference",
    rate: Annotated[float | None, typer.Option(help="Frames per second, where neither table nor video tells times.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Score from which an AU is present. [default: 0.5]")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="JSON file of fgnet calibrate: probabilities, and its thresholds.")
    ] = None,
    weights: Weights = None,
    face_model: FaceModel = None,
    landmark_model: LandmarkModel = None,
    aus: Annotated[str | None, typer.Option(help="Only these, such as AU06,AU12.")] = None,
    min_duration: Annotated[float, typer.Option(help="Seconds that an event must last.")] = 0.1,
    min_gap: Annotated[float, typer.Option(help="Seconds between events; nearer ones are joined.")] = 0.1,
    smooth: Annotated[str | None, typer.Option(help="median, savgol or loess, with seconds: median:0.3.")] = None,
    fill: Annotated[float, typer.Option(help="Interpolate gaps of up to so many seconds.")] = 0.0,
    min_score: Annotated[float | None, typer.Option(help="Confidence that the face detector must have.")] = None,
    min_size: Annotated[float | None, typer.Option(help="Pixels that a face must measure.")] = None,
    max_yaw: Annotated[float | None, typer.Option(help="Degrees that a head may turn.")] = None,
    max_pitch: Annotated[float | None, typer.Option(help="Degrees that a head may nod.")] = None,
    max_roll: Annotated[float | None, typer.Option(help="Degrees that a head may tilt.")] = None,
    max_outside: Annotated[float | None, typer.Option(help="Share of a face that may be outside the picture.")] = None,
    min_sharpness: Annotated[float | None, typer.Option(help="Variance of the Laplacian; reads the videos.")] = None,
    max_glasses: Annotated[
        float | None, typer.Option(help="Score of glasses, such as 0.9, which 1 of 6 bare faces exceeds; reads the videos.")
    ] = None,
    speech: Annotated[
        bool, typer.Option("--speech", help="Exclude AU 10, 14-18 and 20-28 where somebody talks; reads the sound tracks.")
    ] = False,
    source: Annotated[Path | None, typer.Option(help="Folder of the videos, if not where the tables say.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a summary that is there already.")] = False,
) -> None:
    """Base rates, means and events of AUs, for statistics.

    A row for each recording, trial or person, for R, JASP or SPSS.
    """
    if out.exists() and not overwrite and any((out / name).exists() for name in SUMMARY_FILES):
        raise InputError(f"{out} holds a summary already; --overwrite replaces it, or choose another folder with --out")
    smoother, _, seconds = (smooth or "").partition(":")
    with package_warnings():
        from fgnet_plugin.measures.quality import Rules
        from fgnet_plugin.measures.recordings import recording_names
        from fgnet_plugin.measures.sources import Sources
        from fgnet_plugin.measures.steps import Steps
        from fgnet_plugin.measures.summary import summarize as summarized

        files = table_files(tables)
        names = recording_names(files)
        rules = Rules(min_score, min_size, max_yaw, max_pitch, max_roll, max_outside, min_sharpness, max_glasses)
        sources = Sources(source)
        found = summarized(
            files,
            by=by,  # type: ignore[arg-type]
            factors=factors_of(names, pattern, folders, manifest),
            trials=_trials(names, trials, trial_start, trial_end, trial_shift),
            steps=Steps(rules, fill, smoother or None, _number(seconds, "--smooth", 0.3)),  # type: ignore[arg-type]
            baseline=_baseline(names, baseline),
            scale=scale,  # type: ignore[arg-type]
            rate=rate,
            threshold=threshold,
            calibration=calibration,
            made_by=None if calibration is None else _origin(tables, weights, face_model, landmark_model),
            min_duration=min_duration,
            min_gap=min_gap,
            speech=sources.speech if speech else None,
            sharp=sources.sharpness if min_sharpness is not None else None,
            worn=sources.glasses if max_glasses is not None else None,
            aus=[au.strip() for au in aus.split(",")] if aus else None,
        )
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in context.params.items()}
        _write(found, out, settings)
    _report(found, out, speech)


def _origin(tables: list[Path], weights: str | None, face_model: str | None, landmark_model: str | None) -> MadeBy:
    """What made the scores of all tables: what the options say, else what the tables do."""
    said = [origin(table, weights, face_model, landmark_model) for table in tables]
    return common_origin(tables) if isinstance(said[0], Path) else said[0]


def _trials(
    names: list[str], files: list[Path] | None, start: str | None, end: str | None, shift: float
) -> dict[str, pd.DataFrame] | None:
    from fgnet_plugin.measures.trials import read_trials

    if not files:
        return None
    found: dict[str, pd.DataFrame] = {}
    for file in files:
        for recording, rows in read_trials(names, file, start=start, end=end, shift=shift).items():
            if recording in found:
                raise InputError(f"{file}: the trials of {recording} are in another file, too")
            found[recording] = rows
    return found


def _baseline(names: list[str], wanted: str | None) -> BaselineBuilder | None:
    from fgnet_plugin.measures.baseline import BaselineBuilder, read_neutral

    if wanted is None:
        return None
    kind, _, value = wanted.partition(":")
    if kind == "quantile":
        return BaselineBuilder(quantile=_number(value, "--baseline", 0.1))
    if kind == "clips" and value:
        return BaselineBuilder(neutral=read_neutral(names, pattern=value))
    if not Path(wanted).is_file():
        raise InputError(f"--baseline must be quantile:0.1, clips:TEXT or a CSV file; there is no file {wanted}")
    return BaselineBuilder(neutral=read_neutral(names, wanted))


def _number(text: str, option: str, default: float) -> float:
    try:
        return float(text) if text else default
    except ValueError:
        raise typer.BadParameter(f"{option} needs a number after the colon, not {text!r}") from None


def _write(found: Summary, out: Path, settings: dict[str, Any]) -> None:
    from fgnet_plugin.measures.codebook import make_codebook
    from fgnet_plugin.measures.summary import write_csv
    from fgnet_plugin.utils.files import atomic_write
    from fgnet_plugin.version import __version__

    tables = found.long, found.wide(), found.events, found.exclusions, make_codebook(found)
    for name, table in zip(SUMMARY_FILES, tables, strict=False):
        with atomic_write(out / name) as part:
            write_csv(table, part)
    with atomic_write(out / SUMMARY_FILES[-1]) as part:
        text = json.dumps({"version": __version__, **settings}, indent=2, default=str, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


def _report(found: Summary, out: Path, speech: bool) -> None:
    total = found.exclusions.iloc[-1]
    typer.echo(f"{counted(len(found.exclusions) - 1, 'recording')}, {counted(total['frames'], 'frame')}")
    for rule in found.exclusions.columns[2 : list(found.exclusions).index("used")]:
        if total[rule]:
            typer.echo(f"  {counted(total[rule], 'frame')} excluded: {rule}")
    typer.echo(f"  {counted(total['used'], 'frame')} used" + (f", {total['speech']} of them with speech" if speech else ""))
    typer.echo(f"{counted(len(found.long[found.unit].drop_duplicates()), 'row')} of {', '.join(found.unit)}")
    for name in SUMMARY_FILES:
        typer.echo(f"table: {out / name}" if name.endswith(".csv") else f"settings: {out / name}")
