"""Look for faults in built pages: links and anchors that lead nowhere, and anything that a page would fetch from a network."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("audio", "src")}
"""What a browser fetches without being asked; of `link`, see `_Page`."""
LOADED_LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


class _Page(HTMLParser):
    """The links, loaded files and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.without_alt: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and LOADED_LINKS & set(values.get("rel", "").split()):
            self.loaded.append(values.get("href", ""))
        self.loaded += [value for name, value in values.items() if (tag, name) in LOADED]
        if tag == "img" and not values.get("alt"):
            self.without_alt.append(values.get("src", ""))
        self.loaded += _addresses(values.get("style", ""))


@cache
def _read(path: Path) -> _Page:
    return _Page(path)


def _addresses(css: str) -> list[str]:
    return re.findall(r"""url\(\s*["']?(?!data:)([^"')]+)""", css) + re.findall(r"""@import\s+["']([^"']+)""", css)


def faults(site: Path) -> list[str]:
    """What is wrong with the pages of a folder, a line for each fault.

    Reads each page's text, not what its scripts do; that is for a browser (`tests/test_site.py`).
    """
    _read.cache_clear()
    site, found = site.resolve(), []
    for page in sorted(site.rglob("*.html")):
        name, parts = page.relative_to(site), _read(page)
        for target in sorted({*parts.links, *parts.loaded}):
            outside = urlsplit(target).scheme in ("http", "https") or target.startswith("//")
            if outside and target in parts.loaded:
                found.append(f"{name}: loads {target} from a network")
            elif not urlsplit(target).scheme and not outside and not _leads_somewhere(page, target, site):
                found.append(f"{name}: {target} leads nowhere")
        found += [f"{name}: the picture {source} has no alt text" for source in parts.without_alt]
    for style in sorted(site.rglob("*.css")):
        remote = [target for target in _addresses(style.read_text(encoding="utf-8")) if target.startswith(("http", "//"))]
        found += [f"{style.relative_to(site)}: loads {target} from a network" for target in remote]
    return found


def _leads_somewhere(page: Path, target: str, site: Path) -> bool:
    parts = urlsplit(target)
    if page.name == "404.html" or target in ("", "#", "."):  # the former's links begin at the root of a server
        return True
    other = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not other.is_relative_to(site) or not other.exists():
        return False
    return not parts.fragment or other.suffix != ".html" or unquote(parts.fragment) in _read(other).anchors
