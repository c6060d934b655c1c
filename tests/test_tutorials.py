"""The tutorials run from top to bottom as notebooks, and make pages without loose ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="the extra docs is not installed")
pytest.importorskip("ipykernel", reason="the extra docs is not installed")

import site_notebooks
from example_files import example_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of which each tutorial gets a copy."""
    folder = tmp_path_factory.mktemp("tutorials")
    with example_files(folder / "files", folder / "home", frames=None):
        yield folder / "files"


@pytest.mark.slow
@pytest.mark.parametrize("source", site_notebooks.sources(), ids=lambda path: path.stem)
def test_tutorials_run(source: Path, files: Path) -> None:
    page = files.parent / f"{source.stem}.md"
    site_notebooks.write(site_notebooks.execute(source, files), page)
    assert page.read_text(encoding="utf-8").startswith(f"# {site_notebooks.title(source)}\n")
    assert page.with_suffix(".ipynb").is_file()


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    import nbformat.v4 as v4

    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
    cells = [
        v4.new_markdown_cell("# A photo\n\nIt takes a minute."),
        v4.new_code_cell("!fgnet doctor", outputs=[v4.new_output("stream", text="50%\rdone\n\x1b[31mred\x1b[0m\n")]),
        v4.new_code_cell("# alt: a dot\nplot()", outputs=[v4.new_output("display_data", {"image/png": png})]),
        v4.new_code_cell(
            "table",
            outputs=[
                v4.new_output(
                    "execute_result",
                    {"text/html": "<style>\n\nx</style><table><th></th><th>AU</th></table>", "text/plain": "t"},
                )
            ],
        ),
    ]
    notebook = v4.new_notebook(cells=cells)
    page = tmp_path / "01_photo.md"
    site_notebooks.write(notebook, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# A photo\n\n[This page as a Jupyter notebook](01_photo.ipynb).")
    assert "```sh\nfgnet doctor\n```\n\n```text\ndone\nred\n```" in text
    assert "```python\nplot()\n```\n\n![a dot](01_photo_files/1.png)" in text
    assert "<style>" not in text
    assert "<table><td></td><th>AU</th></table>" in text  # no header without a name
    assert (tmp_path / "01_photo_files" / "1.png").is_file()
    assert "alt:" not in page.with_suffix(".ipynb").read_text(encoding="utf-8")


def test_a_picture_without_a_description_is_an_error(tmp_path: Path) -> None:
    import nbformat.v4 as v4

    cell = v4.new_code_cell("plot()", outputs=[v4.new_output("display_data", {"image/png": ""})])
    with pytest.raises(ValueError, match="must begin with a comment '# alt:"):
        site_notebooks.write(v4.new_notebook(cells=[v4.new_markdown_cell("# A photo"), cell]), tmp_path / "01_photo.md")
