"""The documentation as pages: built without a fault, with all public names and commands, and read from disk in a browser."""

import re
import time
from pathlib import Path

import pytest
from browser import browser_is_there

pytest.importorskip("zensical", reason="the extra docs is not installed")

import site_check
import site_reference
from test_layout import PUBLIC
from typer.main import get_command

from fgnet_plugin.cli.app import app
from fgnet_plugin.version import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; of the tutorials only their titles."""
    import site_build

    return site_build.build(tmp_path_factory.mktemp("docs") / "out", tutorials=False).parent


def test_all_public_names_are_in_the_reference() -> None:
    pages = site_reference.api_pages()
    assert set(pages) == set(PUBLIC)
    for package, names in PUBLIC.items():
        listed = set(re.findall(rf"^::: {re.escape(package)}\.(\w+)$", pages[package], re.MULTILINE))
        assert listed == {name for name in names.split() if not name.startswith("__")}


def test_all_commands_and_options_are_in_the_reference() -> None:
    pages = site_reference.command_pages()
    root = get_command(app)

    def names(group: object, prefix: str = "") -> set[str]:
        found = {f"{prefix}{name}": command for name, command in group.commands.items()}
        groups = [name for name, command in found.items() if hasattr(command, "commands")]
        return (set(found) - set(groups)).union(*(names(found[name], f"{name}_") for name in groups))

    assert set(pages) == {"index"} | names(root)
    assert all(f"fgnet {name.replace('_', ' ')}" in pages["index"] for name in set(pages) - {"index"})
    for parameter in root.commands["detect"].params:
        assert any(name in pages["detect"] for name in parameter.opts)
    assert (
        "<code>--batch-size &lt;int range&gt;</code> | Frames at once; offline on a CPU it changes nothing." in pages["detect"]
    )


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", text, re.MULTILINE)[1] == __version__


def test_every_picture_is_listed_with_its_command() -> None:
    text = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    pictures = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".png", ".jpg")}
    assert set(re.findall(r"^\| `([\w.]+)` \| `[^`]+` \|", text, re.MULTILINE)) == pictures


def test_links_to_tutorials_lead_to_their_pages() -> None:
    import site_build

    text = "[a](docs/tutorials/03_study.py) [b](tutorials/01_photo.py#the-files) [c](../examples/made_up_study.py)"
    assert site_build.on_site(text) == text.replace("study.py) [b]", "study.md) [b]").replace("photo.py", "photo.md")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html#here">', None),
        ('<a href="https://example.org">', None),
        ('<a href="missing.html">', "missing.html leads nowhere"),
        ('<a href="other.html#elsewhere">', "other.html#elsewhere leads nowhere"),
        ('<a href="../outside.html">', "../outside.html leads nowhere"),
        ('<script src="https://example.org/a.js">', "loads https://example.org/a.js from a network"),
        ('<link rel="stylesheet" href="//fonts.example.org">', "loads //fonts.example.org from a network"),
        ('<p style="background: url(https://example.org/a.png)">', "loads https://example.org/a.png from a network"),
        ('<img src="other.html">', "the picture other.html has no alt text"),
    ],
)
def test_faults_are_found(body: str, fault: str | None, tmp_path: Path) -> None:
    (tmp_path / "outside.html").touch()
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "other.html").write_text('<h1 id="here">')
    (folder / "page.html").write_text(body)
    assert site_check.faults(folder) == ([] if fault is None else [f"page.html: {fault}"])


@pytest.mark.slow
def test_pages_are_built_without_faults(site: Path) -> None:
    """Zensical's strict mode and `site_check` find none; names and commands reach the pages."""
    for package, names in PUBLIC.items():
        page = (site / "docs" / "reference" / "api" / f"{package}.html").read_text(encoding="utf-8")
        for name in names.split():
            assert name.startswith("__") or f'id="{package}.{name}"' in page, f"{package}.{name}"
    measures = (site / "docs" / "reference" / "api" / "fgnet_plugin.measures.html").read_text(encoding="utf-8")
    assert "Examples" in measures
    assert "<blockquote>" not in measures  # what Markdown makes of >>>
    assert f"fgnet-plugin {__version__}" in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not browser_is_there(), reason="needs selenium, and Debian's chromium and chromium-driver")
def test_search_works_from_disk(site: Path) -> None:
    from browser import start_chromium
    from selenium.webdriver.common.by import By

    driver = start_chromium()
    try:
        driver.get((site / "docs" / "usage.html").as_uri())
        driver.find_element(By.CSS_SELECTOR, ".md-search__button").click()
        driver.switch_to.active_element.send_keys("calibration")
        inside = "return [...document.querySelectorAll('*')].map(node => node.shadowRoot?.textContent ?? '').join(' ')"
        end = time.monotonic() + 20
        while not (found := re.search(r"\d+ results", driver.execute_script(inside))) and time.monotonic() < end:
            time.sleep(0.2)
        assert found
        requests = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [name for name in requests if not name.startswith(("file:", "data:", "blob:"))] == []
        assert [entry["message"] for entry in driver.get_log("browser")] == []
    finally:
        driver.quit()
