"""``fgnet detect`` and ``fgnet demo``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted

Out = Annotated[
    Path,
    typer.Option("--out", help="Table to write: .csv or .parquet; or a folder, for a dataset that several processes fill."),
]
_NO_INPUTS = "Missing argument 'INPUTS...': pictures, videos, or folders of them"
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]


def detect(
    context: typer.Context,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Pictures, videos, folders of them, or patterns like 'clips/*.mp4'.")
    ] = None,
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
    weak_aus: Annotated[
        bool, typer.Option("--weak-aus", help="Of a student, also the AUs on which it agrees too little with its teacher.")
    ] = False,
    verify: Annotated[
        int, typer.Option(min=0, help="Of a student: compare it with its teacher on so many faces, and warn of differences.")
    ] = 0,
    teacher: Annotated[Path | None, typer.Option(help="For --verify: the teacher's file, if it is not where it was.")] = None,
    with_student: Annotated[
        Path | None,
        typer.Option(help="A student of --au-model: it reads every frame, --au-model those where it is unsure, and a sample."),
    ] = None,
    unsure: Annotated[float | None, typer.Option(help="With --with-student, as fgnet cascade has it: by default 0.1.")] = None,
    sample: Annotated[float | None, typer.Option(help="With --with-student, as fgnet cascade has it: by default 0.05.")] = None,
    base_rates: Annotated[Path | None, typer.Option(help="With --with-student: corrected base rates, .csv.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames at once; offline on a CPU it changes nothing.")] = 8,
    skip_frames: Annotated[int | None, typer.Option(min=1, help="Of videos, only every so many-th frame.")] = None,
    data_type: Annotated[str | None, typer.Option(help="image or video, for all inputs; by default what each file is.")] = None,
    mixed_sizes: Annotated[
        str, typer.Option(help="Pictures of several sizes: single reads them one at a time, raise is an error.")
    ] = "single",
    output_size: Annotated[
        int | None, typer.Option(min=1, help="Resize frames to this size for py-feat's models; FG-Net reads the originals.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Also search the subfolders of folders.")] = False,
    errors: Annotated[str, typer.Option(help="Files that can't be read: skip them, or raise an error and stop.")] = "skip",
    faces: Annotated[
        str, typer.Option(help="all, the largest of each frame, or track: of a video, one participant throughout.")
    ] = "all",
    out: Out = Path("fex.csv"),
    columns: Annotated[
        str, typer.Option(help="all; faces, without emotions, identities, gaze; or aus, also without landmarks and poses.")
    ] = "all",
    per_file: Annotated[
        Path | None, typer.Option(help="Folder for a table of each input as well, with the suffix of --out.")
    ] = None,
    relative_to: Annotated[Path | None, typer.Option(help="Folder below which paths in the table are to be told.")] = None,
    uncertainty: Annotated[
        int | None,
        typer.Option(min=2, help="Also a table of how far scores depend on the crop, of so many passes, such as 8; slow."),
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for pictures: faces with their AUs, AUs over time.")] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also pictures of the evidence for each AU; needs --plots.")
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say how long it will take and how large the table will be.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run; its inputs and options need not be repeated.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of a dataset: processes; by default as many as there are cores or GPUs for.")
    ] = None,
    cpus_per_worker: Annotated[float, typer.Option(min=1, help="Of a dataset: cores, and threads, of each process.")] = 1,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="Of a dataset, with --device cuda: 0.25 lets four share a GPU; by default 1.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="Of a dataset: I/N, every N-th recording from the I-th on, for N machines by themselves.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Of a dataset: address of a Ray cluster, or auto; by default this machine only.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Of a dataset: try again what failed before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, for scripts.")] = False,
) -> None:
    """AUs of the faces in pictures and videos."""
    from fgnet_plugin.cli.cascade import begin_cascade
    from fgnet_plugin.cli.detect_dataset import is_dataset
    from fgnet_plugin.cli.detect_dataset import run as detect_dataset
    from fgnet_plugin.cli.resume import settle
    from fgnet_plugin.utils.journal import is_unfinished

    if is_dataset(out, context.params):
        if not inputs:
            raise typer.BadParameter(_NO_INPUTS)
        check_options(context.params)
        with package_warnings():
            detect_dataset(context.params)
        return
    cascaded = begin_cascade(context.params)
    out = context.params["out"]
    unfinished = is_unfinished(out)
    if not (resume or overwrite or estimate) and (out.exists() or unfinished):
        more = "an interrupted run; --resume continues it" if unfinished else "a table already"
        raise InputError(f"{out} holds {more}; --overwrite replaces it, or choose another file with --out")
    values = settle(context, out) if resume else dict(context.params)
    if not values["inputs"]:
        raise typer.BadParameter(_NO_INPUTS)
    check_options(values)
    with package_warnings() as skipped:
        from fgnet_plugin.cli.detect_run import DetectCommand

        command = DetectCommand(values)
        if estimate:
            command.estimate()
        else:
            command.run()
            if cascaded is not None:
                cascaded.run(values)
    if skipped:
        reasons = "".join(f"\n  {message}" for message in skipped.values())
        count = f"{len(skipped)} of {counted(len(command.paths), 'input')}"
        typer.echo(f"error: {count} not read, or not to the end; the first that failed comes first:{reasons}", err=True)
        raise typer.Exit(1)


def check_options(values: Mapping[str, Any]) -> None:
    """Raise BadParameter for options that don't go together."""
    if values["heatmaps"] and values["plots"] is None:
        raise typer.BadParameter("--heatmaps needs --plots FOLDER to put them in")
    if values["plots"] is not None and values["columns"] == "aus":
        raise typer.BadParameter("--plots needs landmarks: --columns faces, or all")
    if values["uncertainty"] is not None and values["columns"] == "aus":
        raise typer.BadParameter("--uncertainty needs landmarks: --columns faces, or all")
    if values["uncertainty"] is not None and values["estimate"]:
        raise typer.BadParameter("--estimate does not know the time of --uncertainty: leave one of them out")
    if values["offline"] and values["output_size"]:
        raise typer.BadParameter("--output-size is for py-feat's models, which --offline leaves out")


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for tables and pictures.")] = Path("outputs/demo"),
    files: Annotated[
        Path | None, typer.Option("--files", metavar="FOLDER", help="Only put the files that the tutorials read there.")
    ] = None,
) -> None:
    """A photo and a video to AUs, without a download."""
    if files is not None:
        from fgnet_plugin.cli.example_files import write_example_files

        typer.echo("\n".join(map(str, write_example_files(files))))
        return
    from fgnet_plugin.cli.requirements import check_extra

    check_extra("feat", ("feat",), "fgnet demo")
    with package_warnings():
        from fgnet_plugin.cli.demo import run

        run(out)
