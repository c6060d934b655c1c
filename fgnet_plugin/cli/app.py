"""The command ``fgnet``. Errors go to standard error in plain words; the exit status is 1 for them and 2 for wrong usage."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fgnet_plugin.cli.again import cascade, sides, uncertainty
from fgnet_plugin.cli.annotate import annotate
from fgnet_plugin.cli.bids import bids
from fgnet_plugin.cli.compare import compare
from fgnet_plugin.cli.contrast import contrast
from fgnet_plugin.cli.detect import demo, detect
from fgnet_plugin.cli.detect_dataset import status
from fgnet_plugin.cli.doctor import doctor, print_next_steps
from fgnet_plugin.cli.events import events, labels
from fgnet_plugin.cli.measure import calibrate, calibrated, estimate, sample
from fgnet_plugin.cli.overlay import overlay
from fgnet_plugin.cli.provenance import provenance
from fgnet_plugin.cli.report import report
from fgnet_plugin.cli.slurm import slurm
from fgnet_plugin.cli.summarize import summarize
from fgnet_plugin.cli.train import train_app
from fgnet_plugin.cli.weights import weights_app
from fgnet_plugin.errors import CheckpointError, DownloadError
from fgnet_plugin.version import __version__

app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(detect)
app.command()(status)
app.command(context_settings={"ignore_unknown_options": True})(slurm)
app.command()(annotate)
app.command()(compare)
app.command()(report)
app.command()(summarize)
app.command()(sample)
app.command()(calibrate)
app.command(name="apply-calibration")(calibrated)
app.command()(estimate)
app.command()(contrast)
app.command()(sides)
app.command()(uncertainty)
app.command()(cascade)
app.command()(events)
app.command()(labels)
app.command()(demo)
app.command()(overlay)
app.command()(provenance)
app.command()(bids)
app.command()(doctor)
app.add_typer(weights_app, name="weights")
app.add_typer(train_app, name="train")


def main() -> None:
    """Run the command line.

    Example:
        >>> from unittest import mock
        >>> with mock.patch("sys.argv", ["fgnet", "detect", "clip.mp4", "--offline"]):  # doctest: +SKIP
        ...     main()
    """
    try:
        app()
    except (CheckpointError, DownloadError, ModuleNotFoundError, OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except RuntimeError as error:  # torch's own class would have to be imported for every `fgnet --help`
        if "out of memory" not in str(error):
            raise
        print(f"error: {str(error).splitlines()[0]}\nA smaller --batch-size needs less.", file=sys.stderr)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fgnet-plugin {__version__}")
        raise typer.Exit


@app.callback()
def fgnet(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """FG-Net facial action unit detection for py-feat."""
    if context.invoked_subcommand is None:
        print_next_steps()
