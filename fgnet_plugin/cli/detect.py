"""``fgnet detect`` and ``fgnet demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.inputs import find_inputs
from fgnet_plugin.errors import InputError, OutputError

_INTERRUPTED = 130  # exit status of shells for Ctrl-C

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
        bool, typer.Option("--compile/--no-compile", help="Use torch.compile for FG-Net: minutes at first; for long runs.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames at once; offline on a CPU it changes nothing.")] = 8,
    skip_frames: Annotated[int | None, typer.Option(min=1, help="Of videos, only every so many-th frame.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Also search the subfolders of folders.")] = False,
    faces: Annotated[
        str, typer.Option(help="all, the largest of each frame, or track: of a video, one participant throughout.")
    ] = "all",
    out: Out = Path("fex.csv"),
    plots: Annotated[Path | None, typer.Option(help="Folder for pictures: faces with their AUs, AUs over time.")] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also pictures of the evidence for each AU; needs --plots.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same command.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")] = False,
) -> None:
    """AUs of the faces in pictures and videos, a row for each face."""
    from fgnet_plugin.utils.journal import is_unfinished

    if heatmaps and plots is None:
        raise typer.BadParameter("--heatmaps needs --plots FOLDER to put them in")
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"--out must end in .csv or .parquet, not {out.suffix or 'nothing'!r}")
    unfinished = is_unfinished(out)
    if not (resume or overwrite) and (out.exists() or unfinished):
        more = "an interrupted run; --resume continues it" if unfinished else "a table already"
        raise InputError(f"{out} holds {more}; --overwrite replaces it, or choose another file with --out")
    paths = find_inputs(inputs, recursive)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    with package_warnings() as skipped:
        from fgnet_plugin.cli.output import print_summary, report_interruption

        if plots is not None:
            from fgnet_plugin.cli.plots import write_plots
        models: dict[str, Any] = {"au_model": au_model or ("fgnet-rendered" if offline else "fgnet"), "device": device}
        models |= {"precision": precision, "compile": compile_}
        if not offline or device != "cpu":  # offline on a CPU, no digit depends on the batch size
            models["au_batch_size"] = max(batch_size, 8)  # the faces of all these frames share a pass
        detector = _offline_detector(models) if offline else _pyfeats_detector(models, only_aus)
        if heatmaps and detector.fgnet is None:
            raise InputError(f"heatmaps are FG-Net's: leave --heatmaps out with --au-model {au_model}")
        complete = resume and out.exists() and not unfinished
        start = time.perf_counter()
        options: dict[str, Any] = {"skip_frames": skip_frames, "faces": faces}
        if not offline:
            options |= {"batch_size": batch_size, "mixed_sizes": "single"}
        try:
            fex = detector.detect(paths, save=out, resume=resume, errors="skip", **options)
        except KeyboardInterrupt:
            report_interruption(out)
            raise typer.Exit(_INTERRUPTED) from None
        except OutputError as error:
            more = ", then continue with the same command and --resume" if is_unfinished(out) else ""
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


def _offline_detector(models: dict[str, Any]) -> Any:
    """Make the detector of ``--offline``: without py-feat, unless its AU models are wanted."""
    from fgnet_plugin.inference.au_model import is_fgnet

    if is_fgnet(models["au_model"]):
        from fgnet_plugin.inference.offline import OfflineDetector

        return OfflineDetector(**models)
    from fgnet_plugin.pyfeat.detector import Detector

    return Detector.offline(**models)


def _pyfeats_detector(models: dict[str, Any], only_aus: bool) -> Any:
    from fgnet_plugin.pyfeat.detector import Detector

    if only_aus:
        models = models | {"emotion_model": None, "identity_model": None, "gaze_model": None}
    return Detector(**models)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for tables and pictures.")] = Path("outputs/demo"),
) -> None:
    """A photo and a video to AUs, without a download: tables, pictures."""
    with package_warnings():
        from fgnet_plugin.cli.demo import run

        run(out)
