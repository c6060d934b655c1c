"""The command ``fgnet train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgnet_plugin.cli.evaluate import evaluate
from fgnet_plugin.cli.prepare import prepare_app
from fgnet_plugin.cli.requirements import TO_RENDER, check_extra, check_installed
from fgnet_plugin.cli.student import student

train_app = typer.Typer(no_args_is_help=True, help="Training, from a settings file. Needs the extra `train`.")
train_app.add_typer(prepare_app, name="prepare")

Config = Annotated[str, typer.Option("--config", help="A settings file, or a name from `fgnet train configs`.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: optimiser.lr=1e-3. Repeatable.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from last.ckpt in the training's folder, if it is there.")]


train_app.command()(evaluate)
train_app.command()(student)


def _print_path(path: Path) -> None:
    """Prints what a training has written; of several processes, only the first does."""
    from fgnet_plugin.training.collectives import say

    say(str(path))


@train_app.command()
def folds(
    labels: Annotated[list[str], typer.Argument(help="A label file, or several as NAME=CSV: each is left out once.")],
    out: Annotated[Path, typer.Option("--out", help="The CSV file to write; of several corpora, the folder.")],
    count: Annotated[int, typer.Option("--folds", help="Folds of each repeat.")] = 3,
    repeats: Annotated[int, typer.Option(help="Divisions of the subjects.")] = 1,
    seed: Annotated[int, typer.Option(help="Another seed, other divisions.")] = 0,
) -> None:
    """Divide subjects, or corpora, for data.csv.folds."""
    check_installed()
    from fgnet_plugin.training.data.make_folds import leave_one_corpus_out, write_repeated_folds

    pairs = [text.partition("=") for text in labels]
    if len(labels) == 1 and not pairs[0][1]:
        typer.echo(write_repeated_folds(Path(labels[0]), out, count, repeats, seed))
        return
    if not all(name and equals and path for name, equals, path in pairs) or len({name for name, _, _ in pairs}) < len(pairs):
        raise typer.BadParameter("several label files must be given as NAME=CSV, each with a name of its own")
    for path in leave_one_corpus_out({name: Path(path) for name, _, path in pairs}, out):
        typer.echo(path)


@train_app.command()
def detector(config: Config, resume: Resume = False, set_: Set = None) -> None:
    """Train FG-Net.

    The best weights so far are always in fgnet.safetensors in the training's folder.
    """
    check_installed()
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    _print_path(train_detector(read_detector(config, set_ or ()), resume))


@train_app.command()
def generator(config: Config, resume: Resume = False, set_: Set = None) -> None:
    """Train StyleGAN2 on aligned faces without labels.

    samples.png in the training's folder shows its faces.
    """
    check_installed()
    from fgnet_plugin.training.config.pretraining import read_generator
    from fgnet_plugin.training.train import train_generator

    _print_path(train_generator(read_generator(config, set_ or ()), resume))


@train_app.command()
def encoder(config: Config, resume: Resume = False, set_: Set = None) -> None:
    """Train an encoder that inverts a generator.

    reconstructions.png in the training's folder shows how well.
    """
    check_installed()
    from fgnet_plugin.training.config.pretraining import read_encoder
    from fgnet_plugin.training.train import train_encoder

    _print_path(train_encoder(read_encoder(config, set_ or ()), resume))


@train_app.command()
def fid(
    real: Annotated[Path, typer.Argument(help="A folder of pictures, searched with its subfolders.")],
    generated: Annotated[Path, typer.Argument(help="Another one.")],
    weights: Annotated[Path, typer.Option("--weights", help="Inception's: pt_inception-2015-12-05-6726825d.pth.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures looked at together.")] = 32,
) -> None:
    """FID between the pictures of two folders.

    Of few pictures it is far too large: compare only figures of equal numbers of them.
    """
    check_installed()
    check_extra("fid", ("torch_fidelity",), "FID")
    from fgnet_plugin.training.metrics.inception_distance import fid_of_folders

    found, of_real, of_generated = fid_of_folders(real, generated, weights, batch_size)
    typer.echo(f"FID {found:.2f}, of {of_real:,} and {of_generated:,} pictures")


@train_app.command()
def finish(
    checkpoint: Annotated[str, typer.Argument(help="fgnet.safetensors of a training on rendered heads.")],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    count: Annotated[int, typer.Option(min=100, help="Number of held-out faces, of all kinds.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the held-out faces: another than the training's.")] = 2_000_000,
    least_auc: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out AUs with a smaller area under the ROC curve.")
    ] = 0.85,
    pixels: Annotated[float, typer.Option(help="Share of the pixels beside the mesh, in (0, 1].")] = 1.0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that render.")] = 2,
) -> None:
    """Choose each AU's decision on rendered heads.

    On held-out ones; AUs that can't be read there are left out.
    """
    check_installed(TO_RENDER)
    from fgnet_plugin.training import finish as finishing
    from fgnet_plugin.training.models.systems import read_system_info
    from fgnet_plugin.training.rendered import DOMAINS, HeadCorpus

    corpus = HeadCorpus(tuple(DOMAINS), read_system_info(checkpoint).image_size, seed, count)
    for found in finishing.finish(checkpoint, out, corpus, HeadCorpus.aus, least_auc, pixels, workers=workers):
        typer.echo(f"{found.au}  AUC {found.auc:.3f}  {'' if found.kept else 'left out'}".rstrip())
    typer.echo(out)


@train_app.command()
def configs() -> None:
    """The settings files that come with the package."""
    from fgnet_plugin.training.config.bundled import BUNDLED, bundled

    for name in bundled():
        first = (BUNDLED / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        typer.echo(f"{name:16}{first.removeprefix('#').strip()}")


@train_app.command()
def render(
    out: Annotated[Path, typer.Argument(help="The folder to write to.")],
    domain: Annotated[list[str] | None, typer.Option("--domain", help="A kind of corpus; repeatable. Default: all.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of faces.")] = 1000,
    size: Annotated[int, typer.Option(min=16, help="Side of the pictures, px.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other faces.")] = 0,
    framing: Annotated[str, typer.Option(help="aligned as FFHQ is, or photo.")] = "aligned",
    workers: Annotated[int, typer.Option(min=0, help="Processes that render.")] = 2,
    renderer: Annotated[str, typer.Option(help="heads, or masks: faces without skulls, of the first version.")] = "heads",
    sheets: Annotated[bool, typer.Option("--sheets", help="Only two pictures: every AU beside neutral, and 64 faces.")] = False,
) -> None:
    """Write rendered faces, or sheets of them.

    As pictures, and a CSV file with their AUs and landmarks.
    """
    check_installed(TO_RENDER)
    from fgnet_plugin.training.rendered import DOMAINS, write_corpus

    domains = tuple(domain or DOMAINS)
    if sheets:
        from fgnet_plugin.training.rendered import head_sheets
        from fgnet_plugin.training.rendered import sheets as mask_sheets

        out.mkdir(parents=True, exist_ok=True)
        drawn, names = (mask_sheets, ("aus", "faces")) if renderer == "masks" else (head_sheets, ("head_aus", "heads"))
        aus, faces = (out / f"rendered_{name}.jpg" for name in names)
        drawn.au_sheet(aus)
        drawn.face_sheet(faces, domains)
        typer.echo(f"{aus}\n{faces}")
    else:
        typer.echo(write_corpus(out, domains, count, size, seed, framing, workers, renderer))  # type: ignore[arg-type]
