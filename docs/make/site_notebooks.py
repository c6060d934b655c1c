"""Tutorials: run their sources as notebooks, and show what came out as pages.

A source is `docs/tutorials/NN_name.py` in jupytext's percent format, which is kept; notebook, page and pictures are made of it.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import jupytext
import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
NOT_RUN = "not-run"
"""Tag of a cell that is shown, but needs what isn't there, such as a cluster."""
SECONDS = 600
"""A cell that takes longer is an error."""
_ALT = re.compile(r"\A# alt: (.*)\n?")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def sources() -> list[Path]:
    """All tutorials, in order."""
    return sorted(TUTORIALS.glob("[0-9]*.py"))


def title(source: Path) -> str:
    """The heading that a tutorial begins with."""
    found = re.search(r"^# # (.+)$", source.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError(f"{source} does not begin with a markdown cell with a heading")
    return found[1]


def execute(source: Path, files: Path) -> NotebookNode:
    """Run a tutorial in a folder of its own.

    Args:
        source: the tutorial.
        files: folder with the example files; the tutorial runs in a copy beside it.

    Returns:
        The notebook with the outputs of its cells.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message shows the cell.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder = files.with_name(source.stem)
    shutil.copytree(files, folder)
    runnable = nbformat.from_dict(notebook)
    runnable.cells = [cell for cell in notebook.cells if NOT_RUN not in cell.metadata.get("tags", [])]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    modules = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with mock.patch.dict(os.environ, {"PATH": path, "PYTHONPATH": modules, "COLUMNS": "100"}):
        where = {"metadata": {"path": str(folder)}}
        options = {"timeout": SECONDS, "startup_timeout": SECONDS, "kernel_name": "python3", "resources": where}
        NotebookClient(runnable, extra_arguments=["--log-level=ERROR"], **options).execute()
    return notebook  # its cells are those that ran, with their outputs, and those that did not


def write(notebook: NotebookNode, page: Path) -> None:
    """Write a notebook that was run as ``page`` (.md), with its pictures and the notebook itself beside it."""
    pictures = page.with_name(f"{page.stem}_files")
    parts = [part for cell in notebook.cells for part in _shown(cell, pictures)]
    note = f"[This page as a Jupyter notebook]({page.stem}.ipynb). What stands below the code came out when this page was made."
    heading, _, rest = parts[0].partition("\n")
    page.write_text("\n\n".join([heading, note, rest.strip(), *parts[1:]]) + "\n", encoding="utf-8")
    for cell in notebook.cells:
        cell.source = _ALT.sub("", cell.source)
    nbformat.write(notebook, page.with_suffix(".ipynb"))


def _shown(cell: NotebookNode, pictures: Path) -> list[str]:
    """The Markdown of a cell: its text, or its code and what came out of it."""
    if cell.cell_type != "code":
        return [cell.source]
    alt = _ALT.match(cell.source)
    code = _ALT.sub("", cell.source).strip()
    lines = [line for line in code.splitlines() if line.strip()]
    if lines and all(line.startswith("!") for line in lines):
        parts = ["```sh\n" + "\n".join(line[1:] for line in lines) + "\n```"]
    else:
        parts = [f"```python\n{code}\n```"]
    for output in cell.outputs:
        parts += _output(output, alt[1] if alt else None, pictures)
    return parts


def _output(output: NotebookNode, alt: str | None, pictures: Path) -> list[str]:
    if output.output_type == "stream":
        return [_text(output.text)]
    data = output.get("data", {})
    for kind, suffix in (("image/png", "png"), ("image/jpeg", "jpg")):
        if kind in data:
            if alt is None:
                raise ValueError(f"{pictures.name}: a cell that draws must begin with a comment '# alt: what is to be seen'")
            pictures.mkdir(exist_ok=True)
            path = pictures / f"{len(list(pictures.iterdir())) + 1}.{suffix}"
            path.write_bytes(base64.b64decode(data[kind]))
            return [f"![{alt}]({pictures.name}/{path.name})"]
    if "<table" in data.get("text/html", ""):
        table = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL)
        table = table.replace("<th></th>", "<td></td>")  # the corner: a header that a screen reader would announce as empty
        return ['<div class="output" markdown="0" tabindex="0">\n' + re.sub(r"\n\s*\n", "\n", table) + "\n</div>"]
    return [_text(data["text/plain"])] if "text/plain" in data else []


def _text(text: str) -> str:
    shown = "\n".join(line.split("\r")[-1].rstrip() for line in _ANSI.sub("", text).replace("\r\n", "\n").split("\n"))
    return f"```text\n{shown.strip(chr(10))}\n```" if shown.strip() else ""
