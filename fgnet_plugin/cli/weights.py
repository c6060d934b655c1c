"""``fgnet weights``: list, download, convert, export, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_plugin.cli.doctor import AsJson
from fgnet_plugin.errors import CheckpointError

if TYPE_CHECKING:
    from fgnet_plugin.checkpoints.registry import NamedWeights

weights_app = typer.Typer(no_args_is_help=True, help="Named weights: list, fetch, convert, check.")


Name = Annotated[str, typer.Argument(help="A name from `fgnet weights list`.")]


NameOrPath = Annotated[str, typer.Argument(help="A name from `fgnet weights list`, or a checkpoint file.")]


Half = Annotated[bool, typer.Option("--half", help="Store float16: 650 MB instead of 1.3 GB.")]


@weights_app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """The named weights, and which of them are here."""
    from fgnet_plugin.checkpoints.registry import manifest

    if as_json:
        typer.echo(json.dumps([_entry(entry) for entry in manifest().values()], indent=2))
        return
    for entry in manifest().values():
        here = f"{entry.path.stat().st_size / 1e6:,.0f} MB" if entry.path.is_file() else "not here"
        typer.echo(f"{entry.name:20}{here:>8}  {entry.about}. {entry.licence}.")


def _entry(entry: NamedWeights) -> dict[str, object]:
    """Describe weights for scripts; "bytes" is null where they are not on this machine."""
    size = entry.path.stat().st_size if entry.path.is_file() else None
    known = {name: getattr(entry, name) for name in ("name", "kind", "about", "licence", "corpus")}
    return {**known, "path": str(entry.path), "bytes": size}


@weights_app.command()
def download(
    name: Name,
    half: Half = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the authors' model.pth after conversion.")] = False,
) -> None:
    """Fetch published weights, and convert them.

    From the authors' Google Drive: 2.5 GB.
    """
    from fgnet_plugin.checkpoints.download import download as fetch

    typer.echo(fetch(name, half=half, keep=keep))


@weights_app.command()
def convert(
    model_pth: Annotated[Path, typer.Argument(help="The authors' model.pth.")],
    encoder_pt: Annotated[Path, typer.Argument(help="pSp's encoder.pt.")],
    corpus: Annotated[str, typer.Option(help="What model.pth was trained on: BP4D or DISFA.")],
    out: Annotated[Path | None, typer.Option(help="File to write; default: where that name's weights are looked for.")] = None,
    fold: Annotated[int | None, typer.Option(help="Test fold of the corpus, where known.")] = None,
    half: Half = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Turn the authors' two files into one checkpoint."""
    from fgnet_plugin.action_units import corpus_aus
    from fgnet_plugin.checkpoints.convert import convert_published
    from fgnet_plugin.checkpoints.registry import named

    corpus_aus(corpus)  # an unknown corpus is found out before anything is looked up under its name
    out = named(f"fgnet-{corpus.lower()}").path if out is None else out
    if out.exists() and not overwrite:
        raise CheckpointError(f"{out} exists; give --overwrite to replace it, or --out for another file")
    typer.echo(convert_published(model_pth, encoder_pt, corpus, out, fold=fold, half=half))


@weights_app.command()
def export(
    name_or_path: NameOrPath,
    model_pth: Annotated[Path, typer.Argument(help="The file to write, in the layout of the authors' model.pth.")],
    encoder_pt: Annotated[
        Path | None, typer.Option("--encoder-pt", help="Write this one, too, in the layout of pSp's encoder.pt.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Turn a checkpoint into the authors' model.pth."""
    from fgnet_plugin.checkpoints.export import export_published

    for path in (model_pth, encoder_pt):
        if path is not None and path.exists() and not overwrite:
            raise CheckpointError(f"{path} exists; give --overwrite to replace it")
    for note in export_published(name_or_path, model_pth, encoder_pt):
        typer.echo(f"note: {note}", err=True)
    typer.echo(model_pth)


@weights_app.command()
def verify(name_or_path: NameOrPath) -> None:
    """Compare a checkpoint with its own checksum."""
    from fgnet_plugin.checkpoints.fgnet import verify as check
    from fgnet_plugin.checkpoints.pretrained import is_pretrained, load_pretrained
    from fgnet_plugin.checkpoints.registry import resolve

    path = resolve(name_or_path)
    if is_pretrained(path):
        load_pretrained(path)
        typer.echo(f"{path}: intact. Generator and encoder, for a training to start from")
        return
    info = check(path)
    typer.echo(f"{path}: intact. {info.corpus}, AUs {' '.join(info.config.aus)}")
    typer.echo(f"  padding of faces at the border of their photos: {info.padding}")
    for name, digest in info.sources.items():
        typer.echo(f"  converted from {name}, SHA-256 {digest}")


@weights_app.command()
def path(name: Name) -> None:
    """Where a name's checkpoint is.

    The exit status is 1 if it is not on this machine.
    """
    from fgnet_plugin.checkpoints.registry import resolve

    typer.echo(resolve(name))
