"""British spelling, and no typing errors: of the pages, the tutorials and docstrings, which are also the commands' help."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TYPOS = shutil.which("typos", path=str(Path(sys.executable).parent))
pytestmark = pytest.mark.skipif(TYPOS is None, reason="typos is not installed: pip install typos")


def mistakes(*paths: Path | str) -> list[str]:
    command = [TYPOS, "--no-check-filenames", "--format", "brief", "--config", str(ROOT / "pyproject.toml"), *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()


def test_pages() -> None:
    assert mistakes(*ROOT.glob("*.md"), "docs", "weights", "cuda") == []


def test_docstrings(tmp_path: Path) -> None:
    """Without their examples and without what stands in backticks, which is code."""
    for path in sorted((ROOT / "fgnet_plugin").rglob("*.py")):
        texts = [text for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if (text := docstring(node))]
        prose = re.sub(r"^ *(?:>>>|\.\.\.).*\n(?:(?! *>>>) *\S.*\n?)*", "", "\n\n".join(texts) + "\n", flags=re.MULTILINE)
        prose = re.sub(r"^( *[\w, *]+):( )", r"`\1`:\2", prose, flags=re.MULTILINE)  # names of arguments
        copy = tmp_path / path.relative_to(ROOT).with_suffix(".md")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(re.sub(r"^ +", "", re.sub(r"``[^`]+``", "", prose), flags=re.MULTILINE), encoding="utf-8")
    assert mistakes(tmp_path) == []


def docstring(node: ast.AST) -> str | None:
    """Of what can have one; also a string below an attribute, which describes it."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        return ast.get_docstring(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def test_tutorials(tmp_path: Path) -> None:
    """The text between their code."""
    for path in (ROOT / "docs" / "tutorials").glob("*.py"):
        lines = [line[2:] for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"# [^!]", line)]
        (tmp_path / f"{path.stem}.md").write_text("\n".join(lines), encoding="utf-8")
    assert mistakes(tmp_path) == []


def test_american_spelling_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("The color of teh `color`.\n\n```python\ncolor = 1\n```\n")
    assert [line.split(": ", 2)[2] for line in mistakes(tmp_path)] == ["`color` should be `colour`", "`teh` should be `the`"]
