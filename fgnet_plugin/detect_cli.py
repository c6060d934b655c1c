"""``fgnet detect``, ``fgnet compare`` and ``fgnet demo``."""

from __future__ import annotations

import glob
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgnet_plugin.errors import InputError, OutputError, SkippedInput

if TYPE_CHECKING:
    import pandas as pd

    from fgnet_plugin.pyfeat.fex import Fex

_VIDEOS = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv", ".3gp"})
_INTERRUPTED = 130  # what shells give for Ctrl-C

Out = Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]


def detect(
    inputs: Annotated[list[str], typer.Argument(help="Pictures, videos, folders of them, or patterns like 'clips/*.mp4'.")],
    au_model: Annotated[
        str | None,
        typer.Option(
            help="fgnet (the default), fgnet-bp4d, fgnet-disfa, fgnet-rendered (the default with --offline), a checkpoint "
            "file, or py-feat's xgb or svm."
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Download nothing: the face finder and weights of this package.")
    ] = False,
    only_aus: Annotated[
        bool, typer.Option("--only-aus", help="Leave out py-feat's models for emotions, identities and gaze: faster.")
    ] = False,
    device: Device = "cpu",
    precision: Annotated[
        str | None,
        typer.Option(help="Of FG-Net: float32, bfloat16 or float16; by default the best for the device, float32 on a CPU."),
    ] = None,
    compile_: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Give FG-Net to torch.compile: minutes at first; for long runs.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames at once.")] = 8,
    skip_frames: Annotated[int | None, typer.Option(min=1, help="Of videos, only every so many-th frame.")] = None,
    out: Out = Path("fex.csv"),
    plots: Annotated[Path | None, typer.Option(help="Folder for pictures: faces with their AUs, AUs over time.")] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also pictures of the evidence for each AU; needs --plots.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run of the same command.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")] = False,
) -> None:
    """AUs of the faces in pictures and videos: a table, a row a face."""
    from fgnet_plugin.journal import is_unfinished

    if heatmaps and plots is None:
        raise typer.BadParameter("--heatmaps needs --plots FOLDER to put them in")
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"--out must end in .csv or .parquet, not {out.suffix or 'nothing'!r}")
    unfinished = is_unfinished(out)
    if not (resume or overwrite) and (out.exists() or unfinished):
        more = "an interrupted run; --resume goes on with it" if unfinished else "a table already"
        raise InputError(f"{out} holds {more}; --overwrite replaces it, or choose another file with --out")
    paths = find_inputs(inputs)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    with _own_warnings() as skipped:
        from fgnet_plugin.pyfeat.detector import Detector

        models: dict[str, Any] = {"au_model": au_model or ("fgnet-rendered" if offline else "fgnet"), "device": device}
        models |= {"precision": precision, "compile": compile_}
        if only_aus:
            models |= {"emotion_model": None, "identity_model": None, "gaze_model": None}
        models["au_batch_size"] = max(batch_size, 8)  # the faces of all these frames share a pass
        detector = Detector.offline(**models) if offline else Detector(**models)
        if heatmaps and detector.fgnet is None:
            raise InputError(f"heatmaps are FG-Net's: leave --heatmaps out with --au-model {au_model}")
        complete = resume and out.exists() and not unfinished
        start = time.perf_counter()
        options: dict[str, Any] = {"batch_size": batch_size, "skip_frames": skip_frames, "mixed_sizes": "single"}
        try:
            fex = detector.detect(paths, save=out, resume=resume, errors="skip", **options)
        except KeyboardInterrupt:
            _say_interrupted(out)
            raise typer.Exit(_INTERRUPTED) from None
        except OutputError as error:
            more = ", then go on with the same command and --resume" if is_unfinished(out) else ""
            typer.echo(f"error: {error}{more}", err=True)
            raise typer.Exit(1) from None
        print_summary(fex, None if complete else time.perf_counter() - start)
        typer.echo(f"\ntable: {out} ({len(fex)} rows{', complete already' if complete else ''})")
        if plots is not None:
            for path in write_plots(fex, plots, heatmaps, detector.fgnet):
                typer.echo(f"picture: {path}")
    if skipped:
        typer.echo(f"error: not read, or not to the end (see the warnings): {', '.join(dict.fromkeys(skipped))}", err=True)
        raise typer.Exit(1)


def compare(
    tables: Annotated[list[Path], typer.Argument(help="Two or more tables: of fgnet detect, py-feat or OpenFace.")],
    names: Annotated[str | None, typer.Option(help="What to call them: 'fgnet,xgb'; by default their file names.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV file of AUs coded by people: AU columns of 0 and 1, and input and frame.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Score from which an AU counts as present.")] = 0.5,
    out: Annotated[Path | None, typer.Option(help="CSV file for the agreement; with --labels, …-accuracy.csv, too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="File for the figure: .png, .pdf, .svg.")] = None,
) -> None:
    """Agreement of AU models on the same faces; accuracy, given labels."""
    if len(tables) < 2:
        raise typer.BadParameter("give at least two tables to compare")
    called = names.split(",") if names else [path.stem for path in tables]
    if len(called) != len(tables) or len(set(called)) < len(called):
        raise typer.BadParameter(f"--names must be {len(tables)} different names with commas between them")
    with _own_warnings():
        import pandas as pd

        from fgnet_plugin.comparison import compare as compared
        from fgnet_plugin.pictures import check_file
        from fgnet_plugin.pyfeat.tables import read_table

        read = {
            name: _read_parquet(path) if path.suffix == ".parquet" else read_table(path)
            for name, path in zip(called, tables, strict=True)
        }
        if labels is not None:
            check_file(labels, "table")
        found = compared(read, pd.read_csv(labels) if labels else None, threshold=threshold)
        results = {"": found.agreement} | ({"-accuracy": found.accuracy} if found.accuracy is not None else {})
        for suffix, table in results.items():
            typer.echo(table.drop(columns="name").to_string(index=False, float_format="{:.2f}".format) + "\n")
            if out is not None:
                path = out.with_name(out.stem + suffix + out.suffix)
                table.to_csv(path, index=False)
                typer.echo(f"table: {path}")
        if plot is not None:
            found.plot().savefig(plot, dpi=120)
            typer.echo(f"picture: {plot}")


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for tables and pictures.")] = Path("outputs/demo"),
) -> None:
    """A photo and a video to AUs, without a download: tables, pictures."""
    with _own_warnings():
        from fgnet_plugin.pyfeat.demo import run

        run(out)


def find_inputs(inputs: list[str]) -> list[str]:
    """Files, folders and patterns -> files in order, each once.

    Raises InputError for a folder without pictures or videos and for a pattern that matches nothing, FileNotFoundError for all
    files that are not there.
    """
    from fgnet_plugin.pictures import check_files

    found: list[str] = []
    for name in inputs:
        if Path(name).is_dir():
            inside = sorted(str(path) for path in Path(name).iterdir() if _is_media(path))
            if not inside:
                raise InputError(f"{name}: no pictures or videos in this folder")
            found += inside
        elif Path(name).exists() or not glob.has_magic(name):
            found.append(name)
        else:
            every = glob.glob(name, recursive=True)  # noqa: PTH207  (pathlib refuses absolute patterns)
            matching = sorted(path for path in every if not Path(path).is_dir())
            if not matching:
                raise InputError(f"{name}: no file matches this pattern")
            found += matching
    found = list(dict.fromkeys(found))
    missing = [path for path in found if not Path(path).exists()]
    if missing:
        check_files(missing)
    return found


def _is_media(path: Path) -> bool:
    """Whether a file of a folder is meant; macOS leaves hidden ones, such as ._clip.mp4, that are no videos."""
    from fgnet_plugin.pictures import SUFFIXES

    return path.suffix.lower() in SUFFIXES | _VIDEOS and path.is_file() and not path.name.startswith(".")


def print_summary(fex: pd.DataFrame, seconds: float | None = None) -> None:
    """A short table: what was found in each input, and how often each AU."""
    from fgnet_plugin.action_units import NAMES, au_number
    from fgnet_plugin.pyfeat.plots import known_aus

    typer.echo(f"\n{'input':40}{'frames':>8}{'with face':>11}{'faces':>8}")
    for name, rows in fex.groupby("input", sort=False):
        faces = rows[rows["FaceRectX"].notna()]
        shown = str(name) if len(str(name)) < 40 else "…" + str(name)[-38:]
        typer.echo(f"{shown:40}{rows['frame'].nunique():8}{faces['frame'].nunique():11}{len(faces):8}")
    typer.echo(f"\n{'AU':6}{'':24}{'mean score':>12}{'present in':>12}")
    for au in known_aus(fex):
        values = fex[au].dropna()
        typer.echo(f"{au:6}{NAMES[au_number(au)]:24}{values.mean():12.2f}{(values > 0.5).mean():12.0%}")
    if seconds is not None:
        frames = len(fex[["input", "frame"]].drop_duplicates())
        typer.echo(f"\n{frames} frames in {seconds:.1f} s: {frames / seconds:.1f} frames/s")


def write_plots(fex: Fex, folder: Path, heatmaps: bool, model: Any) -> Iterator[Path]:
    """Pictures of each input: photos with their faces and AUs, videos' AUs over time; evidence for the clearest face."""
    from fgnet_plugin.pyfeat.heatmaps import plot_heatmaps
    from fgnet_plugin.pyfeat.plots import known_aus, plot_faces, plot_time_course

    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    aus = known_aus(fex)
    for name, rows in fex.groupby("input", sort=False):
        stem = Path(str(name)).stem
        while stem in taken:
            stem += "_"
        taken.add(stem)
        faces = rows[rows[aus].notna().any(axis=1)] if aus else rows.iloc[:0]
        if not len(faces):
            continue
        if rows["frame"].nunique() > 1:
            path = folder / f"{stem}.png"
            plot_time_course(rows).savefig(path, dpi=110)
            yield path
        else:
            for figure in plot_faces(rows):
                path = folder / f"{stem}.png"
                figure.savefig(path, dpi=110)
                yield path
        if heatmaps and model is not None:
            clearest = faces.iloc[[int(faces[aus].max(axis=1).to_numpy().argmax())]]
            path = folder / f"{stem}-heatmaps.png"
            plot_heatmaps(clearest, au_model=model)[0].savefig(path, dpi=110)
            yield path


@contextmanager
def _own_warnings() -> Iterator[list[str]]:
    """Of warnings, only this package's are shown, in a line each; py-feat's and its dependencies' stay out of the output.

    Gives a list that grows by the inputs that are left out.
    """
    from tqdm.auto import tqdm

    skipped: list[str] = []

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if isinstance(message, SkippedInput):
            skipped.append(message.path)
        tqdm.write(f"warning: {message}", file=sys.stderr)  # above the progress bar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"fgnet_plugin\b")
        warnings.showwarning = show
        yield skipped


def _say_interrupted(out: Path) -> None:
    """What there is after Ctrl-C; rows that grow in another file are put where they are looked for."""
    from fgnet_plugin.journal import growing_path, is_unfinished, read_table, write_table

    growing = growing_path(out)
    if not (is_unfinished(out) and growing.is_file() and growing.stat().st_size):
        typer.echo("\ninterrupted before the first batch was complete; the same command with --resume starts again", err=True)
        return
    rows = read_table(growing)
    if out != growing:
        write_table(rows, out, out.suffix)
    frames = len(rows[["input", "frame"]].drop_duplicates())
    typer.echo(f"\ninterrupted: {frames} complete frames are in {out}; the same command with --resume goes on", err=True)


def _read_parquet(path: Path) -> Fex:
    import pandas as pd

    from fgnet_plugin.pictures import check_file
    from fgnet_plugin.pyfeat.fex import COLUMNS, Fex

    check_file(path, "table")
    try:
        return Fex(pd.read_parquet(path), **COLUMNS, detector="Feat")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no parquet file that can be read ({error})") from error
