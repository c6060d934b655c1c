"""Pages of reference: the command line, as Typer knows it, and the public names, for mkdocstrings."""

from __future__ import annotations

import html
import importlib
import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from fgnet_plugin.cli.app import app

PACKAGES = {
    "fgnet_plugin": "The package",
    "fgnet_plugin.faces": "Faces",
    "fgnet_plugin.alignment": "Alignment",
    "fgnet_plugin.network": "The network",
    "fgnet_plugin.checkpoints": "Checkpoints",
    "fgnet_plugin.comparison": "Comparison",
    "fgnet_plugin.measures": "Measures for studies",
    "fgnet_plugin.scale": "Many recordings",
    "fgnet_plugin.report": "Reports",
    "fgnet_plugin.training.students": "Students",
    "fgnet_plugin.training.rendered": "Rendered faces",
    "fgnet_plugin.cli": "The command",
}
"""The packages with public names (``__all__``), and the titles of their pages."""


def command_pages() -> dict[str, str]:
    """A page for each command of ``fgnet``, and one that lists them: name of the file without suffix -> Markdown."""
    found = list(_commands())
    listing = [
        "# The command line",
        "This reference is made from the commands themselves; `fgnet COMMAND --help` prints the same.",
        "| command | what it does |\n| --- | --- |\n"
        + "\n".join(f"| [`{name}`]({_file(name)}.md) | {_cell(_first_line(command))} |" for name, command in found),
    ]
    root = get_command(app)
    options = _table("option", _records(root, "fgnet"))
    listing += ["## Options of fgnet itself", *options]
    return {"index": _page(listing), **{_file(name): _command_page(name, command) for name, command in found}}


def api_pages() -> dict[str, str]:
    """A page for each package with public names: its dotted name -> Markdown with mkdocstrings' directives."""
    pages = {}
    for package, heading in PACKAGES.items():
        module = importlib.import_module(package)
        names = sorted((name for name in module.__all__ if not name.startswith("__")), key=str.lower)
        parts = [f"# {heading}", f"`{package}`", (module.__doc__ or "").strip()]
        pages[package] = _page([*parts, *(f"::: {package}.{name}" for name in names)])
    return pages


def _commands(group: Any = None, prefix: str = "fgnet") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its whole name."""
    for name, command in sorted((group or get_command(app)).commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _command_page(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    parts = [f"# {name}", command.help or ""]
    parts.append(f"```text\n{' '.join(command.get_usage(context).split()).removeprefix('Usage: ')}\n```")
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    if arguments:
        parts += ["## Arguments", *_table("argument", _records(command, name, arguments))]
    options = [p for p in command.params if p.opts[0].startswith("-")]
    parts += ["## Options", *_table("option", _records(command, name, options))]
    return _page(parts)


def _records(command: Any, name: str, parameters: list[Any] | None = None) -> list[tuple[str, str]]:
    context = command.make_context(name, [], resilient_parsing=True)
    records = [p.get_help_record(context) for p in (command.params if parameters is None else parameters)]
    return [record for record in records if record]


def _table(what: str, records: list[tuple[str, str]]) -> list[str]:
    rows = "\n".join(f"| {_code(names)} | {_cell(help_text)} |" for names, help_text in records)
    return [f"| {what} | meaning |\n| --- | --- |\n{rows}"] if rows else ["It has none."]


def _first_line(command: Any) -> str:
    return (command.help or "").strip().splitlines()[0]


def _file(name: str) -> str:
    return name.removeprefix("fgnet ").replace(" ", "_")


def _code(text: str) -> str:
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def _cell(text: str) -> str:
    """Help text as it stands, whatever Markdown would make of it."""
    return re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False)).replace("--", "-\\-")


def _page(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
