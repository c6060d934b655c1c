"""Build the documentation into a folder of pages that opens from disk: `make docs`.

    PYTHONPATH=.:tests/helpers:docs/make python docs/make/site_build.py [--out outputs/docs] [--without-tutorials]

The sources are put together in ``OUT/source``, laid out as the repository, so that links work as they do there; beside
them the pages that are made: the command line, the public names, and the tutorials, which are run. Links to the sources of
tutorials are turned to their pages. Zensical makes
``OUT/site`` of it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from example_files import example_files
from site_check import faults
from site_notebooks import ROOT, execute, sources, title, write
from site_reference import api_pages, command_pages

from fgnet_plugin.version import __version__

COPIED = ("*.md", "docs/*.*", "docs/make/assets/*", "weights/*.md", "cuda/README.md")
"""Pages and pictures, as patterns from the repository's root; the files to which pages link are copied, too."""
_TUTORIAL = re.compile(r"(\]\((?:[\w./-]*/)?tutorials/\d\d_\w+)\.py(?=[#)])")
_LINE_LINK = re.compile(r'<a id="__codelineno[^>]*></a>')


def build(out: Path, tutorials: bool = True, jobs: int = 2) -> Path:
    """Build the pages.

    Args:
        out: folder for sources and pages; what is in it is removed.
        tutorials: whether they are run; if not, their pages say so.
        jobs: tutorials that run at a time.

    Returns:
        The first page.

    Raises:
        RuntimeError: Zensical found a fault, or `site_check.faults` did; the message lists them.
        nbclient.exceptions.CellExecutionError: of a tutorial.
    """
    shutil.rmtree(out, ignore_errors=True)
    source = out / "source"
    for path in (path for pattern in COPIED for path in sorted(ROOT.glob(pattern)) if path.is_file()):
        _copy(path, source)
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)", on_site(path.read_text(encoding="utf-8"))):
            if (linked := path.parent / target).is_file():
                _copy(linked.resolve(), source)
    _write(source / "docs" / "reference" / "commands", commands := command_pages())
    _write(source / "docs" / "reference" / "api", api := api_pages())
    (source / "docs" / "tutorials").mkdir()
    if tutorials:
        _run_tutorials(source / "docs" / "tutorials", jobs)
    else:
        for path in sources():
            page = source / "docs" / "tutorials" / f"{path.stem}.md"
            page.write_text(f"# {title(path)}\n\nThis page was made without running the tutorial.\n", encoding="utf-8")
    pages = ", ".join(f'"docs/tutorials/{path.stem}.md"' for path in sources())
    names = {
        "version": __version__,
        "root": str(ROOT),
        "tutorials": f'{{ "Tutorials" = [{pages}] }},' if pages else "",
        "commands": ", ".join(f'"docs/reference/commands/{name}.md"' for name in commands),
        "api": ", ".join(f'{{ "{name}" = "docs/reference/api/{name}.md" }}' for name in api),
    }
    settings = (ROOT / "docs" / "make" / "zensical.toml").read_text(encoding="utf-8")
    for name, text in names.items():
        settings = settings.replace(f"@{name}@", text)
    (out / "zensical.toml").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", "zensical.toml"]
    done = subprocess.run(command, cwd=out, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout)
    for page in (out / "site").rglob("*.html"):  # lines of code are links that nobody can name: a screen reader reads each
        page.write_text(_LINE_LINK.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
    if found := faults(out / "site"):
        raise RuntimeError("\n".join(found))
    return out / "site" / "index.html"


def on_site(text: str) -> str:
    """Turn a page's links to the sources of tutorials, which is what there is in the repository, to the tutorials' pages.

    Example:
        >>> on_site("[a study](tutorials/03_study.py), [how](../examples/made_up_study.py)")
        '[a study](tutorials/03_study.md), [how](../examples/made_up_study.py)'
    """
    return _TUTORIAL.sub(r"\1.md", text)


def _copy(path: Path, source: Path) -> None:
    copy = source / path.relative_to(ROOT)
    copy.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".md":
        copy.write_text(on_site(path.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        shutil.copy(path, copy)


def _write(folder: Path, pages: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _run_tutorials(folder: Path, jobs: int) -> None:
    """Run all tutorials, each in a copy of one folder with the example files, and write their pages."""

    def run(source: Path, files: Path) -> None:
        begun = time.monotonic()
        write(execute(source, files), folder / f"{source.stem}.md")
        print(f"  {source.name}: {time.monotonic() - begun:.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        files = Path(scratch) / "files"
        with example_files(files, Path(scratch) / "home", frames=None):
            for job in [pool.submit(run, source, files) for source in reversed(sources())]:  # the longest first
                job.result()


def main() -> None:
    """Build, and say where the pages are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "docs", help="folder for sources and pages")
    parser.add_argument("--without-tutorials", action="store_true", help="don't run them; their pages say so")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="tutorials that run at a time")
    arguments = parser.parse_args()
    begun = time.monotonic()
    try:
        page = build(arguments.out, not arguments.without_tutorials, arguments.jobs)
    except RuntimeError as error:
        sys.exit(f"{error}\nThe documentation has faults.")
    print(f"{page}: built in {time.monotonic() - begun:.0f} s; open it in a browser")


if __name__ == "__main__":
    main()
