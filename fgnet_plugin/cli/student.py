"""The command ``fgnet train student``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.requirements import TO_TRAIN, check_extra, check_installed


def student(
    teacher: Annotated[str, typer.Option(help="fgnet-bp4d, fgnet-disfa, fgnet-rendered, or a checkpoint file.")],
    on: Annotated[list[Path], typer.Option(help="Folder of the study's recordings, or a file; repeatable.")],
    out: Annotated[Path, typer.Option(help="The student's file; its report is written beside it.")] = Path(
        "student.safetensors"
    ),
    subject: Annotated[
        str | None, typer.Option(help="Pattern for the paths with (?P<subject>…), or bids; else a recording is a person.")
    ] = None,
    size: Annotated[str, typer.Option(help="small, or medium: half as fast, and nearer to the teacher.")] = "small",
    faces: Annotated[int | None, typer.Option(help="Faces that the teacher labels; by default 2000.")] = None,
    minutes: Annotated[float | None, typer.Option(help="The same as a time that the teacher may take.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of the people on whom the agreement is measured.")] = 0.2,
    least_agreement: Annotated[float, typer.Option(help="AUs of a smaller ICC are NaN in the student's tables.")] = 0.6,
    views: Annotated[int, typer.Option(help="How often the teacher reads a face, a little shifted.")] = 2,
    rendered: Annotated[int, typer.Option(help="Also so many rendered faces, for AUs that are rare in the recordings.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Training steps; by default they follow from the faces.")] = None,
    batch_size: Annotated[int, typer.Option(help="Faces of a training step.")] = 32,
    curve: Annotated[
        list[float] | None, typer.Option(help="Also a student of this share of the faces; repeatable; 0: none.")
    ] = None,
    start_from: Annotated[str, typer.Option(help="Weights to start from, where they fit.")] = "fgnet-rendered",
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of faces and people, and of the training.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the training, and of each process that asks the teacher.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that ask the teacher, through Ray; by default this one.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="With --workers: address of a Ray cluster, or auto.")] = None,
    device: Annotated[str, typer.Option(help="Of the teacher: cpu or cuda.")] = "cpu",
    work: Annotated[Path | None, typer.Option(help="Folder for faces and heatmaps; by default beside --out.")] = None,
) -> None:
    """Train a small FG-Net on a teacher's heatmaps.

    It learns from faces of one's own recordings, and its report says how well it agrees with its teacher on the faces of people
    that it did not learn from. After an interruption, the same command goes on.
    """
    check_installed((*TO_TRAIN, "av", "jinja2", "matplotlib", "sklearn"))
    if cluster is not None and workers is None:
        raise typer.BadParameter("--cluster needs --workers N")
    from fgnet_plugin.training.students.filling import Fill, fill_here
    from fgnet_plugin.training.students.settings import StudentSettings
    from fgnet_plugin.training.students.train import train_student

    settings = StudentSettings(
        size=size,  # type: ignore[arg-type]
        faces=faces,
        minutes=minutes,
        views=views,
        rendered=rendered,
        held_out=held_out,
        steps=steps,
        batch_size=batch_size,
        curve=StudentSettings.curve if not curve else tuple(share for share in curve if share),
        least_agreement=least_agreement,
        start_from=start_from,
        seed=seed,
        threads=threads,
    )
    fill: Fill = fill_here
    if workers is not None:
        check_extra("scale", ("ray",), "--workers")
        from fgnet_plugin.scale.students import fill_with

        gpus = 1 if device.startswith("cuda") else 0
        fill = fill_with(workers, address=cluster, gpus=gpus)
    with package_warnings():
        options: dict[str, Any] = {"subject": subject, "work": work, "device": device, "fill": fill, "say": typer.echo}
        train_student(teacher, on, out, settings=settings, **options)
