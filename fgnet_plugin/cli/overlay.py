"""``fgnet overlay``: the recording with what was found in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgnet_plugin.cli.console import package_warnings
from fgnet_plugin.cli.detect import Device
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.text import counted


def overlay(
    source: Annotated[Path, typer.Argument(help="The video or photo.")],
    fex: Annotated[Path, typer.Option("--fex", help="Its table: of fgnet detect or py-feat.")],
    out: Annotated[
        Path | None, typer.Option("--out", help=".mp4, .mkv, .mov, .webm; of a photo .png, .jpg. [default: overlay.mp4, .png]")
    ] = None,
    aus: Annotated[str | None, typer.Option(help="Only these, such as AU06,AU12.")] = None,
    threshold: Annotated[float, typer.Option(help="Score from which an AU counts as present.")] = 0.5,
    style: Annotated[str, typer.Option(help="bars beside a face, or text: the AUs over the threshold below it.")] = "bars",
    heatmaps: Annotated[bool, typer.Option("--heatmaps", help="Colour where FG-Net saw these AUs.")] = False,
    au_model: Annotated[
        str | None, typer.Option(help="FG-Net for the heatmaps; by default the one that made the table.")
    ] = None,
    blur: Annotated[bool, typer.Option("--blur-faces", help="Make faces unrecognisable.")] = False,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
) -> None:
    """A video or photo with its boxes and AUs.

    The video has the frames of the table, at their times, without sound.
    """
    with package_warnings():
        from fgnet_plugin.inference.inputs import kind_of
        from fgnet_plugin.inference.overlay import overlay as draw

        if out is None:
            out = Path("overlay.png" if kind_of(str(source)) == "image" else "overlay.mp4")
        if out.exists() and not overwrite:
            raise InputError(f"{out} is there already; --overwrite replaces it, or choose another file with --out")
        model = None
        if heatmaps:
            from fgnet_plugin.inference.au_model import AUModel

            model = AUModel(au_model or _model_of(fex), device)
        wanted = [au.strip() for au in aus.split(",")] if aus else None
        frames = draw(source, fex, out, aus=wanted, threshold=threshold, style=style, heatmaps=model, blur=blur)  # type: ignore[arg-type]
    typer.echo(f"{out} ({counted(frames, 'frame')})")


def _model_of(table: Path) -> str:
    """Return the AU model that made a table. Raises InputError where that is not known, or not FG-Net."""
    from fgnet_plugin.inference.au_model import is_fgnet
    from fgnet_plugin.inference.provenance import settings_of

    name = settings_of(table).get("models", {}).get("au_model")
    if not is_fgnet(name):
        says = f"{table} does not say which FG-Net made it" if name is None else f"{table} was made by {name}"
        raise InputError(f"{says}: heatmaps need --au-model, such as fgnet or fgnet-rendered")
    return str(name)
