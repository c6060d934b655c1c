"""``fgnet provenance``: how a table was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_plugin.cli.doctor import AsJson
from fgnet_plugin.utils.text import counted

_MOST_INPUTS = 20


def provenance(
    table: Annotated[
        Path, typer.Argument(help="Table (.csv, .parquet) or dataset of fgnet detect, or table of fgnet summarize.")
    ],
    hashes: Annotated[bool, typer.Option("--hashes/--no-hashes", help="SHA-256 of the inputs: reads them all.")] = True,
    as_json: AsJson = False,
) -> None:
    """How a table was made: versions, weights, inputs."""
    from fgnet_plugin.scale.reading import provenance as made_by

    made = made_by(table, hashes=hashes)
    if as_json:
        typer.echo(json.dumps(made, indent=2, ensure_ascii=False))
        return
    for line in _lines(made):
        typer.echo(line)


def _lines(made: dict[str, Any]) -> list[str]:
    lines = [f"table: {made['table']}" + (f", SHA-256 {made['sha256']}" if made["sha256"] else "")]
    if made["begun"]:
        lines.append(f"begun: {made['begun']}" + (", not finished" if made["finished"] is False else ""))
    for title in ("versions", "models", "settings"):
        if made[title]:
            lines.append(f"{title}: " + ", ".join(f"{name} {_text(value)}" for name, value in made[title].items()))
    if made["weights"]:
        lines.append(f"weights: {made['weights']['name']}, SHA-256 of the tensors {made['weights']['digest']}")
    if made["inputs"]:
        lines.append(f"inputs: {len(made['inputs'])}")
    for entry in made["inputs"][:_MOST_INPUTS]:
        frames = f", {counted(entry['frames'], 'frame')}" if entry["frames"] is not None else ""
        hashed = f", SHA-256 {entry['sha256']}" if entry["sha256"] else ""
        lines.append(f"  {entry['input']}: {entry['state']}, {entry['bytes']} bytes{frames}{hashed}")
    if len(made["inputs"]) > _MOST_INPUTS:
        lines.append(f"  and {len(made['inputs']) - _MOST_INPUTS} more: --json lists all")
    return lines + [f"unknown: {text}" for text in made["unknown"]]


def _text(value: object) -> str:
    return "none" if value is None else str(value)
